//! A service: lines, the threads that work for them, and the address at which it answers.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use axum_server::{Handle, tls_rustls::RustlsConfig};
use riad::{Asked, Cancel, Compute};
use tokio::{runtime::Runtime, sync::Semaphore};

use crate::{
    Error, LineOptions, Result,
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

/// How long a client has for the head of a request.
const HEAD: Duration = Duration::from_secs(10);

/// How often pictures that are too old are looked for.
const TIDY: Duration = Duration::from_secs(30);

/// A clock that runs ahead by so much was set: it says nothing of how old pictures are.
const CLOCK: Duration = Duration::from_secs(3600);

/// How often lines tell how they go.
const TELL: Duration = Duration::from_secs(1);

/// How many pictures are drawn at once: those who look must not take the cores from the line.
const DRAWING: usize = 2;

/// How many pictures are held in memory at once: those that a full disk does not take, and those that come as numbers.
const HELD: usize = 8;

/// How often to look for the end.
const NAP: Duration = Duration::from_millis(50);

/// What is served, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The lines, beside those that were made on the page and are in the store.
    pub lines: Vec<LineOptions>,
    /// Folders that pictures come into for lines that were made on the page, by the line's name.
    pub watch: Vec<(String, PathBuf)>,
    /// The folder of the store.
    pub store: PathBuf,
    /// The false-positive rate that verdicts are given for.
    pub asked: Asked,
    /// Where and how to compute.
    pub compute: Compute,
    /// The address to listen at; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What callers must show, if anything. Without it the address must be this machine's own.
    pub token: Option<String>,
    /// The certificate for TLS, if connections are to be encrypted.
    pub tls: Option<Tls>,
    /// How many pictures of a line may wait.
    pub queue: usize,
    /// How long a request may take from its first byte until its answer.
    pub deadline: Duration,
    /// How many bytes a picture may have.
    pub most_bytes: u64,
    /// Folders whose pictures callers may name instead of sending them.
    pub allow: Vec<PathBuf>,
    /// How long pictures are kept.
    pub keep: Keep,
    /// How many good pictures a line may be made of on the page, and how many bytes they may have together.
    pub most_good: (usize, u64),
    /// One in how many pictures is drawn for an audit, if any: a person is asked about it even if it passed.
    pub audit: Option<u32>,
    /// Where inspections are sent.
    pub sinks: Vec<SinkOptions>,
    /// How long a picture in a watched folder must stay as it is to count as complete.
    pub settle: Duration,
    /// How often to look at watched folders.
    pub interval: Duration,
}

impl Options {
    /// Serves these lines at 127.0.0.1:8642 with verdicts for a false-positive rate of 0.05, and keeps all in the folder `store`.
    pub fn new(lines: Vec<LineOptions>, store: impl Into<PathBuf>) -> Self {
        Self {
            lines,
            watch: Vec::new(),
            store: store.into(),
            asked: Asked::rate(0.05),
            compute: Compute::default(),
            listen: SocketAddr::from(([127, 0, 0, 1], 8642)),
            token: None,
            tls: None,
            queue: 64,
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

    /// Whether pictures come from a folder.
    fn watches(&self) -> bool {
        !self.watch.is_empty() || self.lines.iter().any(|line| line.watch.is_some())
    }

    fn check(&self) -> Result<()> {
        for (index, line) in self.lines.iter().enumerate() {
            if self.lines[..index].iter().any(|other| other.name == line.name) {
                return Err(Error::Request(format!("two lines are called {}", line.name)));
            }
        }
        if self.token.is_none() && !self.listen.ip().is_loopback() {
            return Err(Error::Request(format!(
                "{} can be reached from other machines; a token file says who may ask",
                self.listen
            )));
        }
        let wait = self.settle + self.interval;
        let shortest = self.sinks.iter().filter_map(|sink| sink.to.valid()).min();
        if let Some(valid) = shortest.filter(|valid| *valid <= wait && self.watches()) {
            return Err(Error::Request(format!(
                "PLCs see a verdict for {valid:?} from when its picture was written, and pictures in a watched folder are left alone for \
                 {wait:?} (until they are complete, and until the next look): none would be in time"
            )));
        }
        if self.queue == 0 || self.deadline.is_zero() || self.most_bytes == 0 {
            return Err(Error::Request(
                "a queue, a deadline and a picture's size are above 0".to_owned(),
            ));
        }
        Ok(())
    }
}

/// Files for TLS, in PEM.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate and those that lead to it.
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
    /// Opens store and models, listens, and works on threads of its own. When this returns, requests are answered.
    ///
    /// # Errors
    /// If an option cannot be meant, a model is not calibrated for the rate, the store is in use, or the address is.
    pub fn start(options: Options) -> Result<Self> {
        options.check()?;
        let store = Store::open(&options.store)?;
        store.give_up_versions()?;
        let queue = Arc::new(Queue::new(options.queue));
        let (pictures, bytes) = options.most_good;
        let drafts = Drafts::open(&store, options.asked, Room { pictures, bytes })?;
        let lines = Lines::new(queue.clone(), options.asked, options.audit, options.compute.clone());
        for line in with_made(&options, &drafts)? {
            lines.open(&line, &store)?;
        }
        let mut allow = Vec::new();
        for folder in &options.allow {
            allow.push(fs::canonicalize(folder).map_err(Error::file("read", folder))?);
        }
        let sinks = Sink::open(&options.sinks, lines.all().len(), &store)?;
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
            held: Arc::new(Semaphore::new(HELD)),
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
        let tls = match &options.tls {
            None => None,
            Some(tls) => {
                let read = runtime.block_on(RustlsConfig::from_pem_file(&tls.certificate, &tls.key));
                let read = read.map_err(Error::file("use", &tls.certificate))?;
                // Who may ask is told by headers as HTTP/1.1 has them.
                let mut config = read.get_inner().as_ref().clone();
                config.alpn_protocols = vec![b"http/1.1".to_vec()];
                Some(RustlsConfig::from_config(Arc::new(config)))
            }
        };
        let app = http::router(shared.clone()).into_make_service();
        let server = handle.clone();
        runtime.spawn(async move {
            let served = match tls {
                None => match axum_server::from_tcp(listener) {
                    Ok(mut listening) => {
                        listening.http_builder().http1().header_read_timeout(HEAD);
                        listening.http1_only().handle(server).serve(app).await
                    }
                    Err(error) => Err(error),
                },
                Some(tls) => match axum_server::from_tcp_rustls(listener, tls) {
                    Ok(mut listening) => {
                        listening.http_builder().http1().header_read_timeout(HEAD);
                        listening.http1_only().handle(server).serve(app).await
                    }
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = served {
                tracing::error!("requests are not answered any more: {error}");
            }
        });
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
        for _ in 0..=cores {
            let shared = self.shared.clone();
            self.workers.push(thread::spawn(move || {
                line::work(&shared.queue, &shared.store, &shared.events)
            }));
        }
        for line in self.shared.lines.all() {
            if let Some(folder) = line.watch.clone() {
                let (line, shared) = (line.clone(), self.shared.clone());
                self.bringers.push(thread::spawn(move || {
                    line::watch(&line, folder, pace, &shared.queue, &shared.store, &shared.end);
                }));
            }
        }
        let (shared, keep) = (self.shared.clone(), *keep);
        self.bringers.push(thread::spawn(move || look_after(&shared, &keep)));
    }

    /// What its lines are called, those that were made on the page among them.
    pub fn lines(&self) -> Vec<String> {
        let lines = self.shared.lines.all();
        lines.iter().map(|line| line.name.clone()).collect()
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where PLCs ask, for each sink that they ask.
    pub fn modbus(&self) -> &[SocketAddr] {
        &self.modbus
    }

    /// Serves until it is cancelled, and then ends what is under way.
    pub fn run(self, cancel: &Cancel) {
        while cancel.reason().is_none() {
            thread::sleep(NAP);
        }
        self.stop();
    }

    /// Takes no more pictures, judges and stores those that it has, and ends.
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
            runtime.shutdown_timeout(NAP);
        }
    }
}

/// The lines that are given, and those that were made on the page.
///
/// # Errors
/// If one that is given is called as one that is being made, or a folder is for a line that is neither.
fn with_made(options: &Options, drafts: &Drafts) -> Result<Vec<LineOptions>> {
    let given = &options.lines;
    for draft in drafts.being_made() {
        if given.iter().any(|line| line.name == draft.name) {
            return Err(Error::Request(format!(
                "a line {0} is being made in this store; give yours another name, or delete that one on the page",
                draft.name
            )));
        }
    }
    let mut lines = given.to_vec();
    // Whoever names a run for one of them wants that.
    let made = drafts.lines().into_iter();
    lines.extend(made.filter(|made| given.iter().all(|line| line.name != made.name)));
    for (name, folder) in &options.watch {
        let line = lines.iter_mut().find(|line| line.name == *name);
        let line = line.ok_or_else(|| {
            Error::Request(format!(
                "--watch names {name}, which is no --line and no line that was made on the page and put to use"
            ))
        })?;
        if line.watch.replace(folder.clone()).is_some() {
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
    let began = (SystemTime::now(), Instant::now());
    let (mut tidied, mut told) = (None::<Instant>, Instant::now());
    while !shared.is_ending() {
        if tidied.is_none_or(|at| at.elapsed() >= TIDY) {
            let ahead = began.0.elapsed().unwrap_or_default().saturating_sub(began.1.elapsed());
            if keep.time.is_some() && ahead > CLOCK {
                tracing::error!("the clock was set forward; until the next start no picture is deleted for its age");
                keep.time = None;
            }
            match shared.store.tidy(&keep, || shared.is_ending()) {
                Ok(0) => {}
                Ok(deleted) => tracing::info!("deleted {deleted} pictures that are not to be kept any longer"),
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
