//! `riad bench`.

use anyhow::{Context, Result};
use riad::{Cancel, speed::Benchmark};
use tracing::warn;

use crate::{Ending, args::BenchArgs, print::print, progress::Progress};

pub(crate) fn run(args: &BenchArgs) -> Result<Ending> {
    let compute = args.compute.compute()?;
    let usual = Benchmark::default();
    let what = Benchmark {
        presets: args.preset.map_or(usual.presets, |preset| vec![preset]),
        sizes: args.size.map_or(usual.sizes, |size| vec![size]),
        method: args.method,
        images: args.images.get(),
        epochs: args.epochs.map(usize::from),
        batch: usize::from(args.batch),
        training_precision: args.compute.training_precision(&compute.device),
        time: args.time,
    };
    let total = what.presets.len() * what.sizes.len();
    let mut progress = Progress::start("measuring", "network", 0, total as u64);
    let mut done = 0;
    let found = what.run(&compute, &Cancel::new(), |preset, size| {
        progress.tell(done, || format!("{preset} at {size}x{size}"));
        done += 1;
    })?;
    drop(progress);
    let text = if args.json {
        serde_json::to_string_pretty(&found).context("the findings cannot be written as JSON")? + "\n"
    } else {
        found.to_string()
    };
    print("the speeds", text)?;
    if let Some(load) = found.load.filter(|_| found.was_busy()) {
        warn!("the machine was busy before the measurement (load {load:.1}); on a quiet machine riad may be faster");
    }
    Ok(Ending::Done)
}
