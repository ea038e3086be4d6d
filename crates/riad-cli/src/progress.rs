//! Progress of long work: a bar on a terminal, a line every few seconds elsewhere.

use std::{
    io::{self, IsTerminal},
    sync::LazyLock,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tracing::{debug, info, level_filters::LevelFilter};

use riad::{names, speed::in_short};

/// Least time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Columns that a bar's name and the details behind it take at most: with the rest, whose most is in
/// `bar 100%  100 days left  `, a line has less than 80.
const PREFIX: usize = 18;
const MESSAGE: usize = 30;

/// All bars, so that whoever prints can get them out of the way.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Runs `print` with the bars cleared from the terminal.
pub(crate) fn suspended<R>(print: impl FnOnce() -> R) -> R {
    BARS.suspend(print)
}

/// A count on its way to a total.
pub(crate) struct Progress {
    what: String,
    unit: &'static str,
    total: u64,
    /// The count when this began, which took no time now.
    first: u64,
    began: Instant,
    told: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Begins at `first` of `total` units of `what` is done.
    pub(crate) fn start(what: impl AsRef<str>, unit: &'static str, first: u64, total: u64) -> Self {
        let what = names::plain(what.as_ref());
        let shown = io::stderr().is_terminal() && LevelFilter::current() >= LevelFilter::INFO;
        let bar = shown.then(|| {
            let bar = BARS.add(ProgressBar::new(total));
            // At most 80 columns, of which the last part gives way: a line that is wider than the terminal, or was before it
            // was made narrower, would leave parts of itself behind.
            let template = "{prefix} {bar:10} {percent:>3}%  {eta} left  {wide_msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("━╸─"));
            }
            bar.set_prefix(cut(what.clone(), PREFIX));
            bar.set_position(first);
            bar.reset_eta();
            bar.enable_steady_tick(Duration::from_millis(500));
            bar
        });
        let now = Instant::now();
        Self {
            what,
            unit,
            total,
            first,
            began: now,
            told: now,
            bar,
        }
    }

    /// There is less or more to do than was thought.
    pub(crate) fn set_total(&mut self, total: u64) {
        self.total = total;
        if let Some(bar) = &self.bar {
            bar.set_length(total);
        }
    }

    /// Tells that `count` units are done, and with `details` what there is to say of them.
    pub(crate) fn tell(&mut self, count: u64, details: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_position(count);
            bar.set_message(cut(details(), MESSAGE));
        } else if self.told.elapsed() >= LINE_EVERY {
            self.told = Instant::now();
            let details = details();
            let separator = if details.is_empty() { "" } else { ", " };
            info!(
                "{}: {} {count} of {}{separator}{details}, {} left",
                cut(self.what.clone(), PREFIX),
                self.unit,
                self.total,
                in_short(self.left(count))
            );
        }
    }

    /// Tells of a milestone: with a line of its own where there is no terminal, on which the bar tells enough.
    pub(crate) fn note(&self, line: impl FnOnce() -> String) {
        if self.bar.is_some() {
            debug!("{}", line());
        } else {
            info!("{}", line());
        }
    }

    /// The time that the rest will take at the pace so far.
    fn left(&self, count: u64) -> Duration {
        let done = count.saturating_sub(self.first).max(1) as f64;
        let left = self.total.saturating_sub(count) as f64;
        Duration::try_from_secs_f64(self.began.elapsed().as_secs_f64() * left / done).unwrap_or(Duration::MAX)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            BARS.remove(bar);
        }
    }
}

/// `text` in at most so many columns, of which the last one says that something was left out.
pub(crate) fn cut(text: String, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text;
    }
    text.chars().take(columns - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_to_its_columns() {
        assert_eq!(cut("größe".to_owned(), 5), "größe");
        assert_eq!(cut("größer".to_owned(), 5), "größ…");
    }
}
