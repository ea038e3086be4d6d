//! How far a run has come.

use serde::{Deserialize, Serialize};

use super::{TrainConfig, config::MOST};
use crate::{Result, error::ModelError, method::LossTerms};

/// Losses of an epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EpochRecord {
    /// From 1.
    pub epoch: usize,
    /// The learning rate used.
    pub learning_rate: f64,
    /// Mean over the epoch's images, with the masks drawn.
    pub train: LossTerms,
    /// Mean over the validation images and all region sizes, with fixed masks. `None` without validation images.
    pub validation: Option<LossTerms>,
}

/// The progress of a run. It does not depend on the clock, so equal runs have equal progress.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Progress {
    /// Epochs completed.
    pub epochs: usize,
    /// Steps taken in the epoch after those.
    pub steps: usize,
    /// Losses of these steps, each weighted by its images.
    pub partial: LossTerms,
    /// Training images. A run goes on only with as many: their order and their tiles follow from the number. 0 before the
    /// first step.
    #[serde(default)]
    pub train_images: usize,
    /// Validation images, by whose losses epochs are compared. 0 before the first step.
    #[serde(default)]
    pub validation_images: usize,
    /// Steps of the optimiser since the run began.
    pub optimiser_steps: u64,
    /// The epoch with the best validation loss so far, from 1. 0 before the first.
    pub best_epoch: usize,
    /// The number of completed epochs when patience ran out and the learning rate decayed, with
    /// [`TrainConfig::decays_early`].
    pub decayed_early: Option<usize>,
    /// Every epoch's losses.
    pub history: Vec<EpochRecord>,
    /// Whether training has ended, by the last epoch or by patience.
    pub finished: bool,
}

impl Progress {
    /// The loss by which epochs are compared: the validation loss, or the training loss if there are no validation
    /// images.
    pub fn best_loss(&self) -> Option<f64> {
        let record = self.history.get(self.best_epoch.checked_sub(1)?)?;
        Some(record.validation.unwrap_or(record.train).total)
    }

    /// Checks that there are as many images as the run began with. If it has not begun, it begins with these.
    ///
    /// # Errors
    /// [`ModelError::OtherImages`] names what differs.
    pub(crate) fn check_counts(&mut self, train: usize, validation: usize) -> Result<()> {
        if (self.epochs, self.steps) == (0, 0) {
            (self.train_images, self.validation_images) = (train, validation);
        }
        let counts = [
            ("training", self.train_images, train),
            ("validation", self.validation_images, validation),
        ];
        match counts.into_iter().find(|(_, had, got)| had != got) {
            Some((what, had, got)) => Err(ModelError::OtherImages { what, had, got }),
            None => Ok(()),
        }
    }

    /// Checks that a run with these settings can have come so far.
    ///
    /// # Errors
    /// [`ModelError::Setting`] names what cannot be.
    pub(crate) fn check(&self, config: &TrainConfig) -> Result<()> {
        let counts = [
            ("epochs", self.epochs, config.epochs.max(config.last_epoch(self))),
            ("steps", self.steps, MOST),
            ("the best epoch", self.best_epoch, self.epochs),
            (
                "the epoch of the early decay",
                self.decayed_early.unwrap_or(0),
                self.epochs,
            ),
        ];
        let most_steps = (MOST as u64).saturating_mul(MOST as u64);
        if self.optimiser_steps > most_steps {
            return Err(ModelError::Setting(format!(
                "the run's progress contradicts itself: the optimiser took {} steps, and {most_steps} is the most that it can \
                 have taken",
                self.optimiser_steps
            )));
        }
        for (what, count, most) in counts {
            if count > most {
                return Err(ModelError::Setting(format!(
                    "the run's progress contradicts itself: {what} is {count}, and {most} is the most that it can be"
                )));
            }
        }
        let is_odd = |(index, record): (usize, &EpochRecord)| {
            let losses = [Some(record.train), record.validation];
            record.epoch != index + 1
                || !record.learning_rate.is_finite()
                || losses.iter().flatten().any(|loss| !loss.is_finite())
        };
        if let Some(index) = self.history.iter().enumerate().position(is_odd) {
            return Err(ModelError::Setting(format!(
                "the run's progress contradicts itself: the record {} of its history is none of that epoch",
                index + 1
            )));
        }
        if self.history.len() != self.epochs {
            return Err(ModelError::Setting(format!(
                "the run's progress contradicts itself: {} epochs are done, and the history has {}",
                self.epochs,
                self.history.len()
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Architecture, ScoringSettings};

    #[test]
    fn a_history_has_a_record_of_every_epoch() {
        let config = TrainConfig::published(Architecture::u_net(4), ScoringSettings::for_size(16, 16));
        let check = |epochs, records| {
            let record = |epoch| EpochRecord {
                epoch,
                ..EpochRecord::default()
            };
            let progress = Progress {
                epochs,
                history: (1..=records).map(record).collect(),
                ..Progress::default()
            };
            progress.check(&config).map_err(|error| error.to_string())
        };
        assert!(check(0, 0).is_ok() && check(2, 2).is_ok());
        for records in [0, 1, 3] {
            assert!(
                check(2, records)
                    .unwrap_err()
                    .contains(&format!("the history has {records}"))
            );
        }
    }
}
