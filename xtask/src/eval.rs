//! `cargo xtask eval`: every category of a data set through the `riad` program, and one table beside the paper's.
//!
//! The sweep runs the program that users run, as a process of its own: what the table says, they can get. `OUT/sweep.json`
//! records what the sweep was asked for, and a category is done when its `OUT/<category>/eval/results.json` exists; so a
//! sweep can be broken off at any instant and the same command goes on, within a category too.

mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::{self, Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::process;
use crate::sweep::{
    Metrics, Outcome, categories, finish, method, read_results, record, watch_interrupts, write, write_json,
};

/// Trains and evaluates every category of a data set, and prints one table beside the paper's numbers.
///
/// If it runs again, it goes on where it stopped: finished categories are kept, and a training is resumed.
#[derive(Debug, Args)]
pub(crate) struct Eval {
    /// Folder that holds the categories, in any layout that `riad eval` reads
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Folder for runs, results and the table [default: runs/eval in the workspace]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Evaluate the models DIR/CATEGORY or DIR/CATEGORY.{safetensors,pt,pth} instead of training
    #[arg(long, value_name = "DIR", conflicts_with_all = ["preset", "size", "epochs", "train_args"])]
    checkpoints: Option<PathBuf>,
    /// Network: tiny, small or paper
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Side in pixels that images are resized to
    #[arg(long, value_name = "PIXELS")]
    size: Option<u32>,
    /// Passes over the training images
    #[arg(long, value_name = "N")]
    epochs: Option<u32>,
    /// Device to train and evaluate on, as in `riad --device`. Several devices, such as cuda:0,cuda:1, share the
    /// categories
    #[arg(long, value_name = "DEVICE,…", value_delimiter = ',')]
    device: Vec<String>,
    /// Use this riad program instead of building it
    #[arg(long, value_name = "FILE")]
    riad: Option<PathBuf>,
    /// Further options for `riad train`
    #[arg(last = true, value_name = "TRAIN_OPTIONS")]
    train_args: Vec<String>,
}

/// What decides a sweep's numbers: results of another request do not belong in the same table.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Request {
    data: PathBuf,
    checkpoints: Option<PathBuf>,
    train: Vec<String>,
}

/// The merged `results.json`.
#[derive(Debug, Serialize)]
struct Sweep<'a> {
    categories: BTreeMap<&'a str, Metrics>,
    settings: BTreeMap<&'a str, &'a Value>,
    versions: BTreeMap<&'a str, &'a Value>,
    request: &'a Request,
}

impl Eval {
    pub(crate) fn run(self) -> Result<()> {
        let out = self
            .out
            .clone()
            .unwrap_or_else(|| crate::workspace_root().join("runs").join("eval"));
        let categories = categories(&self.data)?;
        let request = self.request()?;
        fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
        record(&request, &out)?;
        let riad = match &self.riad {
            // A program that is not there would otherwise fail once per category.
            Some(path) => path
                .canonicalize()
                .with_context(|| format!("cannot find {}", path.display()))?,
            None => process::build(&["build", "--release", "-p", "riad-cli", "--bin", "riad"], "riad")?,
        };
        let interrupted = watch_interrupts()?;

        let devices: Vec<_> = match self.device.as_slice() {
            [] => vec![None],
            devices => devices.iter().map(|device| Some(device.as_str())).collect(),
        };
        let sweep = Progress {
            eval: &self,
            riad: &riad,
            request: &request,
            out: &out,
            categories: &categories,
            interrupted: &interrupted,
            next: AtomicUsize::new(devices.len()),
            found: Mutex::default(),
        };
        // Each device has a category to begin with, and takes the next as soon as it is through with one.
        thread::scope(|scope| {
            for (first, device) in devices.into_iter().enumerate() {
                let sweep = &sweep;
                scope.spawn(move || sweep.work(first, device));
            }
        });
        let Found { done, failed, stopped } = sweep.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(stopped) = stopped {
            bail!("{stopped}; the same command goes on from there");
        }
        if !done.is_empty() {
            report(&done, &request, &out)?;
        }
        ensure!(
            failed.is_empty(),
            "{} of {} categories failed ({}); the same command tries them again",
            failed.len(),
            categories.len(),
            failed.join(", ")
        );
        Ok(())
    }

    fn request(&self) -> Result<Request> {
        let absolute = |path: &Path| path::absolute(path).with_context(|| format!("cannot resolve {}", path.display()));
        let options = [
            ("--preset", self.preset.clone()),
            ("--size", self.size.map(|n| n.to_string())),
            ("--epochs", self.epochs.map(|n| n.to_string())),
        ];
        let given = options
            .into_iter()
            .filter_map(|(name, value)| Some([name.to_owned(), value?]))
            .flatten();
        let mut train: Vec<_> = given.chain(self.train_args.iter().cloned()).collect();
        if self.checkpoints.is_none() {
            // The paper's numbers stand beside those of its method.
            let method = method(train.iter().map(String::as_str));
            train.extend(method.iter().map(|&option| option.to_owned()));
        }
        Ok(Request {
            data: absolute(&self.data)?,
            checkpoints: self.checkpoints.as_deref().map(absolute).transpose()?,
            train,
        })
    }

    /// Trains, where no checkpoint is given, and evaluates one category on a device.
    fn category(
        &self,
        riad: &Path,
        device: Option<&str>,
        request: &Request,
        dir: &Path,
        (category, data): (&str, &Path),
    ) -> Result<Outcome> {
        let device: Vec<_> = device.iter().flat_map(|device| ["--device", device]).collect();
        let model = match &request.checkpoints {
            Some(folder) => find_checkpoint(folder, category)?,
            None => {
                let run = dir.join("run");
                let mut train = Command::new(riad);
                // `riad train` writes settings.json first: where it is, there is something to resume.
                match run.join("settings.json").exists() {
                    true => train.args(["train", "--resume"]).arg(&run),
                    false => train.arg("train").arg(data).arg("--out").arg(&run),
                };
                finish(train.args(&request.train).args(&device))?;
                run
            }
        };
        let mut eval = Command::new(riad);
        eval.arg("eval")
            .arg(data)
            .arg("--model")
            .arg(&model)
            .arg("--out")
            .arg(dir.join("eval"));
        finish(eval.args(&device))?;
        read_results(&dir.join("eval"), category)
    }
}

/// A sweep that is under way.
struct Progress<'a> {
    eval: &'a Eval,
    riad: &'a Path,
    request: &'a Request,
    out: &'a Path,
    categories: &'a [(String, PathBuf)],
    interrupted: &'a AtomicBool,
    /// The category that nobody has begun.
    next: AtomicUsize,
    found: Mutex<Found<'a>>,
}

#[derive(Default)]
struct Found<'a> {
    done: BTreeMap<&'a str, Outcome>,
    failed: Vec<&'a str>,
    /// Where it was interrupted, if it was.
    stopped: Option<String>,
}

impl<'a> Progress<'a> {
    /// Goes through categories on one device, from the one at `index` on, until there are none left.
    fn work(&self, mut index: usize, device: Option<&str>) {
        while let Some((category, folder)) = self.categories.get(index) {
            let place = format!("[{}/{}] {category}", index + 1, self.categories.len());
            index = self.next.fetch_add(1, Ordering::SeqCst);
            let dir = self.out.join(category);
            if let Ok(results) = read_results(&dir.join("eval"), category) {
                eprintln!("{place}: kept from an earlier run");
                self.found().done.insert(category, results);
                continue;
            }
            eprintln!(
                "{place}{}",
                device.map_or_else(String::new, |device| format!(" on {device}"))
            );
            let start = Instant::now();
            match self
                .eval
                .category(self.riad, device, self.request, &dir, (category, folder))
            {
                Ok(results) => {
                    eprintln!("{place}: done in {:.0} s", start.elapsed().as_secs_f64());
                    self.found().done.insert(category, results);
                }
                Err(_) if self.interrupted.load(Ordering::SeqCst) => {
                    self.found().stopped = Some(format!("interrupted in {category}"));
                    return;
                }
                Err(error) => {
                    eprintln!("{place}: failed: {error:#}");
                    self.found().failed.push(category);
                }
            }
            if self.interrupted.load(Ordering::SeqCst) {
                self.found()
                    .stopped
                    .get_or_insert_with(|| format!("interrupted after {category}"));
                return;
            }
        }
    }

    fn found(&self) -> MutexGuard<'_, Found<'a>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find_checkpoint(folder: &Path, category: &str) -> Result<PathBuf> {
    let names = ["", ".safetensors", ".pt", ".pth"].map(|suffix| format!("{category}{suffix}"));
    let found = names.iter().map(|name| folder.join(name)).find(|path| path.exists());
    found.with_context(|| format!("{} holds none of {}", folder.display(), names.join(", ")))
}

/// Prints the table, and writes it to `table.md` and everything to `results.json`.
fn report(done: &BTreeMap<&str, Outcome>, request: &Request, out: &Path) -> Result<()> {
    let metrics = done
        .iter()
        .map(|(name, outcome)| ((*name).to_owned(), outcome.metrics))
        .collect();
    let table = table::markdown(&metrics);
    let note = "Per cent. Paper: RIAD, Zavrtanik et al. 2021 (pixel columns from DRAEM, 2021); its means over all 15 \
        categories are\n91.7 image AUROC, 94.2 pixel AUROC, 48.2 pixel AP; the best public re-implementation's is 88.95 \
        image AUROC.\nAUPRO up to a false-positive rate of 0.3; F1-max at the threshold that is best on the test images.";
    let text = format!("{table}\n{note}\n");
    write(&out.join("table.md"), text.as_bytes())?;
    let sweep = Sweep {
        categories: done.iter().map(|(name, outcome)| (*name, outcome.metrics)).collect(),
        settings: done.iter().map(|(name, outcome)| (*name, &outcome.settings)).collect(),
        versions: done.iter().map(|(name, outcome)| (*name, &outcome.versions)).collect(),
        request,
    };
    write_json(&out.join("results.json"), &sweep)?;
    print!("{text}");
    eprintln!(
        "written to {}: table.md, results.json, and <category>/eval with scores and report",
        out.display()
    );
    Ok(())
}
