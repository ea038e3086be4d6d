//! The weights of another model that a training starts with.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use riad_model::{Architecture, Checkpoint, Header, Preset, TrainConfig, Weights};
use sha2::{Digest, Sha256};

use crate::{Error, Result, TrainingOptions, files::hexadecimal};

/// The weights, in the run's folder until its first state is saved.
const START: &str = "start.safetensors";

/// A model that a training starts with.
pub(super) struct Start {
    name: PathBuf,
    header: Header,
    weights: Weights,
}

impl Start {
    /// Reads a run's best weights, or a checkpoint.
    pub(super) fn open(model: &Path) -> Result<Self> {
        let Checkpoint { header, weights, .. } = Checkpoint::open(model)?;
        Ok(Self {
            name: model.to_owned(),
            header,
            weights,
        })
    }

    /// Reads those that a run keeps for its first step.
    pub(super) fn of_run(folder: &Path, sha256: &str) -> Result<Self> {
        let path = folder.join(START);
        let start = Self::open(&path)?;
        if start.sha256() == sha256 {
            return Ok(start);
        }
        Err(Error::damaged(&path)(
            "the weights are not the weights that the run was started with",
        ))
    }

    /// Keeps the weights in a run's folder, so that the run needs no other one.
    pub(super) fn keep(&self, folder: &Path) -> Result<()> {
        let kept = Checkpoint::new(self.weights.clone(), self.header.scoring.clone(), None, None);
        Ok(kept.save(&folder.join(START))?)
    }

    /// Removes them: the run's own state has taken their place.
    pub(super) fn remove(folder: &Path) -> Result<()> {
        let path = folder.join(START);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    pub(super) fn into_weights(self) -> Weights {
        self.weights
    }

    /// The SHA-256 of the weights alone: what else the checkpoint holds, such as a calibration, starts nothing.
    pub(super) fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        for (name, values) in self.weights.tensors() {
            hash.update(name.as_bytes());
            for value in values {
                hash.update(value.to_le_bytes());
            }
        }
        hexadecimal(hash)
    }

    /// The options with what the model says where nothing is asked for, so that images are looked at as it learned to.
    pub(super) fn complete(&self, options: &TrainingOptions) -> TrainingOptions {
        let (architecture, scoring) = (self.header.architecture, &self.header.scoring);
        let mut options = options.clone();
        let preset = Preset::ALL.iter().find(|preset| preset.width() == architecture.width);
        options.preset = options.preset.or(preset.copied());
        if options.bands.is_none() {
            options.channels.get_or_insert(architecture.channels());
        }
        options.white_level = options.white_level.or(scoring.white_level);
        options.similarity.get_or_insert(scoring.similarity);
        if *options.method.get_or_insert(scoring.method) == scoring.method {
            options.input.get_or_insert(scoring.input);
            options.chroma.get_or_insert(scoring.chroma);
            if !scoring.region_sizes.is_empty() {
                options.regions.get_or_insert_with(|| scoring.region_sizes.clone());
                options.sets.get_or_insert(scoring.sets);
            }
        }
        if options.size.is_none() && options.tile.is_none() {
            match scoring.tiling {
                None => options.size = Some(scoring.size()),
                Some(tiling) => {
                    options.tile = Some(scoring.size());
                    options.overlap.get_or_insert(tiling.overlap);
                }
            }
            options.smoothing.get_or_insert(scoring.smoothing);
            options.scales.get_or_insert(scoring.scales);
        }
        options
    }

    /// Checks that a training with these settings can start with the weights.
    ///
    /// # Errors
    /// [`Error::Request`] names what does not fit.
    pub(super) fn check(&self, config: &TrainConfig) -> Result<()> {
        let refuse = |what: &str, has: &dyn std::fmt::Display, asked: &dyn std::fmt::Display| {
            Err(Error::request(format!(
                "training cannot start from {}: its {what} is {has}, not {asked}",
                self.name.display()
            )))
        };
        let (own, asked) = (self.header.architecture, config.architecture);
        let [own_method, asked_method] = [&self.header.scoring, &config.scoring].map(|scoring| scoring.method);
        if own_method != asked_method {
            return refuse("method", &own_method, &asked_method);
        }
        if own.width != asked.width {
            return refuse("preset", &preset(own), &preset(asked));
        }
        if own.channels() != asked.channels() {
            return refuse("number of channels", &own.channels(), &asked.channels());
        }
        if own != asked {
            let reason = "its network has other layers or another input";
            return Err(Error::request(format!(
                "training cannot start from {}: {reason}",
                self.name.display()
            )));
        }
        Ok(())
    }
}

/// The name of the preset of an architecture, or its width.
fn preset(architecture: Architecture) -> String {
    let mut presets = Preset::ALL.iter();
    let found = presets.find(|preset| preset.width() == architecture.width);
    found.map_or(format!("of width {}", architecture.width), |preset| {
        preset.name().to_owned()
    })
}
