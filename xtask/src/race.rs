//! `cargo xtask race`: how accurate riad and a plain PyTorch loop are after the same minutes of training.

use std::path::{self, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::bench::machine;
use crate::process;
use crate::python;
use crate::sweep::{categories, finish, read_results, write, write_json};

/// Trains `riad eval` and bench/loop.py, a PyTorch loop, one after the other for the same time, and compares their AUROCs.
///
/// riad trains for --epochs epochs. Choose them so that it ends within --minutes, evaluation included. The loop trains
/// for --minutes, and is evaluated after that. The table also says how much of the machine other processes used.
#[derive(Debug, Args)]
pub(crate) struct Race {
    /// Folder of one or several categories in MVTec AD's layout
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Minutes for each contestant
    #[arg(long, value_name = "N", default_value_t = 3.0)]
    minutes: f64,
    /// Epochs that riad trains for
    #[arg(long, value_name = "N")]
    epochs: usize,
    /// Images per step of riad
    #[arg(long, value_name = "N", default_value_t = 4)]
    batch: usize,
    /// Seed of both
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Folder for riad's files and the table [default: runs/race in the workspace]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Threads of both [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Use this Python, which has the packages of bench/requirements.txt, instead of making an environment
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
}

/// What bench/loop.py prints.
#[derive(Debug, Serialize, Deserialize)]
struct Loop {
    steps: u64,
    seconds: f64,
    image_auroc: f64,
    pixel_auroc: f64,
}

/// How both have done on a category.
#[derive(Debug, Serialize)]
struct Heat {
    category: String,
    /// From riad's start to its results.
    riad_seconds: f64,
    riad_image_auroc: Option<f64>,
    riad_pixel_auroc: Option<f64>,
    pytorch: Loop,
    /// Processors that others kept busy while riad, and while the loop ran.
    others: [Option<f64>; 2],
}

impl Race {
    pub(crate) fn run(self) -> Result<()> {
        ensure!(self.minutes > 0.0, "--minutes must be above 0");
        let out = self
            .out
            .clone()
            .unwrap_or_else(|| crate::workspace_root().join("runs").join("race"));
        let data = path::absolute(&self.data).with_context(|| format!("cannot resolve {}", self.data.display()))?;
        let threads = match self.threads {
            Some(threads) => threads,
            None => std::thread::available_parallelism()?.get(),
        };
        let riad = process::build(&["build", "--release", "-p", "riad-cli", "--bin", "riad"], "riad")?;
        let python = match &self.python {
            Some(python) => python.clone(),
            None => python::peers()?,
        };

        let mut heats = Vec::new();
        for (category, folder) in categories(&data)? {
            eprintln!("{category}: riad");
            let dir = out.join(format!("{category}-{}-epochs-seed-{}", self.epochs, self.seed));
            ensure!(
                !dir.exists(),
                "{} is there already, and a run that is used again takes no time: remove it, or give another --out",
                dir.display()
            );
            let (watch, start) = (machine::Watch::start(), Instant::now());
            let mut eval = Command::new(&riad);
            eval.arg("eval").arg(&folder).arg("--out").arg(&dir);
            eval.args([
                "--method",
                "riad",
                "--size",
                "128",
                "-q",
                "--threads",
                &threads.to_string(),
            ]);
            eval.args([
                "--epochs",
                &self.epochs.to_string(),
                "--patience",
                &self.epochs.to_string(),
            ]);
            eval.args(["--batch", &self.batch.to_string(), "--seed", &self.seed.to_string()]);
            finish(&mut eval)?;
            let (riad_seconds, riad_others) = (start.elapsed().as_secs_f64(), watch.others());
            let metrics = read_results(&dir, &category)?.metrics;

            eprintln!("{category}: PyTorch");
            let watch = machine::Watch::start();
            let mut pytorch = Command::new(&python);
            pytorch
                .arg(crate::workspace_root().join("bench").join("loop.py"))
                .arg(&folder);
            pytorch.args([self.minutes.to_string(), self.seed.to_string()]);
            pytorch.env("THREADS", threads.to_string());
            let printed = process::output(&mut pytorch)?;
            let pytorch = serde_json::from_str(&printed).with_context(|| format!("cannot read {printed:?}"))?;
            heats.push(Heat {
                category,
                riad_seconds,
                riad_image_auroc: metrics.image_auroc,
                riad_pixel_auroc: metrics.pixel_auroc,
                pytorch,
                others: [riad_others, watch.others()],
            });
            // After each, so that a race that is broken off leaves what it has measured.
            write(&out.join("race.md"), table(&heats, self.minutes).as_bytes())?;
            write_json(&out.join("race.json"), &heats)?;
        }
        print!("{}", table(&heats, self.minutes));
        Ok(())
    }
}

fn table(heats: &[Heat], minutes: f64) -> String {
    let mut text = format!(
        "| category | riad: image / pixel AUROC | done after | PyTorch: image / pixel AUROC | trained {minutes} min, steps | others used \
         |\n|---|---|---|---|---|---|\n"
    );
    let percent = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{:.1}", 100.0 * value));
    for heat in heats {
        let others = heat
            .others
            .map(|others| others.map_or_else(|| "unknown".to_owned(), |others| format!("{:.0} %", 100.0 * others)));
        text += &format!(
            "| {} | {} / {} | {:.0} s | {} / {} | {} | {} |\n",
            heat.category,
            percent(heat.riad_image_auroc),
            percent(heat.riad_pixel_auroc),
            heat.riad_seconds,
            percent(Some(heat.pytorch.image_auroc)),
            percent(Some(heat.pytorch.pixel_auroc)),
            heat.pytorch.steps,
            others.join(", ")
        );
    }
    text
}
