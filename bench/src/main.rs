//! Our side of `cargo xtask bench`, which runs it alternately with other programs.
//!
//! ```text
//! riad-bench THREADS DIR [IMAGES…]
//! ```
//!
//! Reads one request a line, and answers with one line of JSON: `{"seconds": 0.5, "macs": 0}` or `{"error": "why"}`.
//!
//! - `run WORKLOAD PEER` runs the workload once;
//! - `output WORKLOAD PEER FILE` does as well, and writes the results to FILE as f64, little-endian;
//! - `forget` frees what was made ready.
//!
//! A workload is made ready, untimed, when it is first named. The peer is `riad` or `riad_bf16`; `peers.py` answers the same
//! lines with its own.
//! Weights, images and maps lie in DIR, where `peers.py prepare` has put them.

mod images;
mod metrics;
mod network;
mod training;

use std::collections::{BTreeMap, btree_map::Entry};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use riad_model::Precision;
use serde_json::{Value, json};

/// As in `riad`: what is measured is the program that users run.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Work that can be repeated.
trait Workload {
    /// Runs once, and gives the seconds that it took and its results.
    fn run(&mut self) -> Result<(f64, Vec<f64>)>;

    /// Multiply-accumulates of the network, by the definition of its layers, in one run.
    fn macs(&self) -> u64 {
        0
    }
}

/// Runs `work` and takes its time.
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let start = Instant::now();
    let result = work()?;
    Ok((start.elapsed().as_secs_f64(), result))
}

/// Where inputs lie.
struct Inputs {
    directory: PathBuf,
    /// Image files to decode.
    images: Vec<PathBuf>,
}

impl Inputs {
    fn workload(&self, name: &str, precision: Precision) -> Result<Box<dyn Workload>> {
        let words: Vec<&str> = name.split('-').collect();
        let number = |text: &str| text.parse::<usize>().with_context(|| format!("{text} is no number"));
        Ok(match words[..] {
            ["forward", preset, batch] => {
                Box::new(network::forward(&self.directory, preset, number(batch)?, precision)?)
            }
            ["score", preset, count] => Box::new(network::scoring(&self.directory, preset, number(count)?, precision)?),
            ["restore", preset, size, count] => Box::new(network::restoring(
                &self.directory,
                preset,
                number(size)?,
                number(count)?,
                precision,
            )?),
            ["train", preset, size, batch] => Box::new(training::Training::start(
                &self.directory,
                preset.parse()?,
                number(size)?,
                number(batch)?,
            )?),
            ["metrics", size] => Box::new(metrics::Metrics::read(&self.directory, number(size)?)?),
            ["decode"] => Box::new(images::Decoding::new(self.images.clone())),
            _ => bail!("there is no workload {name}"),
        })
    }
}

/// The first `count` values of a file of f32.
fn read_floats(path: &Path, count: usize) -> Result<Vec<f32>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let values = bytes.as_chunks().0;
    ensure!(
        values.len() >= count,
        "{} holds fewer than {count} values",
        path.display()
    );
    Ok(values[..count].iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
}

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(threads), Some(directory)) = (arguments.next(), arguments.next()) else {
        bail!("usage: riad-bench THREADS DIR [IMAGES…]");
    };
    let threads = threads.to_string_lossy().parse().context("THREADS is no number")?;
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    let inputs = Inputs {
        directory: directory.into(),
        images: arguments.map(PathBuf::from).collect(),
    };
    network::write_masks(&inputs.directory)?;

    let mut ready = BTreeMap::new();
    for line in io::stdin().lines() {
        let answer =
            answer(&line?, &inputs, &mut ready).unwrap_or_else(|error| json!({ "error": format!("{error:#}") }));
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{answer}")?;
        stdout.flush()?;
    }
    Ok(())
}

/// That of one of us.
fn precision(contestant: &str) -> Result<Precision> {
    match contestant {
        "riad" => Ok(Precision::F32),
        "riad_bf16" => Ok(Precision::Bf16),
        _ => bail!("{contestant} is not one of us"),
    }
}

fn answer(line: &str, inputs: &Inputs, ready: &mut BTreeMap<(String, String), Box<dyn Workload>>) -> Result<Value> {
    let words: Vec<&str> = line.splitn(4, ' ').collect();
    let (name, contestant, output) = match words[..] {
        ["forget"] => {
            ready.clear();
            return Ok(json!({}));
        }
        ["run", name, contestant] => (name, contestant, None),
        ["output", name, contestant, path] => (name, contestant, Some(path)),
        _ => bail!("cannot understand {line:?}"),
    };
    let workload = match ready.entry((name.to_owned(), contestant.to_owned())) {
        Entry::Occupied(made) => made.into_mut(),
        Entry::Vacant(place) => place.insert(inputs.workload(name, precision(contestant)?)?),
    };
    let (seconds, values) = workload.run()?;
    if let Some(path) = output {
        ensure!(!values.is_empty(), "{name} has no results to compare");
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        fs::write(path, bytes).with_context(|| format!("cannot write {path}"))?;
    }
    Ok(json!({ "seconds": seconds, "macs": workload.macs() }))
}
