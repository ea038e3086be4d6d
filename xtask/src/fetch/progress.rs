//! Progress over bytes: a bar on a terminal, a line every ten per cent elsewhere.

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

/// Steps in which a log, where no bar can be drawn, is told of progress.
const PLAIN_STEP_PERCENT: u64 = 10;

pub(crate) struct Progress {
    bar: ProgressBar,
    label: String,
    total: Option<u64>,
    next_plain_percent: u64,
}

impl Progress {
    /// `total` in bytes, where it is known; the work may start at `position` (a resumed download).
    pub(crate) fn start(label: &str, position: u64, total: Option<u64>) -> Self {
        let (bar, template) = match total {
            Some(total) => (
                ProgressBar::new(total),
                "{prefix} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta} left",
            ),
            None => (
                ProgressBar::no_length(),
                "{prefix} {spinner} {bytes} {binary_bytes_per_sec}",
            ),
        };
        // A template that does not parse is an error in this file; the default style shows the same numbers.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(label.to_owned());
        bar.set_position(position);
        bar.reset_eta();
        let done = total.map_or(0, |total| percent(position, total));
        let next_plain_percent = (done / PLAIN_STEP_PERCENT + 1) * PLAIN_STEP_PERCENT;
        Self {
            bar,
            label: label.to_owned(),
            total,
            next_plain_percent,
        }
    }

    pub(crate) fn set(&mut self, position: u64) {
        self.bar.set_position(position);
        let Some(total) = self.total.filter(|_| self.bar.is_hidden()) else {
            return;
        };
        let done = percent(position, total);
        if done >= self.next_plain_percent {
            eprintln!("{}: {done} % of {}", self.label, HumanBytes(total));
            self.next_plain_percent = (done / PLAIN_STEP_PERCENT + 1) * PLAIN_STEP_PERCENT;
        }
    }
}

impl Drop for Progress {
    /// Clears the bar, whether the work succeeded or not, so that the next line starts on a clean one.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn percent(position: u64, total: u64) -> u64 {
    let share = u128::from(position) * 100 / u128::from(total.max(1));
    u64::try_from(share).unwrap_or(100).min(100)
}
