//! `riad bench`.

use std::{fmt::Write as _, fs, thread::available_parallelism, time::Duration};

use anyhow::{Context, Result};
use riad::{
    Cancel, TrainingOptions,
    speed::{Speed, measure},
};
use riad_core::Size;
use riad_model::{Method, Precision, Preset};
use serde::Serialize;
use tracing::warn;

use crate::{
    Ending,
    args::BenchArgs,
    print::print,
    progress::{Progress, short},
};

const SIZES: [usize; 2] = [128, 256];

/// Other work on each core, on average over the last minute, from which on numbers are not those of a quiet machine.
const BUSY: f64 = 0.25;

/// All that was found, as `--json` prints it.
#[derive(Serialize)]
struct Findings {
    riad_version: &'static str,
    device: &'static str,
    scoring_precision: String,
    training_precision: String,
    /// Bytes of GPU memory in use at once, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_gpu_memory: Option<usize>,
    threads: usize,
    /// Processes that ran or wanted to on average over the minute before; `None` where the system does not say.
    load: Option<f64>,
    images: usize,
    method: Method,
    epochs: usize,
    networks: Vec<Finding>,
}

/// What was found of a preset at a size.
#[derive(Serialize)]
struct Finding {
    preset: Preset,
    size: usize,
    scoring: Speed,
    training: Speed,
    /// Seconds that a whole training takes.
    training_seconds: f64,
}

pub(crate) fn run(args: &BenchArgs) -> Result<Ending> {
    let compute = args.compute.compute()?;
    let device = &compute.device;
    let given = args.compute.training_precision(device);
    let training_precision = given.unwrap_or(Precision::of_training(device));
    let load = load();
    let presets = args.preset.map_or(Preset::ALL.to_vec(), |preset| vec![preset]);
    let sizes = args.size.map_or(SIZES.to_vec(), |size| vec![size]);
    let mut cells = Vec::new();
    for size in sizes {
        cells.extend(presets.iter().map(|&preset| (preset, size)));
    }
    let (parts, mut epochs) = (TrainingOptions::default().parts(args.images.get()), 0);
    let mut configs = Vec::new();
    for &(preset, size) in &cells {
        let wanted = TrainingOptions {
            preset: Some(preset),
            size: Some(Size::new(size, size)),
            batch: Some(usize::from(args.batch)),
            epochs: args.epochs.map(usize::from),
            precision: given,
            ..TrainingOptions::default()
        };
        let config = wanted.config(args.method, parts.train.round() as usize, device)?;
        epochs = config.epochs;
        configs.push(config);
    }
    let mut progress = Progress::start("measuring", "network", 0, cells.len() as u64);
    let mut done = 0;
    let speeds = measure(&configs, args.time, &compute, &Cancel::new(), |place| {
        let (preset, size) = cells[place];
        progress.tell(done, || format!("{preset} at {size}x{size}"));
        done += 1;
    })?;
    drop(progress);
    let mut networks: Vec<_> = cells
        .iter()
        .zip(speeds)
        .map(|(&(preset, size), speeds)| Finding {
            preset,
            size,
            scoring: speeds.scoring,
            training: speeds.training,
            training_seconds: speeds.training_time(parts, epochs).as_secs_f64(),
        })
        .collect();
    networks.sort_by_key(|found| (found.size, found.preset.width()));
    let findings = Findings {
        riad_version: env!("CARGO_PKG_VERSION"),
        device: device.kind(),
        scoring_precision: compute.precision.to_string(),
        training_precision: training_precision.to_string(),
        peak_gpu_memory: device.peak_memory(),
        threads: rayon::current_num_threads(),
        load,
        images: args.images.get(),
        method: args.method,
        epochs,
        networks,
    };
    let text = if args.json {
        serde_json::to_string_pretty(&findings).context("the findings cannot be written as JSON")? + "\n"
    } else {
        table(&findings)
    };
    print("the speeds", text)?;
    if let Some(load) = load.filter(|load| *load > BUSY * available_parallelism().map_or(1, usize::from) as f64) {
        warn!("the machine was busy before the measurement (load {load:.1}); on a quiet machine riad may be faster");
    }
    Ok(Ending::Done)
}

/// The average number of processes at work over the last minute; `None` where there is no `/proc`.
fn load() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

fn table(findings: &Findings) -> String {
    let mut text = String::new();
    let whole = format!("{} images, {} epochs", findings.images, findings.epochs);
    let _ = writeln!(
        text,
        "riad {}, method {}, device {}, {} threads, scoring in {}, training in {}\n\n{:<7} {:>9} {:>15} {:>15} {:>24}",
        findings.riad_version,
        findings.method,
        findings.device,
        findings.threads,
        findings.scoring_precision,
        findings.training_precision,
        "preset",
        "size",
        "scoring",
        "training",
        whole
    );
    for found in &findings.networks {
        let speed = |speed: Speed| {
            let mark = if speed.estimated { "~" } else { "" };
            format!("{mark}{:.2} images/s", speed.images_per_second)
        };
        let mark = if found.scoring.estimated || found.training.estimated {
            "~"
        } else {
            ""
        };
        let seconds = Duration::try_from_secs_f64(found.training_seconds).unwrap_or(Duration::MAX);
        let _ = writeln!(
            text,
            "{:<7} {:>9} {:>15} {:>15} {:>24}",
            found.preset,
            format!("{0}x{0}", found.size),
            speed(found.scoring),
            speed(found.training),
            format!("{mark}{}", short(seconds))
        );
    }
    text
}
