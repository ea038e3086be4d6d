use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use riad_serve::{Destination, Service};
use riad_testing::{Needs, skip};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    killed,
    proxy::Proxy,
    support::{LINE, Program, delete, free_port, good, make, metric, options, post, post_none, until},
};

/// A broker, and what it is started with.
struct Broker {
    folder: TempDir,
    port: u16,
    program: Option<Program>,
}

impl Broker {
    /// `None` if mosquitto is not there.
    fn start(more: &str) -> Option<Self> {
        let mut broker = Self {
            folder: tempfile::tempdir().unwrap(),
            port: free_port(),
            program: None,
        };
        let folder = broker.folder.path().display();
        let config = format!(
            "listener {} 127.0.0.1\npersistence true\npersistence_location {folder}/\n{more}\n",
            broker.port
        );
        fs::write(broker.folder.path().join("mosquitto.conf"), config).unwrap();
        broker.again().then_some(broker)
    }

    /// Starts it; whether it could be.
    fn again(&mut self) -> bool {
        let place = ["/usr/sbin/mosquitto", "mosquitto"].into_iter().find_map(|program| {
            let mut command = Command::new(program);
            // As the one who runs the test, because the folder is theirs.
            let user = Command::new("id").arg("-un").output().ok()?;
            let config = self.folder.path().join("mosquitto.conf");
            let text = fs::read_to_string(&config).unwrap();
            if !text.contains("\nuser ") {
                fs::write(
                    &config,
                    format!("{text}\nuser {}\n", String::from_utf8_lossy(&user.stdout).trim()),
                )
                .unwrap();
            }
            Program::start(command.arg("-c").arg(config).stderr(Stdio::null()))
        });
        self.program = place;
        if self.program.is_none() {
            skip(Needs::Mosquitto, "mosquitto is not there");
            return false;
        }
        until("the broker listens", || {
            std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
        true
    }

    fn end(&mut self) {
        self.program.take().unwrap().end();
    }

    /// Somebody who gets everything, also what came while the broker or they were gone.
    fn listen(&self, more: &[&str]) -> Listener {
        let mut command = Command::new("mosquitto_sub");
        let port = self.port.to_string();
        command.args([
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-t",
            "#",
            "-q",
            "1",
            "-F",
            "%r %t %p",
            "-i",
            "listener",
            "-c",
        ]);
        let listener = Listener(Program::start(command.args(more).stderr(Stdio::null())).unwrap());
        // It is there when it gets what somebody else says.
        until("somebody listens", || {
            let mut say = Command::new("mosquitto_pub");
            say.args(["-h", "127.0.0.1", "-p", &port, "-t", "test", "-m", "heard"]);
            assert!(say.args(more).stderr(Stdio::null()).status().unwrap().success());
            listener.0.lines().iter().any(|line| line.ends_with("test heard"))
        });
        listener
    }

    fn to(&self) -> Destination {
        Destination::Mqtt {
            url: format!("mqtt://127.0.0.1:{}/hall/3", self.port),
            password: None,
        }
    }
}

/// What mosquitto_sub printed.
struct Listener(Program);

impl Listener {
    /// What was said on a topic.
    fn said(&self, topic: &str) -> Vec<String> {
        let topic = format!(" hall/3/{topic} ");
        let lines = self.0.lines();
        lines
            .iter()
            .filter_map(|line| Some(line.split_once(&topic)?.1.to_owned()))
            .collect()
    }

    fn ids(&self) -> Vec<i64> {
        let of = |text: &String| serde_json::from_str::<Value>(text).unwrap()["id"].as_i64().unwrap();
        self.said(&format!("{LINE}/inspection")).iter().map(of).collect()
    }

    /// The last state of the line.
    fn state(&self) -> Value {
        let said = self.said(&format!("{LINE}/state"));
        said.last()
            .map_or(Value::Null, |text| serde_json::from_str(text).unwrap())
    }

    fn status(&self) -> String {
        self.said("status").last().cloned().unwrap_or_default()
    }
}

#[test]
fn a_broker_gets_inspections_and_the_state_of_lines() {
    let Some(broker) = Broker::start("allow_anonymous true") else {
        return;
    };
    let (store, listener) = (tempfile::tempdir().unwrap(), broker.listen(&[]));
    let service = Service::start(options(store.path(), [broker.to()])).unwrap();
    let address = service.address();
    until("it is online", || {
        listener.status() == "online" && listener.state()["state"] == "idle"
    });
    assert_eq!(listener.state()["verdict"], Value::Null);
    let good = post(address, &good(address));
    until("the state is told", || listener.state()["sequence"] == good["id"]);
    let state = listener.state();
    assert_eq!(
        (&state["state"], &state["verdict"], &state["time"]),
        (&"running".into(), &"good".into(), &good["received"])
    );
    // Three pictures in a row that cannot be looked at: somebody should look, and nothing is called good.
    let ids: Vec<_> = (0..3).map(|_| post_none(address)).collect();
    until("it is amber", || listener.state()["state"] == "amber");
    until("all came", || listener.ids().len() == 4);
    assert_eq!(listener.ids()[1..], ids);
    assert_eq!(listener.state()["verdict"], Value::Null);
    // State and status are retained, and inspections are not.
    let late = Command::new("mosquitto_sub")
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &broker.port.to_string(),
            "-t",
            "hall/3/#",
            "--retained-only",
            "-C",
            "2",
            "-F",
            "%t",
        ])
        .output()
        .unwrap();
    let mut topics: Vec<_> = String::from_utf8(late.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    topics.sort();
    assert_eq!(topics, [format!("hall/3/{LINE}/state"), "hall/3/status".to_owned()]);
    service.stop();
    until("it is offline", || {
        listener.status() == "offline" && listener.state()["state"] == "ended"
    });
    assert_eq!(listener.state()["verdict"], Value::Null);
}

#[test]
fn nothing_is_lost_while_a_broker_is_gone() {
    let Some(mut broker) = Broker::start("allow_anonymous true") else {
        return;
    };
    let (store, listener) = (tempfile::tempdir().unwrap(), broker.listen(&[]));
    let service = Service::start(options(store.path(), [broker.to()])).unwrap();
    let address = service.address();
    let mut expected: Vec<_> = (0..5).map(|_| post_none(address)).collect();
    until("they came", || listener.ids() == expected);
    for _ in 0..2 {
        broker.end();
        // More than one batch.
        expected.extend((0..40).map(|_| post_none(address)));
        until("it is noticed", || metric(address, "up") == 0.0);
        assert!(broker.again());
        until("all is delivered", || metric(address, "behind") == 0.0);
    }
    let mut came = Vec::new();
    until("all came", || {
        came = listener.ids();
        came.last() == expected.last()
    });
    // A message that is acknowledged when the broker ends may come twice.
    came.dedup();
    assert_eq!(came, expected);
    assert_eq!(metric(address, "dropped_total"), 0.0);
}

#[test]
fn what_no_broker_takes_is_dropped_and_the_rest_goes_on() {
    let Some(mut broker) = Broker::start("allow_anonymous true") else {
        return;
    };
    let (store, listener) = (tempfile::tempdir().unwrap(), broker.listen(&[]));
    let service = Service::start(options(store.path(), [broker.to()])).unwrap();
    let address = service.address();
    let mut expected = vec![post_none(address)];
    until("it came", || listener.ids() == expected);
    broker.end();
    expected.extend((0..3).map(|_| post_none(address)));
    let large = expected.remove(2);
    let database = rusqlite::Connection::open(store.path().join("riad.sqlite")).unwrap();
    let sql = "UPDATE inspection SET name = hex(zeroblob(9000000)) WHERE id = ?1";
    assert_eq!(database.execute(sql, [large]).unwrap(), 1);
    assert!(broker.again());
    until("all is delivered", || metric(address, "behind") == 0.0);
    until("the rest came", || listener.ids() == expected);
    assert_eq!(metric(address, "dropped_total"), 1.0);
}

#[test]
fn a_broker_retains_nothing_of_a_line_that_was_deleted_while_it_was_gone() {
    let Some(mut broker) = Broker::start("allow_anonymous true") else {
        return;
    };
    let (store, listener) = (tempfile::tempdir().unwrap(), broker.listen(&[]));
    let service = Service::start(options(store.path(), [broker.to()])).unwrap();
    let address = service.address();
    let states = || listener.said("cap/state");
    make(address, "cap");
    until("its state is told", || {
        states().last().is_some_and(|text| text.contains("idle"))
    });
    broker.end();
    until("it is noticed", || metric(address, "up") == 0.0);
    assert_eq!(delete(address, "/v1/lines/cap"), 204);
    assert!(broker.again());
    until("it is forgotten", || states().last().is_some_and(String::is_empty));
    assert!(listener.state()["state"] == "idle", "the other line is still there");
    // What was deleted is told once.
    let id = post_none(address);
    until("a later message came", || listener.ids() == [id]);
    assert_eq!(states().iter().filter(|text| text.is_empty()).count(), 1);
}

#[test]
fn what_the_broker_did_not_acknowledge_is_sent_again() {
    let Some(broker) = Broker::start("allow_anonymous true") else {
        return;
    };
    let (store, listener, network) = (
        tempfile::tempdir().unwrap(),
        broker.listen(&[]),
        Proxy::start(broker.port),
    );
    let to = Destination::Mqtt {
        url: format!("mqtt://127.0.0.1:{}/hall/3", network.port),
        password: None,
    };
    let service = Service::start(options(store.path(), [to])).unwrap();
    let mut expected = vec![post_none(service.address())];
    until("it came", || listener.ids() == expected);
    network.swallow();
    expected.extend((0..3).map(|_| post_none(service.address())));
    until("messages are on their way", || network.swallowed() > 500);
    assert!(metric(service.address(), "behind") > 0.0);
    network.mend();
    until("all came", || listener.ids() == expected);
    assert_eq!(metric(service.address(), "dropped_total"), 0.0);
}

#[test]
fn a_service_that_is_killed_is_offline_by_its_last_will() {
    let Some(broker) = Broker::start("allow_anonymous true") else {
        return;
    };
    let (store, listener) = (tempfile::tempdir().unwrap(), broker.listen(&[]));
    let to = format!("mqtt://127.0.0.1:{}/hall/3", broker.port);
    let (program, address) = killed::service(store.path(), &to, None);
    until("it is online", || listener.status() == "online");
    let mut answered: Vec<_> = (0..5).map(|_| post_none(address)).collect();
    drop(program);
    until("it is offline", || listener.status() == "offline");
    let (_program, address) = killed::service(store.path(), &to, None);
    answered.push(post_none(address));
    let mut came = Vec::new();
    until("the last one came", || {
        came = listener.ids();
        came.last() == answered.last()
    });
    came.sort_unstable();
    came.dedup();
    assert_eq!(came, answered);
    assert_eq!(listener.status(), "online");
}

/// A certificate authority and a certificate for 127.0.0.1, by openssl.
fn certificates(folder: &Path) -> bool {
    let script = "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=plant && \
                  openssl req -newkey rsa:2048 -nodes -keyout key.pem -out request.pem -subj /CN=broker && \
                  printf 'subjectAltName=IP:127.0.0.1' > names && \
                  openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem";
    let made = Command::new("sh")
        .args(["-c", script])
        .current_dir(folder)
        .stderr(Stdio::null())
        .status();
    made.is_ok_and(|status| status.success())
}

#[test]
fn a_broker_may_want_a_password_and_encryption() {
    let folder = tempfile::tempdir().unwrap();
    if !certificates(folder.path()) {
        return skip(Needs::Mosquitto, "openssl is not there");
    }
    let file = |name: &str| folder.path().join(name);
    let made = Command::new("mosquitto_passwd")
        .args(["-b", "-c"])
        .arg(file("users"))
        .args(["line-1", "secret"])
        .status();
    if !made.is_ok_and(|status| status.success()) {
        return skip(Needs::Mosquitto, "mosquitto_passwd is not there");
    }
    let here = folder.path().display();
    let config = format!(
        "allow_anonymous false\npassword_file {here}/users\ncafile {here}/ca.pem\ncertfile {here}/cert.pem\nkeyfile {here}/key.pem"
    );
    let Some(broker) = Broker::start(&config) else {
        return;
    };
    let authority: PathBuf = file("ca.pem");
    let as_user = ["-u", "line-1", "-P", "secret", "--cafile", authority.to_str().unwrap()];
    let (store, listener) = (tempfile::tempdir().unwrap(), broker.listen(&as_user));
    let to = format!("mqtts://line-1@127.0.0.1:{}/hall/3", broker.port);
    let (_program, address) = killed::service(store.path(), &to, Some(authority));
    let id = post_none(address);
    until("it came", || listener.ids() == [id]);
    // An authority that nobody here trusts is not believed.
    let other = tempfile::tempdir().unwrap();
    assert!(certificates(other.path()));
    let store = tempfile::tempdir().unwrap();
    let (_other, address) = killed::service(store.path(), &to, Some(other.path().join("ca.pem")));
    post_none(address);
    until("it is behind", || metric(address, "behind") == 1.0);
    assert_eq!(metric(address, "up"), 0.0);
    assert_eq!(listener.ids(), [id]);
}
