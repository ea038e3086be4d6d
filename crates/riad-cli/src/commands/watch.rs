//! `riad watch`.
//!
//! The folder is looked at again and again instead of having the system report changes: that works on every file system,
//! network shares included, and what was missed before a restart is found in the same way as what comes after it.
//!
//! For each image, in this order: scored; placed in the folder for defects; its line written; and with `--by move` removed.
//! Each step can be done again without harm if a kill comes before the next, so each is done once in the end.

mod aside;
mod folder;
mod journal;

use std::{
    collections::{HashMap, HashSet},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use riad_data::{DataError, LoadedImage};
use riad_model::Keep;
use tracing::{info, warn};

use self::{
    aside::Aside,
    folder::{Folder, Identity, Image},
    journal::{Journal, Line, Verdict},
};
use crate::{
    Ending, args::WatchArgs, calibration::Threshold, files::shell_quoted, interrupt, run::bands_of, scoring::Model,
};

/// How often to look for Ctrl-C while there is nothing to do.
const NAP: Duration = Duration::from_millis(50);

pub(crate) fn run(args: &WatchArgs) -> Result<Ending> {
    let end = interrupt::Watch::start(None);
    let bands = bands_of(&args.model, args.images.bands.as_ref())?;
    let model = Model::open(&args.model, bands, &args.compute.compute()?)?;
    let bands = &model.reader().pattern;
    let threshold = args.verdict.threshold(model.header(), &args.model).transpose()?;
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
        threshold,
        aside,
        journal,
        done,
        told: HashSet::new(),
    };
    while end.reason().is_none() {
        let settled = folder.settled(Instant::now());
        station.finish(&settled, &folder)?;
        station.inspect(settled, &folder, &end)?;
        let until = Instant::now() + args.interval.max(NAP);
        while end.reason().is_none() && Instant::now() < until {
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
    model: Model,
    threshold: Option<Threshold>,
    aside: Option<Aside>,
    journal: Journal,
    /// The images that have a line, and whether it calls them defective.
    done: HashMap<Identity, bool>,
    /// The images that could not be opened or lack a file, which may pass, so that it is told once.
    told: HashSet<Identity>,
}

impl Station {
    /// Moves defects that have their line but were not removed, or not all of their files: a kill came between.
    fn finish(&self, settled: &[Image], folder: &Folder) -> Result<()> {
        let Some(aside) = self.aside.as_ref().filter(|aside| aside.moves()) else {
            return Ok(());
        };
        for image in settled {
            if image.missing.is_some() {
                // Some of its files were removed before the kill. What comes under the same name later is newer.
                let removed = |(done, is_defective): (&Identity, &bool)| {
                    let Identity { path, modified, .. } = &image.identity;
                    *is_defective && done.path == *path && *modified <= done.modified
                };
                if self.done.iter().any(removed) && aside.has(image)? {
                    aside.remove(image)?;
                }
            } else if self.done.get(&image.identity) == Some(&true) && folder.still_has(image) {
                aside.place(image)?;
                aside.remove(image)?;
            }
        }
        Ok(())
    }

    /// Does all that is to do for the images that have no line yet, until there is a reason to end.
    fn inspect(&mut self, settled: Vec<Image>, folder: &Folder, end: &interrupt::Watch) -> Result<()> {
        let mut fresh: Vec<Image> = settled;
        fresh.retain(|image| !self.done.contains_key(&image.identity) && self.is_whole(image, folder));
        let files = fresh.iter().map(|image| image.file.clone()).collect();
        let mut loaded = fresh.into_iter().zip(self.model.load(files).map(|(_, loaded)| loaded));
        while end.reason().is_none() {
            let batch: Vec<_> = loaded.by_ref().take(self.model.batch_size()).collect();
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

    fn batch(&mut self, mut batch: Vec<(Image, Result<LoadedImage, DataError>)>, folder: &Folder) -> Result<()> {
        // One that changed while it was read is another image, and is complete when that is.
        batch.retain(|(image, _)| folder.still_has(image));
        let readable = batch.iter().filter_map(|(_, loaded)| loaded.as_ref().ok());
        let images: Vec<_> = readable.map(|loaded| &loaded.image).collect();
        let scored = self.model.score(&images, Keep::Map)?;
        let mut scores = scored.into_iter().map(|scored| scored.score);

        let mut results = Vec::with_capacity(batch.len());
        for (image, loaded) in batch {
            let mut line = Line::of(image.identity.clone());
            match loaded {
                Ok(_) => self.judge(&mut line, scores.next().context("an image was not scored")?),
                // Access may come back, and does not show in the file's size or time.
                Err(error @ DataError::Io { .. }) => {
                    if self.told.insert(image.identity) {
                        warn!("{error}; trying again");
                    }
                    continue;
                }
                Err(error) => {
                    warn!("{error}");
                    line.error = Some(error.to_string().replace(['\n', '\r'], " "));
                }
            }
            results.push((image, line));
        }

        let defects: Vec<&Image> = results
            .iter()
            .filter(|(image, line)| line.is_defective() && folder.still_has(image))
            .map(|(image, _)| image)
            .collect();
        if let Some(aside) = &self.aside {
            defects.iter().try_for_each(|image| aside.place(image))?;
        }
        let lines: Vec<Line> = results.iter().map(|(_, line)| line.clone()).collect();
        self.journal.append(&lines)?;
        if let Some(aside) = self.aside.as_ref().filter(|aside| aside.moves()) {
            for image in defects.iter().filter(|image| folder.still_has(image)) {
                aside.remove(image)?;
            }
        }
        for line in &lines {
            self.done.insert(line.identity(), line.is_defective());
        }
        Ok(())
    }

    fn judge(&self, line: &mut Line, score: f32) {
        line.score = Some(score);
        if let Some(threshold) = &self.threshold {
            let is_defective = threshold.flags(score);
            if is_defective {
                info!("{} is defective: {score}", line.identity().path);
            }
            line.p_value = Some(threshold.p_value(score));
            line.verdict = Some(if is_defective {
                Verdict::Defective
            } else {
                Verdict::Good
            });
        }
    }
}
