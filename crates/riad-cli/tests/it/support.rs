//! What the tests of the program share.
#![allow(dead_code, reason = "not every test file needs all of it")]

use std::{fs, path::Path, process::Child, sync::LazyLock};

use assert_cmd::Command;
use tempfile::TempDir;

/// The program, with `folder` as its working directory.
pub(crate) fn riad(folder: &Path) -> Command {
    let mut command = Command::cargo_bin("riad").unwrap();
    command.current_dir(folder);
    command
}

/// Runs the program, which must succeed, and gives its standard output.
pub(crate) fn stdout(folder: &Path, arguments: &[&str]) -> String {
    let output = riad(folder).args(arguments).assert().success();
    String::from_utf8(output.get_output().stdout.clone()).unwrap()
}

/// Runs the program, which must exit with `code`, and gives its standard error.
pub(crate) fn stderr(folder: &Path, arguments: &[&str], code: i32) -> String {
    let output = riad(folder).args(arguments).assert().code(code);
    String::from_utf8(output.get_output().stderr.clone()).unwrap()
}

/// A folder with a small demo set, `data`: a few images of each kind, to be quick.
pub(crate) fn demo() -> TempDir {
    static MADE: LazyLock<TempDir> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        stdout(folder.path(), &["demo-data", "data", "-q"]);
        folder
    });
    let folder = tempfile::tempdir().unwrap();
    copy(&MADE.path().join("data"), &folder.path().join("data"));
    folder
}

/// The folder of [`demo`] with a small model of badge in `run`, trained with `more` options.
pub(crate) fn trained(more: &[&str]) -> TempDir {
    let folder = demo();
    let train = [
        "train",
        "data/badge",
        "--method",
        "riad",
        "--size",
        "32",
        "--epochs",
        "1",
        "--out",
        "run",
        "-q",
    ];
    stdout(folder.path(), &[&train[..], more].concat());
    folder
}

/// Copies a folder with at most 8 images for training and 3 of everything else.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let most = if from.ends_with("train/good") { 8 } else { 3 };
    let mut entries: Vec<_> = fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let (folders, files): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.is_dir());
    for file in files.iter().take(most) {
        fs::copy(file, to.join(file.file_name().unwrap())).unwrap();
    }
    for folder in folders {
        copy(&folder, &to.join(folder.file_name().unwrap()));
    }
}

/// What a run leaves that must not depend on how it came about.
pub(crate) fn run_bytes(run: &Path) -> Vec<Vec<u8>> {
    let files = ["best.safetensors", "last.safetensors", "history.csv"];
    files
        .map(|file| fs::read(run.join(file)).unwrap_or_else(|error| panic!("{file}: {error}")))
        .into()
}

/// Ends the program as Ctrl-C does. On Windows nobody can do that to another program without unsafe code, so that it is killed there.
pub(crate) fn interrupt(child: &mut Child) {
    if cfg!(unix) {
        let mut kill = std::process::Command::new("kill");
        assert!(kill.args(["-INT", &child.id().to_string()]).status().unwrap().success());
    } else {
        child.kill().unwrap();
    }
}
