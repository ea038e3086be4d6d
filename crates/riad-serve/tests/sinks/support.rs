//! A small model, a service, and peers to send to.

use std::{
    collections::HashMap,
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use riad::{Method, Training};
use riad_serve::{Destination, LineOptions, Options, SinkOptions};
use riad_testing::{Needs, skip};
use serde_json::Value;
use tempfile::TempDir;

/// What takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// The name of the line.
pub(crate) const LINE: &str = "badge";

/// A folder with pictures and a model that was hardly trained. A process that a test has started has that of the test.
pub(crate) fn plant() -> &'static Path {
    static GIVEN: LazyLock<Option<PathBuf>> = LazyLock::new(|| std::env::var_os("RIAD_SINKS_PLANT").map(PathBuf::from));
    static MADE: LazyLock<TempDir> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        let _ = riad_data::demo::generate(folder.path(), 0).unwrap();
        let training = Training::new(folder.path().join("badge/train/good"))
            .method(Method::RIAD)
            .size(32);
        training
            .epochs(1)
            .calibration(0.3)
            .out(folder.path().join("run"))
            .start(&())
            .unwrap();
        folder
    });
    GIVEN.as_deref().unwrap_or_else(|| MADE.path())
}

/// A picture that the model calls good.
pub(crate) fn good(service: SocketAddr) -> PathBuf {
    let folder = plant().join("badge/test/good");
    let mut pictures: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    pictures.sort();
    let is_good = |picture: &PathBuf| tried(service, picture)["verdict"] == "good";
    pictures.into_iter().find(is_good).unwrap()
}

/// What the service says of a picture that is only tried.
fn tried(service: SocketAddr, picture: &Path) -> Value {
    send(service, "inspect?source=page", &std::fs::read(picture).unwrap())
}

/// One line at a free port, which sends to these.
pub(crate) fn options(store: &Path, sinks: impl IntoIterator<Item = Destination>) -> Options {
    let line = LineOptions {
        name: LINE.to_owned(),
        model: plant().join("run"),
    };
    Options {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        sinks: sinks.into_iter().map(SinkOptions::new).collect(),
        ..Options::new(vec![line], store)
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .new_agent()
}

fn send(service: SocketAddr, what: &str, body: &[u8]) -> Value {
    let url = format!("http://{service}/v1/lines/{LINE}/{what}");
    let mut response = agent()
        .post(url)
        .content_type("application/octet-stream")
        .send(body)
        .unwrap();
    serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap()
}

/// What the service says of a picture.
pub(crate) fn post(service: SocketAddr, picture: &Path) -> Value {
    send(service, "inspect", &std::fs::read(picture).unwrap())
}

/// The number of an inspection of something that is no picture, which is quick.
pub(crate) fn post_none(service: SocketAddr) -> i64 {
    let answer = send(service, "inspect", b"no picture");
    assert_eq!(answer["verdict"], "error", "{answer}");
    answer["id"].as_i64().unwrap()
}

pub(crate) fn post_tried(service: SocketAddr) {
    send(service, "inspect?source=page", b"no picture");
}

pub(crate) fn get(service: SocketAddr, path: &str) -> String {
    let mut response = agent().get(format!("http://{service}{path}")).call().unwrap();
    response.body_mut().read_to_string().unwrap()
}

/// Makes a line of good pictures, and puts it to use; its model is hardly trained.
pub(crate) fn make(service: SocketAddr, line: &str) {
    let ask = |path: &str, body: &str| {
        let url = format!("http://{service}{path}");
        let mut response = agent().post(url).content_type("application/json").send(body).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        assert!(response.status().is_success(), "{path}: {text}");
    };
    ask("/v1/lines", &format!(r#"{{"name": "{line}"}}"#));
    for picture in plant().join("badge/train/good").read_dir().unwrap() {
        let url = format!("http://{service}/v1/lines/{line}/pictures");
        let body = std::fs::read(picture.unwrap().path()).unwrap();
        let sent = agent().post(url).content_type("application/octet-stream").send(&body);
        assert!(sent.unwrap().status().is_success());
    }
    ask(
        &format!("/v1/lines/{line}/train"),
        r#"{"preset": "tiny", "size": 32, "method": "riad", "epochs": 1}"#,
    );
    until("it is trained", || {
        get(service, &format!("/v1/lines/{line}/making")).contains(r#""state":"trained""#)
    });
    ask(&format!("/v1/lines/{line}/use"), "{}");
}

pub(crate) fn delete(service: SocketAddr, path: &str) -> u16 {
    let deleted = agent().delete(format!("http://{service}{path}")).call().unwrap();
    deleted.status().as_u16()
}

/// A number of the only sink.
pub(crate) fn metric(service: SocketAddr, name: &str) -> f64 {
    let text = get(service, "/metrics");
    let line = text
        .lines()
        .find(|line| line.starts_with(&format!("riad_sink_{name}{{")))
        .unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "it never came that {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A port that nobody listens at.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A program that a test talks to, and the lines that it printed. It is killed in the end.
pub(crate) struct Program {
    pub(crate) child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Option<Self> {
        let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().ok()?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (out, into) = (child.stdout.take().unwrap(), lines.clone());
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                into.lock().unwrap().push(line);
            }
        });
        Some(Self { child, lines })
    }

    /// Python with a module; `None` if it is not there.
    pub(crate) fn python(script: &str, module: &str, arguments: &[&str]) -> Option<Self> {
        let program = std::env::var_os("RIAD_PYTHON").unwrap_or("python3".into());
        let import = Command::new(&program)
            .args(["-c", &format!("import {module}")])
            .stderr(Stdio::null())
            .status();
        if !import.is_ok_and(|status| status.success()) {
            skip(Needs::Python, format_args!("Python has no {module}"));
            return None;
        }
        let mut command = Command::new(program);
        Self::start(command.args(["-u", "-c", script]).args(arguments))
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Asks it to end, and waits.
    pub(crate) fn end(mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What Python prints.
pub(crate) fn python<S: AsRef<OsStr>>(arguments: &[S]) -> Option<String> {
    riad_testing::python(Path::new("."), arguments)
}

/// A POST that came.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) head: HashMap<String, String>,
    pub(crate) body: String,
}

impl Came {
    pub(crate) fn id(&self) -> i64 {
        let body: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(self.head["riad-inspection"], body["id"].to_string());
        body["id"].as_i64().unwrap()
    }
}

/// A small HTTP server.
pub(crate) struct Receiver {
    pub(crate) port: u16,
    came: Arc<Mutex<Vec<Came>>>,
    /// What it answers; 0 is nothing.
    pub(crate) status: Arc<AtomicU16>,
    is_gone: Arc<AtomicBool>,
}

impl Receiver {
    /// At a port; 0 is a free one.
    pub(crate) fn start(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let receiver = Self {
            port: listener.local_addr().unwrap().port(),
            came: Arc::default(),
            status: Arc::new(AtomicU16::new(204)),
            is_gone: Arc::default(),
        };
        let (came, status, is_gone) = (receiver.came.clone(), receiver.status.clone(), receiver.is_gone.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if is_gone.load(Ordering::SeqCst) {
                    return;
                }
                let (came, status, is_gone) = (came.clone(), status.clone(), is_gone.clone());
                thread::spawn(move || answer(&stream, &came, &status, &is_gone));
            }
        });
        receiver
    }

    pub(crate) fn url(&self) -> String {
        url(self.port)
    }

    /// What came and was taken.
    pub(crate) fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }

    pub(crate) fn ids(&self) -> Vec<i64> {
        self.came().iter().map(Came::id).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.is_gone.store(true, Ordering::SeqCst);
        // The listener looks for the end when somebody comes.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

pub(crate) fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/riad?token=hidden")
}

/// Answers the requests of a connection.
fn answer(stream: &TcpStream, came: &Mutex<Vec<Came>>, status: &AtomicU16, is_gone: &AtomicBool) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = HashMap::new();
        let mut line = String::new();
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            match line.trim().split_once(": ") {
                Some((name, value)) => head.insert(name.to_lowercase(), value.to_owned()),
                None if line.trim().is_empty() => break,
                None => None,
            };
        }
        let mut body = vec![0; head["content-length"].parse().unwrap()];
        if reader.read_exact(&mut body).is_err() || is_gone.load(Ordering::SeqCst) {
            return;
        }
        let status = status.load(Ordering::SeqCst);
        if status == 0 {
            thread::sleep(PATIENCE);
            return;
        }
        if (200..300).contains(&status) {
            let body = String::from_utf8(body).unwrap();
            came.lock().unwrap().push(Came { head, body });
        }
        if write!(&mut &*stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}
