//! `cargo xtask dist`: the files that people download.

mod archive;
mod crates;
mod licences;
mod linux;
mod pages;
mod sbom;
mod windows;

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use sha2::{Digest, Sha256};

use crate::{
    process::{cargo, output, run},
    workspace_root,
};

/// The version of everything here.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How programs are built: see Cargo.toml.
const PROFILE: &str = "dist";

/// A program is smaller than this.
const MOST_BYTES: u64 = 15_000_000;

/// Makes the files of a release in target/dist: programs for Windows and Linux with their licences, an installer, a Debian package,
/// the list of what is in them (SBOM, CycloneDX), and SHA256SUMS
///
/// The same commit in the same folder gives the same bytes. Its date is that of all files, unless SOURCE_DATE_EPOCH says another.
/// Tools that are missing come from crates.io, PyPI and Debian.
#[derive(Debug, Args)]
pub(crate) struct Dist {
    /// What to make, if not all of it
    #[arg(value_enum)]
    parts: Vec<Part>,
}

/// Files of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A zip and an installer for Windows on x86-64
    Windows,
    /// An archive and a Debian package for Linux on x86-64
    Linux,
    /// An archive for Linux on ARM (aarch64)
    Arm,
    /// The list of what the program is made of
    Sbom,
}

/// Where a release is made, and its date.
#[derive(Debug)]
struct Release {
    folder: PathBuf,
    /// Seconds since 1970.
    date: u64,
}

impl Dist {
    pub(crate) fn run(self) -> Result<()> {
        let release = Release {
            folder: workspace_root().join("target").join("dist"),
            date: date()?,
        };
        // SHA256SUMS names what lies here, which is what this run makes.
        if release.folder.exists() {
            fs::remove_dir_all(&release.folder)
                .with_context(|| format!("cannot remove {}", release.folder.display()))?;
        }
        let parts = match self.parts.is_empty() {
            true => Part::value_variants(),
            false => &self.parts,
        };
        fs::create_dir_all(&release.folder).with_context(|| format!("cannot make {}", release.folder.display()))?;
        for part in parts {
            match part {
                Part::Windows => windows::make(&release)?,
                Part::Linux => linux::make(&release, linux::X86_64)?,
                Part::Arm => linux::make(&release, linux::AARCH64)?,
                Part::Sbom => sbom::make(&release)?,
            }
        }
        release.sum()
    }
}

impl Release {
    /// An empty folder for what goes into one of the files.
    fn stage(&self, name: &str) -> Result<PathBuf> {
        let stage = workspace_root().join("target").join("dist-stage").join(name);
        if stage.exists() {
            fs::remove_dir_all(&stage).with_context(|| format!("cannot remove {}", stage.display()))?;
        }
        fs::create_dir_all(&stage).with_context(|| format!("cannot make {}", stage.display()))?;
        Ok(stage)
    }

    /// Writes SHA256SUMS, as `sha256sum --check` reads it.
    fn sum(&self) -> Result<()> {
        let entries = fs::read_dir(&self.folder).with_context(|| format!("cannot read {}", self.folder.display()))?;
        let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.sort();
        let mut sums = String::new();
        for file in files {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name == "SHA256SUMS" {
                continue;
            }
            let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let sum: String = Sha256::digest(&bytes)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            eprintln!("{:>10} bytes  {name}", bytes.len());
            sums += &format!("{sum}  {name}\n");
        }
        let file = self.folder.join("SHA256SUMS");
        fs::write(&file, &sums).with_context(|| format!("cannot write {}", file.display()))?;
        print!("{sums}");
        Ok(())
    }

    /// The environment in which the same commit gives the same bytes, wherever the registry's sources and the compiler lie.
    fn environment(&self, target: &str, more: &[&str]) -> Vec<(String, OsString)> {
        let root = workspace_root();
        let mut folders = vec![(root.display().to_string(), "/riad")];
        let home = env::var("HOME").unwrap_or_default();
        let cargo_home = env::var("CARGO_HOME").unwrap_or_else(|_| format!("{home}/.cargo"));
        folders.push((cargo_home, "/cargo"));
        let remapped = folders
            .iter()
            .map(|(from, to)| format!("--remap-path-prefix={from}={to}"));
        let flags: Vec<String> = remapped.chain(more.iter().map(|flag| (*flag).to_owned())).collect();
        let c_flags: Vec<String> = folders
            .iter()
            .map(|(from, to)| format!("-ffile-prefix-map={from}={to}"))
            .collect();
        let target = target.replace('-', "_");
        vec![
            ("SOURCE_DATE_EPOCH".to_owned(), self.date.to_string().into()),
            ("CARGO_ENCODED_RUSTFLAGS".to_owned(), flags.join("\x1f").into()),
            (format!("CFLAGS_{target}"), c_flags.join(" ").into()),
            (format!("CXXFLAGS_{target}"), c_flags.join(" ").into()),
        ]
    }
}

/// The date of a release: SOURCE_DATE_EPOCH, or that of the commit.
fn date() -> Result<u64> {
    let text = match env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => output(
            Command::new("git")
                .current_dir(workspace_root())
                .args(["log", "-1", "--format=%ct"]),
        )
        .context("the date is that of the commit, and git does not tell it; set SOURCE_DATE_EPOCH")?,
    };
    text.trim().parse().context("SOURCE_DATE_EPOCH is a number of seconds")
}

/// A program of crates.io, installed if it is not there.
fn provide(package: &str, program: &str) -> Result<()> {
    if Command::new(program).arg("--version").output().is_ok() {
        return Ok(());
    }
    run(&mut cargo(["install", "--locked", package]))
}

/// Copies a file into a folder.
fn copy(file: &Path, folder: &Path) -> Result<()> {
    let to = folder.join(file.file_name().unwrap_or_default());
    fs::copy(file, &to).with_context(|| format!("cannot copy {} to {}", file.display(), to.display()))?;
    Ok(())
}

/// Puts the licences and a few words into a folder.
fn add_papers(folder: &Path, target: &str, words: &str) -> Result<()> {
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        let text =
            fs::read_to_string(workspace_root().join(licence)).with_context(|| format!("cannot read {licence}"))?;
        write(&folder.join(format!("{licence}.txt")), &text)?;
    }
    write(&folder.join("LICENSES-OTHERS.txt"), &licences::of(target)?)?;
    write(&folder.join("README.txt"), &words.replace("VERSION", VERSION))
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// Checks that a program is small.
fn check_size(program: &Path) -> Result<()> {
    let size = fs::metadata(program)
        .with_context(|| format!("cannot read {}", program.display()))?
        .len();
    ensure!(
        size < MOST_BYTES,
        "{} has {size} bytes, and at most {MOST_BYTES} are promised",
        program.display()
    );
    eprintln!("{} has {size} bytes", program.display());
    Ok(())
}
