//! What a training run is set to, and how far it has come.

use serde::{Deserialize, Serialize};

use crate::{
    Result,
    architecture::Architecture,
    checkpoint::ScoringSettings,
    error::ModelError,
    loss::{LossTerms, LossWeights},
};

/// Settings of a training run. They travel in its checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainConfig {
    /// The network's shape.
    pub architecture: Architecture,
    /// How images are scored, and so masked: size, K, n, normalisation, masks' seed.
    pub scoring: ScoringSettings,
    /// Passes over the training images, at most.
    pub epochs: usize,
    /// Images per step.
    pub batch_size: usize,
    /// Adam's learning rate.
    pub learning_rate: f64,
    /// Adam's coupled weight decay.
    pub weight_decay: f64,
    /// The learning rate is multiplied by [`Self::decay_factor`] after this share of the epochs.
    pub decay_after: f64,
    /// What the learning rate is multiplied by.
    pub decay_factor: f64,
    /// Epochs without a better validation loss after which training stops.
    pub patience: usize,
    /// Weights of the loss's terms.
    pub loss: LossWeights,
    /// Decides initial weights, order of images, region sizes and masks.
    pub seed: u64,
}

impl TrainConfig {
    /// The published setting (METHOD: 300 epochs, batch 4, Adam 1e-4 with weight decay 1e-5, ×0.1 at epoch 250, patience
    /// 20) for a network and its scoring settings.
    pub fn published(architecture: Architecture, scoring: ScoringSettings) -> Self {
        Self {
            architecture,
            scoring,
            epochs: 300,
            batch_size: 4,
            learning_rate: 1e-4,
            weight_decay: 1e-5,
            decay_after: 5.0 / 6.0,
            decay_factor: 0.1,
            patience: 20,
            loss: LossWeights::default(),
            seed: 0,
        }
    }

    /// Checks that a run can be started with these settings, as [`Trainer::start`](crate::Trainer::start) does.
    ///
    /// # Errors
    /// Names the setting that is out of range.
    pub fn check(&self) -> Result<()> {
        self.scoring.check()?;
        let positive = |name: &str, value: f64| {
            if value.is_finite() && value > 0.0 {
                return Ok(());
            }
            Err(ModelError::Setting(format!("{name} must be above 0, not {value}")))
        };
        let not_negative = |name: &str, value: f64| {
            if value.is_finite() && value >= 0.0 {
                return Ok(());
            }
            Err(ModelError::Setting(format!(
                "{name} must not be below 0, but is {value}"
            )))
        };
        positive("the width", self.architecture.width as f64)?;
        positive("the number of epochs", self.epochs as f64)?;
        positive("the batch size", self.batch_size as f64)?;
        positive("the learning rate", self.learning_rate)?;
        positive("the patience", self.patience as f64)?;
        positive("the learning rate's decay", self.decay_factor)?;
        not_negative("the weight decay", self.weight_decay)?;
        not_negative("the share of epochs before the decay", self.decay_after)?;
        let LossWeights { l2, l1, ssim, msgms } = self.loss;
        for weight in [l2, l1, ssim, msgms] {
            not_negative("a loss term's weight", f64::from(weight))?;
        }
        positive("the sum of the loss terms' weights", f64::from(l2 + l1 + ssim + msgms))
    }

    /// The learning rate in `epoch`, from 0.
    pub(crate) fn learning_rate_in(&self, epoch: usize) -> f64 {
        let decayed = epoch as f64 >= (self.epochs as f64 * self.decay_after).round();
        if decayed {
            self.learning_rate * self.decay_factor
        } else {
            self.learning_rate
        }
    }
}

/// Losses of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// From 1.
    pub epoch: usize,
    /// The learning rate used.
    pub learning_rate: f64,
    /// Mean over the epoch's images, with the masks drawn.
    pub train: LossTerms,
    /// Mean over the validation images and all region sizes, with fixed masks; `None` without validation images.
    pub validation: Option<LossTerms>,
}

/// How far a run has come. Nothing in it depends on the clock, so equal runs have equal progress.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Epochs completed.
    pub epochs: usize,
    /// Steps taken in the epoch after those.
    pub steps: usize,
    /// Losses of these steps, each weighted by its images.
    pub partial: LossTerms,
    /// Steps of the optimiser since the run began.
    pub optimiser_steps: u64,
    /// Epoch with the best validation loss so far, from 1; 0 before there is one.
    pub best_epoch: usize,
    /// Every epoch's losses.
    pub history: Vec<EpochRecord>,
    /// Whether training has ended, by the last epoch or by patience.
    pub finished: bool,
}

impl Progress {
    /// The loss by which epochs are compared: the validation loss, or the training loss where there are no validation
    /// images.
    pub fn best_loss(&self) -> Option<f64> {
        let record = self.history.get(self.best_epoch.checked_sub(1)?)?;
        Some(record.validation.unwrap_or(record.train).total)
    }
}
