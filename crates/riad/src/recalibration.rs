//! New thresholds for a model, from good images that it was not trained with.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use rayon::prelude::*;
use riad_core::Calibration;
use riad_data::{Pattern, Reader, image_files};
use riad_model::{
    Checkpoint, lock_run,
    store::{BEST, LAST},
};

use crate::{
    Cancel, Compute, Detector, Error, Event, Observer, Result, Run, Suspects,
    calibration::{calibrate_until, find_appearance},
    files::{check_replaces, image_sha256, read_file},
    names::written,
    roi::roi_of,
    run::names_in,
    settings::{bands_of, folder_of},
    source::header_faults,
};

/// A calibration to make. The model keeps the scores of good images. Thresholds follow from them.
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

/// The result of a calibration.
#[derive(Debug)]
#[non_exhaustive]
pub struct Recalibrated {
    /// The file of the calibrated model.
    pub model: PathBuf,
    /// Its calibration.
    pub calibration: Calibration,
    /// Number of images that could not be scored. The observer got an event for each.
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

    /// A good image, or a folder of good images with its subfolders. The model must not have been trained with them.
    pub fn pictures(mut self, path: impl Into<PathBuf>) -> Self {
        self.pictures.push(path.into());
        self
    }

    /// The file of a good image that shows what the product can look like. It does not change thresholds, so the model
    /// may have been trained with it. Images of the calibration also show what the product can look like; see
    /// [`Inspection::likeness`](crate::Inspection::likeness).
    pub fn alike(mut self, file: impl Into<PathBuf>) -> Self {
        self.alike.push(file.into());
        self
    }

    /// Leaves out the images that a file names, one in a line. It cannot be the list that the calibration itself writes.
    pub fn without(mut self, file: impl Into<PathBuf>) -> Self {
        self.without = Some(file.into());
        self
    }

    /// From now on, defects are looked for only where this mask image is not black.
    pub fn roi(mut self, mask: impl Into<PathBuf>) -> Self {
        self.roi = Some(mask.into());
        self
    }

    /// Which files make one image together. The default is that of the model's run.
    pub fn bands(mut self, bands: Pattern) -> Self {
        self.bands = Some(bands);
        self
    }

    /// Writes the calibrated model to another file. By default the run's best weights are calibrated in place.
    pub fn out(mut self, file: impl Into<PathBuf>) -> Self {
        self.out = Some(file.into());
        self
    }

    /// Where and how to compute. Calibrate a model in the precision that it scores in.
    pub fn compute(mut self, compute: Compute) -> Self {
        self.compute = Some(compute);
        self
    }

    /// Stops the calibration with [`Error::Cancelled`]. The model is then unchanged.
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    /// Scores the images and keeps the scores in the model. If an image cannot be read, the observer gets an event, and
    /// the image is left out. A list beside the model, `NAME-calibration-suspects.txt` for the model `NAME.safetensors`,
    /// names unusual images.
    ///
    /// # Errors
    /// [`Error::Calibration`] if the model was trained with an image; [`Error::Request`] if the
    /// model is a file and no output file is named, or if that list is to say what is left out. Also if no image can be
    /// read, or if the model cannot be written.
    pub fn start(self, observer: &dyn Observer) -> Result<Recalibrated> {
        let target = match &self.out {
            Some(file) => file.clone(),
            None if self.model.is_dir() => self.model.join(BEST),
            None => {
                return Err(Error::request(format!(
                    "name the file for the calibrated model; it may be {} itself",
                    self.model.display()
                )));
            }
        };
        check_replaces(&target, &["safetensors"])?;
        let suspects = suspects_beside(&target);
        if let Some(list) = self
            .without
            .as_ref()
            .filter(|list| same_file::is_same_file(list, &suspects).unwrap_or(false))
        {
            return Err(Error::request(format!(
                "{} is the list that this calibration writes anew, without the names of the images that it leaves out; give it \
                 another name, and leave out those of that file",
                list.display()
            )));
        }
        if target.file_name().is_some_and(|name| name == LAST) && target.exists() {
            return Err(Error::request(format!(
                "training goes on from {}; choose another name for the calibrated model",
                target.display()
            )));
        }
        // A trainer at work would write the run's best weights again, without the calibration.
        let run = folder_of(&target).filter(|_| target.exists());
        let _lock = run.map(lock_run).transpose()?;
        let compute = self.compute.clone().unwrap_or_default();
        let mut checkpoint = Checkpoint::open(&self.model)?;
        let white_level = checkpoint.header.scoring.white_level;
        let bands = bands_of(&self.model, self.bands.as_ref())?;
        let reader = Reader::new(checkpoint.header.architecture.channels())
            .with_pattern(bands.clone())
            .with_white_level(white_level);
        let (mut images, mut faults) = self.images(bands.as_ref(), &reader)?;
        faults.extend(check(&mut images, bands.as_ref(), &self.model, observer)?);
        if let Some(file) = &self.roi {
            let mask = read_file(file)?;
            checkpoint.roi = Some(roi_of((file, &mask), &checkpoint.header.scoring, &images, &reader)?);
        }
        if images.is_empty() && faults.len() == 1 {
            // What is wrong with the only one is the whole answer.
            return Err(faults.remove(0));
        }
        faults.iter().for_each(|fault| observer.event(&Event::Fault(fault)));
        find_appearance(
            &mut checkpoint,
            (&images, &self.alike),
            bands.as_ref(),
            &compute,
            &self.cancel,
            observer,
        )?;
        let scores = calibrate_until(
            &mut checkpoint,
            images,
            bands.as_ref(),
            &compute,
            &self.cancel,
            observer,
        )?;
        scores
            .faults
            .iter()
            .for_each(|fault| observer.event(&Event::Fault(fault)));
        let faults = faults.len() + scores.faults.len();
        checkpoint.save(&target)?;
        // The calibration is worth more than the page.
        if let Err(error) = look_for_suspects(scores.of, &checkpoint, (&suspects, bands), &compute, observer) {
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
            let names: BTreeSet<_> = names_in(file)?.into_iter().collect();
            let mut left_out = BTreeSet::new();
            images.retain(|image| {
                let name = written(image);
                // As those of the list.
                let name = name.strip_prefix("./").unwrap_or(&name);
                !names.get(name).is_some_and(|name| {
                    left_out.insert(name);
                    true
                })
            });
            if let Some(unknown) = names.iter().find(|name| !left_out.contains(name)) {
                return Err(Error::UnknownName {
                    file: file.clone(),
                    name: unknown.clone(),
                    root: None,
                });
            }
        }
        let unreadable = header_faults(&images, reader);
        images.retain(|image| !unreadable.iter().any(|fault| fault.path() == Some(image)));
        faults.extend(unreadable);
        Ok((images, faults.into_iter().map(Into::into).collect()))
    }
}

/// The list of images that a person should look at, beside the calibrated model. It has the model's name, because a folder can
/// hold several.
fn suspects_beside(target: &Path) -> PathBuf {
    let mut name = target.file_stem().unwrap_or_default().to_owned();
    name.push("-calibration-suspects.txt");
    target.with_file_name(name)
}

/// Names the images that a person should look at, in the list and on a page beside it.
fn look_for_suspects(
    scored: Vec<(PathBuf, f32)>,
    checkpoint: &Checkpoint,
    (list, bands): (&Path, Option<Pattern>),
    compute: &Compute,
    observer: &dyn Observer,
) -> Result<()> {
    let model = Detector::options()
        .compute(compute.clone())
        .bands(bands)
        .open_checkpoint(checkpoint)?;
    let all: Vec<usize> = (0..scored.len()).collect();
    let scores: Vec<f32> = scored.iter().map(|(_, score)| *score).collect();
    let images = scored.into_iter().map(|(image, _)| {
        let name = written(&image);
        (image, name)
    });
    let mut suspects = Suspects::among(images.collect(), model.reader());
    suspects.judge(&all, &scores);
    suspects.weigh(&all, &scores);
    suspects.write(list, model.reader(), Some(&model))?;
    suspects.tell(list, observer);
    Ok(())
}

/// Makes the images what the promise supposes, as far as can be told: each of them once, and none that the model knows. Takes out those
/// that cannot be read, and gives the reasons.
fn check(
    images: &mut Vec<PathBuf>,
    bands: Option<&Pattern>,
    model: &Path,
    observer: &dyn Observer,
) -> Result<Vec<Error>> {
    let sums: Vec<_> = images.par_iter().map(|path| image_sha256(path, bands)).collect();
    let (mut read, mut faults) = (Vec::with_capacity(images.len()), Vec::new());
    let mut first: HashMap<String, PathBuf> = HashMap::new();
    for (path, sum) in images.drain(..).zip(sums) {
        match sum {
            Ok(sum) => match first.get(&sum) {
                Some(other) => observer.event(&Event::Duplicate { path: &path, other }),
                None => {
                    first.insert(sum.clone(), path.clone());
                    read.push((path, sum));
                }
            },
            Err(fault) => faults.push(fault),
        }
    }
    let sums: Vec<String>;
    (*images, sums) = read.into_iter().unzip();
    if let Some(run) = Run::of(model)? {
        let seen = run.seen();
        let known: Vec<_> = images
            .iter()
            .zip(&sums)
            .filter(|(_, sum)| seen.contains(sum.as_str()))
            .collect();
        if let Some((path, _)) = known.first() {
            return Err(Error::Calibration(format!(
                "{} of the images were used in training or validation, {} first; they score lower than new ones, so \
                 the threshold would flag too many; use images that the model has not seen",
                known.len(),
                path.display()
            )));
        }
    }
    Ok(faults)
}
