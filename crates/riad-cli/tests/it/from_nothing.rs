//! `riad serve` without a line: one is made of good pictures, and a kill in the middle loses nothing.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use ureq::Agent;

use crate::support::demo;

/// The service, and how it is asked.
struct Served {
    child: Child,
    address: String,
    agent: Agent,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Served {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(assert_cmd::cargo::cargo_bin("riad"))
            .current_dir(folder)
            .args(["serve", "--fpr", "0.4", "--listen", "127.0.0.1:0", "--store", "store"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("it says where it listens").unwrap();
            if let Some((_, address)) = line.split_once("line page   ") {
                break address
                    .split_whitespace()
                    .next()
                    .unwrap()
                    .trim_end_matches('/')
                    .to_owned();
            }
        };
        // Somebody has to read what it says, or it waits.
        thread::spawn(move || lines.for_each(drop));
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(120)));
        Self {
            child,
            address,
            agent: config.build().into(),
        }
    }

    fn get(&self, path: &str) -> Value {
        let mut answer = self.agent.get(format!("{}{path}", self.address)).call().unwrap();
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
    }

    fn post(&self, path: &str, kind: &str, body: &[u8]) -> Value {
        let request = self
            .agent
            .post(format!("{}{path}", self.address))
            .header("content-type", kind);
        let mut answer = request.send(body).unwrap();
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
    }

    fn send(&self, path: &str, body: &Value) -> Value {
        self.post(path, "application/json", body.to_string().as_bytes())
    }

    /// Waits until something is so of the line that is being made.
    fn until(&self, is_so: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let state = self.get("/v1/lines/badge/making");
            if is_so(&state) {
                return state;
            }
            assert!(begun.elapsed() < Duration::from_secs(120), "{state}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_line_is_made_of_a_folder_though_the_service_is_killed_in_the_middle() {
    let folder = demo();
    let root = folder.path();
    let mut pictures = Vec::new();
    // The demo of the tests has few pictures: some that are not good have to do, too, and one kind comes twice.
    for kind in [
        "badge/train/good",
        "badge/test/good",
        "badge/test/missing_print",
        "badge/test/good",
    ] {
        for entry in fs::read_dir(root.join("data").join(kind)).unwrap() {
            pictures.push(fs::read(entry.unwrap().path()).unwrap());
        }
    }
    let first = Served::start(root);
    assert_eq!(
        first.send("/v1/lines", &json!({"name": "badge"}))["state"],
        "collecting"
    );
    for picture in &pictures {
        first.post("/v1/lines/badge/pictures", "application/octet-stream", picture);
    }
    let needed = first.get("/v1/lines/badge/making")["needed"].as_u64().unwrap();
    let have = first.get("/v1/lines/badge/making")["pictures"].as_u64().unwrap();
    assert!(have >= needed, "{have} of {needed}: the same picture counts once");
    let plan = json!({"preset": "tiny", "size": 32, "epochs": 300});
    assert_eq!(first.send("/v1/lines/badge/train", &plan)["state"], "training");
    first.until(|state| state["training"]["epoch"].as_u64() >= Some(2));
    // A kill costs what was not saved yet, so it is saved first.
    let stop = first.agent.delete(format!("{}/v1/lines/badge/train", first.address));
    assert_eq!(stop.call().unwrap().status(), 202);
    let saved = first.until(|state| state["state"] == "stopped")["training"]["epoch"].as_u64();
    assert_eq!(first.send("/v1/lines/badge/train", &plan)["state"], "training");
    first.until(|state| state["training"]["epoch"].as_u64() > saved);
    drop(first);

    let second = Served::start(root);
    let stopped = second.get("/v1/lines/badge/making");
    assert_eq!(
        (&stopped["state"], &stopped["plan"]),
        (&json!("stopped"), &plan),
        "{stopped}"
    );
    assert_eq!(stopped["pictures"].as_u64(), Some(have));
    let words = stopped["note"].as_str().unwrap();
    assert!(words.contains("the service ended"), "{words}");
    let before = stopped["training"]["epoch"].as_u64().unwrap();
    assert!(Some(before) >= saved, "{stopped}");
    let begun = second.send("/v1/lines/badge/train", &plan);
    assert!(begun["training"]["epoch"].as_u64() >= Some(before), "{begun}");
    second.until(|state| state["training"]["epoch"].as_u64() > Some(before));
    // Killed once more, and made another way.
    drop(second);

    let third = Served::start(root);
    let short = json!({"preset": "tiny", "size": 32, "epochs": 2});
    third.send("/v1/lines/badge/train", &short);
    let trained = third.until(|state| state["state"] != "training");
    assert_eq!(trained["state"], "trained", "{trained}");
    assert_eq!(third.send("/v1/lines/badge/use", &json!({}))["name"], "badge");
    let judged = third.post("/v1/lines/badge/inspect", "application/octet-stream", &pictures[0]);
    drop(third);

    let fourth = Served::start(root);
    let again = fourth.post("/v1/lines/badge/inspect", "application/octet-stream", &pictures[0]);
    assert_eq!((&again["score"], &again["model"]), (&judged["score"], &judged["model"]));
    assert_eq!(again["id"], 2);
}
