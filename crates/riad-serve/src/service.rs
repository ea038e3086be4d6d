//! A service: lines, their threads, and the address at which it answers.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use axum::Router;
use axum_server::{Handle, tls_rustls::RustlsConfig};
use riad::{Cancel, Compute, FalsePositiveRate};
use tokio::{runtime::Runtime, sync::Semaphore};

use crate::{
    Error, LineOptions, Result,
    clock::Moment,
    connections::Bounded,
    counters::Counters,
    draft::{Drafts, Room},
    events::{Event, Events},
    http,
    line::{self, Lines, Pace, Queue},
    shared::{Inner, Shared},
    sinks::{Sink, SinkOptions, Sinks},
    store::{Keep, Store},
    token::Token,
};

/// How long requests that are under way have when the service ends.
const DRAIN: Duration = Duration::from_secs(20);

/// How long its threads have after that to give back the store: who starts a service anew wants it at once, and a machine may be busy.
const LAST: Duration = Duration::from_secs(5);

/// How long a client has for the head of a request.
const HEAD: Duration = Duration::from_secs(10);

/// How often pictures that are too old are looked for.
const TIDY: Duration = Duration::from_secs(30);

/// How often lines tell how they go.
const TELL: Duration = Duration::from_secs(1);

/// How many pictures are drawn at once: those who look must not take the cores from the line.
const DRAWING: usize = 2;

/// How many pictures are held in memory at once that a full disk does not take, and as many of those that come as numbers.
const HELD: usize = 8;

/// How often to look for the end.
const NAP: Duration = Duration::from_millis(50);

/// Every clock can count on for this long.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// The options of a service. No time of requests, pictures or verdicts may be longer than 100 years.
#[derive(Clone, Debug)]
pub struct Options {
    /// The lines, beside those that were made on the page and are in the store.
    pub lines: Vec<LineOptions>,
    /// Folders that pictures come into, by the line's name: one of these lines, or one that was made on the page.
    pub watch: Vec<(String, PathBuf)>,
    /// The folder of the store.
    pub store: PathBuf,
    /// The false-positive rate that verdicts are given for.
    pub rate: FalsePositiveRate,
    /// Where and how to compute.
    pub compute: Compute,
    /// The address to listen at; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The token that callers must send. Without a token, the address must be a loopback address.
    pub token: Option<String>,
    /// The certificate for TLS. `None`: connections are not encrypted.
    pub tls: Option<Tls>,
    /// The number of pictures of a line that may wait.
    pub queue: usize,
    /// The number of connections at the same time. Each picture that comes in has two more open files, for up to 128 pictures of a line.
    /// A process mostly has 1,024 open files.
    pub connections: usize,
    /// The time limit from the first byte of a request to its answer.
    pub deadline: Duration,
    /// The largest size of a picture in bytes.
    pub most_bytes: u64,
    /// Folders with pictures that callers may name by path instead of sending them.
    pub allow: Vec<PathBuf>,
    /// How long pictures are kept.
    pub keep: Keep,
    /// The number of good pictures, and their bytes together, that a line may be made of on the page.
    pub most_good: (usize, u64),
    /// One in this number of pictures is drawn for an audit: a person is asked about it, even if it passed. `None`: no
    /// audit.
    pub audit: Option<u32>,
    /// Where inspections are sent.
    pub sinks: Vec<SinkOptions>,
    /// A picture in a watched folder is complete if it has not changed for this time.
    pub settle: Duration,
    /// How often to look at watched folders.
    pub interval: Duration,
}

impl Options {
    /// Serves these lines at 127.0.0.1:8642, with verdicts for a false-positive rate of 0.05 and the store in the
    /// folder `store`.
    pub fn new(lines: Vec<LineOptions>, store: impl Into<PathBuf>) -> Self {
        Self {
            lines,
            watch: Vec::new(),
            store: store.into(),
            rate: FalsePositiveRate::new(0.05),
            compute: Compute::default(),
            listen: SocketAddr::from(([127, 0, 0, 1], 8642)),
            token: None,
            tls: None,
            queue: 64,
            connections: 512,
            deadline: Duration::from_secs(10),
            most_bytes: 64 << 20,
            allow: Vec::new(),
            keep: Keep::default(),
            most_good: (5_000, 10 << 30),
            audit: None,
            sinks: Vec::new(),
            settle: Duration::from_secs(2),
            interval: Duration::from_millis(500),
        }
    }

    /// How long pictures in watched folders wait until they are complete and seen. Zero if no folder is watched.
    fn wait(&self) -> Duration {
        match self.watch.is_empty() {
            true => Duration::ZERO,
            false => self.settle + self.interval,
        }
    }

    fn check(&self) -> Result<()> {
        // There may be no line yet that would refuse it.
        self.rate.images_needed()?;
        for (index, line) in self.lines.iter().enumerate() {
            // Each has folders of its name, and Windows takes names that differ by capitals for one.
            let others = &self.lines[..index];
            if let Some(other) = others.iter().find(|other| other.name.eq_ignore_ascii_case(&line.name)) {
                let (one, two) = (&other.name, &line.name);
                return Err(Error::Request(match one == two {
                    true => format!("two lines are called {one}"),
                    false => format!("the lines {one} and {two} differ by capitals alone, which Windows takes for one"),
                }));
            }
        }
        if self.token.is_none() && !self.listen.ip().is_loopback() {
            return Err(Error::Request(format!(
                "{} can be reached from other machines, so callers need a token",
                self.listen
            )));
        }
        let valid = || self.sinks.iter().filter_map(|sink| sink.to.valid());
        let times = [self.deadline, self.settle, self.interval].into_iter().chain(valid());
        if let Some(time) = times.max().filter(|time| *time > LONGEST) {
            return Err(Error::Request(format!(
                "no time for requests, pictures or verdicts may be longer than 100 years, as {time:?} is"
            )));
        }
        let wait = self.wait();
        if let Some(valid) = valid().min().filter(|valid| *valid <= wait && !wait.is_zero()) {
            return Err(Error::Request(format!(
                "verdicts are valid for {valid:?} after their picture was written, but pictures in a watched folder \
                 wait for {wait:?} until they are complete and seen, so no verdict would be in time; make verdicts \
                 valid for longer"
            )));
        }
        if self.queue == 0 || self.connections == 0 || self.deadline.is_zero() || self.most_bytes == 0 {
            return Err(Error::Request(
                "the queue, the number of connections, the deadline and the largest size of a picture must be above 0"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

/// Files for TLS, in PEM.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate with its chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A service that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Service {
    shared: Shared,
    address: SocketAddr,
    handle: Handle<SocketAddr>,
    /// Those that bring pictures, and tell how it goes.
    bringers: Vec<JoinHandle<()>>,
    workers: Vec<JoinHandle<()>>,
    sinks: Sinks,
    /// Where PLCs ask.
    modbus: Vec<SocketAddr>,
    runtime: Option<Runtime>,
}

impl Service {
    /// Opens the store and the models, and starts its own threads. When this returns, the service answers requests.
    ///
    /// # Errors
    /// If an option has no meaning, if a model is not calibrated for the rate, or if the store or the address is in
    /// use.
    pub fn start(options: Options) -> Result<Self> {
        options.check()?;
        let store = Store::open(&options.store)?;
        store.give_up_versions().or_else(line::unless_full)?;
        let queue = Arc::new(Queue::new(options.queue));
        let (pictures, bytes) = options.most_good;
        let drafts = Drafts::open(&store, options.rate, Room { pictures, bytes })?;
        let lines = Lines::new(queue.clone(), options.rate, options.audit, options.compute.clone());
        let has_plcs = options.sinks.iter().any(|sink| sink.to.is_present());
        let mut places = if has_plcs { store.places()? } else { Vec::new() };
        for (line, watch) in with_made(&options, &drafts, &store)? {
            if has_plcs && !places.contains(&line.name) {
                places.push(line.name.clone());
            }
            open(&line, watch.as_deref(), (&options, &lines), &store)?;
        }
        let allow = options.allow.iter();
        let allow = allow.map(|folder| fs::canonicalize(folder).map_err(Error::file("read", folder)));
        let allow = allow.collect::<Result<_>>()?;
        let sinks = Sink::open(&options.sinks, options.wait(), places.len(), &store)?;
        store.keep_places(&places)?;
        let refused = |cause| Error::Listen {
            address: options.listen.to_string(),
            cause,
        };
        let listener = TcpListener::bind(options.listen).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let shared = Shared(Arc::new(Inner {
            queue,
            lines,
            places,
            drafts,
            events: Events::new(store.newest()?),
            store,
            token: options.token.map(Token::new),
            has_tls: options.tls.is_some(),
            deadline: options.deadline,
            most_bytes: options.most_bytes,
            allow,
            end: AtomicBool::new(false),
            drawing: Semaphore::new(DRAWING),
            looking: Semaphore::new(1),
            inferring: Semaphore::new(HELD),
            held: Arc::new(Semaphore::new(HELD)),
            answers: http::answers(),
            counters: Counters::default(),
            making: Arc::default(),
            sinks: sinks.iter().map(|sink| sink.status.clone()).collect(),
        }));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("riad-http")
            .enable_all()
            .build()
            .map_err(refused)?;
        let handle = Handle::new();
        let tls = options.tls.as_ref().map(|tls| trusted(tls, &runtime)).transpose()?;
        let app = http::router(shared.clone());
        runtime.spawn(serve(listener, tls, handle.clone(), options.connections, app));
        let mut service = Self {
            shared,
            address,
            handle,
            bringers: Vec::new(),
            workers: Vec::new(),
            sinks: Sinks::default(),
            modbus: sinks.iter().filter_map(Sink::listens_at).collect(),
            runtime: Some(runtime),
        };
        service.sinks.start(sinks, &service.shared)?;
        service.work(
            &options.keep,
            Pace {
                settle: options.settle,
                interval: options.interval,
                most_bytes: options.most_bytes,
            },
        );
        Ok(service)
    }

    /// Starts the threads.
    fn work(&mut self, keep: &Keep, pace: Pace) {
        // One more than there are cores: while one waits for the disk or decodes, the others compute.
        let cores = thread::available_parallelism().map_or(2, usize::from);
        let judging = Arc::<AtomicUsize>::default();
        for _ in 0..=cores {
            let (shared, judging) = (self.shared.clone(), judging.clone());
            self.workers.push(thread::spawn(move || {
                line::work(&shared.queue, &shared.store, &shared.events, &judging)
            }));
        }
        for line in self.shared.lines.all() {
            if let Some(folder) = line.watch.clone() {
                let (line, shared) = (line.clone(), self.shared.clone());
                self.bringers.push(thread::spawn(move || {
                    let store = (&shared.store, &shared.held);
                    line::watch(&line, folder, pace, &shared.queue, store, &shared.end);
                }));
            }
        }
        let (shared, keep) = (self.shared.clone(), *keep);
        self.bringers.push(thread::spawn(move || look_after(&shared, &keep)));
    }

    /// The names of its lines. Lines that were made on the page are among them.
    pub fn lines(&self) -> Vec<String> {
        let lines = self.shared.lines.all();
        lines.iter().map(|line| line.name.clone()).collect()
    }

    /// The address at which it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The names of lines in the order of the numbers by which PLCs know them, from 0. Lines that this store served earlier are among them.
    /// Empty if verdicts are sent to no PLC.
    pub fn places(&self) -> &[String] {
        &self.shared.places
    }

    /// The addresses at which PLCs can read, one for each such sink.
    pub fn modbus(&self) -> &[SocketAddr] {
        &self.modbus
    }

    /// Serves until it is cancelled. Then it finishes the pictures that it has, and ends.
    pub fn run(self, cancel: &Cancel) {
        while cancel.reason().is_none() {
            thread::sleep(NAP);
        }
        self.stop();
    }

    /// Takes no more pictures, judges and stores the pictures that it has, and ends.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::SeqCst);
        self.handle.graceful_shutdown(Some(DRAIN));
        for thread in self.bringers.drain(..) {
            let _ = thread.join();
        }
        // Requests under way wait for the workers, so these end after them.
        let until = Instant::now() + DRAIN;
        while self.handle.connection_count() > 0 && Instant::now() < until {
            thread::sleep(NAP);
        }
        self.shared.making.end();
        self.shared.queue.close();
        for thread in self.workers.drain(..) {
            let _ = thread.join();
        }
        self.sinks.end();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(LAST);
        }
    }
}

/// The lines that are given, and those that were made on the page, with the folders that pictures come into.
///
/// # Errors
/// If one that is given is called as one that is being made, or as another one of the store but for capitals, or a folder is for a line
/// that is neither.
fn with_made(options: &Options, drafts: &Drafts, store: &Store) -> Result<Vec<(LineOptions, Option<PathBuf>)>> {
    let given = &options.lines;
    for draft in drafts.being_made() {
        // Windows takes names that differ by capitals for one.
        if given.iter().any(|line| line.name.eq_ignore_ascii_case(&draft.name)) {
            return Err(Error::Request(format!(
                "a line {0} is being made in this store; give yours another name, or delete that one on the page",
                draft.name
            )));
        }
    }
    let made = drafts.lines(store);
    let mut stored = store.names()?;
    stored.extend(made.iter().map(|line| line.name.clone()));
    for LineOptions { name, .. } in given {
        // It would overwrite the other one's models, and its pictures would be taken for lost ones, where both have one folder.
        let other = stored.iter().find(|other| other.eq_ignore_ascii_case(name));
        if let Some(other) = other.filter(|_| !stored.contains(name)) {
            return Err(Error::Request(format!(
                "this store has a line {other}; {name} differs from it by capitals alone, which Windows and macOS take for one: write \
                 {other}, or choose another name"
            )));
        }
    }
    // Whoever names a run for one of them wants that.
    let is_given = |line: &LineOptions| given.iter().any(|given| given.name == line.name);
    let others = made.into_iter().filter(|line| !is_given(line));
    let mut lines: Vec<_> = given.iter().cloned().chain(others).map(|line| (line, None)).collect();
    for (name, folder) in &options.watch {
        let line = lines.iter_mut().find(|(line, _)| line.name == *name);
        let (_, watch) = line.ok_or_else(|| {
            Error::Request(format!(
                "--watch names {name}, which is no --line and no line that was made on the page and put to use"
            ))
        })?;
        if watch.replace(folder.clone()).is_some() {
            return Err(Error::Request(format!(
                "--watch names two folders for {name}; a line has one"
            )));
        }
    }
    Ok(lines)
}

/// Deletes pictures that are too old, and tells how lines go.
fn look_after(shared: &Shared, keep: &Keep) {
    let mut keep = *keep;
    let began = Moment::now();
    let (mut tidied, mut told) = (None::<Instant>, Instant::now());
    while !shared.is_ending() {
        if tidied.is_none_or(|at| at.elapsed() >= TIDY) {
            if keep.time.is_some() && Moment::now().is_set_forward_since(began) {
                tracing::error!(
                    "the clock was set forward, or this virtual machine was paused, so no picture is deleted for its age \
                    until the next start"
                );
                keep.time = None;
            }
            match shared.store.tidy(&keep, || shared.is_ending()) {
                Ok(0) => {}
                Ok(deleted) => tracing::info!("deleted {deleted} pictures that were too old or too many"),
                Err(error) => tracing::error!("pictures could not be deleted: {error}"),
            }
            tidied = Some(Instant::now());
        }
        if told.elapsed() >= TELL {
            for line in shared.lines.all() {
                let state = line.state(shared.queue.waiting(line.index));
                shared.events.send(Event::Line, &state);
            }
            told = Instant::now();
        }
        thread::sleep(NAP);
    }
}

/// Opens a line. One that was made on the page and cannot be opened stays as it is for the next start, and the others judge meanwhile.
fn open(line: &LineOptions, watch: Option<&Path>, (options, lines): (&Options, &Lines), store: &Store) -> Result<()> {
    let is_given = options.lines.iter().any(|given| given.name == line.name);
    match lines.open(line, watch, store) {
        Err(error @ (Error::Riad(_) | Error::File { .. } | Error::NotForRate { .. } | Error::OtherModel { .. }))
            if !is_given =>
        {
            tracing::error!("line {} was made on the page and cannot be opened: {error}", line.name);
        }
        opened => drop(opened?),
    }
    Ok(())
}

/// The certificate and its key, as connections need them.
fn trusted(tls: &Tls, runtime: &Runtime) -> Result<RustlsConfig> {
    let read = runtime.block_on(RustlsConfig::from_pem_file(&tls.certificate, &tls.key));
    let read = read.map_err(Error::file("use", &tls.certificate))?;
    // Who may ask is told by headers as HTTP/1.1 has them.
    let mut config = read.get_inner().as_ref().clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(RustlsConfig::from_config(Arc::new(config)))
}

/// Answers requests on at most so many connections, until `handle` ends it.
async fn serve(
    listener: TcpListener,
    tls: Option<RustlsConfig>,
    handle: Handle<SocketAddr>,
    connections: usize,
    app: Router,
) {
    let app = app.into_make_service();
    let served = match tls {
        None => match axum_server::from_tcp(listener) {
            Ok(mut listening) => {
                listening.http_builder().http1().header_read_timeout(HEAD);
                let listening = listening.map(|accept| Bounded::new(accept, handle.clone(), connections));
                listening.http1_only().handle(handle).serve(app).await
            }
            Err(error) => Err(error),
        },
        Some(tls) => match axum_server::from_tcp_rustls(listener, tls) {
            Ok(mut listening) => {
                listening.http_builder().http1().header_read_timeout(HEAD);
                let listening = listening.map(|accept| Bounded::new(accept, handle.clone(), connections));
                listening.http1_only().handle(handle).serve(app).await
            }
            Err(error) => Err(error),
        },
    };
    if let Err(error) = served {
        tracing::error!("the service has stopped to answer requests: {error}");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_verdict_stands_though_the_disk_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let line = LineOptions {
            name: "lid".to_owned(),
            model: line::sample::calibrated_run(folder.path()),
        };
        let mut options = Options::new(vec![line], folder.path().join("store"));
        options.listen.set_port(0);
        options.rate = FalsePositiveRate::new(0.5);
        let service = Service::start(options).unwrap();
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .new_agent();
        let input = json!({"name": "image", "datatype": "UINT8", "shape": [8, 8, 3], "data": vec![7; 192]});
        let body = json!({"id": "x".repeat(200), "inputs": [input]}).to_string();
        let infer = || -> (u16, Value) {
            let url = format!("http://{}/v2/models/lid/infer", service.address());
            let mut response = agent.post(url).send(body.as_bytes()).unwrap();
            let text = response.body_mut().read_to_string().unwrap();
            (response.status().as_u16(), serde_json::from_str(&text).unwrap())
        };
        let verdict = |said: &Value, name: &str| {
            let mut outputs = said["outputs"].as_array().unwrap().iter();
            outputs.find(|output| output["name"] == name).unwrap()["data"][0].clone()
        };
        let (status, first) = infer();
        assert_eq!((status, verdict(&first, "inspection")), (200, json!(1)));
        // As if there was no room for another page of the database. Pages that are there have room for some more rows.
        let no_more = |connection: &rusqlite::Connection| connection.pragma_update(None, "max_page_count", 1);
        service.shared.store.change(no_more).unwrap();
        let (status, full) = (0..500).map(|_| infer()).find(|(status, _)| *status != 200).unwrap();
        assert_eq!((status, verdict(&full, "inspection")), (507, json!(0)), "{full}");
        for name in ["verdict", "score", "threshold"] {
            assert_eq!(verdict(&full, name), verdict(&first, name));
        }
    }

    #[test]
    fn a_rate_without_meaning_is_refused_even_without_a_line() {
        let folder = tempfile::tempdir().unwrap();
        for rate in [0.0, 1.0, f64::NAN] {
            let mut options = Options::new(Vec::new(), folder.path().join("store"));
            options.listen.set_port(0);
            options.rate = FalsePositiveRate::new(rate);
            assert!(Service::start(options).is_err(), "{rate}");
        }
    }
}
