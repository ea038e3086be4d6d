//! A Python environment with the peers, in the target folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// The pinned packages.
const REQUIREMENTS: &str = "bench/requirements.txt";

/// The Python of the environment in `target`, which is made where it is missing or of other versions.
pub(crate) fn provide(target: &Path) -> Result<PathBuf> {
    let folder = target.join("bench-env");
    let python = match cfg!(windows) {
        true => folder.join("Scripts").join("python.exe"),
        false => folder.join("bin").join("python"),
    };
    let requirements = crate::workspace_root().join(REQUIREMENTS);
    let wanted = fs::read(&requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    // Written last, so that an installation that was broken off is not taken for a whole one.
    let installed = folder.join("installed.txt");
    if fs::read(&installed).is_ok_and(|found| found == wanted) && python.exists() {
        return Ok(python);
    }
    eprintln!("making a Python environment in {} (5 GB, minutes)", folder.display());
    let system = if cfg!(windows) { "python" } else { "python3" };
    let made = Command::new(system).args(["-m", "venv"]).arg(&folder).status();
    match made {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "there is no {system}, which the peers need: install Python 3.11 or newer, or give --python FILE with the \
             packages of {REQUIREMENTS}"
        ),
        Err(error) => return Err(error).context("cannot start Python"),
        Ok(status) => ensure!(
            status.success(),
            "`{system} -m venv` ended with {status}; on Debian it needs the package python3-venv"
        ),
    }
    let status = Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
        .arg(&requirements)
        .stdout(Stdio::null())
        .status()
        .context("cannot start pip")?;
    ensure!(
        status.success(),
        "pip could not install {REQUIREMENTS} ({status}); without a network, give --python FILE with these packages"
    );
    fs::write(&installed, wanted).with_context(|| format!("cannot write {}", installed.display()))?;
    Ok(python)
}
