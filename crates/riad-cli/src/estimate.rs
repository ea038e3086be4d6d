//! What a training takes on this machine, told once its first steps are measured, and what would be done sooner.

use std::time::{Duration, Instant};

use riad::{FasterTraining, speed::in_short};
use riad_model::TrainConfig;

/// A training that takes longer is one to ask about.
const LONG: Duration = Duration::from_secs(3600);

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
    let mut text = format!("this takes about {} on this machine", in_short(to_come));
    match left.filter(|left| *left < to_come) {
        Some(left) => text += &format!(", and --max-time stops it after {}", in_short(left)),
        None if to_come > LONG => {
            if let Some((options, time)) = options(config, to_come) {
                text += &format!(
                    "; start another run with {options} to be done in about {}",
                    in_short(time)
                );
            }
        }
        None => {}
    }
    text
}

/// The options of a training that is done sooner, and how long it takes.
fn options(config: &TrainConfig, to_come: Duration) -> Option<(String, Duration)> {
    let FasterTraining { preset, size, time, .. } = FasterTraining::than(config, to_come)?;
    let option = if config.scoring.tiling.is_some() {
        "tile"
    } else {
        "size"
    };
    let size = if size.height == size.width {
        size.width.to_string()
    } else {
        size.to_string()
    };
    Some((format!("--preset {preset} --{option} {size}"), time))
}

#[cfg(test)]
mod tests {
    use riad_model::{Preset, ScoringSettings};

    use super::*;

    fn hours(hours: u64) -> Duration {
        Duration::from_secs(3600 * hours)
    }

    #[test]
    fn what_takes_less_than_an_hour_is_told_alone() {
        let config = TrainConfig::published(Preset::Small.architecture(), ScoringSettings::for_size(128, 128));
        assert_eq!(
            told(&config, Duration::from_secs(125), None),
            "this takes about 2m 5s on this machine"
        );
        assert_eq!(
            told(&config, hours(3), Some(Duration::from_secs(60))),
            "this takes about 3h 0m on this machine, and --max-time stops it after 1m 0s"
        );
        assert!(told(&config, hours(3), None).contains("; start another run with --preset tiny --size "));
        let config = TrainConfig::published(Preset::Tiny.architecture(), ScoringSettings::for_size(128, 512));
        assert!(told(&config, hours(2), None).contains("with --preset tiny --size 64x256"));
    }
}
