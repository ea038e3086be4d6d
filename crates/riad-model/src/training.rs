//! What a training run is set to, and how far it has come.

use serde::{Deserialize, Serialize};

use crate::{
    Result,
    architecture::Architecture,
    checkpoint::ScoringSettings,
    error::ModelError,
    loss::{LossTerms, LossWeights},
};

/// How the learning rate goes down in the course of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Multiplied by `factor` after the share `after` of the epochs.
    Step {
        /// Within [0, 1].
        after: f64,
        /// Above 0.
        factor: f64,
    },
    /// Up along a line for the share `rise` of the steps, then down to 0 along half a cosine.
    Cosine {
        /// Within [0, 1).
        rise: f64,
    },
}

impl Schedule {
    /// ×0.1 at epoch 250 of 300.
    pub const PUBLISHED: Self = Self::Step {
        after: 5.0 / 6.0,
        factor: 0.1,
    };

    fn published() -> Self {
        Self::PUBLISHED
    }

    /// What the learning rate is multiplied by in `epoch`, from 0, of `epochs`, once the share `within` of it has passed.
    fn factor(self, epoch: usize, within: f64, epochs: usize) -> f64 {
        match self {
            Self::Step { after, factor } => {
                let has_decayed = epoch as f64 >= (epochs as f64 * after).round();
                if has_decayed { factor } else { 1.0 }
            }
            Self::Cosine { rise } => {
                let passed = (epoch as f64 + within) / epochs as f64;
                if passed < rise {
                    passed / rise
                } else {
                    // libm's, since the standard library's may differ from platform to platform.
                    0.5 + 0.5 * libm::cos(std::f64::consts::PI * (passed - rise) / (1.0 - rise))
                }
            }
        }
    }
}

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
    /// Adam's learning rate, before [`Self::schedule`].
    pub learning_rate: f64,
    /// Adam's coupled weight decay.
    pub weight_decay: f64,
    /// How the learning rate goes down.
    #[serde(default = "Schedule::published")]
    pub schedule: Schedule,
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
            schedule: Schedule::PUBLISHED,
            patience: 20,
            loss: LossWeights::default(),
            seed: 0,
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
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
        not_negative("the weight decay", self.weight_decay)?;
        match self.schedule {
            Schedule::Step { after, factor } => {
                positive("the learning rate's decay", factor)?;
                not_negative("the share of epochs before the decay", after)?;
            }
            Schedule::Cosine { rise } => {
                not_negative("the share of steps in which the learning rate rises", rise)?;
                positive("the share of steps after that", 1.0 - rise)?;
            }
        }
        let LossWeights { l2, ssim, msgms } = self.loss;
        for weight in [l2, ssim, msgms] {
            not_negative("a loss term's weight", f64::from(weight))?;
        }
        positive("the sum of the loss terms' weights", f64::from(l2 + ssim + msgms))
    }

    /// The learning rate of a step in an epoch of `steps`, both counted from 0.
    pub(crate) fn learning_rate_at(&self, epoch: usize, step: usize, steps: usize) -> f64 {
        // In the middle of the step, so that neither the first nor the last is for nothing.
        let within = (step as f64 + 0.5) / steps as f64;
        self.learning_rate * self.schedule.factor(epoch, within, self.epochs)
    }
}

/// Losses of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// From 1.
    pub epoch: usize,
    /// The learning rate of its first step.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Architecture, ScoringSettings};

    #[test]
    fn the_learning_rate_follows_its_schedule() {
        let rates = |schedule, places: &[(usize, usize)]| -> Vec<f64> {
            let config = TrainConfig {
                epochs: 30,
                learning_rate: 2.0,
                schedule,
                ..TrainConfig::published(Architecture { width: 2 }, ScoringSettings::default())
            };
            let rate = |&(epoch, step): &(usize, usize)| config.learning_rate_at(epoch, step, 4);
            places.iter().map(rate).collect()
        };
        assert_eq!(rates(Schedule::PUBLISHED, &[(0, 0), (24, 3), (25, 0)]), [2.0, 2.0, 0.2]);

        let cosine = Schedule::Cosine { rise: 0.1 };
        let all: Vec<(usize, usize)> = (0..30)
            .flat_map(|epoch| (0..4).map(move |step| (epoch, step)))
            .collect();
        let all = rates(cosine, &all);
        let (rising, falling) = all.split_at(12);
        assert!(rising.is_sorted() && falling.is_sorted_by(|a, b| a > b));
        // The 12 rising steps are half a step apart from a line through 0; the 108 others average to half.
        assert!((rising[0] - 2.0 / 24.0).abs() < 1e-12);
        assert!((falling.iter().sum::<f64>() / 108.0 - 1.0).abs() < 1e-9);
        assert!(falling[0] < 2.0 && falling[107] > 0.0);
        assert_eq!(rates(Schedule::Cosine { rise: 0.0 }, &[(15, 0)])[0].to_bits(), {
            let half = 0.5 + 0.5 * libm::cos(std::f64::consts::PI * (15.125 / 30.0));
            (2.0 * half).to_bits()
        });
    }
}
