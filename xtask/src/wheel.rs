//! The Python wheel: built, installed in a fresh environment, and tested there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{
    process::{self, run},
    python, workspace_root,
};

/// What builds the wheel.
const MATURIN: &str = "maturin>=1.16,<2";

/// What the tests import. Ray's nodes run on this machine.
const TESTS: [&str; 10] = [
    "mypy",
    "pandas",
    "pandas-stubs",
    "Pillow",
    "pyright[nodejs]",
    "pytest",
    "ray[data]",
    "scikit-image",
    "tqdm",
    "types-tqdm",
];

/// A script of ten lines with the wheel and numpy alone, which is all that the package requires.
const ALONE: &str = "
import sys, numpy, riad
image = numpy.zeros((64, 64, 3), numpy.uint8)
assert riad.masks(k=8, n=3, shape=(64, 64)).sum() == 64 * 64
assert riad.losses.msgms(image, image) == 0
try:
    riad.Detector('no-such-model')
except riad.FileError as error:
    assert error.path == 'no-such-model'
print('riad', riad.__version__, 'with numpy', numpy.__version__, 'alone')
";

/// Runs all of it.
///
/// # Errors
/// If a step fails, or there is no Python.
pub(crate) fn check() -> Result<()> {
    let root = workspace_root();
    let target = root.join("target").join("wheel");
    let tests = root.join("crates").join("riad-python");
    let tools = python::with("wheel/tools", &[MATURIN])?;
    let wheels = target.join("wheels");
    if wheels.exists() {
        fs::remove_dir_all(&wheels).with_context(|| format!("cannot remove {}", wheels.display()))?;
    }
    // What a debug build computes is the same, and it takes a tenth of the time.
    let mut build = Command::new(&tools);
    build
        .current_dir(&tests)
        .args(["-m", "maturin", "build", "--locked", "--out"])
        .arg(&wheels);
    run(&mut build)?;
    let wheel = only_file(&wheels)?;

    let fresh = python::make(&target.join("fresh"))?;
    python::install(&fresh, &[wheel])?;
    run(Command::new(&fresh).args(["-c", ALONE]))?;

    python::install(&fresh, &TESTS)?;
    let program = process::build_for_tests()?;
    let mut pytest = Command::new(&fresh);
    pytest
        .current_dir(&tests)
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .env("RIAD", program);
    // The package in the source folder has no extension in it.
    pytest.arg("--import-mode=prepend").env("PYTHONDONTWRITEBYTECODE", "1");
    run(&mut pytest)
}

fn only_file(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    ensure!(
        files.len() == 1,
        "{} should hold one wheel, and holds {}",
        folder.display(),
        files.len()
    );
    Ok(files.into_iter().next().unwrap_or_default())
}
