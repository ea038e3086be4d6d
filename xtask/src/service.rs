//! `cargo xtask try-service`: the service, as clients of other makers and a browser meet it.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::{
    debian,
    process::{self, run},
    python,
};

/// Starts riad serve with a model of the demo's badge. Then schemathesis, Triton's client, mutated requests and a real
/// Chromium use it
#[derive(Debug, Args)]
pub(crate) struct TryService {
    /// How many mutated requests to send
    #[arg(long, default_value_t = 1000)]
    hostile: usize,
    /// Only the clients, without the browser
    #[arg(long)]
    no_browser: bool,
    /// Only the browser, without the clients
    #[arg(long, conflicts_with = "no_browser")]
    no_clients: bool,
}

/// What the clients import.
const PACKAGES: [&str; 3] = ["schemathesis", "tritonclient[http]", "Pillow"];

/// Demo sets that give pictures of their own. The browser's tests take up to 200, all different.
const SEEDS: [&str; 3] = ["1", "2", "3"];

/// What schemathesis takes for wrong and is right: that bytes are no picture, and a selection too small, no schema says.
const EXCLUDED: &str = "positive_data_acceptance";

/// A service that ends with its owner.
struct Running {
    child: Child,
    address: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl TryService {
    pub(crate) fn run(self) -> Result<()> {
        let folder = tempfile::tempdir().context("cannot make a folder")?;
        let root = folder.path();
        let program = process::build_for_tests()?;
        let riad = |arguments: &[&str]| run(Command::new(&program).current_dir(root).arg("-q").args(arguments));
        riad(&["demo-data", "demo"])?;
        riad(&[
            "train",
            "demo/badge",
            "--size",
            "64",
            "--epochs",
            "20",
            "--calibration",
            "0.3",
            "--out",
            "run",
        ])?;
        let good = root.join("good");
        fs::create_dir(&good)?;
        for seed in SEEDS {
            riad(&["demo-data", &format!("demo-{seed}"), "--seed", seed])?;
            for kind in ["train/good", "test/good"] {
                copy(
                    &root.join(format!("demo-{seed}/badge/{kind}")),
                    &good,
                    &format!("{seed}-{}", &kind[..4]),
                )?;
            }
        }
        let bad = root.join("demo/badge/test/missing_print");

        if !self.no_clients {
            self.clients(&program, root, &bad)?;
        }
        if self.no_browser {
            return Ok(());
        }
        let browser = browser()?;
        run(Command::new("npm").current_dir(&browser).arg("test"))?;
        let service = start(&program, root, "page", LINE)?;
        let mut real = Command::new("node");
        real.current_dir(&browser)
            .args(["--test", "--test-concurrency=1", "page.test.js"]);
        run(real
            .env("RIAD_URL", &service.address)
            .env("RIAD_GOOD", &good)
            .env("RIAD_BAD", &bad))?;
        // A line from nothing.
        let empty = start(&program, root, "empty", &[])?;
        let mut whole = Command::new("node");
        whole
            .current_dir(&browser)
            .args(["--test", "--test-name-pattern=whole way", "making.test.js"]);
        run(whole
            .env("RIAD_EMPTY_URL", &empty.address)
            .env("RIAD_GOOD", root.join("demo/badge/train/good")))
    }

    /// Has clients of other makers use the service.
    fn clients(&self, program: &Path, root: &Path, bad: &Path) -> Result<()> {
        let python = clients()?;
        let scripts = crate::workspace_root().join("crates/riad-serve/tests/python");
        let service = start(program, root, "clients", LINE)?;
        let picture = first(bad)?;
        let scored = Command::new(program)
            .current_dir(root)
            .args(["score", "--model", "run", "-q"])
            .arg(&picture)
            .output()?;
        let scored = String::from_utf8_lossy(&scored.stdout).into_owned();
        let score = scored
            .lines()
            .last()
            .and_then(|line| line.split([',', '\t', ' ']).next_back())
            .unwrap_or_default();
        let mut triton = Command::new(&python);
        run(triton
            .arg(scripts.join("triton.py"))
            .args([&service.address, "badge"])
            .arg(&picture)
            .arg(score))?;
        let mut mutated = Command::new(&python);
        let count = self.hostile.to_string();
        run(mutated
            .arg(scripts.join("mutated.py"))
            .args([&service.address, "badge"])
            .arg(bad)
            .arg(count))?;
        let mut schemathesis = Command::new(&python);
        schemathesis
            .args(["-m", "schemathesis.cli", "run"])
            .arg(format!("{}/openapi.json", service.address));
        run(schemathesis.args([
            "--checks",
            "all",
            "--exclude-checks",
            EXCLUDED,
            "--max-examples",
            "20",
            "--seed",
            "0",
        ]))?;
        Ok(())
    }
}

/// The Python of the clients, if it is there or can be installed.
pub(crate) fn clients() -> Result<PathBuf> {
    python::with("service", &PACKAGES)
}

/// The folder of the browser's tests, with what they need.
///
/// # Errors
/// If there is no Chromium or no npm, and they cannot be installed.
pub(crate) fn browser() -> Result<PathBuf> {
    let folder = crate::workspace_root().join("crates/riad-serve/tests/browser");
    provide("chromium")?;
    run(Command::new("npm")
        .current_dir(&folder)
        .args(["ci", "--no-audit", "--no-fund"]))?;
    Ok(folder)
}

/// The line that most of them use.
const LINE: &[&str] = &["--line", "badge=run"];

/// Starts the service on a store of its own, and waits until it listens.
fn start(program: &Path, root: &Path, store: &str, lines: &[&str]) -> Result<Running> {
    let mut child = Command::new(program)
        .current_dir(root)
        .arg("serve")
        .args(lines)
        .args([
            "--fpr",
            "0.05",
            "--audit",
            "1/4",
            "--listen",
            "127.0.0.1:0",
            "--store",
            store,
        ])
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start riad")?;
    let said = child.stderr.take().context("riad says nothing")?;
    let mut lines = BufReader::new(said).lines();
    for line in lines.by_ref() {
        let line = line?;
        eprintln!("{line}");
        if let Some((_, address)) = line.split_once("line page   ") {
            let address = address
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .trim_end_matches('/')
                .to_owned();
            // Somebody has to read what it says, or it waits.
            thread::spawn(move || lines.map_while(Result::ok).for_each(|line| eprintln!("{line}")));
            return Ok(Running { child, address });
        }
    }
    bail!("riad serve did not start")
}

/// A program of Debian's, installed if it is not there and that is possible: from the package of its name.
pub(crate) fn provide(program: &str) -> Result<()> {
    let folders = ["/usr/bin", "/usr/sbin"];
    if folders.iter().any(|folder| Path::new(folder).join(program).exists()) {
        return Ok(());
    }
    ensure!(
        debian::install(&[program]),
        "there is no {program}, and Debian's package of this name cannot be installed"
    );
    Ok(())
}

fn copy(from: &Path, to: &Path, prefix: &str) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(
            entry.path(),
            to.join(format!("{prefix}-{}", entry.file_name().to_string_lossy())),
        )?;
    }
    Ok(())
}

fn first(folder: &Path) -> Result<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    files.into_iter().next().context("no picture")
}
