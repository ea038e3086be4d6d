//! How callers follow work that takes a while, and how they stop it.

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use riad_data::{FileFacts, counted};
use riad_model::{EpochRecord, LossTerms, Method, TrainConfig};

use crate::{Error, FasterTraining, Judgement};

/// Gets the events of long work. [`()`](unit) ignores them.
///
/// ```
/// use riad::{Event, Observer};
///
/// /// Prints how far the work is.
/// struct Lines;
///
/// impl Observer for Lines {
///     fn event(&self, event: &Event<'_>) {
///         if let Event::Progress { done, total } = event {
///             println!("{done} of {total}");
///         }
///     }
/// }
/// ```
pub trait Observer: Sync {
    /// Something happened. Work waits until this returns. While images are read, several threads may tell of progress at once.
    fn event(&self, event: &Event<'_>);
}

impl Observer for () {
    fn event(&self, _: &Event<'_>) {}
}

/// An event of long work.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A piece of work begins. Only one piece is done at a time.
    Began {
        /// What it is.
        work: Work<'a>,
        /// How much of it is done already.
        done: usize,
        /// How much there is: images, or steps of training.
        total: usize,
    },
    /// The piece of work goes on. Training sends [`Event::Step`] instead.
    Progress {
        /// How much of it is done.
        done: usize,
        /// How much there is.
        total: usize,
    },
    /// The piece of work is done, or was stopped.
    Ended,
    /// An image was read.
    Read {
        /// Its file, of several the first.
        path: &'a Path,
        /// What was found in it beside its values.
        found: FileFacts,
    },
    /// An image or file cannot be used. The work goes on without it.
    Fault(&'a Error),
    /// The training images have chosen the method.
    Chosen {
        /// The method.
        method: Method,
        /// How much edges lie at the same places in all images; see [`Alignment`](riad_model::Alignment).
        alignment: f64,
        /// The number of images that were looked at.
        images: usize,
    },
    /// There are too few images to hold some out for a threshold.
    TooFewToCalibrate {
        /// How many there are.
        images: usize,
        /// How many it takes.
        needed: usize,
    },
    /// Training begins, or goes on.
    Training(Session<'a>),
    /// The first steps of a session are timed, which tells how long the others take on this machine.
    Estimate {
        /// The time of all steps that are left, as far as is known now.
        to_come: Duration,
        /// Time until the session ends, if it has an end.
        left: Option<Duration>,
        /// A training that ends sooner, if this one takes more than an hour and nothing ends it before.
        faster: Option<FasterTraining>,
    },
    /// A step of training is done.
    Step {
        /// The epoch, from 1.
        epoch: usize,
        /// The loss of the epoch's steps so far.
        loss: LossTerms,
        /// Steps of all epochs that are done.
        done: usize,
        /// Steps of all epochs, as far as is known now.
        total: usize,
    },
    /// An epoch of training is done.
    Epoch {
        /// Its losses.
        record: &'a EpochRecord,
        /// Whether its weights are the best so far.
        best: bool,
        /// The last epoch, as far as is known now.
        last: usize,
    },
    /// The run has finished.
    Finished {
        /// How many epochs it had.
        epochs: usize,
        /// The epoch whose weights are kept.
        kept: usize,
        /// Their validation loss, if that chose them.
        loss: Option<f64>,
    },
    /// Training stops here, and can be resumed.
    Stopped {
        /// Epochs that are done.
        epochs: usize,
        /// Why.
        stop: Stop,
    },
    /// A file beside the training cannot be written. Training goes on without it.
    LeftOut {
        /// What.
        what: &'static str,
        /// Why not.
        cause: &'a Error,
    },
    /// A person should look at some of the good images.
    Suspects {
        /// Their names.
        names: &'a [&'a str],
        /// How many images were looked at.
        looked_at: usize,
        /// What those that look unlike the others do to the threshold, if there is one.
        effect: Option<&'a str>,
        /// The list of their names, with a page of pictures beside it.
        list: &'a Path,
    },
    /// The weights are calibrated.
    Calibrated(&'a riad_core::Calibration),
    /// An image in the watched folder does not show a good product.
    Rejected {
        /// Its path below the folder.
        image: &'a str,
        /// Its score.
        score: f32,
        /// Whether it has a defect or is not this product.
        judgement: &'a Judgement,
    },
    /// A step has failed for an image in the watched folder, and is tried again.
    Waiting(&'a Error),
    /// An image in the watched folder lacks one of its files.
    Missing {
        /// The file.
        file: &'a Path,
        /// The image's path below the folder.
        image: &'a str,
    },
    /// The map of an image cannot be written.
    NoMap {
        /// The image's file.
        file: &'a Path,
        /// Why not.
        cause: &'a Error,
    },
    /// A kill cut off the last line of a file. Its image is scored again.
    Torn(&'a Path),
    /// Watching goes on.
    Watching(Counts),
    /// A mask marks more than half of its image. It counts as it is, but it is most probably inverted or another image's.
    LargeMask {
        /// Its file, of several the first.
        file: &'a Path,
        /// How much of the image it marks, in (0.5, 1].
        share: f64,
    },
    /// A picture is given twice. It counts once.
    Duplicate {
        /// The one that is left out.
        path: &'a Path,
        /// The other.
        other: &'a Path,
    },
}

/// A piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Work<'a> {
    /// All training images are read once, to check them.
    Reading,
    /// The category of this name is trained.
    Training(&'a str),
    /// Good images are scored for thresholds.
    Calibrating,
    /// Maps of training images are averaged.
    Normal,
    /// Good images are read to learn what they look like as a whole.
    Appearance,
    /// Training images are scored to find unusual ones.
    Suspects,
    /// The category of this name is measured.
    Measuring(&'a str),
}

impl Work<'_> {
    /// What is counted: `step` in training, otherwise `image`.
    pub fn unit(&self) -> &'static str {
        match self {
            Self::Training(_) => "step",
            _ => "image",
        }
    }
}

impl fmt::Display for Work<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Training(name) | Self::Measuring(name) => name,
            Self::Reading => "reading images",
            Self::Calibrating => "calibrating",
            Self::Normal => "what is normal",
            Self::Appearance => "what images look like",
            Self::Suspects => "looking for unusual images",
        })
    }
}

/// A piece of work under way, which ends with it however it does.
pub(crate) struct Piece<'a>(&'a dyn Observer);

impl<'a> Piece<'a> {
    /// Tells that it begins.
    pub(crate) fn begin(observer: &'a dyn Observer, work: Work<'_>, done: usize, total: usize) -> Self {
        observer.event(&Event::Began { work, done, total });
        Self(observer)
    }
}

impl Drop for Piece<'_> {
    fn drop(&mut self) {
        self.0.event(&Event::Ended);
    }
}

/// How watching a folder goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Images that have a line.
    pub images: usize,
    /// Images with a line that do not show a good product.
    pub rejects: usize,
    /// Images in the folder without a line.
    pub backlog: usize,
    /// Time since the last image got its line. `None` if none did since the start.
    pub since_last: Option<Duration>,
    /// Median time of the last hundred images. `None` if none got its line since the start.
    pub median: Option<Duration>,
}

impl fmt::Display for Counts {
    /// As a line of text: `1204 done, 17 rejects, backlog 3, last 2 s ago, median 0.045 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            images,
            rejects,
            backlog,
            ..
        } = *self;
        write!(f, "{images} done, {}, backlog {backlog}", counted(rejects, "reject"))?;
        match self.since_last {
            None => f.write_str(", none yet")?,
            Some(since) => write!(f, ", last {} s ago", since.as_secs())?,
        }
        match self.median {
            None => Ok(()),
            Some(median) => write!(f, ", median {:.3} s", median.as_secs_f64()),
        }
    }
}

/// A session of training.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Session<'a> {
    /// The run's folder.
    pub folder: &'a Path,
    /// The name of the category.
    pub category: &'a str,
    /// The settings of training.
    pub config: &'a TrainConfig,
    /// The device: `cpu`, `cuda` or `metal`.
    pub device: &'static str,
    /// Numbers of images: trained on, held out for validation, and those that thresholds come from. With restoration the last include
    /// those for validation.
    pub images: [usize; 3],
    /// Epochs that are done.
    pub epochs: usize,
    /// Steps of the next epoch that are done.
    pub steps: usize,
    /// Steps of an epoch.
    pub steps_of_epoch: usize,
    /// The last epoch, as far as is known now.
    pub last: usize,
    /// Time until the session ends, if it has an end.
    pub left: Option<Duration>,
}

/// Why work was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A caller asked for it.
    Asked,
    /// The time is up.
    Time,
}

/// Stops work: from another thread, from a signal handler, or after a time. [`cancel`](Self::cancel) stops all clones.
/// Each clone has its own time limit.
///
/// ```
/// use riad::{Cancel, Stop};
///
/// let cancel = Cancel::new();
/// assert_eq!(cancel.reason(), None);
/// cancel.clone().cancel();
/// assert_eq!(cancel.reason(), Some(Stop::Asked));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    asked: Arc<AtomicBool>,
    until: Option<Instant>,
}

impl Cancel {
    /// Stops nothing until [`cancel`](Self::cancel) is called.
    pub fn new() -> Self {
        Self::default()
    }

    /// Also stops after `time` from now. A time beyond what the clock can hold never ends.
    pub fn after(mut self, time: Duration) -> Self {
        self.until = Instant::now().checked_add(time);
        self
    }

    /// The same without a time limit.
    pub(crate) fn without_limit(&self) -> Self {
        Self {
            until: None,
            ..self.clone()
        }
    }

    /// Asks the work of all clones to stop at the next good place.
    pub fn cancel(&self) {
        self.asked.store(true, Ordering::SeqCst);
    }

    /// The reason to stop now, if there is one.
    pub fn reason(&self) -> Option<Stop> {
        if self.asked.load(Ordering::SeqCst) {
            return Some(Stop::Asked);
        }
        let is_over = self.until.is_some_and(|until| Instant::now() >= until);
        is_over.then_some(Stop::Time)
    }

    /// The time that is left, if there is a limit.
    pub fn left(&self) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_a_line_of_text() {
        let mut counts = Counts {
            images: 3,
            rejects: 1,
            ..Counts::default()
        };
        assert_eq!(counts.to_string(), "3 done, 1 reject, backlog 0, none yet");
        counts = Counts {
            images: 1_234_567,
            rejects: 123_456,
            backlog: 123_456,
            since_last: Some(Duration::from_millis(123_456_789)),
            median: Some(Duration::from_millis(45)),
        };
        assert_eq!(
            counts.to_string(),
            "1234567 done, 123456 rejects, backlog 123456, last 123456 s ago, median 0.045 s"
        );
    }
}
