//! A model's thresholds, from good images that it was not trained with.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use rayon::prelude::*;
use riad_core::Calibration;
use riad_data::{Pattern, Reader, image_files};
use riad_model::{Checkpoint, lock_run, store::BEST};

use crate::{
    Cancel, Compute, Detector, Error, Event, Observer, Result, Run, Suspects,
    calibration::{calibrate_until, find_appearance},
    names::written,
    roi::load_roi,
    run::{image_sha256, names_in},
    settings::{bands_of, folder_of},
    source::header_faults,
};

/// A calibration that is to be made: the scores of good images, from which thresholds follow, are kept in the model.
///
/// ```no_run
/// use riad::{Detector, Recalibration};
///
/// let calibrated = Recalibration::of("runs/lid").pictures("photos/more-good").start(&())?;
/// let detector = Detector::open(calibrated.model)?;
/// # Ok::<(), riad::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Recalibration {
    model: PathBuf,
    pictures: Vec<PathBuf>,
    alike: Vec<PathBuf>,
    without: Option<PathBuf>,
    roi: Option<PathBuf>,
    bands: Option<Pattern>,
    out: Option<PathBuf>,
    compute: Option<Compute>,
    cancel: Cancel,
}

/// A calibration that was made.
#[derive(Debug)]
#[non_exhaustive]
pub struct Recalibrated {
    /// The file of the calibrated model.
    pub model: PathBuf,
    /// Its calibration.
    pub calibration: Calibration,
    /// How many images could not be scored. The observer was told of each.
    pub faults: usize,
    /// The white level that the images were read with, if any.
    pub white_level: Option<u16>,
}

impl Recalibration {
    /// Calibrates a run's best weights, or a checkpoint.
    pub fn of(model: impl Into<PathBuf>) -> Self {
        Self {
            model: model.into(),
            pictures: Vec::new(),
            alike: Vec::new(),
            without: None,
            roi: None,
            bands: None,
            out: None,
            compute: None,
            cancel: Cancel::new(),
        }
    }

    /// A good image, or a folder of such with its subfolders. The model was trained with none of them.
    pub fn pictures(mut self, path: impl Into<PathBuf>) -> Self {
        self.pictures.push(path.into());
        self
    }

    /// The file of a good image that shows what the product may look like, and that thresholds do not follow from: the model may have been
    /// trained with it. Images for the calibration always show that; see [`Found::likeness`](crate::Found::likeness).
    pub fn alike(mut self, file: impl Into<PathBuf>) -> Self {
        self.alike.push(file.into());
        self
    }

    /// Leaves out the images that a file names, one in a line.
    pub fn without(mut self, file: impl Into<PathBuf>) -> Self {
        self.without = Some(file.into());
        self
    }

    /// Looks for defects only where this mask image is not black from now on.
    pub fn roi(mut self, mask: impl Into<PathBuf>) -> Self {
        self.roi = Some(mask.into());
        self
    }

    /// Which files make one image together; by default those that do so in the model's run.
    pub fn bands(mut self, bands: Pattern) -> Self {
        self.bands = Some(bands);
        self
    }

    /// Writes the calibrated model to a file of its own; by default a run's best weights are calibrated in place.
    pub fn out(mut self, file: impl Into<PathBuf>) -> Self {
        self.out = Some(file.into());
        self
    }

    /// Where and how to compute: a model is to be calibrated in the precision that it scores in.
    pub fn compute(mut self, compute: Compute) -> Self {
        self.compute = Some(compute);
        self
    }

    /// What can stop it, which leaves the model as it was.
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    /// Scores the images and keeps the scores in the model. Images that cannot be read are told to the observer and left out: they
    /// have no score when the threshold is used either. Unusual ones are named beside the model.
    ///
    /// # Errors
    /// [`Error::Calibration`] if an image is given twice, or the model was trained with it; [`Error::Request`] if the model is a file
    /// and no other one is named; if no image can be read, or the model cannot be written.
    pub fn start(self, observer: &dyn Observer) -> Result<Recalibrated> {
        let target = match &self.out {
            Some(file) => file.clone(),
            None if self.model.is_dir() => self.model.join(BEST),
            None => {
                return Err(Error::request(format!(
                    "name the file for the calibrated model; {} itself may be it",
                    self.model.display()
                )));
            }
        };
        // A trainer at work would write the run's best weights again, without the calibration.
        let run = folder_of(&target).filter(|_| target.exists());
        let _lock = run.map(lock_run).transpose()?;
        let compute = self.compute.clone().unwrap_or_default();
        let mut checkpoint = Checkpoint::open(&self.model)?;
        let white_level = checkpoint.header.scoring.white_level;
        let bands = bands_of(&self.model, self.bands.as_ref())?;
        let reader = Reader::new(checkpoint.header.architecture.channels)
            .with_pattern(bands.clone())
            .with_white_level(white_level);
        let (images, mut faults) = self.images(bands.as_ref(), &reader)?;
        check(&images, bands.as_ref(), &self.model)?;
        if let Some(file) = &self.roi {
            checkpoint.roi = Some(load_roi(file, &checkpoint.header.scoring, &images, &reader)?);
        }
        if images.is_empty() && faults.len() == 1 {
            // What is wrong with the only one is the whole answer.
            return Err(faults.remove(0));
        }
        faults.iter().for_each(|fault| observer.event(&Event::Fault(fault)));
        let told = (&self.cancel, observer);
        let good = [images.as_slice(), &self.alike].concat();
        find_appearance(&mut checkpoint, good, bands.as_ref(), &compute, told)?;
        let scores = calibrate_until(&mut checkpoint, images, bands.as_ref(), &compute, told)?;
        scores
            .faults
            .iter()
            .for_each(|fault| observer.event(&Event::Fault(fault)));
        let faults = faults.len() + scores.faults.len();
        checkpoint.save(&target)?;
        // The calibration is worth more than the page.
        if let Err(error) = look_for_suspects(scores.of, &checkpoint, (&target, bands), &compute, observer) {
            let what = "the unusual images";
            observer.event(&Event::LeftOut { what, cause: &error });
        }
        let calibration = checkpoint
            .header
            .calibration
            .ok_or_else(|| Error::request("no score"))?;
        Ok(Recalibrated {
            model: target,
            calibration,
            faults,
            white_level,
        })
    }

    /// The images to calibrate with, and what keeps others from it.
    fn images(&self, bands: Option<&Pattern>, reader: &Reader) -> Result<(Vec<PathBuf>, Vec<Error>)> {
        let mut images = Vec::new();
        let mut faults = Vec::new();
        for path in &self.pictures {
            let found = image_files(path, bands);
            images.extend(found.images);
            faults.extend(found.faults);
        }
        if let Some(file) = &self.without {
            for name in names_in(file)? {
                let before = images.len();
                images.retain(|image| written(image) != name);
                if images.len() == before {
                    return Err(Error::UnknownName {
                        file: file.clone(),
                        name,
                        root: None,
                    });
                }
            }
        }
        let unreadable = header_faults(&images, reader);
        images.retain(|image| !unreadable.iter().any(|fault| fault.path() == Some(image)));
        faults.extend(unreadable);
        Ok((images, faults.into_iter().map(Into::into).collect()))
    }
}

/// Names the images that a person should look at, on a page and in a list beside the calibrated model.
fn look_for_suspects(
    scored: Vec<(PathBuf, f32)>,
    checkpoint: &Checkpoint,
    (target, bands): (&Path, Option<Pattern>),
    compute: &Compute,
    observer: &dyn Observer,
) -> Result<()> {
    let model = Detector::of_checkpoint(checkpoint, bands, compute)?;
    let all: Vec<usize> = (0..scored.len()).collect();
    let scores: Vec<f32> = scored.iter().map(|(_, score)| *score).collect();
    let images = scored.into_iter().map(|(image, _)| {
        let name = written(&image);
        (image, name)
    });
    let mut suspects = Suspects::among(images.collect(), model.reader());
    suspects.judge(&all, &scores);
    suspects.weigh(&all, &scores);
    let folder = target.parent().unwrap_or(Path::new(""));
    if let Some(list) = suspects.write(folder, "calibration-suspects", model.reader(), Some(&model))? {
        suspects.tell(&list, observer);
    }
    Ok(())
}

/// Checks that the images are what the promise supposes, as far as can be told: each of them once, and none that the model knows.
fn check(images: &[PathBuf], bands: Option<&Pattern>, model: &Path) -> Result<()> {
    let sums = images.par_iter().map(|path| image_sha256(path, bands));
    let sums = sums.collect::<Result<Vec<_>>>()?;
    let mut first = HashMap::new();
    for (path, sum) in images.iter().zip(&sums) {
        if let Some(before) = first.insert(sum, path) {
            return Err(Error::Calibration(format!(
                "{} and {} are the same image; each counts but once, so leave one out",
                before.display(),
                path.display()
            )));
        }
    }
    if let Some(run) = Run::of(model)? {
        let seen = run.seen();
        let known: Vec<_> = images
            .iter()
            .zip(&sums)
            .filter(|(_, sum)| seen.contains(sum.as_str()))
            .collect();
        if let Some((path, _)) = known.first() {
            return Err(Error::Calibration(format!(
                "{} of the images were trained or validated with, {} first; they score lower than fresh ones, and the threshold would \
                 flag too many: take images that the model has not seen",
                known.len(),
                path.display()
            )));
        }
    }
    Ok(())
}
