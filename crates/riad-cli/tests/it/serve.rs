//! `riad serve`: started, killed, ended, and refused.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use ureq::Agent;

use crate::support::{demo, interrupt, riad, stderr, stdout};

/// How many callers send pictures at once.
const CALLERS: usize = 4;

/// A folder with a run of badges, calibrated for a rate of a third.
fn folder() -> TempDir {
    let folder = demo();
    let train = [
        "train",
        "data/badge",
        "--size",
        "32",
        "--epochs",
        "1",
        "--calibration",
        "0.4",
        "--out",
        "run",
        "-q",
    ];
    stdout(folder.path(), &train);
    folder
}

/// The service, once it listens, and its address.
fn start(folder: &Path, more: &[&str]) -> (Child, String) {
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("riad"))
        .current_dir(folder)
        .args([
            "serve",
            "--line",
            "badge=run",
            "--fpr",
            "0.4",
            "--listen",
            "127.0.0.1:0",
            "--deadline",
            "2m",
        ])
        .args(more)
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
    (child, address)
}

fn agent() -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(120)));
    config.build().into()
}

/// All inspections of the line.
fn rows(address: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut next = Some("/v1/lines/badge/inspections?limit=500".to_owned());
    while let Some(path) = next {
        let text = agent()
            .get(format!("{address}{path}"))
            .call()
            .unwrap()
            .body_mut()
            .read_to_string()
            .unwrap();
        let page: Value = serde_json::from_str(&text).unwrap();
        rows.extend(page["inspections"].as_array().unwrap().clone());
        next = page["next"].as_str().map(str::to_owned);
    }
    rows
}

#[cfg(unix)]
fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
}

fn wait(child: &mut Child) -> i32 {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap_or(-1);
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not end");
        thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(unix)]
#[test]
fn it_ends_by_a_signal_when_all_is_stored() {
    let folder = folder();
    let picture = fs::read(folder.path().join("data/badge/test/good/000.png")).unwrap();
    for name in ["-TERM", "-INT"] {
        let (mut child, address) = start(folder.path(), &[]);
        let before = rows(&address).len();
        let url = format!("{address}/v1/lines/badge/inspect");
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (url, picture) = (url.clone(), picture.clone());
                thread::spawn(move || {
                    let mut answered = 0;
                    while let Ok(answer) = agent().post(&url).send(picture.as_slice()) {
                        answered += usize::from(answer.status() == 200);
                    }
                    answered
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(300));
        signal(&child, name);
        assert_eq!(wait(&mut child), 0, "{name}");
        let answered: usize = callers.into_iter().map(|caller| caller.join().unwrap()).sum();
        let (mut child, address) = start(folder.path(), &[]);
        assert!(answered > 0);
        assert!(
            rows(&address).len() - before >= answered,
            "{name}: each answered picture has its row"
        );
        signal(&child, "-TERM");
        assert_eq!(wait(&mut child), 0);
    }
}

#[test]
fn three_kills_lose_nothing() {
    kills_lose_nothing(3);
}

#[test]
#[ignore = "takes minutes: a hundred kills and starts"]
fn a_hundred_kills_lose_nothing() {
    kills_lose_nothing(100);
}

/// Callers send pictures, each with a key, again and again until it is answered, and others come into a folder, while the service is
/// killed and started. In the end each has one row, and each answer is the row's.
fn kills_lose_nothing(kills: usize) {
    let folder = folder();
    let root = folder.path();
    fs::create_dir(root.join("inbox")).unwrap();
    let pictures: Vec<Vec<u8>> = fs::read_dir(root.join("data/badge/test/good"))
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    let watched = ["--watch", "badge=inbox", "--settle", "20ms", "--interval", "20ms"];
    let address = Arc::new(Mutex::new(String::new()));
    let (ends, answers, next) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(Mutex::new(BTreeMap::new())),
        Arc::new(AtomicUsize::new(0)),
    );
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (address, ends, answers, next, pictures) = (
                address.clone(),
                ends.clone(),
                answers.clone(),
                next.clone(),
                pictures.clone(),
            );
            thread::spawn(move || {
                while !ends.load(Ordering::SeqCst) {
                    let key = next.fetch_add(1, Ordering::SeqCst);
                    loop {
                        let url = format!("{}/v1/lines/badge/inspect", address.lock().unwrap());
                        let sent = agent()
                            .post(&url)
                            .header("idempotency-key", key.to_string())
                            .header("x-filename", key.to_string())
                            .send(pictures[key % pictures.len()].as_slice());
                        if let Ok(mut answer) = sent
                            && answer.status() == 200
                            && let Ok(text) = answer.body_mut().read_to_string()
                        {
                            let answer: Value = serde_json::from_str(&text).unwrap();
                            answers.lock().unwrap().insert(key.to_string(), answer);
                            break;
                        }
                        thread::sleep(Duration::from_millis(10));
                    }
                }
            })
        })
        .collect();
    for kill in 0..kills {
        let (mut child, listens) = start(root, &watched);
        *address.lock().unwrap() = listens;
        fs::write(root.join(format!("inbox/{kill}.png")), &pictures[kill % pictures.len()]).unwrap();
        // At any instant: a little later each time.
        thread::sleep(Duration::from_millis(100 + 37 * (kill as u64 % 10)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (mut child, listens) = start(root, &watched);
    *address.lock().unwrap() = listens.clone();
    ends.store(true, Ordering::SeqCst);
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    let begun = Instant::now();
    let rows = loop {
        let found = rows(&listens);
        let from_folder = found.iter().filter(|row| row["source"] == "folder").count();
        if from_folder >= kills {
            break found;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{from_folder} of {kills} pictures of the folder have a row"
        );
        thread::sleep(Duration::from_millis(50));
    };
    let answers = answers.lock().unwrap();
    assert!(answers.len() >= kills, "{} pictures were answered", answers.len());
    let mut by_name: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for row in &rows {
        by_name.entry(row["name"].as_str().unwrap()).or_default().push(row);
    }
    for (name, rows) in &by_name {
        assert_eq!(rows.len(), 1, "{name} has one row");
        assert_eq!(rows[0]["kept"], true, "{name}");
    }
    for (key, answer) in answers.iter() {
        assert_eq!(
            by_name[key.as_str()][0],
            answer,
            "{key}: the row says what was answered"
        );
    }
    let stored = files(&root.join("riad-store/pictures"));
    assert_eq!(
        stored,
        rows.len(),
        "each row has its picture, and no picture is without one"
    );
    eprintln!("{kills} kills, {} answered, {} rows", answers.len(), rows.len());
    interrupt(&mut child);
    assert!(wait(&mut child) == 0 || cfg!(windows));
}

fn files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

#[test]
fn what_cannot_be_served_is_said_before_anything_is_opened() {
    let folder = folder();
    let root = folder.path();
    let refused = |more: &[&str], code| {
        let mut arguments = vec!["serve", "--listen", "127.0.0.1:0"];
        arguments.extend(more);
        stderr(root, &arguments, code)
    };
    assert!(refused(&["--line", "badge"], 2).contains("lid=runs/lid"));
    let open = ["serve", "--line", "badge=run", "--listen", "0.0.0.0:0"];
    assert!(stderr(root, &open, 2).contains("--token-file"));
    fs::write(root.join("token"), "short\n").unwrap();
    assert!(refused(&["--line", "badge=run", "--token-file", "token"], 2).contains("openssl rand"));
    fs::write(root.join("password"), "\nnot the first line\n").unwrap();
    let password = ["--mqtt", "mqtt://127.0.0.1", "--mqtt-password-file", "password"];
    assert!(refused(&password, 2).contains("the first line of password is empty"));
    assert!(refused(&["--deadline", "18446744073709551615s"], 2).contains("100 years"));
    // What nothing would use.
    for (ignored, wanted) in [
        (["--settle", "1s"], "--watch"),
        (["--interval", "1s"], "--watch"),
        (["--modbus-valid", "1s"], "--modbus-client"),
        (["--sink-most", "5"], "--webhook"),
    ] {
        let said = refused(&ignored, 2);
        assert!(said.contains(wanted), "{ignored:?}: {said}");
    }
    assert!(refused(&["--line", "badge=run", "--watch", "cap=data"], 2).contains("no --line"));
    assert!(refused(&["--line", "badge=nothing"], 1).contains("nothing"));
    // The usual rate takes 19 images, and three were held out.
    let few = refused(&["--line", "badge=run", "--fpr", "0.05"], 2);
    // The run that was named is what its owner can calibrate, and nothing of it is in the store.
    assert!(
        few.contains("riad calibrate --model run ") && few.contains("19"),
        "{few}"
    );
    assert!(!root.join("riad-store/models/badge").exists());
    riad(root).args(["serve", "--help"]).assert().success();
}
