//! How long a session's steps take, by its first ones.

use std::time::{Duration, Instant};

use riad_model::TrainConfig;

use crate::{Event, FasterTraining};

/// Steps are timed until so many are done, or so much time has passed.
const STEPS: u32 = 8;
const TIME: Duration = Duration::from_secs(5);

/// A training that takes longer is one to ask about.
const LONG: Duration = Duration::from_secs(3600);

/// Times the first steps.
#[derive(Default)]
pub(super) struct Pace {
    /// When the first step was done, which holds what is made ready once.
    first: Option<Instant>,
    steps: u32,
    is_known: bool,
}

impl Pace {
    /// Takes note of a step that is done `now`. Gives the time of a step once, as soon as enough is known.
    pub(super) fn step(&mut self, now: Instant) -> Option<Duration> {
        let Some(first) = self.first.filter(|_| !self.is_known) else {
            self.first.get_or_insert(now);
            return None;
        };
        self.steps += 1;
        let passed = now.saturating_duration_since(first);
        self.is_known = self.steps >= STEPS || passed >= TIME;
        self.is_known.then(|| passed / self.steps)
    }
}

/// What is told of a training of so many more steps that take `time` each, in a session that ends after what is `left`.
pub(super) fn estimate(config: &TrainConfig, time: Duration, steps: usize, left: Option<Duration>) -> Event<'static> {
    let to_come = time.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX));
    let is_long = to_come > LONG && left.is_none_or(|left| left >= to_come);
    Event::Estimate {
        to_come,
        left,
        faster: is_long.then(|| FasterTraining::than(config, to_come)).flatten(),
    }
}

#[cfg(test)]
mod tests {
    use riad_model::{Preset, ScoringSettings};

    use super::*;

    #[test]
    fn a_step_is_timed_once_without_the_first() {
        let start = Instant::now();
        let timed = |seconds: &[u64]| {
            let mut pace = Pace::default();
            let steps = seconds.iter();
            let steps = steps.map(|&seconds| pace.step(start + Duration::from_secs(seconds)));
            steps.map(|time| time.map(|time| time.as_millis())).collect::<Vec<_>>()
        };
        // Five seconds are enough.
        assert_eq!(timed(&[60, 62, 66, 67]), [None, None, Some(3000), None]);
        // So are eight steps.
        let mut steps = vec![9; 8];
        steps.extend([11, 12]);
        let mut expected = vec![None; 8];
        expected.extend([Some(250), None]);
        assert_eq!(timed(&steps), expected);
    }

    #[test]
    fn what_is_sooner_is_offered_after_an_hour_unless_the_session_ends_before() {
        let config = TrainConfig::published(Preset::Small.architecture(), ScoringSettings::for_size(128, 128));
        let offer = |steps, left| match estimate(&config, Duration::from_secs(1), steps, left) {
            Event::Estimate { to_come, faster, .. } => (to_come.as_secs(), faster.map(|faster| faster.preset)),
            other => panic!("{other:?}"),
        };
        assert_eq!(offer(125, None), (125, None));
        assert_eq!(offer(3600, None), (3600, None));
        assert_eq!(offer(10_800, None), (10_800, Some(Preset::Tiny)));
        assert_eq!(offer(10_800, Some(Duration::from_secs(60))), (10_800, None));
        assert_eq!(
            offer(10_800, Some(Duration::from_secs(10_800))),
            (10_800, Some(Preset::Tiny))
        );
    }
}
