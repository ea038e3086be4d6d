//! What `riad bench` says.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process::output;

/// What `riad bench --json` prints, as far as it is needed.
#[derive(Deserialize)]
struct Printed {
    networks: Vec<Network>,
    peak_gpu_memory: Option<u64>,
}

#[derive(Deserialize)]
struct Network {
    scoring: Speed,
    training: Speed,
}

#[derive(Deserialize)]
struct Speed {
    images_per_second: f64,
}

/// What it says of one network.
pub(super) struct Found {
    /// Images a second.
    pub(super) scoring: f64,
    /// Images a second.
    pub(super) training: f64,
    /// Bytes.
    pub(super) peak_gpu_memory: Option<u64>,
}

/// Runs `riad bench` on `preset` at `size`, with further options.
pub(super) fn ask(riad: &Path, preset: &str, size: &str, options: &[&str]) -> Result<Found> {
    let mut bench = Command::new(riad);
    bench.args(["bench", "--json", "--preset", preset, "--size", size]);
    let printed: Printed =
        serde_json::from_str(&output(bench.args(options))?).context("cannot read what riad bench has found")?;
    let network = printed
        .networks
        .into_iter()
        .next()
        .context("riad bench has found nothing")?;
    Ok(Found {
        scoring: network.scoring.images_per_second,
        training: network.training.images_per_second,
        peak_gpu_memory: printed.peak_gpu_memory,
    })
}
