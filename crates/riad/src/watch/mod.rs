//! Watches a folder that pictures come into. Each picture is scored once. What is not good, because it has a defect or does not show
//! this product, is put into another folder: the folder for defects.
//!
//! The program looks at the folder again and again. It does not use the system's reports of changes. So it works on
//! every file system, also on network shares, and it finds old and new images in the same way after a restart.
//!
//! Each image takes these steps, in this order: it is scored; its map is written; a defect is put into the folder for
//! defects; its line is written; with [`Transfer::Move`] it is removed. After a kill a step may be repeated, and repeating it
//! does no harm. If a step fails for an image, the observer gets an event, the step is tried again at each look, and
//! the other images go on.

mod aside;
mod folder;
mod journal;
mod known;
mod line;
mod recent;
mod station;
mod transfer;

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use self::{
    aside::Aside,
    journal::{Journal, Opened},
    known::Known,
    line::Origin,
    recent::Recent,
    station::{Left, Worker},
};
pub use self::{
    folder::{Folder, Identity, Image},
    transfer::Transfer,
};
use crate::{Cancel, Counts, Detector, Error, Event, FalsePositiveRate, Observer, Result, files::resolved, maps::Maps};

/// How often to look for a reason to stop while there is nothing to do.
const NAP: Duration = Duration::from_millis(50);

/// What to watch, and what to do with the images.
#[derive(Debug)]
pub struct Options {
    /// The folder that images come into, with its subfolders.
    pub folder: PathBuf,
    /// The file that lines are added to: `.csv` or `.jsonl`.
    pub out: PathBuf,
    /// The false-positive rate of verdicts. `None`: there are no verdicts.
    pub rate: Option<FalsePositiveRate>,
    /// The folder for images whose [verdict](crate::Verdict) is not good, and how they get there. It must lie outside of the watched folder.
    pub defects: Option<(PathBuf, Transfer)>,
    /// The folder for maps, if maps are written. It must lie outside of the watched folder.
    pub maps: Option<Maps>,
    /// An image is complete if it has not changed for this time.
    pub settle: Duration,
    /// How often to look at the folder.
    pub interval: Duration,
    /// Whether to end when every image has its line. Then an image that keeps changing for 100 times `settle` is left
    /// out.
    pub once: bool,
}

impl Options {
    /// Adds lines about the images in `folder` to `out`, with `settle` of two seconds and `interval` of one second.
    pub fn new(folder: impl Into<PathBuf>, out: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            out: out.into(),
            rate: None,
            defects: None,
            maps: None,
            settle: Duration::from_secs(2),
            interval: Duration::from_secs(1),
            once: false,
        }
    }

    /// Checks that what is written does not come to lie where images are looked for, nor maps among defects.
    fn check(&self) -> Result<()> {
        let apart = |folder: &Path, other: &Path| {
            let (inner, outer) = (resolved(folder), resolved(other));
            if inner.starts_with(&outer) || outer.starts_with(&inner) {
                return Err(Error::Within {
                    folder: folder.to_owned(),
                    other: other.to_owned(),
                });
            }
            Ok(())
        };
        if let Some((defects, _)) = &self.defects {
            apart(defects, &self.folder)?;
        }
        if let Some(maps) = &self.maps {
            apart(maps.folder(), &self.folder)?;
            if let Some((defects, _)) = &self.defects {
                apart(maps.folder(), defects)?;
            }
        }
        Ok(())
    }
}

/// How watching ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchOutcome {
    /// It was cancelled.
    Cancelled,
    /// Every image has its line, and no step has failed.
    Whole,
    /// Every image has its line, but a step has failed for one, or one was left out because it kept changing.
    Incomplete,
}

/// A folder under watch.
///
/// ```no_run
/// use riad::{FalsePositiveRate, Cancel, Detector, watch};
///
/// let detector = Detector::options().identified(true).open("runs/lid")?;
/// let mut options = watch::Options::new("inbox", "today.csv");
/// options.rate = Some(FalsePositiveRate::new(0.05));
/// options.defects = Some(("rejects".into(), watch::Transfer::Move));
/// let mut station = watch::Station::open(detector, options, &())?;
/// // Until another thread cancels it.
/// station.run(&Cancel::new(), &())?;
/// # Ok::<(), riad::Error>(())
/// ```
#[derive(Debug)]
pub struct Station {
    worker: Worker,
    folder: Folder,
    interval: Duration,
    once: bool,
}

impl Station {
    /// Opens the file of lines, or begins one, and locks it against other processes. Lines name the detector by its
    /// [id](Detector::id), so open the detector [identified](crate::DetectorOptions::identified).
    ///
    /// # Errors
    /// If the folder is not a folder, if output would lie in it, if the model is not calibrated for the rate, or if the
    /// file is not one of lines.
    pub fn open(detector: Detector, options: Options, observer: &dyn Observer) -> Result<Self> {
        let threshold = options.rate.map(|rate| detector.threshold(rate)).transpose()?;
        let Some(model) = detector.id().map(str::to_owned) else {
            return Err(Error::request("a model that watches is opened with its id"));
        };
        if !options.folder.is_dir() {
            return Err(Error::NoImages(format!(
                "{} is not a folder, so it cannot be watched",
                options.folder.display()
            )));
        }
        options.check()?;
        let bands = detector.reader().pattern.clone();
        let maps = options.maps.as_ref().map(|maps| maps.folder().to_owned());
        let results = options.defects.as_ref().map(|(defects, _)| defects.clone());
        let results = results.into_iter().chain(maps).collect();
        let aside = options
            .defects
            .map(|(defects, transfer)| Aside::new(&defects, transfer, &options.folder, bands.clone()))
            .transpose()?;
        let (journal, Opened { lines, is_torn }) = Journal::open(&options.out)?;
        if is_torn {
            observer.event(&Event::Torn(&options.out));
        }
        let worker = Worker {
            origin: Origin {
                threshold: threshold.as_ref().map(|threshold| threshold.value()),
                rate: options.rate.map(|rate| rate.rate),
                model,
            },
            detector,
            threshold,
            maps: options.maps,
            aside,
            journal,
            known: Known::of(lines),
            left: Left::default(),
            recent: Recent::default(),
        };
        Ok(Self {
            worker,
            folder: Folder::new(options.folder, bands, options.settle).apart_from(results),
            interval: options.interval,
            once: options.once,
        })
    }

    /// How it goes.
    pub fn counts(&self) -> Counts {
        self.worker.counts()
    }

    /// Looks at the folder until it is cancelled. With `once` it ends when every image has its line.
    ///
    /// # Errors
    /// If the file of lines can no longer be written, or the device fails.
    pub fn run(&mut self, cancel: &Cancel, observer: &dyn Observer) -> Result<WatchOutcome> {
        while cancel.reason().is_none() {
            let now = Instant::now();
            let settled = self.folder.settled(now, observer);
            let worker = &mut self.worker;
            worker.look(&self.folder);
            worker.finish(&settled, &self.folder, observer)?;
            worker.inspect(&settled, &self.folder, cancel, observer)?;
            let restless = self.folder.restless(now);
            let is_all = settled.len() + restless.len() == self.folder.images().len();
            if self.once && cancel.reason().is_none() && is_all && worker.is_through(&settled) {
                for file in &restless {
                    let file = (*file).to_owned();
                    observer.event(&Event::Fault(&Error::Restless { file }));
                }
                let is_whole = worker.is_whole_for(&settled) && restless.is_empty() && !self.folder.has_troubles();
                return Ok(if is_whole {
                    WatchOutcome::Whole
                } else {
                    WatchOutcome::Incomplete
                });
            }
            let looked = Instant::now();
            while cancel.reason().is_none() && looked.elapsed() < self.interval.max(NAP) {
                observer.event(&Event::Watching(worker.counts()));
                thread::sleep(NAP);
            }
        }
        Ok(WatchOutcome::Cancelled)
    }
}
