//! Help, wrong usage, and errors that name the file and the way out.

use std::fs;

use crate::support::{riad, stderr, stdout};

#[test]
fn help_has_examples_for_every_command() {
    let folder = tempfile::tempdir().unwrap();
    for command in [
        vec![],
        vec!["demo-data"],
        vec!["train"],
        vec!["calibrate"],
        vec!["eval"],
        vec!["score"],
        vec!["watch"],
        vec!["info"],
        vec!["bench"],
        vec!["completions"],
        vec!["man"],
    ] {
        let help = stdout(folder.path(), &[command.as_slice(), &["--help"]].concat());
        assert!(help.contains("Examples:\n  riad "), "{command:?}: {help}");
    }
    assert!(stdout(folder.path(), &["--version"]).starts_with("riad "));
}

#[test]
fn wrong_usage_exits_with_2() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    fs::write(folder.path().join("riad.toml"), "epoch = 3\n").unwrap();
    fs::write(folder.path().join("bad-value.toml"), "epochs = \"many\"\n").unwrap();
    for (arguments, expected) in [
        (vec![], "Usage: riad"),
        (vec!["frobnicate"], "unrecognized subcommand"),
        (vec!["train"], "<DATA>"),
        (
            vec!["train", "empty", "--preset", "huge"],
            "[possible values: tiny, small, paper]",
        ),
        (
            vec!["train", "empty", "--resume", "a", "--out", "b"],
            "cannot be used with",
        ),
        (vec!["train", "--resume", "a", "--category", "b"], "<DATA>"),
        (vec!["train", "empty", "--max-time", "soon"], "--max-time"),
        (
            vec!["train", "empty", "--device", "cpu", "--precision", "bf16"],
            "needs an NVIDIA GPU",
        ),
        (
            vec!["eval", "empty", "--device", "cpu", "--precision", "tf32"],
            "tf32 is for NVIDIA GPUs; leave it out, or choose the device cuda (choose with --precision and --device)",
        ),
        (vec!["train", "empty", "--threads", "0"], "--threads"),
        (vec!["score", "--model", "m"], "<PATH>"),
        (vec!["score", "--model", "m", "--map-scale", "1", "x.png"], "--maps"),
        (
            vec!["score", "--model", "m", "--fpr", "5", "x.png"],
            "above 0 and below 1",
        ),
        (
            vec!["score", "--model", "m", "--fpr", "5%", "x.png"],
            "5% is not a number",
        ),
        (vec!["eval", "empty", "--fpr", "0"], "above 0 and below 1"),
        (vec!["calibrate", "--model", "m"], "<PATH>"),
        (vec!["calibrate", "--model", "m.pt", "x.png"], "with --out"),
        (
            vec!["eval", "empty", "--model", "m", "--epochs", "3"],
            "cannot be used with",
        ),
        (vec!["eval", "--model", "m"], "DATA is missing"),
        (vec!["train", "empty", "--config", "riad.toml"], "unknown key `epoch`"),
        (
            vec!["train", "empty", "--config", "bad-value.toml"],
            "options were also read from bad-value.toml",
        ),
        (vec!["train", "empty", "--device", "tpu"], "choose cpu, cuda"),
    ] {
        let error = stderr(folder.path(), &arguments, 2);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}

#[test]
#[cfg(not(feature = "cuda"))]
fn a_device_that_was_not_built_says_how_to() {
    let folder = tempfile::tempdir().unwrap();
    let error = stderr(folder.path(), &["train", "x", "--device", "cuda"], 2);
    assert!(error.contains("--features cuda"), "{error}");
}

/// No machine has so many GPUs; without any, or without a driver, the reason is another one.
#[test]
#[cfg(feature = "cuda")]
fn a_device_that_is_not_there_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let error = stderr(folder.path(), &["train", "x", "--device", "cuda:99"], 2);
    assert!(error.contains("CUDA device 99 cannot be used: "), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn errors_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    fs::write(folder.path().join("not-a-model"), "words").unwrap();
    for (arguments, expected) in [
        (vec!["train", "absent"], "absent"),
        (vec!["train", "empty"], "empty: no category here"),
        (
            vec!["train", "--resume", "absent"],
            "absent holds no run that can be resumed",
        ),
        (
            vec!["train", "empty", "--config", "absent.toml"],
            "cannot read absent.toml",
        ),
        (
            vec!["info", "not-a-model"],
            "not-a-model: it is not a complete safetensors file",
        ),
        (vec!["info", "empty"], "empty: this folder does not hold a run"),
        (vec!["score", "--model", "absent", "x.png"], "absent"),
    ] {
        let error = stderr(folder.path(), &arguments, 1);
        assert!(
            error.starts_with("error: ") && error.contains(expected),
            "{arguments:?}: {error}"
        );
        assert!(!error.contains("stack backtrace"), "{error}");
        let mut parts: Vec<&str> = error.trim_end().split(": ").collect();
        let said = parts.len();
        parts.sort_unstable();
        parts.dedup();
        assert_eq!(parts.len(), said, "it repeats itself: {error}");
    }
}

#[test]
fn quiet_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    riad(folder.path())
        .args(["demo-data", "demo", "--seed", "1", "-qq"])
        .assert()
        .success()
        .stdout("")
        .stderr("");
    assert!(folder.path().join("demo/badge/train/good").is_dir());
}
