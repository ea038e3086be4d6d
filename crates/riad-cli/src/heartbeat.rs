//! A line every now and then that tells whoever looks on that the line is being watched, and how it goes.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use riad::Counts;
use riad_data::counted;
use tracing::info;

use crate::progress::cut;

/// Columns of a line, at most.
const COLUMNS: usize = 80;

/// Of how many images the time is looked at.
const TIMES: usize = 100;

pub(crate) struct Heartbeat {
    /// Zero for never.
    every: Duration,
    told: Instant,
    last_image: Option<Instant>,
    /// How long each of the last images took.
    times: VecDeque<Duration>,
}

impl Heartbeat {
    pub(crate) fn new(every: Duration, now: Instant) -> Self {
        Self {
            every,
            told: now,
            last_image: None,
            times: VecDeque::with_capacity(TIMES),
        }
    }

    /// Takes note of images that got their lines, which took `all` of them this long.
    pub(crate) fn note(&mut self, images: usize, all: Duration, now: Instant) {
        let Some(each) = u32::try_from(images).ok().and_then(|images| all.checked_div(images)) else {
            return;
        };
        self.last_image = Some(now);
        for _ in 0..images.min(TIMES) {
            if self.times.len() == TIMES {
                self.times.pop_front();
            }
            self.times.push_back(each);
        }
    }

    /// Tells how it goes, if it is time to.
    pub(crate) fn beat(&mut self, counts: Counts, now: Instant) {
        if !self.every.is_zero() && now.duration_since(self.told) >= self.every {
            self.told = now;
            info!("{}", self.line(counts, now));
        }
    }

    fn line(&self, counts: Counts, now: Instant) -> String {
        let Counts {
            images,
            defects,
            backlog,
            ..
        } = counts;
        let mut line = format!("{images} done, {}, backlog {backlog}", counted(defects, "defect"));
        match self.last_image {
            None => line += ", none yet",
            Some(last) => line += &format!(", last {} s ago", now.duration_since(last).as_secs()),
        }
        let mut times: Vec<_> = self.times.iter().collect();
        times.sort_unstable();
        if let Some(median) = times.get(times.len() / 2) {
            line += &format!(", median {:.3} s", median.as_secs_f64());
        }
        cut(line, COLUMNS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_how_it_goes_in_80_columns() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let counts = |images, defects, backlog| {
            let mut counts = Counts::default();
            (counts.images, counts.defects, counts.backlog) = (images, defects, backlog);
            counts
        };
        let mut heartbeat = Heartbeat::new(Duration::from_secs(60), start);
        assert_eq!(
            heartbeat.line(counts(3, 1, 0), after(60)),
            "3 done, 1 defect, backlog 0, none yet"
        );
        // The 4 of this batch took a second each, and count as 4 of the 101, of which the first is forgotten.
        heartbeat.note(1, Duration::from_secs(600), after(1));
        heartbeat.note(4, Duration::from_secs(4), after(5));
        for _ in 0..48 {
            heartbeat.note(2, Duration::from_millis(90), after(70));
        }
        assert_eq!(heartbeat.times.len(), TIMES);
        assert!(heartbeat.times.iter().all(|time| time.as_secs() < 2));
        assert_eq!(
            heartbeat.line(counts(1_234_567, 123_456, 123_456), after(123_526)),
            "1234567 done, 123456 defects, backlog 123456, last 123456 s ago, median 0.045 s"
        );
        assert!(
            heartbeat
                .line(counts(usize::MAX, usize::MAX, usize::MAX), after(123_526))
                .chars()
                .count()
                == COLUMNS
        );
        // No image, no time.
        heartbeat.note(0, Duration::from_secs(9), after(80));
        assert_eq!(heartbeat.last_image, Some(after(70)));
    }
}
