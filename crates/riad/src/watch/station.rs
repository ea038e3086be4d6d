//! The steps for each image.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use riad_data::DataError;

use super::{
    aside::Aside,
    folder::{Folder, Identity, Image},
    journal::Journal,
    known::Known,
    line::{Line, Origin, Outcome},
    recent::Recent,
};
use crate::{
    Cancel, Counts, Detector, Error, Event, Inspection, Observer, Result, Threshold, maps::Maps, names::plain,
};

/// What images are judged with and where the results go.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) detector: Detector,
    pub(super) threshold: Option<Threshold>,
    pub(super) origin: Origin,
    pub(super) maps: Option<Maps>,
    pub(super) aside: Option<Aside>,
    pub(super) journal: Journal,
    pub(super) known: Known,
    pub(super) left: Left,
    pub(super) recent: Recent,
}

/// What is left to do, or could not be done.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Images in the folder without a line.
    backlog: usize,
    /// The lines of defects that could not be set aside yet, which are not in the file before they are.
    unplaced: HashMap<Identity, Line>,
    /// Defects that were set aside, but could not be removed yet.
    placed: HashSet<Identity>,
    /// The images with which something is wrong that may pass, so that it is told once.
    told: HashSet<Identity>,
    /// Whether an image could not be scored, or its map not be written.
    has_failures: bool,
}

impl Worker {
    /// Takes in what lies in the folder now. What is gone, or is another image now, waits for nothing any more.
    pub(super) fn look(&mut self, folder: &Folder) {
        let has_line = |identity: &&Identity| self.known.outcome(identity).is_some();
        self.left.backlog = folder.images().filter(|identity| !has_line(identity)).count();
        self.left.unplaced.retain(|identity, _| folder.lists(identity));
        self.left.placed.retain(|identity| folder.lists(identity));
        self.left.told.retain(|identity| folder.lists(identity));
    }

    /// How it goes.
    pub(super) fn counts(&self) -> Counts {
        Counts {
            images: self.known.images(),
            rejects: self.known.rejects(),
            backlog: self.left.backlog,
            since_last: self.recent.since_last(Instant::now()),
            median: self.recent.median(),
        }
    }

    /// Whether each of the `settled` images has its line, or was told to be impossible to look at.
    pub(super) fn is_through(&self, settled: &[Image]) -> bool {
        let is_through = |image: &Image| {
            let identity = &image.identity;
            self.known.outcome(identity).is_some() || self.left.told.contains(identity)
        };
        settled.iter().all(is_through)
    }

    /// Whether everything could be done for every image, those listed as settled included that another start has done.
    pub(super) fn is_whole_for(&self, settled: &[Image]) -> bool {
        let failed = |image: &Image| self.known.outcome(&image.identity) == Some(Outcome::Failed);
        !self.left.has_failures && self.left.told.is_empty() && !settled.iter().any(failed)
    }

    /// Does what is left to do for defects that were scored before: sets those aside that could not be, and removes those
    /// that have their line but are still there, or some of their files, because a kill came between or they could not be
    /// removed.
    pub(super) fn finish(&mut self, settled: &[Image], folder: &Folder, observer: &dyn Observer) -> Result<()> {
        if self.aside.is_none() {
            return Ok(());
        }
        let waiting = settled
            .iter()
            .filter(|image| self.left.unplaced.contains_key(&image.identity));
        for image in waiting.cloned().collect::<Vec<_>>() {
            if folder.still_has(&image)
                && self.set_aside(&image, observer)
                && let Some(line) = self.left.unplaced.remove(&image.identity)
            {
                self.write(std::slice::from_ref(&line))?;
            }
        }
        self.journal.sync()?;
        if !self.aside.as_ref().is_some_and(Aside::moves) {
            return Ok(());
        }
        for image in settled {
            if image.missing.is_some() {
                // Some of its files were removed before the kill. What comes under the same name later is newer.
                let has_place = || {
                    self.aside
                        .as_ref()
                        .is_some_and(|aside| aside.has(image).unwrap_or(false))
                };
                if self.known.was_defect(&image.identity) && has_place() {
                    self.remove(image, folder, observer)?;
                }
            } else if self.known.outcome(&image.identity) == Some(Outcome::Rejected) && folder.still_has(image) {
                // Whether it was set aside before a kill is not known.
                if self.left.placed.contains(&image.identity) || self.set_aside(image, observer) {
                    self.remove(image, folder, observer)?;
                }
            }
        }
        Ok(())
    }

    /// Sets an image aside; whether it is. Why it is not is told once, and it is tried again.
    fn set_aside(&mut self, image: &Image, observer: &dyn Observer) -> bool {
        let placed = self.aside.as_ref().map_or(Ok(()), |aside| aside.place(image));
        self.tell_once(image, placed, observer)
    }

    /// Removes an image that was set aside, unless another one has come in its place. Why it cannot be removed is told once, and it is
    /// tried again.
    fn remove(&mut self, image: &Image, folder: &Folder, observer: &dyn Observer) -> Result<()> {
        // A power cut must not take the line of an image that is no longer there.
        self.journal.sync()?;
        // Waiting for the disk takes long, so this is looked at last: what came meanwhile was not scored.
        if !folder.still_has(image) {
            return Ok(());
        }
        let removed = self.aside.as_ref().map_or(Ok(()), |aside| aside.remove(image));
        if !self.tell_once(image, removed, observer) {
            self.left.placed.insert(image.identity.clone());
        }
        Ok(())
    }

    /// Whether something was done with an image; if not, the reason is told once.
    fn tell_once(&mut self, image: &Image, result: Result<()>, observer: &dyn Observer) -> bool {
        match result {
            Ok(()) => {
                self.left.told.remove(&image.identity);
                true
            }
            Err(error) => {
                if self.left.told.insert(image.identity.clone()) {
                    observer.event(&Event::Waiting(&error));
                }
                false
            }
        }
    }

    /// Adds lines to the file.
    fn write(&mut self, lines: &[Line]) -> Result<()> {
        self.journal.append(lines)?;
        for line in lines {
            self.known.note(line);
            self.left.told.remove(&line.identity());
        }
        self.left.backlog = self.left.backlog.saturating_sub(lines.len());
        Ok(())
    }

    /// Does all that is to do for the images that have no line yet, until there is a reason to stop.
    pub(super) fn inspect(
        &mut self,
        settled: &[Image],
        folder: &Folder,
        cancel: &Cancel,
        observer: &dyn Observer,
    ) -> Result<()> {
        let mut fresh = Vec::new();
        for image in settled {
            let is_known =
                self.known.outcome(&image.identity).is_some() || self.left.unplaced.contains_key(&image.identity);
            if is_known || !self.is_whole(image, folder, observer) {
                continue;
            }
            match folder.check_written(image) {
                Ok(()) => fresh.push(image.clone()),
                failed => drop(self.tell_once(image, failed, observer)),
            }
        }
        if fresh.is_empty() {
            return Ok(());
        }
        let files: Vec<_> = fresh.iter().map(|image| image.file.clone()).collect();
        let found = self.detector.inspect_many(files).map(|(_, found)| found);
        let mut found = fresh.into_iter().zip(found);
        while cancel.reason().is_none() {
            let began = Instant::now();
            let batch: Vec<_> = found.by_ref().take(self.detector.batch_size()).collect();
            if batch.is_empty() {
                break;
            }
            let images = self.batch(batch, folder, observer)?;
            self.recent.note(images, began.elapsed(), Instant::now());
            observer.event(&Event::Watching(self.counts()));
        }
        self.journal.sync()
    }

    /// Whether all files of an image are there; if not, what is missing is told once.
    fn is_whole(&mut self, image: &Image, folder: &Folder, observer: &dyn Observer) -> bool {
        let Some(missing) = &image.missing else { return true };
        if folder.still_has(image) && self.left.told.insert(image.identity.clone()) {
            observer.event(&Event::Missing {
                file: missing,
                image: &image.identity.path,
            });
        }
        false
    }

    /// Does all steps for some images, and gives how many got their lines.
    fn batch(
        &mut self,
        mut batch: Vec<(Image, Result<Inspection>)>,
        folder: &Folder,
        observer: &dyn Observer,
    ) -> Result<usize> {
        // One that changed while it was read is another image, and is complete when that is.
        batch.retain(|(image, _)| folder.still_has(image));
        let mut results = Vec::with_capacity(batch.len());
        for (image, found) in batch {
            let mut line = Line::of(image.identity.clone(), &self.origin);
            match found {
                Ok(found) => {
                    if let Some(facts) = found.file_facts() {
                        let path = &image.file;
                        observer.event(&Event::Read { path, found: facts });
                    }
                    self.judge(&mut line, &found, observer);
                    self.write_map(folder, &image, &found, observer);
                }
                // The device's: nothing can be scored any more.
                Err(error) if error.stops_everything() => return Err(error),
                // Access may come back, and does not show in the file's size or time.
                Err(error @ Error::Data(DataError::Io { .. })) => {
                    if self.left.told.insert(image.identity) {
                        observer.event(&Event::Waiting(&error));
                    }
                    continue;
                }
                Err(error) => {
                    observer.event(&Event::Fault(&error));
                    self.left.has_failures = true;
                    line.error = Some(plain(&error.to_string()));
                }
            }
            results.push((image, line));
        }

        let mut lines = Vec::with_capacity(results.len());
        let mut defects = Vec::new();
        for (image, line) in results {
            if line.outcome() == Outcome::Rejected && self.aside.is_some() && folder.still_has(&image) {
                if !self.set_aside(&image, observer) {
                    self.left.unplaced.insert(image.identity, line);
                    continue;
                }
                defects.push(image);
            }
            lines.push(line);
        }
        self.write(&lines)?;
        if self.aside.as_ref().is_some_and(Aside::moves) {
            for image in &defects {
                self.remove(image, folder, observer)?;
            }
        }
        Ok(lines.len())
    }

    fn judge(&self, line: &mut Line, found: &Inspection, observer: &dyn Observer) {
        let score = found.score();
        line.score = Some(score);
        if let Some(threshold) = &self.threshold {
            let judged = found.judged(threshold);
            if !judged.verdict.is_good() {
                let image = &line.identity().path;
                let judgement = &judged;
                observer.event(&Event::Rejected {
                    image,
                    score,
                    judgement,
                });
            }
            line.p_value = Some(judged.p_value);
            line.verdict = Some(judged.verdict);
            line.regions = Some(judged.regions);
        }
    }

    /// Writes the map of an image. One that cannot be written, as if a disk is full, keeps no image from its line.
    fn write_map(&mut self, folder: &Folder, image: &Image, found: &Inspection, observer: &dyn Observer) {
        let Some(maps) = &self.maps else { return };
        let place = maps.below(folder.root(), &image.file);
        if let Err(cause) = maps.write(&place, found, self.threshold.as_ref()) {
            self.left.has_failures = true;
            let (file, cause) = (&image.file, &cause);
            observer.event(&Event::NoMap { file, cause });
        }
    }
}
