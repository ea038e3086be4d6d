//! Nothing is lost: a run killed at any instant and resumed ends in the bytes of the undisturbed run.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

#[cfg(unix)]
use crate::support::interrupt;
use crate::support::{demo, run_bytes, stdout};
use riad_model::Checkpoint;

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

const METHODS: [&str; 2] = ["riad", "restore"];

fn train<'a>(method: &'a str, out: &'a str) -> Vec<&'a str> {
    vec![
        "train",
        "data/badge",
        "--method",
        method,
        "--size",
        "32",
        "--epochs",
        EPOCHS,
        "--calibration",
        "0.25",
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
fn go_on(root: &Path, method: &str, run: &str) {
    if root.join(run).join("settings.json").exists() {
        stdout(root, &["train", "--resume", run, "-q"]);
    } else {
        stdout(root, &train(method, run));
    }
}

#[test]
fn a_killed_run_resumes_to_the_same_bytes() {
    METHODS.into_iter().for_each(resumes_to_the_same_bytes);
}

fn resumes_to_the_same_bytes(method: &str) {
    let folder = demo();
    let root = folder.path();
    stdout(root, &train(method, "whole"));

    // Before the first step: the settings are there, and nothing else needs to be.
    let child = start(root, &train(method, "early"));
    wait_for(&root.join("early/settings.json"));
    kill(child);
    go_on(root, method, "early");
    assert_eq!(run_bytes(&root.join("early")), run_bytes(&root.join("whole")));

    // A kill between writing and renaming leaves a part, which is no harm; and a kill loses what was not yet saved,
    // so an older state with a newer best beside it resumes too.
    stdout(root, &[&train(method, "mixed")[..], &["--max-time", "0s"]].concat());
    fs::copy(root.join("whole/best.safetensors"), root.join("mixed/best.safetensors")).unwrap();
    fs::write(root.join("mixed/last.safetensors.part"), "torn").unwrap();
    fs::write(root.join("mixed/settings.json.part"), "torn").unwrap();
    go_on(root, method, "mixed");
    assert_eq!(run_bytes(&root.join("mixed")), run_bytes(&root.join("whole")));

    // A kill within the last save leaves a table that is older than the state, and a part of the new one.
    let whole = fs::read_to_string(root.join("whole/history.csv")).unwrap();
    let older: Vec<_> = whole.lines().take(2).collect();
    fs::write(root.join("mixed/history.csv"), older.join("\n")).unwrap();
    fs::write(root.join("mixed/history.csv.part"), &whole[..whole.len() / 2]).unwrap();
    go_on(root, method, "mixed");
    assert_eq!(run_bytes(&root.join("mixed")), run_bytes(&root.join("whole")));
    let files = |run: &str| -> BTreeSet<_> {
        let names = fs::read_dir(root.join(run))
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let names = names.map(|name| name.into_string().unwrap());
        names.filter(|name| !name.contains("tfevents")).collect()
    };
    assert_eq!(files("mixed"), files("whole"));

    // A kill between the end of training and of calibration leaves best weights without one.
    let best = root.join("mixed/best.safetensors");
    let mut checkpoint = Checkpoint::open(&best).unwrap();
    // Thresholds of restoration also come from the image for validation.
    let calibrated = if method == "restore" { 3 } else { 2 };
    assert_eq!(checkpoint.header.calibration.take().unwrap().scores().len(), calibrated);
    checkpoint.save(&best).unwrap();
    assert_ne!(run_bytes(&root.join("mixed")), run_bytes(&root.join("whole")));
    go_on(root, method, "mixed");
    assert_eq!(run_bytes(&root.join("mixed")), run_bytes(&root.join("whole")));
}

/// What is normal and the thresholds come of the images that the run was started with, or there are none.
#[test]
fn images_that_change_during_a_run_set_no_threshold() {
    let folder = demo();
    let root = folder.path();
    let mut arguments = train("riad", "run");
    arguments.retain(|argument| *argument != "-q");
    let epochs = arguments.iter().position(|argument| *argument == EPOCHS).unwrap();
    arguments[epochs] = "60";
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("riad"))
        .current_dir(root)
        .args(arguments)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    // The images were found to be those of the start.
    while !lines.next().unwrap().unwrap().starts_with("training ") {}
    let defect = fs::read(root.join("data/badge/test/scratch/000.png")).unwrap();
    for image in ["000.png", "001.png"] {
        // The run reads these files meanwhile: it must find the old image or the new one, never a half.
        let part = root.join(image);
        fs::write(&part, &defect).unwrap();
        fs::rename(&part, root.join("data/badge/train/good").join(image)).unwrap();
    }
    let said: Vec<_> = lines.map(Result::unwrap).collect();
    let (said, output) = (said.join("\n"), child.wait_with_output().unwrap());
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("train/good/000.png, train/good/001.png have changed"),
        "{said}"
    );
    let checkpoint = Checkpoint::open(&root.join("run")).unwrap();
    assert_eq!(checkpoint.header.calibration, None);
    assert!(checkpoint.normal.is_none());
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_a_run_that_says_how_to_go_on() {
    METHODS.into_iter().for_each(says_how_to_go_on);
}

#[cfg(unix)]
fn says_how_to_go_on(method: &str) {
    let folder = demo();
    let root = folder.path();
    stdout(root, &train(method, "whole"));

    let mut command = Command::new(assert_cmd::cargo::cargo_bin("riad"));
    let arguments = train(method, "run").into_iter().filter(|argument| *argument != "-q");
    let mut child = command
        .current_dir(root)
        .args(arguments)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(&root.join("run/last.safetensors"));
    interrupt(&mut child);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // A machine so fast that the run is over by now has nothing to stop.
    if !said.contains("training has finished") {
        assert_eq!(output.status.code(), Some(130), "{said}");
        assert!(said.contains("riad train --resume run"), "{said}");
    }
    go_on(root, method, "run");
    assert_eq!(run_bytes(&root.join("run")), run_bytes(&root.join("whole")));
}

/// Work under `nohup` goes on when its user logs out.
#[cfg(unix)]
#[test]
fn a_run_under_nohup_outlives_a_logout() {
    let folder = demo();
    let root = folder.path();
    let child = Command::new("nohup")
        .arg(assert_cmd::cargo::cargo_bin("riad"))
        .current_dir(root)
        .args(train("riad", "run"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // By then the program has been listening for signals for a while.
    wait_for(&root.join("run/last.safetensors"));
    let mut kill = Command::new("kill");
    assert!(kill.args(["-HUP", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(root.join("run/best.safetensors").exists());
}

#[test]
#[ignore = "takes minutes: ten kills within runs that are long enough to be saved on the way"]
fn ten_kills_of_training_lose_nothing() {
    ten_kills_lose_nothing(&["--method", "riad", "--patience", "80"]);
    ten_kills_lose_nothing(&["--method", "restore"]);
}

fn ten_kills_lose_nothing(options: &[&str]) {
    let folder = demo();
    let root = folder.path();
    let train = |out| {
        let given = [
            "train",
            "data/badge",
            "--size",
            "32",
            "--epochs",
            "80",
            "--calibration",
            "0.25",
            "--out",
            out,
            "-q",
        ];
        [&given[..], options].concat()
    };
    stdout(root, &train("whole"));
    let mut kills = 0;
    for attempt in 1.. {
        let is_begun = root.join("run/settings.json").exists();
        let arguments = if is_begun {
            vec!["train", "--resume", "run", "-q"]
        } else {
            train("run")
        };
        let mut child = start(root, &arguments);
        if kills < 10 {
            // Up to half as long again as the 20 seconds between two saves.
            thread::sleep(Duration::from_secs(30).mul_f64(scattered(attempt)));
        } else {
            child.wait().unwrap();
        }
        if child.try_wait().unwrap().is_none() {
            kill(child);
            kills += 1;
            continue;
        }
        assert_eq!(
            run_bytes(&root.join("run")),
            run_bytes(&root.join("whole")),
            "after {kills} kills"
        );
        if kills >= 10 {
            break;
        }
        fs::remove_dir_all(root.join("run")).unwrap();
    }
}

#[test]
#[ignore = "takes a minute: ten kills"]
fn ten_kills_of_scoring_leave_whole_lines_and_pictures() {
    let folder = demo();
    let root = folder.path();
    stdout(root, &train("riad", "run"));
    let score = ["score", "--model", "run", "data", "--maps", "maps", "-q"];
    let began = Instant::now();
    let expected = stdout(root, &score);
    let length = began.elapsed();
    fs::remove_dir_all(root.join("maps")).unwrap();
    for attempt in 1..=10 {
        let lines = root.join("lines.csv");
        let child = Command::new(assert_cmd::cargo::cargo_bin("riad"))
            .current_dir(root)
            .args(score)
            .stdout(fs::File::create(&lines).unwrap())
            .spawn()
            .unwrap();
        thread::sleep(length.mul_f64(scattered(attempt)));
        kill(child);
        let written = fs::read_to_string(&lines).unwrap();
        assert!(expected.starts_with(&written), "attempt {attempt}: {written}");
        assert!(
            written.is_empty() || written.ends_with('\n'),
            "attempt {attempt}: {written}"
        );
        if root.join("maps").exists() {
            for picture in riad_data::image_files(&root.join("maps"), None).images {
                image::open(&picture).unwrap_or_else(|error| panic!("{}: {error}", picture.display()));
            }
        }
    }
    assert_eq!(stdout(root, &score), expected);
}

/// The fractional parts of multiples of the golden ratio: as scattered as random numbers, and the same every time.
fn scattered(attempt: u32) -> f64 {
    (f64::from(attempt) * 0.618_034).fract()
}
