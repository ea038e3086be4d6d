//! How long the last images took.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Of how many images the time is looked at.
const IMAGES: usize = 100;

/// The images that got their lines since the start.
#[derive(Debug, Default)]
pub(super) struct Recent {
    last: Option<Instant>,
    /// How long each of the last images took.
    times: VecDeque<Duration>,
}

impl Recent {
    /// Takes note of images that got their lines `now`, which took `all` of them this long.
    pub(super) fn note(&mut self, images: usize, all: Duration, now: Instant) {
        let Some(each) = u32::try_from(images).ok().and_then(|images| all.checked_div(images)) else {
            return;
        };
        self.last = Some(now);
        for _ in 0..images.min(IMAGES) {
            if self.times.len() == IMAGES {
                self.times.pop_front();
            }
            self.times.push_back(each);
        }
    }

    /// How long ago the last of them got its line.
    pub(super) fn since_last(&self, now: Instant) -> Option<Duration> {
        self.last.map(|last| now.saturating_duration_since(last))
    }

    /// The time that half of the last images took at most.
    pub(super) fn median(&self) -> Option<Duration> {
        let mut times: Vec<_> = self.times.iter().copied().collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_hundred_images_count_each_with_its_share_of_a_batch() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut recent = Recent::default();
        assert_eq!((recent.since_last(after(60)), recent.median()), (None, None));
        // The 4 of this batch took a second each, and count as 4 of the 101, of which the first is forgotten.
        recent.note(1, Duration::from_secs(600), after(1));
        recent.note(4, Duration::from_secs(4), after(5));
        assert_eq!(recent.median(), Some(Duration::from_secs(1)));
        for _ in 0..48 {
            recent.note(2, Duration::from_millis(90), after(70));
        }
        assert_eq!(recent.times.len(), IMAGES);
        assert!(recent.times.iter().all(|time| time.as_secs() < 2));
        assert_eq!(recent.median(), Some(Duration::from_millis(45)));
        // No image, no time.
        recent.note(0, Duration::from_secs(9), after(80));
        assert_eq!(recent.since_last(after(100)), Some(Duration::from_secs(30)));
    }
}
