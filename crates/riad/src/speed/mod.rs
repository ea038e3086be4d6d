//! How fast this machine trains and scores, and how long a training takes from that.

mod benchmark;

use std::{
    error,
    iter::once,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use riad_model::{Checkpoint, Event, Examples, ImageSource, Keep, Scorer, TrainConfig, Trainer, Weights};
use serde::Serialize;

pub use self::benchmark::{Benchmark, Benchmarked, BenchmarkedNetwork, in_short};
use crate::{
    Cancel, Error, Parts, Result,
    detector::{BATCH, Compute},
};

/// What would take more than this share of the time that is left is estimated.
const MOST: f64 = 0.5;

/// How fast something goes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Speed {
    /// How many images it does in a second.
    pub images_per_second: f64,
    /// Whether it is not measured, but reckoned from a smaller network.
    pub estimated: bool,
}

/// How fast a network is at a size.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Speeds {
    /// Of scoring.
    pub scoring: Speed,
    /// Of training.
    pub training: Speed,
}

impl Speeds {
    /// How long a training of so many epochs takes: steps and validation in every epoch, then what is normal, and the calibration.
    pub fn training_time(&self, parts: Parts, epochs: usize) -> Duration {
        let [training, scoring] = [self.training, self.scoring].map(|speed| speed.images_per_second);
        let epoch = parts.train / training + parts.validation / scoring;
        let after = (parts.normal + parts.calibration) / scoring;
        Duration::try_from_secs_f64(epochs as f64 * epoch + after).unwrap_or(Duration::MAX)
    }

    /// Whether some of it is not measured.
    pub fn is_estimated(&self) -> bool {
        self.scoring.estimated || self.training.estimated
    }
}

/// Measures how fast networks train and score, on made-up images and with random weights, on which speed does not depend. All together
/// takes about `time`, and what would take too much of it is estimated in proportion to its operations. Reading images, and spoiling
/// them for a method that does, comes on top. `told` hears which of the settings is measured next.
///
/// # Errors
/// If settings cannot be used on the device, or with [`Error::Cancelled`].
pub fn measure(
    configs: &[TrainConfig],
    time: Duration,
    compute: &Compute,
    cancel: &Cancel,
    mut told: impl FnMut(usize),
) -> Result<Vec<Speeds>> {
    let mut order = Vec::with_capacity(configs.len());
    for (place, config) in configs.iter().enumerate() {
        let size = config.scoring.size();
        order.push((config.architecture.macs(size.height, size.width)?, place));
    }
    order.sort_unstable();
    let share = time.div_f64(2.0 * configs.len().max(1) as f64);
    let began = Instant::now();
    let limit = || time.saturating_sub(began.elapsed()).as_secs_f64() * MOST;
    let (mut scoring, mut training) = (Pace::default(), Pace::default());
    let mut found = Vec::with_capacity(configs.len());
    for (macs, place) in order {
        if cancel.reason().is_some() {
            return Err(Error::Cancelled);
        }
        told(place);
        let config = &configs[place];
        let scoring = scoring.speed(BATCH, macs, limit(), || score(config, share, compute))?;
        let batch = config.batch_size;
        let training = training.speed(batch, macs, limit(), || train(config.clone(), share, compute))?;
        found.push((place, Speeds { scoring, training }));
    }
    found.sort_unstable_by_key(|(place, _)| *place);
    Ok(found.into_iter().map(|(_, speeds)| speeds).collect())
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
fn train(config: TrainConfig, share: Duration, compute: &Compute) -> Result<f64> {
    let images = images(config.batch_size, &config);
    let batch = Repeated {
        // Corrupting images comes on top, as reading their files does.
        corrupted: config.scoring.method.corrupts().then(|| images.clone()),
        images,
        count: config.batch_size,
    };
    let none = Repeated::default();
    let mut trainer = Trainer::rehearse(config, &compute.device)?;
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

/// `count` images `[B, C, H, W]` in [0, 1].
fn images(count: usize, config: &TrainConfig) -> Vec<f32> {
    let values = 0..count * config.architecture.channels() * config.scoring.size().pixels();
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
    ) -> Box<dyn Iterator<Item = Result<Examples, Box<dyn error::Error + Send + Sync>>> + '_> {
        Box::new(once(Ok(Examples {
            images: self.images.clone(),
            corrupted: self.corrupted.clone(),
        })))
    }
}

#[cfg(test)]
mod tests {
    use riad_core::Size;
    use riad_model::{Device, Method, Preset};

    use super::*;
    use crate::TrainingOptions;

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

    #[test]
    fn the_smallest_is_measured_first_and_all_are_given_in_their_order() {
        let config = |preset, side| {
            let options = TrainingOptions {
                preset: Some(preset),
                size: Some(Size::new(side, side)),
                ..TrainingOptions::default()
            };
            options.config(Method::RIAD, 20, &Device::CPU).unwrap()
        };
        let configs = [config(Preset::Small, 64), config(Preset::Tiny, 32)];
        let mut order = Vec::new();
        let compute = Compute::on(Device::CPU);
        let measured = |order: &mut Vec<usize>, cancel: &Cancel| {
            measure(&configs, Duration::from_nanos(1), &compute, cancel, |place| {
                order.push(place)
            })
        };
        let found = measured(&mut order, &Cancel::new()).unwrap();
        assert_eq!(order, [1, 0]);
        // No time is left for the larger one.
        assert!(found[0].is_estimated() && !found[1].is_estimated());
        assert!(found[0].training.images_per_second < found[1].training.images_per_second);
        let parts = TrainingOptions::default().parts(20);
        assert!(found[0].training_time(parts, 3) > found[1].training_time(parts, 3));
        let cancelled = Cancel::new();
        cancelled.cancel();
        assert!(matches!(measured(&mut order, &cancelled), Err(Error::Cancelled)));
    }
}
