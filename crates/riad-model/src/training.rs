//! What a training run is set to, and how far it has come.

use serde::{Deserialize, Serialize};

use crate::{
    Precision, Result,
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
    /// Whether the learning rate decays when patience runs out before its time has come. Training then goes on for as many
    /// epochs as were to follow the decay, or until patience, which begins anew with it, runs out again. The published
    /// setting stops at once, and then never gets what the lower rate brings.
    #[serde(default)]
    pub decays_early: bool,
    /// Weights of the loss's terms.
    pub loss: LossWeights,
    /// In what numbers the layers multiply.
    #[serde(default, skip_serializing_if = "is_f32")]
    pub precision: Precision,
    /// Decides initial weights, order of images, region sizes and masks.
    pub seed: u64,
}

fn is_f32(precision: &Precision) -> bool {
    *precision == Precision::F32
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
            decays_early: false,
            loss: LossWeights::default(),
            precision: Precision::F32,
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

    /// Epochs before the learning rate is to decay.
    fn planned_decay(&self) -> usize {
        (self.epochs as f64 * self.decay_after).round() as usize
    }

    /// The learning rate in the epoch after those completed.
    pub(crate) fn learning_rate_after(&self, progress: &Progress) -> f64 {
        if progress.epochs >= progress.decayed_early.unwrap_or(self.planned_decay()) {
            self.learning_rate * self.decay_factor
        } else {
            self.learning_rate
        }
    }

    /// The epoch that is the last unless patience runs out before.
    pub(crate) fn last_epoch(&self, progress: &Progress) -> usize {
        progress.decayed_early.map_or(self.epochs, |decay| {
            decay + self.epochs.saturating_sub(self.planned_decay())
        })
    }

    /// Settles, after an epoch, whether the learning rate decays early and whether that epoch was the last.
    pub(crate) fn settle(&self, progress: &mut Progress) {
        let decay = progress.decayed_early.unwrap_or(self.planned_decay());
        let mut since = progress.best_epoch;
        if self.decays_early && progress.epochs >= decay {
            since = since.max(decay);
        }
        let mut out_of_patience = progress.epochs - since >= self.patience;
        if out_of_patience && self.decays_early && progress.epochs < decay {
            progress.decayed_early = Some(progress.epochs);
            out_of_patience = false;
        }
        progress.finished = out_of_patience || progress.epochs >= self.last_epoch(progress);
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
    /// Epochs completed when patience ran out and the learning rate decayed for it, with [`TrainConfig::decays_early`].
    #[serde(default)]
    pub decayed_early: Option<usize>,
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

    /// What becomes of a run of 30 epochs, of which 5 are to follow the decay, if only the epochs `improve` are better than
    /// those before. Gives the progress and the epochs at the lower rate, from 1.
    fn run(patience: usize, decays_early: bool, improve: &[usize]) -> (Progress, Vec<usize>) {
        let published = TrainConfig::published(Architecture::u_net(2), ScoringSettings::default());
        let config = TrainConfig {
            epochs: 30,
            patience,
            decays_early,
            ..published
        };
        let mut progress = Progress::default();
        let mut lowered = Vec::new();
        while !progress.finished {
            let is_lowered = config.learning_rate_after(&progress) < config.learning_rate;
            progress.epochs += 1;
            if is_lowered {
                lowered.push(progress.epochs);
            }
            if improve.contains(&progress.epochs) {
                progress.best_epoch = progress.epochs;
            }
            config.settle(&mut progress);
            assert!(progress.epochs <= config.last_epoch(&progress));
        }
        (progress, lowered)
    }

    #[test]
    fn patience_decays_first_and_stops_later_if_asked_to() {
        let all: Vec<usize> = (1..=30).collect();
        let (progress, lowered) = run(4, true, &all);
        assert_eq!((progress.epochs, progress.decayed_early), (30, None));
        assert_eq!(lowered, [26, 27, 28, 29, 30]);

        // Out of patience after epoch 7. The lower rate is better at once: all of its epochs are run.
        let (progress, lowered) = run(4, true, &[1, 2, 3, 8, 10]);
        assert_eq!((progress.epochs, progress.decayed_early), (12, Some(7)));
        assert_eq!(lowered, [8, 9, 10, 11, 12]);

        // It is not: patience, begun anew, runs out again.
        let (progress, lowered) = run(4, true, &[1, 2, 3]);
        assert_eq!((progress.epochs, lowered), (11, vec![8, 9, 10, 11]));

        // The planned decay gives patience anew as well.
        let (progress, lowered) = run(4, true, &all[..22]);
        assert_eq!((progress.epochs, progress.decayed_early), (29, None));
        assert_eq!(lowered, [26, 27, 28, 29]);

        // The published rule.
        let (progress, lowered) = run(4, false, &[1, 2, 3]);
        assert_eq!((progress.epochs, lowered), (7, vec![]));
        let (progress, lowered) = run(4, false, &all[..24]);
        assert_eq!((progress.epochs, lowered), (28, vec![26, 27, 28]));
    }
}
