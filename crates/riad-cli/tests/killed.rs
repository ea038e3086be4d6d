//! Nothing is lost: a run killed at any instant and resumed ends in the bytes of the undisturbed run.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use support::{demo, run_bytes, stdout};

const EPOCHS: &str = "4";

fn start(root: &Path, arguments: &[&str]) -> Child {
    Command::new(assert_cmd::cargo::cargo_bin("riad"))
        .current_dir(root)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills with SIGKILL.
fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn train(out: &str) -> Vec<&str> {
    vec![
        "train",
        "data/badge",
        "--size",
        "32",
        "--epochs",
        EPOCHS,
        "--out",
        out,
        "-q",
    ]
}

fn wait_for(file: &Path) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !file.exists() {
        assert!(Instant::now() < deadline, "{} did not appear", file.display());
        thread::sleep(Duration::from_millis(1));
    }
}

/// Resumes the run if it began, as a person would.
fn go_on(root: &Path, run: &str) {
    if root.join(run).join("settings.json").exists() {
        stdout(root, &["train", "--resume", run, "-q"]);
    } else {
        stdout(root, &train(run));
    }
}

#[test]
fn a_killed_run_resumes_to_the_same_bytes() {
    let folder = demo();
    let root = folder.path();
    stdout(root, &train("whole"));

    // Before the first step: the settings are there, and nothing else needs to be.
    let child = start(root, &train("early"));
    wait_for(&root.join("early/settings.json"));
    kill(child);
    go_on(root, "early");
    assert_eq!(run_bytes(&root.join("early")), run_bytes(&root.join("whole")));

    // A kill between writing and renaming leaves a part, which is no harm; and a kill loses what was not yet saved,
    // so an older state with a newer best beside it resumes too.
    stdout(root, &[&train("mixed")[..], &["--max-time", "0s"]].concat());
    fs::copy(root.join("whole/best.safetensors"), root.join("mixed/best.safetensors")).unwrap();
    fs::write(root.join("mixed/last.safetensors.part"), "torn").unwrap();
    fs::write(root.join("mixed/settings.json.part"), "torn").unwrap();
    go_on(root, "mixed");
    assert_eq!(run_bytes(&root.join("mixed")), run_bytes(&root.join("whole")));
}

#[test]
fn ctrl_c_leaves_a_run_that_says_how_to_go_on() {
    let folder = demo();
    let root = folder.path();
    stdout(root, &train("whole"));

    let mut command = Command::new(assert_cmd::cargo::cargo_bin("riad"));
    let arguments = train("run").into_iter().filter(|argument| *argument != "-q");
    let child = command
        .current_dir(root)
        .args(arguments)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(&root.join("run/last.safetensors"));
    assert!(
        Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // A machine so fast that the run is over by now has nothing to stop.
    if !said.contains("training is finished") {
        assert_eq!(output.status.code(), Some(130), "{said}");
        assert!(said.contains("riad train --resume run"), "{said}");
    }
    go_on(root, "run");
    assert_eq!(run_bytes(&root.join("run")), run_bytes(&root.join("whole")));
}

#[test]
#[ignore = "takes minutes: ten kills at instants spread over training and scoring"]
fn ten_kills_lose_nothing() {
    let folder = demo();
    let root = folder.path();
    let began = Instant::now();
    stdout(root, &train("whole"));
    let length = began.elapsed();
    for instant in 0..10 {
        let run = format!("run{instant}");
        let child = start(root, &train(&run));
        // Spread over the run by the golden ratio: as scattered as random instants, and the same every time.
        thread::sleep(length.mul_f64((f64::from(instant) * 0.618_034).fract()));
        kill(child);
        go_on(root, &run);
        assert_eq!(
            run_bytes(&root.join(&run)),
            run_bytes(&root.join("whole")),
            "killed at instant {instant}"
        );
    }

    let score = ["score", "--model", "whole", "data/badge", "-q"];
    let began = Instant::now();
    let expected = stdout(root, &score);
    let length = began.elapsed();
    for instant in 0..10 {
        let lines = root.join("lines.csv");
        let child = Command::new(assert_cmd::cargo::cargo_bin("riad"))
            .current_dir(root)
            .args(score)
            .args(["--maps", "maps"])
            .stdout(fs::File::create(&lines).unwrap())
            .spawn()
            .unwrap();
        thread::sleep(length.mul_f64((f64::from(instant) * 0.618_034).fract()));
        kill(child);
        // What was written is right, and whole lines of it.
        let written = fs::read_to_string(&lines).unwrap();
        assert!(expected.starts_with(&written), "killed at instant {instant}: {written}");
        assert!(
            written.is_empty() || written.ends_with('\n'),
            "killed at instant {instant}: {written}"
        );
        for entry in fs::read_dir(root.join("maps")).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "png") {
                image::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            }
        }
        assert_eq!(stdout(root, &score), expected);
    }
}
