//! `cargo xtask bench`: our programs against others that do the same work, alternately in one run.
//!
//! Two servers do the work: `riad-bench`, and `bench/peers.py` for everyone else. They get the same weights and inputs,
//! and before anything is timed their results are compared. Every round runs all contestants once, and the machine's FMA
//! peak before and after tells whether it was ours alone. The peak is also what no result may pass by more than an algorithm
//! can spare, and beside our training steps stands what `riad bench`, with another stopwatch, says of them.

mod gpu;
mod limit;
pub(crate) mod machine;
mod report;
mod riad_bench;
mod run;
mod server;
mod workload;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use self::machine::Watch;
use self::run::{Bout, Programs};
use self::workload::Workload;
use crate::process::{self, output};
use crate::python;

/// Measures riad against PyTorch, onnxruntime, OpenVINO, scikit-learn and Pillow, and writes docs/benchmarks.md.
///
/// Makes a Python environment in the target folder first (5 GB). On two cores everything takes about 40 minutes.
/// Results so far are in target/bench at any time. A quick run, a run of some workloads, or a run that was stopped
/// leaves them only there. If this machine cannot be that fast, the result is refused, and the run ends with an error.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Few rounds, and no workload that takes long
    #[arg(long)]
    quick: bool,
    /// Only workloads whose name begins with one of these, such as forward, train-small or metrics-256
    #[arg(long, value_name = "WORKLOAD", num_args = 1..)]
    only: Vec<String>,
    /// Threads of every contestant [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Folder with PNGs to decode [default: ../shared/data/mvtec_bottle_900, if it exists]
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Use this Python, which has the packages of bench/requirements.txt, instead of making an environment
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
    /// Measure training and scoring on this GPU instead (cuda or cuda:N), and PyTorch in the Python of --python
    /// [default: python3 on the PATH]
    #[arg(long, value_name = "DEVICE", conflicts_with_all = ["only", "threads", "images"])]
    device: Option<String>,
    /// With --device: use this riad, built with --features cuda, instead of building one
    #[arg(long, value_name = "FILE", requires = "device")]
    riad: Option<PathBuf>,
}

/// Everything a run found, as it is kept in `target/bench/results.json`.
#[derive(Debug, Serialize)]
struct Results {
    machine: String,
    threads: usize,
    command: String,
    date: String,
    versions: Value,
    /// GFLOP/s, the best of the run.
    peak: f64,
    /// Processors that others kept busy before anything began.
    others_before: Option<f64>,
    bouts: Vec<Bout>,
}

impl Bench {
    pub(crate) fn run(self) -> Result<()> {
        if let Some(device) = &self.device {
            return gpu::run(device, self.quick, self.riad.as_deref(), self.python.as_deref());
        }
        let threads = match self.threads {
            Some(threads) => threads,
            None => thread::available_parallelism()?.get(),
        };
        ensure!(threads > 0, "--threads must be at least 1");
        let images = self.images()?;
        let workloads = self.workloads(!images.is_empty())?;

        // Both in one go, so that they share the dependencies that either needs.
        let bench = process::build(
            &["build", "--release", "-p", "riad-cli", "-p", "riad-bench"],
            "riad-bench",
        )?;
        let riad = bench.with_file_name(format!("riad{}", std::env::consts::EXE_SUFFIX));
        let fma_peak = process::build(
            &["build", "--release", "-p", "riad-conv", "--bench", "fma_peak"],
            "fma_peak",
        )?;
        let target = bench
            .ancestors()
            .nth(2)
            .context("cargo's target folder has no parent")?;
        let python = match &self.python {
            Some(python) => python.clone(),
            None => python::peers()?,
        };
        let directory = target.join("bench");
        prepare(&python, &directory)?;

        let watch = Watch::start();
        thread::sleep(Duration::from_secs(2));
        let others_before = watch.others();
        if let Some(others) = others_before.filter(|others| *others > run::OTHERS_ALLOWED) {
            eprintln!(
                "warning: other processes use {:.0} % of a processor; disturbed rounds will be marked",
                100.0 * others
            );
        }
        let log = directory.join("peers.log");
        let log = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let machine = machine::describe();
        let programs = Programs {
            bench,
            riad,
            fma_peak,
            python: python.clone(),
            directory: directory.clone(),
            images,
            threads,
            bf16_products: machine::bf16_products(&machine),
            log,
        };
        let mut ring = run::Ring::new(&programs, self.quick)?;
        let mut results = Results {
            machine,
            threads,
            command: std::iter::once("cargo xtask".to_owned())
                .chain(std::env::args().skip(1))
                .collect::<Vec<_>>()
                .join(" "),
            date: output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?
                .trim()
                .to_owned(),
            versions: serde_json::from_str(&output(peers(&python).arg("versions"))?)
                .context("cannot read the peers' versions")?,
            peak: 0.0,
            others_before,
            bouts: Vec::new(),
        };
        for workload in &workloads {
            let bout = ring.fight(workload)?;
            print!("{}", report::table(&bout, ring.best_peak()));
            results.bouts.push(bout);
            results.peak = ring.best_peak();
            // After each, so that a run that is broken off leaves what it has measured.
            write(&directory.join("results.json"), serde_json::to_vec_pretty(&results)?)?;
            write(&directory.join("benchmarks.md"), report::document(&results))?;
        }
        let refused: Vec<&str> = results
            .bouts
            .iter()
            .filter(|bout| bout.refused().next().is_some())
            .map(|bout| bout.name.as_str())
            .collect();
        if !self.quick && self.only.is_empty() && refused.is_empty() {
            let document = crate::workspace_root().join("docs").join("benchmarks.md");
            write(&document, report::document(&results))?;
            eprintln!("written: {}", document.display());
        }
        eprintln!("written: benchmarks.md and results.json in {}", directory.display());
        ensure!(
            refused.is_empty(),
            "in {} a contestant was faster than this machine can be, so its time is wrong; benchmarks.md names it",
            refused.join(", ")
        );
        Ok(())
    }

    fn workloads(&self, has_images: bool) -> Result<Vec<Workload>> {
        let mut workloads = workload::all();
        let names: Vec<_> = workloads.iter().map(|workload| workload.name.clone()).collect();
        for begin in &self.only {
            ensure!(
                names.iter().any(|name| name.starts_with(begin.as_str())),
                "no workload begins with {begin:?}; there are {}",
                names.join(", ")
            );
        }
        workloads.retain(|workload| match self.only.is_empty() {
            true => !(self.quick && workload.long),
            false => self.only.iter().any(|begin| workload.name.starts_with(begin.as_str())),
        });
        if !has_images && workloads.iter().any(|workload| workload.name == "decode") {
            eprintln!("warning: decoding is left out; add --images DIR, a folder with PNGs of 900×900");
            workloads.retain(|workload| workload.name != "decode");
        }
        Ok(workloads)
    }

    /// 24 image files, repeated where there are fewer; none without a folder.
    fn images(&self) -> Result<Vec<PathBuf>> {
        let shared = || {
            let folder = crate::workspace_root().parent()?.join("shared/data/mvtec_bottle_900");
            folder.is_dir().then_some(folder)
        };
        let Some(folder) = self.images.clone().or_else(shared) else {
            return Ok(Vec::new());
        };
        let mut files = Vec::new();
        let mut folders = vec![folder.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
                let path = entry?.path();
                if path.is_dir() && path.file_name().is_none_or(|name| name != "ground_truth") {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "png") {
                    files.push(path);
                }
            }
        }
        ensure!(!files.is_empty(), "{} holds no PNG", folder.display());
        files.sort();
        Ok(files.iter().cycle().take(24).cloned().collect())
    }
}

fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

/// `peers.py`, waiting for its arguments.
fn peers(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.arg(crate::workspace_root().join("bench").join("peers.py"));
    command
}

/// Makes weights and inputs, where those that are there were not made by the same script.
fn prepare(python: &Path, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let script = fs::read(crate::workspace_root().join("bench").join("peers.py")).context("cannot read peers.py")?;
    let marker = directory.join("made-by.py");
    if fs::read(&marker).is_ok_and(|made_by| made_by == script) {
        return Ok(());
    }
    eprintln!("making weights and inputs in {}", directory.display());
    output(peers(python).arg("prepare").arg(directory).stderr(Stdio::null()))?;
    write(&marker, script)
}
