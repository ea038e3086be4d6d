//! `cargo xtask bench --device cuda`: training steps and scoring beside PyTorch on the same GPU.
//!
//! The peers take minutes to compile, so they run once, and riad before and after them, in every precision. What is
//! compared are images a second.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{riad_bench, write};
use crate::process;

/// In what riad computes, the fastest first.
const PRECISIONS: [&str; 3] = ["bf16", "tf32", "f32"];

/// One contestant at one work.
struct Measured {
    work: &'static str,
    contestant: String,
    /// Images in a training step, or scored at once.
    batch: u64,
    /// Of each run.
    images_per_second: Vec<f64>,
    memory: Option<u64>,
}

/// Measures riad and its peers on the GPU `device`, and leaves the table in `target/bench/gpu.md`.
pub(super) fn run(device: &str, quick: bool, riad: Option<&Path>, python: Option<&Path>) -> Result<()> {
    let riad = match riad {
        Some(riad) => riad.to_owned(),
        None => {
            let features = ["build", "--release", "-p", "riad-cli", "--features", "cuda"];
            process::build(&features, "riad")?
        }
    };
    let python = python.map_or_else(|| PathBuf::from("python3"), Path::to_owned);
    let mut results = Vec::new();
    ours(&riad, device, quick, &mut results)?;
    let machine = theirs(&python, quick, &mut results)?;
    ours(&riad, device, quick, &mut results)?;

    let document = document(&machine, &results);
    print!("{document}");
    let folder = crate::workspace_root().join("target").join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join("gpu.md");
    write(&path, &document)?;
    eprintln!("written: {}", path.display());
    Ok(())
}

/// Adds a run of riad in each precision.
fn ours(riad: &Path, device: &str, quick: bool, results: &mut Vec<Measured>) -> Result<()> {
    for precision in PRECISIONS {
        eprintln!("measuring riad in {precision}");
        // Preparing convolutions counts as well.
        let time = if quick { "10s" } else { "16s" };
        let options = ["--device", device, "--precision", precision, "--time", time];
        let found = riad_bench::ask(riad, "paper", "256", &options)?;
        for (work, speed) in [("train", found.training), ("score", found.scoring)] {
            let contestant = format!("riad {precision}");
            let known = results
                .iter_mut()
                .find(|result| result.work == work && result.contestant == contestant);
            match known {
                Some(result) => result.images_per_second.push(speed),
                None => results.push(Measured {
                    work,
                    contestant,
                    batch: 4,
                    images_per_second: vec![speed],
                    memory: found.peak_gpu_memory,
                }),
            }
        }
    }
    Ok(())
}

/// Adds the peers' run, and gives what they say of the machine.
fn theirs(python: &Path, quick: bool, results: &mut Vec<Measured>) -> Result<String> {
    eprintln!("measuring PyTorch");
    let mut peers = Command::new(python);
    peers.arg(crate::workspace_root().join("bench").join("gpu_peers.py"));
    peers.args(["--work", "train,score", "--images", "1,8"]);
    if quick {
        peers.args([
            "--seconds",
            "2",
            "--peers",
            "eager,eager_amp,channels_last_bf16,channels_last_tf32",
        ]);
    }
    let printed = peers
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", python.display()))?;
    ensure!(
        printed.status.success(),
        "{} bench/gpu_peers.py ended with {}; run it by hand to see why. It needs PyTorch for CUDA: name a Python that has it \
         with --python",
        python.display(),
        printed.status
    );
    let printed = String::from_utf8_lossy(&printed.stdout);
    let mut lines = printed.lines().map(serde_json::from_str::<Value>);
    let versions = lines.next().context("PyTorch has said nothing")??;
    for line in lines {
        let line = line.context("cannot read what a peer has found")?;
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let Some(speed) = line["images_per_second"].as_f64() else {
            eprintln!("{} {}: {}", text("work"), text("peer"), text("error"));
            continue;
        };
        results.push(Measured {
            work: if text("work") == "train" { "train" } else { "score" },
            contestant: format!("PyTorch {}", text("peer")),
            batch: line["batch"].as_u64().unwrap_or_default(),
            images_per_second: vec![speed],
            memory: line["peak_memory_bytes"].as_u64(),
        });
    }
    let part = |key: &str| versions[key].as_str().unwrap_or("?").to_owned();
    Ok(format!(
        "{}, CUDA {}, PyTorch {}, its cuDNN {}",
        part("gpu"),
        part("cuda"),
        part("torch"),
        versions["cudnn"]
    ))
}

fn document(machine: &str, results: &[Measured]) -> String {
    let mut document = format!("{machine}\n");
    for (work, title) in [
        (
            "train",
            "Training steps of `paper` at 256×256, three masked copies of each image",
        ),
        (
            "score",
            "Scoring at `paper`, 256×256: twelve passes an image, from host memory to maps there",
        ),
    ] {
        let mut of_work: Vec<_> = results.iter().filter(|result| result.work == work).collect();
        let slowest = |result: &Measured| result.images_per_second.iter().copied().fold(f64::INFINITY, f64::min);
        of_work.sort_by(|a, b| slowest(b).total_cmp(&slowest(a)));
        // Writing to a string does not fail.
        let _ = writeln!(
            document,
            "\n{title}\n\n| | images at once | images/s | peak memory |\n|---|---|---|---|"
        );
        for result in of_work {
            let speeds: Vec<_> = result
                .images_per_second
                .iter()
                .map(|speed| format!("{speed:.0}"))
                .collect();
            let memory = result
                .memory
                .map_or_else(String::new, |bytes| format!("{:.1} GB", bytes as f64 / 1e9));
            let _ = writeln!(
                document,
                "| {} | {} | {} | {memory} |",
                result.contestant,
                result.batch,
                speeds.join(", ")
            );
        }
    }
    document
}
