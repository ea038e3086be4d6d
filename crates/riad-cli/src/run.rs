//! A training run's folder: what the trainer keeps there, and beside it `settings.json`, which tells the run's images,
//! so that the folder alone is enough to go on.

mod estimate;
mod images;
mod session;

use std::{
    collections::HashSet,
    fs,
    path::{self, Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use riad_data::{Category, DataError, Grouping, Layout, Pattern, Reader, Shares};
use riad_model::{
    Checkpoint, Device, Preset, TrainConfig, Trainer,
    store::{BEST, LAST, remove_part},
};
use serde::{Deserialize, Serialize};
use tracing::info;

use crate::{
    args::{Protocol, TrainingArgs},
    calibration::{calibrate, find_normal, reach, scores},
    files::{sha256, shell_quoted, write_whole},
    held_out::{Good, divide, groups, shares, too_few_to_calibrate},
    interrupt::{Reason, Watch},
    names::serde_path,
    remarks::Remarks,
    roi::load_roi,
    scoring::{Compute, Model},
    settings,
    source::{Source, faults},
    suspects::Suspects,
    usage,
    way_out::{refuse, refuse_all},
};

use self::{
    images::{ImageRecord, check_same, records},
    session::best,
};
pub(crate) use self::{
    images::{image_sha256, names_in},
    session::terms,
};

const SETTINGS: &str = "settings.json";

/// The mask of the region of interest, as it was given.
const ROI: &str = "roi";

/// Training images that tell what is normal, at most: a mean needs no more, and scoring takes its time.
pub(crate) const NORMAL_IMAGES: usize = 64;

/// A run's folder and its settings.
pub(crate) struct Run {
    folder: PathBuf,
    settings: Settings,
    /// What was found in the images' files.
    remarks: Remarks,
}

#[derive(Debug, Serialize, Deserialize)]
struct Settings {
    /// Version of the program that started the run.
    riad_version: String,
    /// The category's folder.
    #[serde(with = "serde_path")]
    data: PathBuf,
    /// How it is read.
    layout: Layout,
    validation_share: f64,
    calibration_share: f64,
    /// Which files make one image together; `None` where each file is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bands: Option<Pattern>,
    /// Which images show one part, as it was given.
    group_by: Option<String>,
    /// Images below the category's folder that are left out.
    without: Vec<String>,
    protocol: Protocol,
    /// SHA-256 of the mask of the region of interest, which the run keeps; `None` where all is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    roi: Option<String>,
    training: TrainConfig,
    images: Vec<ImageRecord>,
}

impl Settings {
    /// How the run's images are read.
    fn reader(&self) -> Reader {
        Reader::new(self.training.architecture.channels)
            .with_pattern(self.bands.clone())
            .with_white_level(self.training.scoring.white_level)
    }

    fn shares(&self) -> Shares {
        Shares {
            validation: self.validation_share,
            calibration: self.calibration_share,
        }
    }
}

/// How training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trained {
    /// The last epoch was run, or the validation loss stopped improving.
    Finished,
    /// It was broken off and can be resumed.
    Stopped(Reason),
}

impl Run {
    /// Whether there is a run in `folder`, even one that was killed before its first step.
    pub(crate) fn exists(folder: &Path) -> bool {
        folder.join(SETTINGS).exists() || folder.join(LAST).exists()
    }

    /// Lays out a run: splits the category's training images and writes down what they are. Nothing is trained yet.
    ///
    /// # Errors
    /// If `folder` holds a run already, an image cannot be read, or the folder cannot be written.
    pub(crate) fn create(folder: &Path, category: &Category, args: &TrainingArgs, device: &Device) -> Result<Self> {
        if folder.join(LAST).exists() {
            return Err(usage(format!(
                "{0} already holds a run; go on with it by --resume {0}, or choose another folder with --out",
                shell_quoted(folder)
            )));
        }
        settings::check(args, device)?;
        refuse_all(&category.train_faults)?;
        let without = args.without.as_deref().map(names_in).transpose()?.unwrap_or_default();
        let good = Good::of(category).without(&category.root, &without, args.without.as_deref())?;
        let (shares, learn) = (shares(args, &good), good.learn.len());
        let good = good.of_run(shares);
        // A file that turns out to be damaged within an epoch, or after the last, would cost all the time until then.
        let (reader, remarks) = (settings::reader(args), Remarks::default());
        // Else every image would be refused for it.
        reader.check()?;
        refuse_all(&faults(&good, &reader, args.tile, &remarks))?;
        remarks.warn_of_darkness(reader.white_level);
        let bands = args.bands.as_ref();
        let mut images = records(&good, &category.root, bands)?;
        let names = args.group_by.as_ref().map(|grouping| {
            let names = images.iter().map(|image| grouping.group(&image.name));
            names.collect::<std::result::Result<Vec<_>, _>>()
        });
        let sums: Vec<_> = images.iter().map(|image| image.sha256.as_str()).collect();
        let groups = groups(names.transpose()?.as_deref(), &sums);
        let parts = divide(learn, &groups, shares, args.seed.unwrap_or(0))?;
        for &held_out in &parts.validation {
            images[held_out].validation = true;
        }
        for &held_out in &parts.calibration {
            images[held_out].calibration = true;
        }
        if let (true, Some(needed)) = (parts.calibration.is_empty(), too_few_to_calibrate(args, good.len())) {
            info!(
                "{} images are too few to hold out enough of them for a threshold: for --fpr 0.05 by itself it takes {needed}; give \
                 the model good images that it was not trained with later (riad calibrate), or hold out more now with \
                 --calibration SHARE",
                good.len()
            );
        }
        let learned_from = parts.train.iter().map(|&image| good[image].clone()).collect();
        let method = settings::method(args, learned_from)?;
        let training = settings::config(args, method, parts.train.len(), device)?;
        let mut settings = Settings {
            riad_version: env!("CARGO_PKG_VERSION").to_owned(),
            data: path::absolute(&category.root)?,
            layout: category.layout,
            bands: args.bands.clone(),
            group_by: args.group_by.as_ref().map(Grouping::to_string),
            without,
            validation_share: shares.validation,
            calibration_share: shares.calibration,
            protocol: args.protocol.unwrap_or_default(),
            roi: None,
            training,
            images,
        };
        let scoring = &settings.training.scoring;
        if let Some(file) = &args.roi {
            load_roi(file, scoring, &good, &reader)?;
            let mask = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            write_whole(&folder.join(ROI), &mask)?;
            settings.roi = Some(sha256(&[file])?);
        }
        let run = Self {
            folder: folder.to_owned(),
            settings,
            remarks,
        };
        run.save()?;
        Ok(run)
    }

    /// Opens the run in `folder`.
    ///
    /// # Errors
    /// If there is none, or its settings cannot be read.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(SETTINGS);
        let json = fs::read(&path).with_context(|| {
            format!(
                "{} holds no run that can be resumed: cannot read {}",
                folder.display(),
                path.display()
            )
        })?;
        let damaged = || format!("{} is damaged", path.display());
        let settings: Settings = serde_json::from_slice(&json).with_context(damaged)?;
        // Nothing is computed or allocated by a number from a file that was not looked at.
        settings.training.check().with_context(damaged)?;
        settings.reader().check().with_context(damaged)?;
        Ok(Self {
            folder: folder.to_owned(),
            settings,
            remarks: Remarks::default(),
        })
    }

    /// Opens the run that a model lies in: its folder, or a checkpoint in that; `None` where it lies in none.
    ///
    /// # Errors
    /// If the run's settings cannot be read.
    pub(crate) fn of(model: &Path) -> Result<Option<Self>> {
        let folder = if model.is_dir() { Some(model) } else { model.parent() };
        let run = folder.filter(|folder| folder.join(SETTINGS).exists());
        run.map(Self::open).transpose()
    }

    fn save(&self) -> Result<()> {
        let json = serde_json::to_vec_pretty(&self.settings).context("the run's settings cannot be written down")?;
        write_whole(&self.folder.join(SETTINGS), &json)
    }

    /// The folder that the run is in.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of the category that the run learns from.
    pub(crate) fn data(&self) -> &Path {
        &self.settings.data
    }

    /// The images that the run does not train with, those for calibration or else for validation, and what for.
    ///
    /// # Errors
    /// If the category's images are not those that the run was started with.
    pub(crate) fn held_out(&self, category: &Category) -> Result<(Vec<PathBuf>, &'static str)> {
        self.check_images(category)?;
        let calibration = self.images(category, |image| image.calibration)?;
        Ok(if calibration.is_empty() {
            (self.images(category, |image| image.validation)?, "validation")
        } else {
            (calibration, "calibration")
        })
    }

    /// That category, read as when the run was started.
    pub(crate) fn category(&self) -> std::result::Result<Category, DataError> {
        Category::open_as(self.data(), self.settings.layout, self.bands())
    }

    /// The good images that the run has to do with, in the order of its records.
    fn good_images(&self, category: &Category) -> Result<Vec<PathBuf>> {
        let good = Good::of(category).without(&category.root, &self.settings.without, None)?;
        Ok(good.of_run(self.settings.shares()))
    }

    /// Which files make one of the run's images together, where each has several.
    pub(crate) fn bands(&self) -> Option<&Pattern> {
        self.settings.bands.as_ref()
    }

    /// How the run's images are read.
    fn reader(&self) -> Reader {
        self.settings.reader()
    }

    /// How that folder is read.
    pub(crate) fn layout(&self) -> Layout {
        self.settings.layout
    }

    /// The SHA-256 of every image that the run learns from or is validated with.
    pub(crate) fn seen(&self) -> HashSet<&str> {
        let seen = self.settings.images.iter().filter(|image| !image.calibration);
        seen.map(|image| image.sha256.as_str()).collect()
    }

    /// Checks that options given for a run that exists are those that it was started with.
    ///
    /// # Errors
    /// Names the first that is not.
    pub(crate) fn agree(&self, args: &TrainingArgs, layout: Option<Layout>) -> Result<()> {
        let Settings {
            layout: own,
            protocol,
            ref training,
            ..
        } = self.settings;
        let is_our_roi = |file: &PathBuf| sha256(&[file]).is_ok_and(|sum| Some(sum) == self.settings.roi);
        let other_roi = !args.roi.as_ref().is_none_or(is_our_roi);
        let other_layout = layout.is_some_and(|given| given != own);
        let other_bands = args.bands.is_some() && args.bands.as_ref() != self.bands();
        let differing = || settings::differing(args, protocol, self.settings.shares(), training);
        let other_groups = args
            .group_by
            .as_ref()
            .is_some_and(|given| Some(given.to_string()) != self.settings.group_by);
        let left_out = |file: &PathBuf| names_in(file).is_ok_and(|names| names == self.settings.without);
        let other_without = !args.without.as_ref().is_none_or(left_out);
        let other = other_layout
            .then_some("format")
            .or(other_groups.then_some("group-by"))
            .or(other_without.then_some("without"))
            .or(other_roi.then_some("roi"))
            .or(other_bands.then_some("bands"));
        match other.or_else(differing) {
            None => Ok(()),
            Some(name) => Err(usage(format!(
                "the run in {} was started with another --{name}; leave that option out, or start another run in \
                 another folder with --out",
                self.folder.display()
            ))),
        }
    }

    /// Trains from where the run is until it ends, Ctrl-C is pressed, or `budget` is used up, and completes what came of
    /// it: finds what is normal, and calibrates with the images held out for that. With `moved`, the images are there
    /// now.
    ///
    /// # Errors
    /// If the images are not those that the run was started with, or training fails.
    pub(crate) fn train(
        &mut self,
        moved: Option<&Category>,
        budget: Option<Duration>,
        device: &Device,
    ) -> Result<Trained> {
        // Before anything is written: from its first file on, a run stops in good order.
        let watch = Watch::start(budget);
        let mut trainer = if self.folder.join(LAST).exists() {
            Trainer::resume(&self.folder, device)?
        } else {
            Trainer::start(self.settings.training.clone(), &self.folder, device)?
        };
        let folder = shell_quoted(&self.folder);
        for name in [SETTINGS, ROI] {
            remove_part(&self.folder.join(name))?;
        }
        if trainer.progress().finished && self.is_complete()? {
            info!("the run in {folder} is finished: {}", best(&trainer));
            return Ok(Trained::Finished);
        }
        let recorded;
        let category = match moved {
            Some(category) => category,
            None => {
                recorded = self.category().with_context(|| {
                    format!("the images of the run in {folder} cannot be had; if they have moved, name their folder")
                })?;
                &recorded
            }
        };
        self.check_images(category)?;
        if moved.is_some() {
            self.settings.data = path::absolute(&category.root)?;
            self.settings.layout = category.layout;
            self.save()?;
        }
        let trained = self.go_on(&mut trainer, category, &watch, device)?;
        // The trainer holds the run's lock until the end. Whoever presses Ctrl-C does not want to wait.
        if trained != Trained::Stopped(Reason::Pressed) && !self.is_complete()? {
            self.complete(category, device)?;
        }
        Ok(trained)
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
    fn complete(&self, category: &Category, device: &Device) -> Result<()> {
        // Named before they can fail one by one.
        self.check_images(category)?;
        let compute = Compute {
            remarks: self.remarks.clone(),
            ..Compute::f32(device)
        };
        let best = self.folder.join(BEST);
        let mut checkpoint = Checkpoint::open(&best)?;
        if self.compares_with_normal() {
            let mut images = self.images(category, |image| !image.calibration && !image.validation)?;
            // Those of a random split are in the order of their names, which may be that of their taking.
            let step = images.len().div_ceil(NORMAL_IMAGES);
            images = images.into_iter().step_by(step.max(1)).collect();
            find_normal(&mut checkpoint, images, self.bands(), &compute)?;
        }
        if self.settings.roi.is_some() {
            let roi = load_roi(&self.folder.join(ROI), &checkpoint.header.scoring, &[], &self.reader())?;
            checkpoint.roi = Some(roi);
        }
        let held_out = self.images(category, |image| image.calibration)?;
        let scores = if held_out.is_empty() {
            Vec::new()
        } else {
            let scores = calibrate(&mut checkpoint, held_out, self.bands(), &compute)?;
            refuse(&scores.faults)?;
            scores.of.into_iter().map(|(_, score)| score).collect()
        };
        // What is normal and which scores good images have must come of the images that the run was started with.
        self.check_images(category)?;
        self.look_for_suspects(category, &checkpoint, &scores, &compute)?;
        checkpoint.save(&best)?;
        if let Some(calibration) = &checkpoint.header.calibration {
            info!("calibrated with {}", reach(calibration));
        }
        Ok(())
    }

    /// Names the good images that a person should look at, by what they show and by the model's scores. Those of the images
    /// held out for calibration are given.
    fn look_for_suspects(
        &self,
        category: &Category,
        checkpoint: &Checkpoint,
        calibration: &[f32],
        compute: &Compute,
    ) -> Result<()> {
        let images = self.good_images(category)?;
        let names = self.settings.images.iter().map(|image| image.name.clone()).collect();
        let mut suspects = Suspects::among(images.clone(), names, &self.reader());
        let places = |is_chosen: &dyn Fn(&ImageRecord) -> bool| -> Vec<usize> {
            let records = self.settings.images.iter().enumerate();
            records
                .filter(|(_, image)| is_chosen(image))
                .map(|(place, _)| place)
                .collect()
        };
        let held_out = places(&|image| image.calibration);
        suspects.judge(&held_out, calibration);
        let model = Model::new(checkpoint, self.bands().cloned(), compute)?;
        // To score all tiles of all images would take longer than to learn from one of each.
        if checkpoint.header.scoring.tiling.is_none() {
            for validation in [false, true] {
                let of_part = places(&|image| !image.calibration && image.validation == validation);
                let part = of_part.iter().map(|&place| images[place].clone()).collect();
                let scores = scores(&model, part, "looking for unusual images")?;
                refuse(&scores.faults)?;
                let scores: Vec<f32> = scores.of.into_iter().map(|(_, score)| score).collect();
                suspects.judge(&of_part, &scores);
            }
        }
        suspects.weigh(&held_out, calibration);
        if suspects.is_empty() {
            return Ok(());
        }
        let page = suspects.write(&self.folder, "suspects", &self.reader(), Some(&model))?;
        suspects.tell(&page);
        Ok(())
    }

    /// The command that takes the run up.
    pub(crate) fn resume_command(&self) -> String {
        format!("riad train --resume {}", shell_quoted(&self.folder))
    }

    fn check_images(&self, category: &Category) -> Result<()> {
        let now = records(&self.good_images(category)?, &category.root, self.bands())?;
        check_same(&self.settings.images, &now, &category.root)
    }

    /// The images to train on, or those to validate with.
    fn source(&self, category: &Category, validation: bool) -> Result<Source> {
        let paths = self.images(category, |image| !image.calibration && image.validation == validation)?;
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

/// Which files make one image of a model together: as is `given`, or as in the run that the model lies in.
///
/// # Errors
/// If that run's settings cannot be read.
pub(crate) fn bands_of(model: &Path, given: Option<&Pattern>) -> Result<Option<Pattern>> {
    match given {
        Some(given) => Ok(Some(given.clone())),
        None => Ok(Run::of(model)?.and_then(|run| run.bands().cloned())),
    }
}

/// The preset's name, or the width where it is none of them.
pub(crate) fn preset_name(width: usize) -> String {
    let preset = Preset::ALL.iter().find(|preset| preset.width() == width);
    preset.map_or_else(|| format!("width {width}"), |preset| preset.to_string())
}
