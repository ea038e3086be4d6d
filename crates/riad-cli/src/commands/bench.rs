//! `riad bench`.

use std::{
    error::Error,
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    ops::ControlFlow,
    thread::available_parallelism,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use riad::{Compute, Parts, TrainingOptions};
use riad_core::Size;
use riad_model::{
    Checkpoint, Device, Event, Examples, ImageSource, Keep, Method, Precision, Preset, Scorer, TrainConfig, Trainer,
    Weights,
};
use serde::Serialize;
use tracing::warn;

use crate::{
    Ending,
    args::BenchArgs,
    progress::{Progress, short},
};

/// Images scored at once, as `riad score` does.
const BATCH: usize = 4;

const SIZES: [usize; 2] = [128, 256];

/// What would take more than this share of the time that is left is estimated.
const MOST: f64 = 0.5;

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

#[derive(Clone, Copy, Serialize)]
struct Speed {
    images_per_second: f64,
    /// Not measured, but reckoned from a smaller network.
    estimated: bool,
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
        for &preset in &presets {
            cells.push((preset.architecture().macs(size, size)?, preset, size));
        }
    }
    cells.sort_by_key(|&(macs, ..)| macs);
    let batch = usize::from(args.batch);
    let share = args.time.div_f64(2.0 * cells.len() as f64);
    let began = Instant::now();
    let limit = || args.time.saturating_sub(began.elapsed()).as_secs_f64() * MOST;

    let (mut scoring, mut training) = (Pace::default(), Pace::default());
    let mut progress = Progress::start("measuring", "network", 0, cells.len() as u64);
    let mut networks = Vec::new();
    let (parts, mut epochs) = (TrainingOptions::default().parts(args.images.get()), 0);
    for (macs, preset, size) in cells {
        progress.tell(networks.len() as u64, || format!("{preset} at {size}x{size}"));
        let wanted = TrainingOptions {
            preset: Some(preset),
            size: Some(Size::new(size, size)),
            batch: Some(batch),
            epochs: args.epochs.map(usize::from),
            precision: given,
            ..TrainingOptions::default()
        };
        let config = wanted.config(args.method, parts.train.round() as usize, device)?;
        epochs = config.epochs;
        let scoring = scoring.speed(BATCH, macs, limit(), || score(&config, share, &compute))?;
        let training = training.speed(batch, macs, limit(), || train(config, share, device))?;
        networks.push(Finding {
            preset,
            size,
            scoring,
            training,
            training_seconds: training_seconds(parts, epochs, scoring, training),
        });
    }
    drop(progress);
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
    io::stdout().write_all(text.as_bytes())?;
    if let Some(load) = load.filter(|load| *load > BUSY * available_parallelism().map_or(1, usize::from) as f64) {
        warn!("the machine was busy before the measurement (load {load:.1}); on a quiet machine riad may be faster");
    }
    Ok(Ending::Done)
}

/// The pace of one kind of work, and what it lets expect of larger networks.
#[derive(Default)]
struct Pace {
    /// Seconds of a batch for each multiply-accumulate of a pass, of the largest network measured.
    seconds_per_mac: Option<f64>,
}

impl Pace {
    /// Measures the seconds of a batch of so many images, or estimates them where that is to be expected to take more than
    /// `limit` seconds.
    fn speed(&mut self, batch: usize, macs: u64, limit: f64, measure: impl FnOnce() -> Result<f64>) -> Result<Speed> {
        let expected = self.seconds_per_mac.map(|seconds| seconds * macs as f64);
        let too_long = expected.filter(|seconds| *seconds > limit);
        let seconds = match too_long {
            Some(seconds) => seconds,
            None => {
                let seconds = measure()?;
                self.seconds_per_mac = Some(seconds / macs as f64);
                seconds
            }
        };
        Ok(Speed {
            images_per_second: batch as f64 / seconds,
            estimated: too_long.is_some(),
        })
    }
}

/// Seconds to score a batch.
fn score(config: &TrainConfig, share: Duration, compute: &Compute) -> Result<f64> {
    let weights = Weights::initial(config.architecture, 0)?;
    let checkpoint = Checkpoint::new(weights, config.scoring.clone(), None, None);
    let images = images(BATCH, config);
    let scorer = Scorer::new(&checkpoint, &compute.device, compute.precision)?;
    let began = Instant::now();
    let mut times = Vec::new();
    while times.is_empty() || began.elapsed() < share {
        let start = Instant::now();
        scorer.score(&images, Keep::Map)?;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(mean_after_first(&times))
}

/// Seconds of a training step.
fn train(config: TrainConfig, share: Duration, device: &Device) -> Result<f64> {
    let images = images(config.batch_size, &config);
    let batch = Repeated {
        // Corrupting images comes on top, as reading their files does.
        corrupted: config.scoring.method.corrupts().then(|| images.clone()),
        images,
        count: config.batch_size,
    };
    let none = Repeated::default();
    let mut trainer = Trainer::rehearse(config, device)?;
    let began = Instant::now();
    let (mut start, mut times) = (began, Vec::new());
    // A step begins where the event before it ends. It is the only one of its epoch, so nothing is asked for ahead of it.
    trainer.run(&batch, &none, &mut |event| {
        if let Event::Step { .. } = event {
            times.push(start.elapsed().as_secs_f64());
        }
        start = Instant::now();
        if began.elapsed() < share {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(mean_after_first(&times))
}

/// The first time holds what is made ready once, so it counts only where there is no other. The mean and not the median: what
/// else the machine does slows a training down as well.
fn mean_after_first(times: &[f64]) -> f64 {
    let counted = if times.len() > 1 { &times[1..] } else { times };
    counted.iter().sum::<f64>() / counted.len() as f64
}

/// Seconds that a training takes: steps and validation in every epoch, then what is normal, and the calibration.
fn training_seconds(parts: Parts, epochs: usize, scoring: Speed, training: Speed) -> f64 {
    let epoch = parts.train / training.images_per_second + parts.validation / scoring.images_per_second;
    let after = parts.normal + parts.calibration;
    epochs as f64 * epoch + after / scoring.images_per_second
}

/// `count` images `[B, C, H, W]` in [0, 1].
fn images(count: usize, config: &TrainConfig) -> Vec<f32> {
    let values = 0..count * config.architecture.channels * config.scoring.size().pixels();
    values.map(|i| 0.5 + 0.5 * (i as f32 * 0.37).sin()).collect()
}

/// One batch of so many images, in every epoch again.
#[derive(Default)]
struct Repeated {
    images: Vec<f32>,
    corrupted: Option<Vec<f32>>,
    count: usize,
}

impl ImageSource for Repeated {
    fn len(&self) -> usize {
        self.count
    }

    fn batches(
        &self,
        _order: Vec<usize>,
        _batch_size: usize,
        _seed: u64,
    ) -> Box<dyn Iterator<Item = Result<Examples, Box<dyn Error + Send + Sync>>> + '_> {
        Box::new(std::iter::once(Ok(Examples {
            images: self.images.clone(),
            corrupted: self.corrupted.clone(),
        })))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What would take too long is reckoned from the last network measured, in proportion to its operations.
    #[test]
    fn what_takes_too_long_is_estimated() {
        let mut pace = Pace::default();
        let first = pace.speed(4, 1_000, 0.0, || Ok(2.0)).unwrap();
        assert_eq!((first.images_per_second, first.estimated), (2.0, false));
        let second = pace.speed(8, 1_200, 2.5, || Ok(1.2)).unwrap();
        assert_eq!((second.images_per_second, second.estimated), (8.0 / 1.2, false));
        let third = pace.speed(8, 4_000, 3.5, || panic!("it takes 4 s")).unwrap();
        assert_eq!((third.images_per_second, third.estimated), (2.0, true));
    }

    #[test]
    fn the_first_time_counts_only_where_there_is_no_other() {
        assert_eq!(mean_after_first(&[9.0]), 9.0);
        assert_eq!(mean_after_first(&[9.0, 4.0, 1.0, 1.0]), 2.0);
    }
}
