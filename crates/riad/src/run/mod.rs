//! A training run's folder. It has the trainer's files, and `settings.json` with the run's images. So the folder alone
//! is enough to go on.

pub(crate) mod history;
mod images;
mod pace;
mod session;
mod start;

use std::{
    collections::HashSet,
    fs,
    path::{self, Path, PathBuf},
};

use riad_data::{Category, DataError, Grouping, Layout, Pattern, Reader};
use riad_model::{
    Checkpoint, Device, Roi, ScoringSettings, Trainer, lock_run,
    store::{BEST, LAST, remove_part},
};

use crate::{
    Cancel, Error, Event, Observer, Protocol, Result, Stop, Suspects, TrainingOptions, Work,
    calibration::{calibrate_until, find_appearance, find_normal, scores},
    detector::{Compute, Detector},
    files::{read_file, sha256, sha256_of_bytes, write_whole},
    held_out::{Good, HeldOut, NORMAL_IMAGES, Purpose, shares, too_few_to_calibrate, validation_calibrates},
    names, protocol,
    roi::roi_of,
    settings::{ImageRecord, ROI, SETTINGS, Settings, folder_of},
    source::{Source, faults},
};

pub(crate) use self::images::names_in;
use self::{
    images::{check_same, hold_out, records},
    start::Start,
};

/// A run's folder and its settings.
///
/// ```no_run
/// use riad::{Cancel, Device, Run};
///
/// // Goes on where it was stopped or killed, to the same bytes.
/// let mut run = Run::open("runs/lid")?;
/// run.train(None, &Device::CPU, &Cancel::new(), &())?;
/// # Ok::<(), riad::Error>(())
/// ```
#[derive(Debug)]
pub struct Run {
    folder: PathBuf,
    settings: Settings,
    outcome: Option<TrainingOutcome>,
}

/// A good image that a run was started with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GoodImage {
    /// Its file when the run was started. If several files make the image, the first of them.
    pub path: PathBuf,
    /// The SHA-256 of its file, or of all its files in sequence.
    pub sha256: String,
    /// Whether thresholds come from it. Then nothing was learned from it.
    pub is_for_calibration: bool,
}

/// How training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrainingOutcome {
    /// The last epoch was run, or the validation loss stopped improving.
    Finished,
    /// It was stopped and can be resumed.
    Stopped(Stop),
}

impl Run {
    /// Whether there is a run in `folder`, even one that was killed before its first step.
    pub fn exists(folder: impl AsRef<Path>) -> bool {
        let folder = folder.as_ref();
        folder.join(SETTINGS).exists() || folder.join(LAST).exists()
    }

    /// Prepares a run: splits the category's training images and records them. It does not train yet.
    ///
    /// # Errors
    /// If `folder` holds a run already, or weights of the name that a run gives its best, an image cannot be read, or the
    /// folder cannot be written.
    pub fn create(
        folder: impl AsRef<Path>,
        category: &Category,
        options: &TrainingOptions,
        device: &Device,
        observer: &dyn Observer,
    ) -> Result<Self> {
        let folder = folder.as_ref();
        // Before the images take their time.
        check_free(folder)?;
        let start = options.from.as_deref().map(Start::open).transpose()?;
        let completed = start.as_ref().map(|start| start.complete(options));
        let options = completed.as_ref().unwrap_or(options);
        protocol::check(options, device)?;
        Error::refuse(category.train_faults.iter().cloned().map(Error::from).collect())?;
        let without = options
            .without
            .as_deref()
            .map(names_in)
            .transpose()?
            .unwrap_or_default();
        let good = Good::of(category).without(&category.root, &without, options.without.as_deref())?;
        let (shares, learn) = (shares(options, &good), good.learn.len());
        let good = good.of_run(shares);
        // A file that turns out to be damaged within an epoch, or after the last, would cost all the time until then.
        let reader = options.reader();
        // Else every image would be refused for it.
        reader.check()?;
        Error::refuse(faults(&good, &reader, options.tile, observer))?;
        let mut images = records(&good, &category.root, options.bands.as_ref())?;
        let train = hold_out(&mut images, learn, shares, options)?;
        let learned_from = train.iter().map(|&image| good[image].clone()).collect();
        let method = protocol::method(options, learned_from, observer)?;
        if validation_calibrates(options, method) {
            for image in &mut images {
                image.calibration |= image.validation;
            }
        }
        let is_calibrated = images.iter().any(|image| image.calibration);
        if let (false, Some(needed)) = (is_calibrated, too_few_to_calibrate(options, good.len())) {
            observer.event(&Event::TooFewToCalibrate {
                images: good.len(),
                needed,
            });
        }
        let training = options.config(method, train.len(), device)?;
        if let Some(start) = &start {
            start.check(&training)?;
        }
        // Read once, so that what is checked is what is kept.
        let mask = options.roi.as_deref().map(read_file).transpose()?;
        if let Some((file, mask)) = options.roi.as_deref().zip(mask.as_deref()) {
            roi_of((file, mask), &training.scoring, &good, &reader)?;
        }
        let settings = Settings {
            riad_version: env!("CARGO_PKG_VERSION").to_owned(),
            data: path::absolute(&category.root).map_err(Error::file("access", &category.root))?,
            layout: category.layout,
            bands: options.bands.clone(),
            group_by: options.group_by.as_ref().map(Grouping::to_string),
            without,
            validation_share: shares.validation,
            calibration_share: shares.calibration,
            protocol: options.protocol.unwrap_or_default(),
            roi: mask.as_deref().map(sha256_of_bytes),
            from: start.as_ref().map(Start::sha256),
            training,
            images,
        };
        let run = Self {
            folder: folder.to_owned(),
            settings,
            outcome: None,
        };
        // Another process may have begun a run here meanwhile. What is its own stays as it is.
        fs::create_dir_all(folder).map_err(Error::file("make", folder))?;
        let _lock = lock_run(folder)?;
        check_free(folder)?;
        // Its settings come last: they promise what lies beside them.
        if let Some(mask) = mask {
            write_whole(&folder.join(ROI), &mask)?;
        }
        if let Some(start) = &start {
            start.keep(folder)?;
        }
        run.save()?;
        Ok(run)
    }

    /// Opens the run in `folder`.
    ///
    /// # Errors
    /// If there is no run, or its settings cannot be read.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let settings = Settings::open(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            settings,
            outcome: None,
        })
    }

    /// Opens the run of a model, which is the run's folder or a checkpoint in it. `None` if the model is not in a run.
    ///
    /// # Errors
    /// If the run's settings cannot be read.
    pub fn of(model: impl AsRef<Path>) -> Result<Option<Self>> {
        folder_of(model.as_ref()).map(Self::open).transpose()
    }

    fn save(&self) -> Result<()> {
        let json = serde_json::to_vec_pretty(&self.settings).map_err(Error::render("a run's settings"))?;
        write_whole(&self.folder.join(SETTINGS), &json)
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of the category that the run learns from.
    pub fn data(&self) -> &Path {
        &self.settings.data
    }

    /// The images that the run does not learn from: those that thresholds come from. If there are none, those for validation.
    ///
    /// # Errors
    /// If the category's images are not those that the run was started with.
    pub fn held_out(&self, category: &Category) -> Result<HeldOut> {
        self.check_images(category)?;
        let calibration = self.images(category, |image| image.calibration)?;
        Ok(if calibration.is_empty() {
            HeldOut {
                images: self.images(category, |image| image.validation)?,
                purpose: Purpose::Validation,
            }
        } else {
            HeldOut {
                images: calibration,
                purpose: Purpose::Calibration,
            }
        })
    }

    /// The losses of each epoch. If their file is damaged, the observer gets an event, and there are no losses.
    ///
    /// # Errors
    /// If the run has no weights yet.
    pub fn history(&self, observer: &dyn Observer) -> Result<Vec<riad_model::EpochRecord>> {
        let header = Checkpoint::open(&self.folder)?.header;
        Ok(history::read(&self.folder, &header, observer))
    }

    /// The category that the run learns from, read as when the run was started.
    ///
    /// # Errors
    /// If its folder does not exist or has another layout now.
    pub fn category(&self) -> Result<Category, DataError> {
        Category::open_as(self.data(), self.settings.layout, self.bands())
    }

    /// The good images that the run has to do with, in the order of its records.
    fn good_images(&self, category: &Category) -> Result<Vec<PathBuf>> {
        let good = Good::of(category).without(&category.root, &self.settings.without, None)?;
        Ok(good.of_run(self.settings.shares()))
    }

    /// Which files make one image together, if the run's images have several files.
    pub fn bands(&self) -> Option<&Pattern> {
        self.settings.bands.as_ref()
    }

    /// How the run's images are read.
    fn reader(&self) -> Reader {
        self.settings.reader()
    }

    /// The layout of the category's folder.
    pub fn layout(&self) -> Layout {
        self.settings.layout
    }

    /// The good images that the run was started with, in the order of its records. They may have been removed or
    /// changed since then.
    pub fn good(&self) -> impl Iterator<Item = GoodImage> {
        self.settings.images.iter().map(|image| GoodImage {
            path: self
                .settings
                .data
                .join(names::read(&image.name).unwrap_or_else(|| (&image.name).into())),
            sha256: image.sha256.clone(),
            is_for_calibration: image.calibration,
        })
    }

    /// The SHA-256 of every image that training learned from, or chose anything by.
    pub fn seen(&self) -> HashSet<&str> {
        let seen = self.settings.images.iter().filter(|image| !image.calibration);
        seen.map(|image| image.sha256.as_str()).collect()
    }

    /// Checks that options have the values that the run was started with.
    ///
    /// # Errors
    /// Names the first option with another value.
    pub fn agree(&self, options: &TrainingOptions, layout: Option<Layout>) -> Result<()> {
        let Settings {
            layout: own,
            protocol,
            ref training,
            ..
        } = self.settings;
        let roi = options.roi.as_ref().map(|file| sha256(&[file])).transpose()?;
        let other_roi = roi.is_some() && roi != self.settings.roi;
        let from = options.from.as_deref().map(Start::open).transpose()?;
        let other_from = from.is_some_and(|from| Some(from.sha256()) != self.settings.from);
        let other_layout = layout.is_some_and(|given| given != own);
        let other_bands = options.bands.is_some() && options.bands.as_ref() != self.bands();
        let differing = || protocol::differing(options, protocol, self.settings.shares(), training);
        let other_groups = options
            .group_by
            .as_ref()
            .is_some_and(|given| Some(given.to_string()) != self.settings.group_by);
        let without = options.without.as_deref().map(names_in).transpose()?;
        let other_without = without.is_some_and(|names| names != self.settings.without);
        let other = other_layout
            .then_some("layout")
            .or(other_groups.then_some("group_by"))
            .or(other_without.then_some("without"))
            .or(other_roi.then_some("roi"))
            .or(other_from.then_some("from"))
            .or(other_bands.then_some("bands"));
        match other.or_else(differing) {
            None => Ok(()),
            Some(setting) => Err(Error::Differs {
                folder: self.folder.clone(),
                setting,
            }),
        }
    }

    /// Goes on with training until it ends or is `cancel`led. At the end it finds what is normal, and calibrates with
    /// the images that were held out for it. `moved` is the new folder of the images, if they have moved.
    ///
    /// # Errors
    /// If the images are not those that the run was started with, or training fails.
    pub fn train(
        &mut self,
        moved: Option<&Category>,
        device: &Device,
        cancel: &Cancel,
        observer: &dyn Observer,
    ) -> Result<TrainingOutcome> {
        let mut trainer = if self.folder.join(LAST).exists() {
            Trainer::resume(&self.folder, device)?
        } else {
            let training = self.settings.training.clone();
            match &self.settings.from {
                None => Trainer::start(training, &self.folder, device)?,
                Some(sha256) => {
                    let weights = Start::of_run(&self.folder, sha256)?.into_weights();
                    Trainer::start_from(training, &weights, &self.folder, device)?
                }
            }
        };
        Start::remove(&self.folder)?;
        for name in [SETTINGS, ROI] {
            remove_part(&self.folder.join(name))?;
        }
        if trainer.progress().finished && self.is_complete()? {
            // Another folder is no reason to train again, but one to say so.
            if let Some(category) = moved {
                self.check_images(category)?;
            }
            observer.event(&session::finished(&trainer));
            return Ok(self.ended(TrainingOutcome::Finished));
        }
        let recorded;
        let category = match moved {
            Some(category) => category,
            None => {
                recorded = self.category().map_err(|cause| Error::ImagesGone {
                    folder: self.folder.clone(),
                    cause,
                })?;
                &recorded
            }
        };
        self.check_images(category)?;
        if moved.is_some() {
            let root = &category.root;
            self.settings.data = path::absolute(root).map_err(Error::file("access", root))?;
            self.settings.layout = category.layout;
            self.save()?;
        }
        let trained = self.go_on(&mut trainer, category, cancel, device, observer)?;
        // The trainer holds the run's lock until the end. Whoever asks for a stop does not want to wait.
        if trained != TrainingOutcome::Stopped(Stop::Asked) && !self.is_complete()? {
            // A time that is up ends the training, and what came of it is completed all the same.
            match self.complete(category, device, &cancel.without_limit(), observer) {
                // It is done when the run is taken up again.
                Err(Error::Cancelled) => return Ok(self.ended(TrainingOutcome::Stopped(Stop::Asked))),
                completed => completed?,
            }
        }
        Ok(self.ended(trained))
    }

    fn ended(&mut self, trained: TrainingOutcome) -> TrainingOutcome {
        self.outcome = Some(trained);
        trained
    }

    /// How the last [`train`](Self::train) of this value ended. `None` before the first.
    pub fn outcome(&self) -> Option<TrainingOutcome> {
        self.outcome
    }

    /// Whether the best weights, if there are any yet, have all that goes with them.
    fn is_complete(&self) -> Result<bool> {
        let best = self.folder.join(BEST);
        if !best.exists() {
            return Ok(true);
        }
        let Checkpoint {
            header, normal, roi, ..
        } = Checkpoint::open(&best)?;
        Ok((normal.is_some() || !self.compares_with_normal())
            && (roi.is_some() || self.settings.roi.is_none())
            && (header.calibration.is_some() || !self.settings.images.iter().any(|image| image.calibration)))
    }

    /// Whether maps tell what is beyond normal at each place: places in a tile are none on the product.
    fn compares_with_normal(&self) -> bool {
        self.settings.protocol == Protocol::Default && self.settings.training.scoring.tiling.is_none()
    }

    /// Finds what goes with the best weights. A run that is killed before this is done does it when it is resumed.
    fn complete(&self, category: &Category, device: &Device, cancel: &Cancel, observer: &dyn Observer) -> Result<()> {
        // Named before they can fail one by one.
        self.check_images(category)?;
        let compute = Compute::on(device.clone());
        let best = self.folder.join(BEST);
        let mut checkpoint = Checkpoint::open(&best)?;
        if self.compares_with_normal() {
            let mut images = self.images(category, ImageRecord::is_trained_on)?;
            // Those of a random split are in the order of their names, which may be that of their taking.
            let step = images.len().div_ceil(NORMAL_IMAGES);
            images = images.into_iter().step_by(step.max(1)).collect();
            find_normal(&mut checkpoint, images, self.bands(), &compute, cancel, observer)?;
        }
        if let Some(sha256) = &self.settings.roi {
            checkpoint.roi = Some(self.roi(sha256, &checkpoint.header.scoring)?);
        }
        let good = self.good_images(category)?;
        find_appearance(&mut checkpoint, (&good, &[]), self.bands(), &compute, cancel, observer)?;
        let held_out = self.images(category, |image| image.calibration)?;
        let scores = if held_out.is_empty() {
            Vec::new()
        } else {
            let scores = calibrate_until(&mut checkpoint, held_out, self.bands(), &compute, cancel, observer)?;
            Error::refuse(scores.faults)?;
            scores.of.into_iter().map(|(_, score)| score).collect()
        };
        // What is normal and which scores good images have must come of the images that the run was started with.
        self.check_images(category)?;
        checkpoint.save(&best)?;
        // What completes the run is worth more than the page.
        let looked = self.look_for_suspects(category, &checkpoint, &scores, &compute, cancel, observer);
        if let Err(error) = looked {
            let what = "the unusual images";
            observer.event(&Event::LeftOut { what, cause: &error });
        }
        if let Some(calibration) = &checkpoint.header.calibration {
            observer.event(&Event::Calibrated(calibration));
        }
        Ok(())
    }

    /// The region of interest, from the mask that the run keeps.
    fn roi(&self, sha256: &str, scoring: &ScoringSettings) -> Result<Roi> {
        let path = self.folder.join(ROI);
        let mask = fs::read(&path).map_err(Error::file("read", &path))?;
        if sha256_of_bytes(&mask) != sha256 {
            return Err(Error::damaged(&path)(
                "the mask is not the mask that the run was started with; bring that one back",
            ));
        }
        roi_of((&path, &mask), scoring, &[], &self.reader())
    }

    /// Names the good images that a person should look at, by what they show and by the model's scores. Those of the images
    /// held out for calibration are given.
    fn look_for_suspects(
        &self,
        category: &Category,
        checkpoint: &Checkpoint,
        calibration: &[f32],
        compute: &Compute,
        cancel: &Cancel,
        observer: &dyn Observer,
    ) -> Result<()> {
        let images = self.good_images(category)?;
        let names = self.settings.images.iter().map(|image| image.name.clone());
        let named = images.iter().cloned().zip(names).collect();
        let mut suspects = Suspects::among(named, &self.reader());
        let places = |is_chosen: &dyn Fn(&ImageRecord) -> bool| -> Vec<usize> {
            let records = self.settings.images.iter().enumerate();
            records
                .filter(|(_, image)| is_chosen(image))
                .map(|(place, _)| place)
                .collect()
        };
        let held_out = places(&|image| image.calibration);
        suspects.judge(&held_out, calibration);
        let model = Detector::options()
            .compute(compute.clone())
            .bands(self.bands().cloned())
            .open_checkpoint(checkpoint)?;
        // To score all tiles of all images would take longer than to learn from one of each.
        if checkpoint.header.scoring.tiling.is_none() {
            for of_part in [
                places(&ImageRecord::is_trained_on),
                places(&|image| image.validation && !image.calibration),
            ] {
                let part = of_part.iter().map(|&place| images[place].clone()).collect();
                let scores = scores(&model, part, Work::Suspects, cancel, observer)?;
                Error::refuse(scores.faults)?;
                let scores: Vec<f32> = scores.of.into_iter().map(|(_, score)| score).collect();
                suspects.judge(&of_part, &scores);
            }
        }
        suspects.weigh(&held_out, calibration);
        let list = self.folder.join("suspects.txt");
        suspects.write(&list, &self.reader(), Some(&model))?;
        suspects.tell(&list, observer);
        Ok(())
    }

    fn check_images(&self, category: &Category) -> Result<()> {
        let now = records(&self.good_images(category)?, &category.root, self.bands())?;
        check_same(&self.settings.images, &now, &category.root)
    }

    /// The run's images whose records are `chosen`, to train on or to validate with.
    fn source(&self, category: &Category, chosen: impl Fn(&ImageRecord) -> bool) -> Result<Source> {
        let paths = self.images(category, chosen)?;
        Ok(Source::to_learn_from(
            paths,
            self.reader(),
            &self.settings.training.scoring,
        ))
    }

    /// The run's images whose records are `chosen`.
    fn images(&self, category: &Category, chosen: impl Fn(&ImageRecord) -> bool) -> Result<Vec<PathBuf>> {
        let images = self.good_images(category)?.into_iter();
        let records = images.zip(&self.settings.images);
        let chosen = records.filter(|(_, record)| chosen(record));
        Ok(chosen.map(|(path, _)| path).collect())
    }
}

/// Checks that a folder can have a run.
fn check_free(folder: &Path) -> Result<()> {
    if Run::exists(folder) {
        return Err(Error::RunExists {
            folder: folder.to_owned(),
        });
    }
    let best = folder.join(BEST);
    if best.exists() {
        return Err(Error::request(format!(
            "a training in this folder would replace {}; choose another folder",
            best.display()
        )));
    }
    Ok(())
}
