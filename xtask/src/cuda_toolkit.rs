//! `cargo xtask cuda-toolkit`: what builds the CUDA code on a machine without CUDA, with or without a GPU.
//!
//! NVIDIA's compiler comes from five packages of PyPI, pinned by version and SHA-256. The libraries that a program then
//! runs with (driver, cuDNN) are not among them; [`on_demand`] makes what stands in for them at link time.

mod on_demand;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

const REQUIREMENTS: &str = include_str!("cuda_toolkit/requirements.txt");

/// In an installed toolkit, what it was made from. Written last.
const MADE_FROM: &str = "made-from.txt";

/// Installs what a build with `--features cuda` needs, 104 MB from PyPI, and prints the environment for the build.
///
/// It needs x86-64 Linux, a C++ compiler, and Python 3 with pip. It needs no GPU, no driver and no CUDA. The built
/// program starts on every machine, and loads the libraries of CUDA 13 when it first uses a GPU. An installed toolkit
/// is kept.
#[derive(Debug, Args)]
pub(crate) struct CudaToolkit {
    /// Folder to install to [default: target/cuda-toolkit in the workspace]
    #[arg(value_name = "DIR")]
    out: Option<PathBuf>,
    /// Oldest GPUs to build for, by compute capability: 75 Turing, 80 Ampere, 89 Ada, 90 Hopper. Newer GPUs run it, too
    #[arg(long, value_name = "NUMBER", default_value_t = 80, value_parser = clap::value_parser!(u32).range(75..))]
    compute_cap: u32,
}

impl CudaToolkit {
    pub(crate) fn run(self) -> Result<()> {
        ensure!(
            cfg!(all(target_os = "linux", target_arch = "x86_64")),
            "this fetches a CUDA toolkit for x86-64 Linux only; install NVIDIA's for this machine, and set CUDA_HOME to it"
        );
        let out = std::path::absolute(self.out.unwrap_or_else(default_folder)).context("cannot tell where we are")?;
        let made_from = format!("{REQUIREMENTS}{}", on_demand::made_from()?);
        if fs::read_to_string(out.join(MADE_FROM)).is_ok_and(|found| found == made_from) {
            eprintln!("{}: already installed, kept", out.display());
        } else {
            install(&out, &made_from)?;
        }
        eprintln!("the environment to build in; in bash: eval \"$(cargo xtask cuda-toolkit)\"");
        let out = out.display();
        println!("export CUDA_HOME='{out}' CUDA_COMPUTE_CAP={}", self.compute_cap);
        println!("export PATH='{out}/bin':\"$PATH\"");
        Ok(())
    }
}

fn default_folder() -> PathBuf {
    crate::workspace_root().join("target").join("cuda-toolkit")
}

/// The environment that CUDA code can be built in, or `None` where no toolkit is found.
pub(crate) fn environment() -> Option<Vec<(&'static str, OsString)>> {
    let home = match env::var_os("CUDA_HOME") {
        Some(home) => PathBuf::from(home),
        None => Some(default_folder()).filter(|folder| folder.join(MADE_FROM).exists())?,
    };
    let mut path = home.join("bin").into_os_string();
    if let Some(others) = env::var_os("PATH") {
        path.push(":");
        path.push(others);
    }
    let compute_cap = env::var_os("CUDA_COMPUTE_CAP").unwrap_or_else(|| "80".into());
    Some(vec![
        ("CUDA_HOME", home.into()),
        ("CUDA_COMPUTE_CAP", compute_cap),
        ("PATH", path),
    ])
}

/// Makes the toolkit beside `out` and moves it there whole.
fn install(out: &Path, made_from: &str) -> Result<()> {
    let (Some(parent), Some(name)) = (out.parent(), out.file_name()) else {
        bail!("{} cannot be a toolkit's folder; name another", out.display());
    };
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    if out.exists() {
        ensure!(
            out.join(MADE_FROM).exists(),
            "{} is there but was not made by this command; move it, or name another folder",
            out.display()
        );
    }
    let work = tempfile::Builder::new()
        .prefix(&format!(".{}.", name.display()))
        .tempdir_in(parent)
        .with_context(|| format!("cannot make a folder in {}", parent.display()))?;
    let toolkit = fetch(work.path())?;
    complete(&toolkit)?;
    on_demand::make_archives(&toolkit.join("lib"), work.path())?;
    let stamp = toolkit.join(MADE_FROM);
    fs::write(&stamp, made_from).with_context(|| format!("cannot write {}", stamp.display()))?;
    remove(out)?;
    fs::rename(&toolkit, out).with_context(|| format!("cannot move {} to {}", toolkit.display(), out.display()))
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot delete {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Fetches and unpacks the packages in `work`; returns the toolkit's folder there. pip refuses what has another SHA-256.
fn fetch(work: &Path) -> Result<PathBuf> {
    let requirements = work.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS).with_context(|| format!("cannot write {}", requirements.display()))?;
    let packages = work.join("packages");
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
    ])
    .args(["--no-deps", "--only-binary=:all:", "--require-hashes", "--no-compile"])
    .arg("--requirement")
    .arg(&requirements)
    .arg("--target")
    .arg(&packages)
    .env("PIP_ROOT_USER_ACTION", "ignore")
    .stdout(Stdio::null());
    eprintln!("fetching NVIDIA's compiler (104 MB) from PyPI");
    let status = pip
        .status()
        .context("cannot start python3; install Python 3 with pip, or set CUDA_HOME to a CUDA toolkit that is there")?;
    ensure!(
        status.success(),
        "pip could not install the packages ({status}); it has said above why. Run this again once PyPI can be reached \
         and the disk has 600 MB free, or set CUDA_HOME to a CUDA toolkit that is there"
    );
    let toolkit = packages.join("nvidia").join("cu13");
    ensure!(
        toolkit.join("bin").join("nvcc").exists(),
        "the packages hold no {}: NVIDIA has arranged them anew",
        toolkit.display()
    );
    Ok(toolkit)
}

/// What the packages leave undone: programs that may be run, and the runtime under the name that is linked.
fn complete(toolkit: &Path) -> Result<()> {
    let lib = toolkit.join("lib");
    // Linked statically, it need not be there when the program starts.
    let (from, to) = (lib.join("libcudart_static.a"), lib.join("libcudart.a"));
    fs::rename(&from, &to).with_context(|| format!("cannot rename {}", from.display()))?;
    for folder in ["bin", "nvvm/bin"] {
        let folder = toolkit.join(folder);
        let programs = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for program in programs {
            let program = program
                .with_context(|| format!("cannot read {}", folder.display()))?
                .path();
            make_executable(&program).with_context(|| format!("cannot change {}", program.display()))?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn make_executable(program: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(program, fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> std::io::Result<()> {
    Ok(())
}
