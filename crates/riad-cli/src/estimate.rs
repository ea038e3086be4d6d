//! What a training takes on this machine, told once its first steps are measured, and what would be done sooner.

use std::time::{Duration, Instant};

use riad_core::Size;
use riad_model::{Architecture, Preset, TrainConfig};

use crate::progress::short;

/// A training that takes longer is one to ask about.
const LONG: Duration = Duration::from_secs(3600);

/// What is offered in its place is done within this time, if there is such.
const SOON: Duration = Duration::from_secs(30 * 60);

/// Parts of a side that are offered.
const SIDES: [f64; 4] = [1.0, 0.75, 0.5, 0.25];

/// The least side that is offered, in pixels, and what sides are multiples of.
const LEAST: usize = 64;
const MULTIPLE: usize = 16;

/// Steps are timed until so many are done, or so much time has passed.
const STEPS: usize = 8;
const TIME: Duration = Duration::from_secs(5);

/// Times the first steps.
#[derive(Default)]
pub(crate) struct Estimate {
    /// When the first step was done, which holds what is made ready once.
    first: Option<Instant>,
    steps: usize,
    is_told: bool,
}

impl Estimate {
    /// Takes note that a step is done. Once enough is known: the time of a step.
    pub(crate) fn step(&mut self) -> Option<Duration> {
        let Some(first) = self.first.filter(|_| !self.is_told) else {
            self.first.get_or_insert_with(Instant::now);
            return None;
        };
        self.steps += 1;
        let passed = first.elapsed();
        self.is_told = self.steps >= STEPS || passed >= TIME;
        self.is_told.then(|| passed / self.steps as u32)
    }
}

/// What is said of a training of which so much is to come, of which `left` of a budget is left.
pub(crate) fn told(config: &TrainConfig, to_come: Duration, left: Option<Duration>) -> String {
    let mut text = format!("this takes about {} on this machine", short(to_come));
    match left.filter(|left| *left < to_come) {
        Some(left) => text += &format!(", and stops after {}, as --max-time says", short(left)),
        None if to_come > LONG => {
            if let Some((options, time)) = sooner(config, to_come) {
                text += &format!(
                    ";\nstart another run with {options} to be done in about {}",
                    short(time)
                );
            }
        }
        None => {}
    }
    text
}

/// The options of the largest network and images that are done [`SOON`], or else of the smallest, if they take less than
/// what is set; and how long they take, in proportion to their operations.
fn sooner(config: &TrainConfig, to_come: Duration) -> Option<(String, Duration)> {
    let (Architecture { width, .. }, Size { height, width: across }) = (config.architecture, config.scoring.size());
    let macs = |width: usize, size: Size| {
        let mut architecture = config.architecture;
        architecture.width = width;
        architecture.macs(size.height, size.width).ok()
    };
    let own = macs(width, config.scoring.size())?;
    let side = |side: usize, part: f64| {
        let shorter = ((side as f64 * part) as usize / MULTIPLE * MULTIPLE).max(LEAST);
        shorter.min(side)
    };
    let mut offers = Vec::new();
    let presets = Preset::ALL.iter().filter(|preset| preset.width() <= width);
    for preset in presets {
        for part in SIDES {
            let size = Size::new(side(height, part), side(across, part));
            let Some(macs) = macs(preset.width(), size).filter(|macs| *macs < own) else {
                continue;
            };
            let size = if size.height == size.width {
                size.width.to_string()
            } else {
                size.to_string()
            };
            let option = if config.scoring.tiling.is_some() {
                "tile"
            } else {
                "size"
            };
            let options = format!("--preset {preset} --{option} {size}");
            offers.push((options, to_come.mul_f64(macs as f64 / own as f64)));
        }
    }
    offers.sort_by_key(|(_, time)| *time);
    let soon = offers.iter().rposition(|(_, time)| *time <= SOON).unwrap_or(0);
    (soon < offers.len()).then(|| offers.swap_remove(soon))
}

#[cfg(test)]
mod tests {
    use riad_model::ScoringSettings;

    use super::*;

    fn config(preset: Preset, height: usize, width: usize) -> TrainConfig {
        TrainConfig::published(preset.architecture(), ScoringSettings::for_size(height, width))
    }

    fn hours(hours: u64) -> Duration {
        Duration::from_secs(3600 * hours)
    }

    #[test]
    fn what_is_offered_is_done_soon_and_as_large_as_it_may_be() {
        // A side of half the length takes a quarter of the time, and half of the width a quarter, too.
        let (options, time) = sooner(&config(Preset::Paper, 256, 256), hours(6)).unwrap();
        assert!(time <= SOON, "{time:?}");
        assert!(time > SOON / 3, "{options} in {time:?}");
        let (options, _) = sooner(&config(Preset::Tiny, 256, 256), hours(2)).unwrap();
        assert_eq!(options, "--preset tiny --size 128");
        let (options, _) = sooner(&config(Preset::Tiny, 128, 512), hours(2)).unwrap();
        assert_eq!(options, "--preset tiny --size 64x256");
        // Nothing is small enough, and the smallest is better than nothing.
        let (options, time) = sooner(&config(Preset::Tiny, 128, 128), hours(1000)).unwrap();
        assert_eq!(options, "--preset tiny --size 64");
        assert!(time > SOON);
        assert_eq!(sooner(&config(Preset::Tiny, 64, 64), hours(1000)), None);
    }

    #[test]
    fn what_takes_less_than_an_hour_is_told_alone() {
        let config = config(Preset::Small, 128, 128);
        assert_eq!(
            told(&config, Duration::from_secs(125), None),
            "this takes about 2m 5s on this machine"
        );
        assert_eq!(
            told(&config, hours(3), Some(Duration::from_secs(60))),
            "this takes about 3h 0m on this machine, and stops after 1m 0s, as --max-time says"
        );
        assert!(told(&config, hours(3), None).contains(";\nstart another run with --preset"));
    }
}
