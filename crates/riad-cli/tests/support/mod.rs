//! What the tests of the program share.
#![allow(dead_code, reason = "not every test file needs all of it")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use assert_cmd::Command;

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
pub(crate) fn demo() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    stdout(folder.path(), &["demo-data", "data", "-q"]);
    for category in ["badge", "fabric"] {
        let root = folder.path().join("data").join(category);
        keep(&root.join("train/good"), 8);
        for test in subfolders(&root.join("test")) {
            keep(&test, 3);
        }
        for masks in subfolders(&root.join("ground_truth")) {
            keep(&masks, 3);
        }
    }
    folder
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect()
}

fn keep(folder: &Path, count: usize) {
    let mut files = subfolders(folder);
    files.sort();
    for file in files.into_iter().skip(count) {
        fs::remove_file(file).unwrap();
    }
}

/// What a run leaves that must not depend on how it came about.
pub(crate) fn run_bytes(run: &Path) -> Vec<Vec<u8>> {
    let files = ["best.safetensors", "last.safetensors", "history.csv"];
    files
        .map(|file| fs::read(run.join(file)).unwrap_or_else(|error| panic!("{file}: {error}")))
        .into()
}
