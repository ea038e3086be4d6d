//! The settings of a training run.

use serde::{Deserialize, Serialize};

use super::Progress;
use crate::{
    Result,
    backend::Precision,
    error::ModelError,
    method::{LossWeights, ScoringSettings},
    network::Architecture,
};

/// The most epochs, steps or images of a batch that a run may have, so that no count overflows.
pub(super) const MOST: usize = 1 << 30;

/// Settings of a training run. Its checkpoints keep them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TrainConfig {
    /// The network's shape.
    pub architecture: Architecture,
    /// How images are scored and masked: size, K, n, normalisation, seed of the masks.
    pub scoring: ScoringSettings,
    /// Largest number of passes over the training images.
    pub epochs: usize,
    /// Images per step.
    pub batch_size: usize,
    /// Adam's learning rate.
    pub learning_rate: f64,
    /// Adam's coupled weight decay.
    pub weight_decay: f64,
    /// After this share of the epochs, the learning rate is multiplied by [`Self::decay_factor`]. For a method with a
    /// number of steps, it falls in a straight line to 0 instead.
    pub decay_after: f64,
    /// The factor of the learning rate.
    pub decay_factor: f64,
    /// Epochs without a better validation loss after which training stops.
    pub patience: usize,
    /// Whether the learning rate decays early if patience runs out. Then training goes on for the epochs after the
    /// decay, or until patience runs out again. The published setting stops at once, so it never uses the lower rate.
    pub decays_early: bool,
    /// Weights of the loss's terms.
    pub loss: LossWeights,
    /// The precision of multiplications.
    #[serde(default, skip_serializing_if = "is_f32")]
    pub precision: Precision,
    /// Number that decides initial weights, order of images, region sizes and masks.
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
        self.architecture.check()?;
        self.scoring.check()?;
        self.scoring.check_network(self.architecture)?;
        let count = |name: &str, value: usize| {
            if (1..=MOST).contains(&value) {
                return Ok(());
            }
            Err(ModelError::Setting(format!(
                "{name} must be within 1 to {MOST}, not {value}"
            )))
        };
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
        count("the number of epochs", self.epochs)?;
        count("the batch size", self.batch_size)?;
        positive("the learning rate", self.learning_rate)?;
        count("the patience", self.patience)?;
        positive("the learning rate's decay", self.decay_factor)?;
        not_negative("the weight decay", self.weight_decay)?;
        not_negative("the share of epochs before the decay", self.decay_after)?;
        let LossWeights { l2, l1, ssim, msgms } = self.loss;
        for weight in [l2, l1, ssim, msgms] {
            not_negative("a loss term's weight", f64::from(weight))?;
        }
        positive("the sum of the loss terms' weights", f64::from(l2 + l1 + ssim + msgms))
    }

    /// Number of values in an image.
    pub(crate) fn image_len(&self) -> usize {
        self.architecture.channels() * self.scoring.size().pixels()
    }

    /// Epochs before the learning rate is to decay.
    fn planned_decay(&self) -> usize {
        (self.epochs as f64 * self.decay_after).round() as usize
    }

    /// The learning rate in the epoch after those completed.
    pub(crate) fn learning_rate_after(&self, progress: &Progress) -> f64 {
        if self.scoring.method.steps().is_some() {
            // A straight line down to 0, at the middle of each epoch. The weights that it ends with are kept, and those of a
            // rate that was high until late are good or bad by chance (docs/results.md, More steps).
            let left = self.epochs.saturating_sub(progress.epochs).max(1) as f64 - 0.5;
            return self.learning_rate * left / self.epochs as f64;
        }
        if progress.epochs >= progress.decayed_early.unwrap_or(self.planned_decay()) {
            self.learning_rate * self.decay_factor
        } else {
            self.learning_rate
        }
    }

    /// The epoch that is the last unless patience runs out before.
    pub(crate) fn last_epoch(&self, progress: &Progress) -> usize {
        progress.decayed_early.map_or(self.epochs, |decay| {
            decay.saturating_add(self.epochs.saturating_sub(self.planned_decay()))
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

    /// In equal parts from the first epoch on, around half of the rate asked for, whatever the patience.
    #[test]
    fn the_rate_of_restoration_falls_in_a_straight_line() {
        let scoring = crate::Method::RESTORE.settings(32, 32);
        let mut config = TrainConfig::published(Architecture::u_net(2), scoring);
        for epochs in [1, 2, 7] {
            (config.epochs, config.learning_rate) = (epochs, 1.0);
            let rates: Vec<f64> = (0..epochs)
                .map(|epochs| {
                    config.learning_rate_after(&Progress {
                        epochs,
                        ..Progress::default()
                    })
                })
                .collect();
            let mean = rates.iter().sum::<f64>() / epochs as f64;
            assert!((mean - 0.5).abs() < 1e-12, "{rates:?}");
            let step = 1.0 / epochs as f64;
            assert!(
                rates.windows(2).all(|pair| (pair[0] - pair[1] - step).abs() < 1e-12),
                "{rates:?}"
            );
            assert!(rates.iter().all(|&rate| rate > 0.0 && rate < 1.0), "{rates:?}");
        }
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
