//! `riad watch`.
//!
//! The folder is looked at again and again instead of having the system report changes: that works on every file system,
//! network shares included, and what was missed before a restart is found in the same way as what comes after it.
//!
//! For each image, in this order: scored; placed in the folder for defects; its line written; and with `--by move` removed.
//! Each step can be done again without harm if a kill comes before the next, so each is done once in the end. An image with
//! which a step cannot be done keeps no other from its own: it is told, and tried again every time the folder is looked at.

mod aside;
mod folder;
mod journal;

use std::{
    collections::{HashMap, HashSet},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use riad::{Detector, Error, Found, Threshold, names::plain};
use riad_data::DataError;
use tracing::{info, warn};

use self::{
    aside::Aside,
    folder::{Folder, Identity, Image},
    journal::{Journal, Line, Verdict},
};
use crate::{Ending, args::WatchArgs, console::Console, interrupt, shell::shell_quoted, way_out::told};

/// Images whose lines are written at once.
const BATCH: usize = 4;

/// How often to look for Ctrl-C while there is nothing to do.
const NAP: Duration = Duration::from_millis(50);

pub(crate) fn run(args: &WatchArgs) -> Result<Ending> {
    let end = interrupt::Watch::start(None);
    let compute = args.compute.compute()?;
    let model = Detector::open_with(&args.model, args.images.bands.clone(), &compute)?;
    let bands = &model.reader().pattern.clone();
    let threshold = args.verdict.threshold(&model)?;
    if !args.folder.is_dir() {
        bail!("{} is no folder that could be watched", args.folder.display());
    }
    let aside = args
        .defects
        .as_ref()
        .map(|defects| Aside::new(defects, args.by, &args.folder, bands.clone()))
        .transpose()?;
    let (journal, lines) = Journal::open(&args.out)?;
    let done: HashMap<_, _> = lines
        .iter()
        .map(|line| (line.identity(), line.is_defective()))
        .collect();
    info!(
        "watching {}; {} holds the results of {} images; Ctrl-C ends",
        shell_quoted(&args.folder),
        shell_quoted(&args.out),
        done.len()
    );
    let mut folder = Folder::new(args.folder.clone(), bands.clone(), args.settle);
    let mut station = Station {
        model,
        console: Console::default(),
        threshold,
        aside,
        journal,
        done,
        unplaced: HashMap::new(),
        placed: HashSet::new(),
        told: HashSet::new(),
    };
    while end.reason().is_none() {
        let settled = folder.settled(Instant::now());
        station.finish(&settled, &folder)?;
        station.inspect(settled, &folder, &end)?;
        let looked = Instant::now();
        while end.reason().is_none() && looked.elapsed() < args.interval.max(NAP) {
            thread::sleep(NAP);
        }
    }
    info!(
        "{} holds the results of {} images",
        shell_quoted(&args.out),
        station.done.len()
    );
    Ok(Ending::Done)
}

/// What images are judged with and where the results go.
struct Station {
    model: Detector,
    console: Console,
    threshold: Option<Threshold>,
    aside: Option<Aside>,
    journal: Journal,
    /// The images that have a line, and whether it calls them defective.
    done: HashMap<Identity, bool>,
    /// The lines of defects that could not be set aside yet, which are not in the file before they are.
    unplaced: HashMap<Identity, Line>,
    /// Defects that were set aside, but could not be removed yet.
    placed: HashSet<Identity>,
    /// The images with which something was wrong that may pass, so that it is told once.
    told: HashSet<Identity>,
}

impl Station {
    /// Does what is left to do for defects that were scored before: sets those aside that could not be, and removes those
    /// that have their line but are still there, or some of their files, because a kill came between or they could not be
    /// removed.
    fn finish(&mut self, settled: &[Image], folder: &Folder) -> Result<()> {
        if self.aside.is_none() {
            return Ok(());
        }
        // What is gone, or is another image now, waits for nothing any more.
        let there: HashSet<_> = settled.iter().map(|image| &image.identity).collect();
        self.unplaced.retain(|identity, _| there.contains(identity));
        self.placed.retain(|identity| there.contains(identity));
        let waiting = settled
            .iter()
            .filter(|image| self.unplaced.contains_key(&image.identity));
        for image in waiting.cloned().collect::<Vec<_>>() {
            if folder.still_has(&image)
                && self.set_aside(&image)
                && let Some(line) = self.unplaced.remove(&image.identity)
            {
                self.journal.append(std::slice::from_ref(&line))?;
                self.done.insert(line.identity(), line.is_defective());
            }
        }
        if !self.aside.as_ref().is_some_and(Aside::moves) {
            return Ok(());
        }
        for image in settled {
            if image.missing.is_some() {
                // Some of its files were removed before the kill. What comes under the same name later is newer.
                let removed = |(done, is_defective): (&Identity, &bool)| {
                    let Identity { path, modified, .. } = &image.identity;
                    *is_defective && done.path == *path && *modified <= done.modified
                };
                let has_place = || {
                    self.aside
                        .as_ref()
                        .is_some_and(|aside| aside.has(image).unwrap_or(false))
                };
                if self.done.iter().any(removed) && has_place() {
                    self.remove(image);
                }
            } else if self.done.get(&image.identity) == Some(&true) && folder.still_has(image) {
                // Whether it was set aside before a kill is not known.
                if self.placed.contains(&image.identity) || self.set_aside(image) {
                    self.remove(image);
                }
            }
        }
        Ok(())
    }

    /// Sets an image aside; whether it is. Why it is not is told once, and it is tried again.
    fn set_aside(&mut self, image: &Image) -> bool {
        let placed = self.aside.as_ref().map_or(Ok(()), |aside| aside.place(image));
        self.tell_once(image, placed)
    }

    /// Removes an image that was set aside. Why it cannot be removed is told once, and it is tried again.
    fn remove(&mut self, image: &Image) {
        let removed = self.aside.as_ref().map_or(Ok(()), |aside| aside.remove(image));
        if !self.tell_once(image, removed) {
            self.placed.insert(image.identity.clone());
        }
    }

    /// Whether something was done with an image; if not, the reason is told once.
    fn tell_once(&mut self, image: &Image, result: Result<()>) -> bool {
        match result {
            Ok(()) => {
                self.told.remove(&image.identity);
                true
            }
            Err(error) => {
                if self.told.insert(image.identity.clone()) {
                    warn!("{error:#}; trying again");
                }
                false
            }
        }
    }

    /// Does all that is to do for the images that have no line yet, until there is a reason to end.
    fn inspect(&mut self, settled: Vec<Image>, folder: &Folder, end: &interrupt::Watch) -> Result<()> {
        let mut fresh: Vec<Image> = settled;
        fresh.retain(|image| {
            let is_known = self.done.contains_key(&image.identity) || self.unplaced.contains_key(&image.identity);
            !is_known && self.is_whole(image, folder)
        });
        let files = fresh.iter().map(|image| image.file.clone()).collect();
        let mut found = fresh
            .into_iter()
            .zip(self.model.inspect_many(files).map(|(_, found)| found));
        while end.reason().is_none() {
            let batch: Vec<_> = found.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                break;
            }
            self.batch(batch, folder)?;
        }
        Ok(())
    }

    /// Whether all files of an image are there; if not, what is missing is told once.
    fn is_whole(&mut self, image: &Image, folder: &Folder) -> bool {
        let Some(missing) = &image.missing else { return true };
        if folder.still_has(image) && self.told.insert(image.identity.clone()) {
            warn!(
                "{} is missing; {} is scored when it is there",
                missing.display(),
                image.identity.path
            );
        }
        false
    }

    fn batch(&mut self, mut batch: Vec<(Image, riad::Result<Found>)>, folder: &Folder) -> Result<()> {
        // One that changed while it was read is another image, and is complete when that is.
        batch.retain(|(image, _)| folder.still_has(image));
        let mut results = Vec::with_capacity(batch.len());
        for (image, found) in batch {
            let mut line = Line::of(image.identity.clone());
            match found {
                Ok(found) => {
                    if let Some(facts) = found.file_facts() {
                        self.console.note(&image.file, facts);
                    }
                    self.judge(&mut line, found.score());
                }
                // The device's: nothing can be scored any more.
                Err(error) if error.path().is_none() => return Err(error.into()),
                // Access may come back, and does not show in the file's size or time.
                Err(Error::Data(error @ DataError::Io { .. })) => {
                    if self.told.insert(image.identity) {
                        warn!("{error}; trying again");
                    }
                    continue;
                }
                Err(error) => {
                    self.console.note_error(&error);
                    let error = told(&error);
                    warn!("{error}");
                    line.error = Some(plain(&error));
                }
            }
            results.push((image, line));
        }

        let mut lines = Vec::with_capacity(results.len());
        let mut defects = Vec::new();
        for (image, line) in results {
            if line.is_defective() && self.aside.is_some() && folder.still_has(&image) {
                if !self.set_aside(&image) {
                    self.unplaced.insert(image.identity, line);
                    continue;
                }
                defects.push(image);
            }
            lines.push(line);
        }
        self.journal.append(&lines)?;
        for line in &lines {
            self.done.insert(line.identity(), line.is_defective());
        }
        if self.aside.as_ref().is_some_and(Aside::moves) {
            for image in defects.iter().filter(|image| folder.still_has(image)) {
                self.remove(image);
            }
        }
        Ok(())
    }

    fn judge(&self, line: &mut Line, score: f32) {
        line.score = Some(score);
        if let Some(threshold) = &self.threshold {
            let verdict = threshold.verdict(score);
            if verdict.is_defective() {
                info!("{} is defective: {score}", line.identity().path);
            }
            line.p_value = Some(threshold.p_value(score));
            line.verdict = Some(if verdict.is_defective() {
                Verdict::Defective
            } else {
                Verdict::Good
            });
        }
    }
}
