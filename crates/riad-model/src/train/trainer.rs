//! The training loop: steps, validation, early stopping, and checkpoints from which a killed run resumes bit by bit.

use std::{
    fmt, fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use riad_core::random::Random;

use super::history::history_csv;
use crate::{
    Result,
    backend::{self, Adam, Device, Train},
    error::ModelError,
    method::{Examples, LossTerms, Masking},
    network::{Moments, Weights},
    seed::{Choice, Step, derive_seed},
    store::{BEST, Checkpoint, EpochRecord, LAST, Progress, RunLock, TrainConfig, lock_run, remove_part, write_whole},
};

/// A source of images for a trainer.
pub trait ImageSource {
    /// Number of images.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The images at the places `order`, in that order, in batches of `batch_size` (the last may be smaller), of the
    /// architecture's channels and the size in the scoring settings. They are corrupted for a
    /// [method that corrupts](crate::Method::corrupts), and for no other.
    ///
    /// What is chosen at random, such as where a tile is cut from an image, or how it is corrupted, must follow from `seed` and
    /// the place alone. Training gives another seed in every epoch, validation always the same.
    fn batches(
        &self,
        order: Vec<usize>,
        batch_size: usize,
        seed: u64,
    ) -> Box<dyn Iterator<Item = std::result::Result<Examples, Box<dyn std::error::Error + Send + Sync>>> + '_>;
}

/// The events of a trainer.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
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

/// A network's weights at the end of an epoch, on its device.
#[derive(Clone, Copy)]
pub struct EndWeights<'a>(&'a dyn Train);

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
    /// The validation loss did not improve for `patience` epochs, so training ended early.
    Stopped,
    /// The observer stopped training. The run can be resumed.
    Interrupted,
}

/// The losses of a run's epochs.
const HISTORY: &str = "history.csv";

/// Least time between two saves within a run. A save never changes what is computed, only how much a kill costs.
const SAVE_EVERY: Duration = Duration::from_secs(20);

/// A training run in its own folder.
///
/// The folder holds `last.safetensors` (weights, Adam's moments and progress, to resume from), `best.safetensors` (the
/// weights of the best epoch, to score with) and `history.csv`. Everything random follows from the seed and the place of
/// the step, so a run that was killed and resumed ends in the same bytes as the undisturbed one.
pub struct Trainer {
    config: TrainConfig,
    /// Where the run is kept; `None` for a rehearsal.
    home: Option<Home>,
    network: Box<dyn Train>,
    progress: Progress,
    /// The weights of the best epoch, until they are in their file. That file is written once for each best epoch: what was
    /// found for its weights since then, such as a calibration, stays in it.
    unsaved_best: Option<Weights>,
    saved: Instant,
}

/// The folder that a run is kept in.
struct Home {
    folder: PathBuf,
    /// Held while the trainer lives, so that two processes never write the same run.
    _lock: RunLock,
}

impl Trainer {
    /// Starts a run in `folder`. The folder is made if it does not exist.
    ///
    /// # Errors
    /// If a setting is out of range, or the folder already holds a run or its best weights, or another process is
    /// training in it.
    pub fn start(config: TrainConfig, folder: &Path, device: &Device) -> Result<Self> {
        config.check()?;
        let weights = initial(&config)?;
        Self::start_from(config, &weights, folder, device)
    }

    /// The same, but training begins with the weights of another network instead of random ones. The optimiser starts
    /// from nothing.
    ///
    /// # Errors
    /// As [`Self::start`], and if the weights have another architecture.
    pub fn start_from(config: TrainConfig, weights: &Weights, folder: &Path, device: &Device) -> Result<Self> {
        config.check()?;
        if weights.architecture() != config.architecture {
            return Err(ModelError::Setting(
                "the weights to start with have another architecture".into(),
            ));
        }
        fs::create_dir_all(folder).map_err(ModelError::io(folder))?;
        let lock = lock_run(folder)?;
        if folder.join(LAST).exists() {
            return Err(ModelError::RunExists {
                folder: folder.to_owned(),
            });
        }
        // A run has its state before its first best weights, so somebody has removed it, or put the weights there.
        let best = folder.join(BEST);
        if best.exists() {
            return Err(ModelError::Checkpoint {
                path: best,
                reason: format!(
                    "a training from the start would replace it, and {LAST}, from which its training goes on, is not beside it; bring that \
                     back, or choose another folder"
                ),
            });
        }
        let home = Home {
            folder: folder.to_owned(),
            _lock: lock,
        };
        let mut trainer = Self::begin(config, weights, Some(home), device)?;
        trainer.save()?;
        Ok(trainer)
    }

    /// Starts a run without files, to measure the time of its steps.
    ///
    /// # Errors
    /// If a setting is out of range.
    pub fn rehearse(config: TrainConfig, device: &Device) -> Result<Self> {
        config.check()?;
        let weights = initial(&config)?;
        Self::begin(config, &weights, None, device)
    }

    fn begin(config: TrainConfig, weights: &Weights, home: Option<Home>, device: &Device) -> Result<Self> {
        let adam = Adam {
            weight_decay: config.weight_decay,
            steps: 0,
        };
        let precision = config.precision;
        Ok(Self {
            config,
            home,
            network: backend::trainer(weights, adam, &Moments::new(), device, precision)?,
            progress: Progress::default(),
            unsaved_best: None,
            saved: Instant::now(),
        })
    }

    /// Goes on with the run in `folder` from its last save, and repairs what a kill during a save left there.
    ///
    /// # Errors
    /// If the folder holds no run, another process is training in it, or the best weights are missing or older than the
    /// run's state.
    pub fn resume(folder: &Path, device: &Device) -> Result<Self> {
        let path = folder.join(LAST);
        let refuse = |reason: &str| ModelError::Checkpoint {
            path: path.clone(),
            reason: reason.to_owned(),
        };
        if !path.exists() {
            return Err(ModelError::NoRun {
                folder: folder.to_owned(),
            });
        }
        let lock = lock_run(folder)?;
        let (Checkpoint { header, weights, .. }, moments) = Checkpoint::open_with_moments(&path)?;
        let (Some(config), Some(progress)) = (header.training, header.progress) else {
            return Err(refuse(
                "it holds weights, but no state of a training that could be resumed",
            ));
        };
        config.check()?;
        let trained = weights.network().tensors().into_iter();
        if trained
            .filter(|spec| spec.role.is_trained())
            .any(|spec| !moments.contains_key(&spec.name))
        {
            return Err(refuse(
                "it does not have the optimiser's state, so the run cannot be resumed",
            ));
        }
        let adam = Adam {
            weight_decay: config.weight_decay,
            steps: progress.optimiser_steps,
        };
        let network = backend::trainer(&weights, adam, &moments, device, config.precision)?;
        if progress.best_epoch > 0 {
            check_best(&folder.join(BEST), progress.best_epoch)?;
        }
        let home = Home {
            folder: folder.to_owned(),
            _lock: lock,
        };
        let trainer = Self {
            config,
            home: Some(home),
            network,
            progress,
            unsaved_best: None,
            saved: Instant::now(),
        };
        trainer.mend()?;
        Ok(trainer)
    }

    /// Undoes what a kill within a save left: a table that is older than the state beside it, and parts of files. A run
    /// that is finished is not saved again, and is to look as if nothing had happened.
    fn mend(&self) -> Result<()> {
        let Some(Home { folder, .. }) = &self.home else {
            return Ok(());
        };
        let path = folder.join(HISTORY);
        let history = history_csv(&self.progress.history);
        if fs::read(&path).ok().as_deref() != Some(history.as_bytes()) {
            write_whole(&path, history.as_bytes())?;
        }
        [LAST, BEST, HISTORY]
            .iter()
            .try_for_each(|name| remove_part(&folder.join(name)))
    }

    /// The run's settings.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// The progress of the run.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The last epoch, from 1, unless patience runs out before it. It becomes smaller if the learning rate decays
    /// early.
    pub fn last_epoch(&self) -> usize {
        self.config.last_epoch(&self.progress)
    }

    /// Trains until the last epoch, until the validation loss stops improving, or until `observe` stops it. The run is
    /// then saved.
    ///
    /// # Errors
    /// [`ModelError::OtherImages`] if the run has begun with another number of images, in this process or before it was
    /// resumed. If an image cannot be loaded, the loss becomes NaN or infinite (the last good checkpoint is kept), a file cannot
    /// be written, or the device fails.
    pub fn run(
        &mut self,
        train: &dyn ImageSource,
        validation: &dyn ImageSource,
        observe: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Outcome> {
        if train.is_empty() {
            return Err(ModelError::Setting("there are no training images".into()));
        }
        self.progress.check_counts(train.len(), validation.len())?;
        while !self.progress.finished {
            if self.run_epoch(train, observe)?.is_break() {
                self.save()?;
                return Ok(Outcome::Interrupted);
            }
            let best = self.end_epoch(train.len(), validation)?;
            if best {
                self.unsaved_best = Some(self.network.weights()?);
            }
            let flow = match self.progress.history.last() {
                Some(record) => observe(Event::Epoch {
                    record,
                    best,
                    last: self.last_epoch(),
                    weights: EndWeights(&*self.network),
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
            derive_seed(&[self.config.seed, Choice::Order as u64, self.progress.epochs as u64]),
        );
        let rest: Vec<usize> = order.into_iter().skip(self.progress.steps * batch_size).collect();
        let seed = derive_seed(&[self.config.seed, Choice::Tiles as u64, self.progress.epochs as u64]);
        let mut left = rest.len();
        let mut running = None;
        for examples in train.batches(rest, batch_size, seed) {
            // Images and masks are made ready while the device is at the step before, which ends whatever becomes of them.
            let expected = batch_size.min(left);
            left -= expected;
            let examples = examples.map_err(ModelError::Images);
            let staged = examples.and_then(|examples| self.stage(examples, expected, usize::from(running.is_some())));
            if let Some(count) = running.take()
                && self.finish_step(count, steps, observe)?.is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
            staged?;
            let learning_rate = self.config.learning_rate_after(&self.progress);
            self.network.begin(self.config.loss, learning_rate)?;
            running = Some(expected);
        }
        if let Some(count) = running
            && self.finish_step(count, steps, observe)?.is_break()
        {
            return Ok(ControlFlow::Break(()));
        }
        self.check_all_came("all training images of an epoch", train.len(), left)?;
        Ok(ControlFlow::Continue(()))
    }

    /// Makes `count` images ready for the step after `ahead` others.
    fn stage(&mut self, examples: Examples, count: usize, ahead: usize) -> Result<()> {
        self.check_batch(&examples, count)?;
        let masking = self.draw(count, ahead)?;
        self.network.stage(examples, masking)
    }

    /// Checks that a source gave so many images, corrupted if the method is one that corrupts.
    fn check_batch(&self, examples: &Examples, count: usize) -> Result<()> {
        examples.check(count * self.config.image_len())?;
        let method = self.config.scoring.method;
        if examples.corrupted.is_some() == method.corrupts() {
            return Ok(());
        }
        Err(ModelError::Setting(format!(
            "the method {method} is trained with images that are {}corrupted, and the source gave others",
            if method.corrupts() { "" } else { "not " }
        )))
    }

    /// Checks that no images are missing of those that a source has.
    fn check_all_came(&self, what: &'static str, count: usize, missing: usize) -> Result<()> {
        let image_len = self.config.image_len();
        ModelError::length(what, (count - missing) * image_len, count * image_len)
    }

    /// Waits for a step on `count` images, and tells of it.
    fn finish_step(
        &mut self,
        count: usize,
        steps: usize,
        observe: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let loss = self.network.finish()?;
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

    /// What the network sees of `count` images, in the step after `ahead` others.
    fn draw(&self, count: usize, ahead: usize) -> Result<Masking> {
        let TrainConfig {
            scoring, architecture, ..
        } = &self.config;
        let step = Step {
            seed: self.config.seed,
            epoch: self.progress.epochs as u64,
            step: (self.progress.steps + ahead) as u64,
        };
        scoring.method.draw(scoring, architecture.channels(), step, count)
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
        // Without validation images the last epoch counts as the best: the training loss says little of which is. So it does
        // where the number of steps is the method's: textures that no edge tells of raise the validation loss from early on,
        // while what the network finds still gets better.
        let keeps_last = validation.is_none() || self.config.scoring.method.steps().is_some();
        let best = keeps_last || self.progress.best_loss().is_none_or(|best| loss < best);
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
        let passes = scoring.method.passes(scoring, self.config.architecture.channels())?;
        let scorer = self.network.scorer(passes)?;
        let mut mean = LossTerms::default();
        let seed = derive_seed(&[self.config.seed, Choice::Tiles as u64]);
        let mut left = images.len();
        for batch in images.batches((0..images.len()).collect(), self.config.batch_size, seed) {
            let batch = batch.map_err(ModelError::Images)?;
            let expected = self.config.batch_size.min(left);
            left -= expected;
            self.check_batch(&batch, expected)?;
            let share = expected as f64 / images.len() as f64;
            mean.add(scorer.loss(&batch, self.config.loss)?, share);
        }
        self.check_all_came("all validation images", images.len(), left)?;
        Ok(Some(mean))
    }

    /// Writes the run's state. New best weights come first: a kill between the two files leaves a newer best beside an
    /// older state, and the resumed run arrives at that best again.
    fn save(&mut self) -> Result<()> {
        let Some(Home { folder, .. }) = &self.home else {
            return Ok(());
        };
        let weights = self.network.weights()?;
        if !weights.is_finite() {
            return Err(self.diverged(f64::NAN));
        }
        if let Some(best) = &self.unsaved_best {
            let mut progress = self.progress.clone();
            progress.history.truncate(progress.best_epoch);
            progress.epochs = progress.best_epoch;
            progress.decayed_early = progress.decayed_early.filter(|&decay| decay < progress.best_epoch);
            (progress.steps, progress.partial, progress.finished) = (0, LossTerms::default(), false);
            progress.optimiser_steps = 0;
            self.checkpoint(best.clone(), progress).save(&folder.join(BEST))?;
            self.unsaved_best = None;
        }
        let (steps, moments) = self.network.optimiser()?;
        self.progress.optimiser_steps = steps;
        let last = self.checkpoint(weights, self.progress.clone());
        last.save_with_moments(&folder.join(LAST), &moments)?;
        write_whole(&folder.join(HISTORY), history_csv(&self.progress.history).as_bytes())?;
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

/// Checks that a file has the weights of the `best` epoch of a run's state, or of a later one, as a kill between the two
/// files leaves it.
fn check_best(path: &Path, best: usize) -> Result<()> {
    let reason = match Checkpoint::open(path)?.header.progress {
        Some(progress) if progress.epochs >= best => return Ok(()),
        Some(progress) => format!("it has the weights of epoch {}", progress.epochs),
        None => "it does not say of which epoch its weights are".to_owned(),
    };
    Err(ModelError::Checkpoint {
        path: path.to_owned(),
        reason: format!("{reason}, and the run's best epoch is {best}; bring the run's own {BEST} back"),
    })
}

/// The random weights that training begins with.
fn initial(config: &TrainConfig) -> Result<Weights> {
    let seed = derive_seed(&[config.seed, Choice::Weights as u64]);
    Weights::initial(config.architecture, seed)
}

/// The numbers below `count` in random order.
fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    Random::new(seed).shuffle(&mut order);
    order
}
