//! The training loop: steps, validation, early stopping, and checkpoints from which a killed run resumes bit by bit.

use std::{
    fmt,
    fs::{self, File, TryLockError},
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use riad_core::random;

use crate::{
    Device, Result,
    adam::Adam,
    architecture::CHANNELS,
    checkpoint::{BEST, Checkpoint, LAST, Moments, write_whole},
    error::ModelError,
    learner::{Begun, Learner},
    loss::LossTerms,
    masking::{Masking, derive_seed},
    scorer::Reconstructor,
    training::{EpochRecord, Progress, TrainConfig},
    weights::Weights,
};

/// Where a trainer gets its images from.
pub trait ImageSource {
    /// Number of images.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The images at the places `order`, in that order, in batches of `batch_size` (the last may be smaller). Each batch
    /// is `[B, 3, H, W]` in [0, 1], of the size in the scoring settings.
    ///
    /// What is chosen at random, such as where a tile is cut from an image, must follow from `seed` and the place alone.
    /// Training gives another seed in every epoch, validation always the same.
    fn batches(
        &self,
        order: Vec<usize>,
        batch_size: usize,
        seed: u64,
    ) -> Box<dyn Iterator<Item = std::result::Result<Vec<f32>, Box<dyn std::error::Error + Send + Sync>>> + '_>;
}

/// What a trainer tells of while it runs.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A step was taken.
    Step {
        /// Epoch, from 1.
        epoch: usize,
        /// Step in the epoch, from 1.
        step: usize,
        /// Steps in an epoch.
        steps: usize,
        /// The step's loss.
        loss: LossTerms,
    },
    /// An epoch ended and was validated.
    Epoch {
        /// Its losses.
        record: &'a EpochRecord,
        /// Whether it is the best so far.
        best: bool,
        /// The epoch that will be the last, as [`Trainer::last_epoch`] tells.
        last: usize,
        /// The network's weights at its end.
        weights: EndWeights<'a>,
    },
}

/// A network's weights at the end of an epoch, where the network lies: perhaps on a GPU.
#[derive(Clone, Copy)]
pub struct EndWeights<'a>(&'a Learner);

impl EndWeights<'_> {
    /// A copy of them.
    ///
    /// # Errors
    /// If the device fails.
    pub fn get(&self) -> Result<Weights> {
        self.0.weights()
    }
}

impl fmt::Debug for EndWeights<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndWeights").finish_non_exhaustive()
    }
}

/// How a call of [`Trainer::run`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All epochs were run.
    Completed,
    /// The validation loss did not improve for the patience, so there were fewer.
    Stopped,
    /// The observer broke off; the run can be resumed.
    Interrupted,
}

// Kinds of random choices, each with seeds of its own.
const WEIGHTS: u64 = 1;
const ORDER: u64 = 2;
const REGION_SIZE: u64 = 3;
const MASKS: u64 = 4;
const TILES: u64 = 5;

/// Least time between two saves within a run. A save never changes what is computed, only how much a kill costs.
const SAVE_EVERY: Duration = Duration::from_secs(20);

/// A training run in a folder of its own.
///
/// The folder holds `last.safetensors` (weights, Adam's moments and progress, to resume from), `best.safetensors` (the
/// weights of the best epoch, to score with) and `history.csv`. Everything random follows from the seed and the place of
/// the step, so a run that was killed and resumed ends in the same bytes as the undisturbed one.
pub struct Trainer {
    config: TrainConfig,
    /// Where the run is kept; `None` for a rehearsal.
    home: Option<Home>,
    device: Device,
    learner: Learner,
    progress: Progress,
    best: Option<Weights>,
    saved: Instant,
}

/// The folder that a run is kept in.
struct Home {
    folder: PathBuf,
    /// Held while the trainer lives, so that two processes never write the same run.
    _lock: File,
}

impl Trainer {
    /// Starts a run in `folder`, which is made where it does not exist.
    ///
    /// # Errors
    /// If a setting is out of range, or the folder already holds a run, or another process is training in it.
    pub fn start(config: TrainConfig, folder: &Path, device: &Device) -> Result<Self> {
        config.check()?;
        fs::create_dir_all(folder).map_err(ModelError::io(folder))?;
        let lock = lock_run(folder)?;
        if folder.join(LAST).exists() {
            return Err(ModelError::Setting(format!(
                "{} already holds a run; resume it with --resume, or choose another folder with --out",
                folder.display()
            )));
        }
        let home = Home {
            folder: folder.to_owned(),
            _lock: lock,
        };
        let mut trainer = Self::begin(config, Some(home), device)?;
        trainer.save()?;
        Ok(trainer)
    }

    /// Starts a run that is kept nowhere, to see how long its steps take.
    ///
    /// # Errors
    /// If a setting is out of range.
    pub fn rehearse(config: TrainConfig, device: &Device) -> Result<Self> {
        config.check()?;
        Self::begin(config, None, device)
    }

    fn begin(config: TrainConfig, home: Option<Home>, device: &Device) -> Result<Self> {
        let weights = Weights::initial(config.architecture, derive_seed(&[config.seed, WEIGHTS]));
        let adam = Adam {
            weight_decay: config.weight_decay,
            steps: 0,
        };
        let precision = config.precision;
        Ok(Self {
            config,
            home,
            device: device.clone(),
            learner: Learner::new(&weights, adam, &Moments::new(), device, precision)?,
            progress: Progress::default(),
            best: None,
            saved: Instant::now(),
        })
    }

    /// Takes up the run in `folder` where it was last saved.
    ///
    /// # Errors
    /// If the folder holds no run, or another process is training in it.
    pub fn resume(folder: &Path, device: &Device) -> Result<Self> {
        let path = folder.join(LAST);
        let refuse = |reason: &str| ModelError::Checkpoint {
            path: path.clone(),
            reason: reason.to_owned(),
        };
        if !path.exists() {
            return Err(refuse("there is no run to resume here; start one with riad train"));
        }
        let lock = lock_run(folder)?;
        let (Checkpoint { header, weights, .. }, moments) = Checkpoint::open_with_moments(&path)?;
        let (Some(config), Some(progress)) = (header.training, header.progress) else {
            return Err(refuse("it holds weights but no state of training to resume from"));
        };
        config.check()?;
        let trained = weights.architecture().tensors().into_iter();
        if trained
            .filter(|spec| spec.role.is_trained())
            .any(|spec| !moments.contains_key(&spec.name))
        {
            return Err(refuse(
                "it lacks the optimiser's state, so the run cannot be resumed from it",
            ));
        }
        let adam = Adam {
            weight_decay: config.weight_decay,
            steps: progress.optimiser_steps,
        };
        let learner = Learner::new(&weights, adam, &moments, device, config.precision)?;
        let best = match progress.best_epoch {
            0 => None,
            _ => Some(Checkpoint::open(&folder.join(BEST))?.weights),
        };
        let home = Home {
            folder: folder.to_owned(),
            _lock: lock,
        };
        Ok(Self {
            config,
            home: Some(home),
            device: device.clone(),
            learner,
            progress,
            best,
            saved: Instant::now(),
        })
    }

    /// The run's settings.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// How far the run has come.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The epoch, from 1, that is the last unless patience runs out before. It comes closer where the learning rate decays
    /// early.
    pub fn last_epoch(&self) -> usize {
        self.config.last_epoch(&self.progress)
    }

    /// Trains until the last epoch, until the validation loss stops improving, or until `observe` breaks off, and leaves
    /// the run saved.
    ///
    /// # Errors
    /// If an image cannot be had, the loss becomes NaN or infinite (the last good checkpoint is kept), a file cannot be
    /// written, or the device fails.
    pub fn run(
        &mut self,
        train: &dyn ImageSource,
        validation: &dyn ImageSource,
        observe: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Outcome> {
        if train.is_empty() {
            return Err(ModelError::Setting("there are no training images".into()));
        }
        while !self.progress.finished {
            if self.run_epoch(train, observe)?.is_break() {
                self.save()?;
                return Ok(Outcome::Interrupted);
            }
            let best = self.end_epoch(train.len(), validation)?;
            if best {
                self.best = Some(self.learner.weights()?);
            }
            let flow = match self.progress.history.last() {
                Some(record) => observe(Event::Epoch {
                    record,
                    best,
                    last: self.last_epoch(),
                    weights: EndWeights(&self.learner),
                }),
                None => ControlFlow::Continue(()),
            };
            if self.progress.finished || flow.is_break() || self.saved.elapsed() >= SAVE_EVERY {
                self.save()?;
            }
            if flow.is_break() && !self.progress.finished {
                return Ok(Outcome::Interrupted);
            }
        }
        Ok(if self.progress.epochs < self.config.epochs {
            Outcome::Stopped
        } else {
            Outcome::Completed
        })
    }

    fn run_epoch(
        &mut self,
        train: &dyn ImageSource,
        observe: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let batch_size = self.config.batch_size;
        let steps = train.len().div_ceil(batch_size);
        let order = shuffled(
            train.len(),
            derive_seed(&[self.config.seed, ORDER, self.progress.epochs as u64]),
        );
        let rest = order.into_iter().skip(self.progress.steps * batch_size).collect();
        let seed = derive_seed(&[self.config.seed, TILES, self.progress.epochs as u64]);
        let mut running = None;
        for images in train.batches(rest, batch_size, seed) {
            let images = images.map_err(ModelError::Images)?;
            // Images and masks are made ready while the device is at the step before.
            let masking = self.masks(&images, usize::from(running.is_some()))?;
            self.learner.stage(&images, &masking)?;
            if let Some(step) = running.take()
                && self.finish_step(step, steps, observe)?.is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
            let learning_rate = self.config.learning_rate_after(&self.progress);
            let begun = self.learner.begin(&images, &masking, self.config.loss, learning_rate)?;
            running = Some((begun, masking.images()));
        }
        match running {
            Some(step) => self.finish_step(step, steps, observe),
            None => Ok(ControlFlow::Continue(())),
        }
    }

    /// Waits for a step on so many images, and tells of it.
    fn finish_step(
        &mut self,
        (begun, count): (Begun, usize),
        steps: usize,
        observe: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let loss = self.learner.finish(begun)?;
        if !loss.total.is_finite() {
            return Err(self.diverged(loss.total));
        }
        self.progress.steps += 1;
        self.progress.partial.add(loss, count as f64);
        let event = Event::Step {
            epoch: self.progress.epochs + 1,
            step: self.progress.steps,
            steps,
            loss,
        };
        if observe(event).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if self.saved.elapsed() >= SAVE_EVERY {
            self.save()?;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Masks for a batch of the step after `ahead` others: a region size for all its images, masks for each.
    fn masks(&self, images: &[f32], ahead: usize) -> Result<Masking> {
        let scoring = &self.config.scoring;
        let size = (scoring.height, scoring.width);
        let image_len = CHANNELS * size.0 * size.1;
        let count = images.len() / image_len;
        ModelError::length("a batch of training images", images.len(), count * image_len)?;

        let (epoch, step) = (self.progress.epochs as u64, (self.progress.steps + ahead) as u64);
        let mut rng = ChaCha8Rng::seed_from_u64(derive_seed(&[self.config.seed, REGION_SIZE, epoch, step]));
        let passes = scoring.passes();
        let region_size = passes[random::below(passes.len() as u32, &mut rng) as usize];
        let seeds: Vec<u64> = (0..count as u64)
            .map(|image| derive_seed(&[self.config.seed, MASKS, epoch, step, image]))
            .collect();
        Masking::sample(region_size, scoring.sets, size, &seeds, scoring.normalisation)
    }

    /// Validates, and settles whether the epoch is the best and whether it is the last. Gives whether it is the best: the
    /// caller has to keep the weights then.
    fn end_epoch(&mut self, train_images: usize, validation: &dyn ImageSource) -> Result<bool> {
        let mut train = LossTerms::default();
        train.add(self.progress.partial, 1.0 / train_images as f64);
        let validation = self.validate(validation)?;
        let loss = validation.unwrap_or(train).total;
        if !loss.is_finite() {
            return Err(self.diverged(loss));
        }
        // Without validation images the last epoch counts as the best: the training loss says little of which is.
        let best = validation.is_none() || self.progress.best_loss().is_none_or(|best| loss < best);
        let progress = &mut self.progress;
        let learning_rate = self.config.learning_rate_after(progress);
        progress.epochs += 1;
        progress.steps = 0;
        progress.partial = LossTerms::default();
        progress.history.push(EpochRecord {
            epoch: progress.epochs,
            learning_rate,
            train,
            validation,
        });
        if best {
            progress.best_epoch = progress.epochs;
        }
        self.config.settle(progress);
        Ok(best)
    }

    fn validate(&self, images: &dyn ImageSource) -> Result<Option<LossTerms>> {
        if images.is_empty() {
            return Ok(None);
        }
        let scoring = &self.config.scoring;
        let plan = self.learner.plan(&self.device, self.config.precision)?;
        let reconstructor = Reconstructor::new(plan, scoring)?;
        let image_len = CHANNELS * scoring.height * scoring.width;
        let mut mean = LossTerms::default();
        let seed = derive_seed(&[self.config.seed, TILES]);
        for batch in images.batches((0..images.len()).collect(), self.config.batch_size, seed) {
            let batch = batch.map_err(ModelError::Images)?;
            let share = (batch.len() / image_len) as f64 / images.len() as f64;
            mean.add(reconstructor.validation_loss(&batch, self.config.loss)?, share);
        }
        Ok(Some(mean))
    }

    /// Writes the run's state. The best weights come first: a kill between the two files leaves a newer best beside an
    /// older state, and the resumed run arrives at that best again.
    fn save(&mut self) -> Result<()> {
        let Some(Home { folder, .. }) = &self.home else {
            return Ok(());
        };
        let weights = self.learner.weights()?;
        if !weights.is_finite() {
            return Err(self.diverged(f64::NAN));
        }
        if let Some(best) = &self.best {
            let mut progress = self.progress.clone();
            progress.history.truncate(progress.best_epoch);
            progress.epochs = progress.best_epoch;
            progress.decayed_early = progress.decayed_early.filter(|&decay| decay < progress.best_epoch);
            (progress.steps, progress.partial, progress.finished) = (0, LossTerms::default(), false);
            progress.optimiser_steps = 0;
            self.checkpoint(best.clone(), progress).save(&folder.join(BEST))?;
        }
        let (steps, moments) = self.learner.optimiser()?;
        self.progress.optimiser_steps = steps;
        let last = self.checkpoint(weights, self.progress.clone());
        last.save_with_moments(&folder.join(LAST), &moments)?;
        write_whole(
            &folder.join("history.csv"),
            history_csv(&self.progress.history).as_bytes(),
        )?;
        self.saved = Instant::now();
        Ok(())
    }

    fn checkpoint(&self, weights: Weights, progress: Progress) -> Checkpoint {
        Checkpoint::new(
            weights,
            self.config.scoring.clone(),
            Some(self.config.clone()),
            Some(progress),
        )
    }

    fn diverged(&self, loss: f64) -> ModelError {
        ModelError::Diverged {
            loss,
            epoch: self.progress.epochs + 1,
            step: self.progress.steps + 1,
        }
    }
}

/// Keeps the run in `folder` from other processes until the file is dropped. A [`Trainer`] does so by itself.
///
/// # Errors
/// If another process is training there, or the file `lock` cannot be made.
pub fn lock_run(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let file = File::create(&path).map_err(ModelError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ModelError::Setting(format!(
            "another process is training in {}; wait for it, or choose another folder with --out",
            folder.display()
        ))),
        Err(TryLockError::Error(error)) => Err(ModelError::io(&path)(error)),
    }
}

/// The numbers below `count` in random order.
fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    random::shuffle(&mut order, &mut ChaCha8Rng::seed_from_u64(seed));
    order
}

fn history_csv(history: &[EpochRecord]) -> String {
    let mut csv = String::from(
        "epoch,learning_rate,train,train_l2,train_l1,train_ssim,train_msgms,\
         validation,validation_l2,validation_l1,validation_ssim,validation_msgms\n",
    );
    let terms = |terms: Option<LossTerms>| match terms {
        Some(LossTerms {
            l2,
            l1,
            ssim,
            msgms,
            total,
        }) => format!("{total:.6},{l2:.6},{l1:.6},{ssim:.6},{msgms:.6}"),
        None => ",,,,".to_owned(),
    };
    for EpochRecord {
        epoch,
        learning_rate,
        train,
        validation,
    } in history
    {
        csv += &format!(
            "{epoch},{learning_rate},{},{}\n",
            terms(Some(*train)),
            terms(*validation)
        );
    }
    csv
}

#[cfg(test)]
mod tests;
