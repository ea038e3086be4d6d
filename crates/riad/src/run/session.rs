//! A session of training: its steps, events and logs.

use std::{ops::ControlFlow, time::Instant};

use riad_data::Category;
use riad_model::{Device, ImageSource, Outcome, Trainer};

use super::{
    Run, TrainingOutcome,
    pace::{Pace, estimate},
};
use crate::{Cancel, Event, Observer, Result, Session, Stop, Work, observer::Piece, settings::ImageRecord};

impl Run {
    /// Takes steps until the end, or until there is a reason to break off.
    pub(super) fn go_on(
        &self,
        trainer: &mut Trainer,
        category: &Category,
        cancel: &Cancel,
        device: &Device,
        observer: &dyn Observer,
    ) -> Result<TrainingOutcome> {
        let [train, validation] = [
            self.source(category, ImageRecord::is_trained_on)?,
            self.source(category, |image| image.validation)?,
        ];
        let config = trainer.config().clone();
        let mut epochs = trainer.last_epoch();
        let steps = train.len().div_ceil(config.batch_size);
        let (epochs_done, steps_done) = (trainer.progress().epochs, trainer.progress().steps);
        let calibration = self.images(category, |image| image.calibration)?.len();
        observer.event(&Event::Training(Session {
            folder: &self.folder,
            category: &category.name,
            config: &config,
            device: device.kind(),
            images: [train.len(), validation.len(), calibration],
            epochs: epochs_done,
            steps: steps_done,
            steps_of_epoch: steps,
            last: epochs,
            left: cancel.left(),
        }));
        let done = epochs_done * steps + steps_done;
        let piece = Piece::begin(observer, Work::Training(&category.name), done, epochs * steps);
        #[cfg(feature = "tensorboard")]
        let mut log = {
            let held_out = self.images(category, |image| image.validation)?;
            crate::tensorboard::TensorBoard::new(&self.folder, &config, held_out, self.reader(), device, observer)
        };
        let mut stop = None;
        let mut pace = Pace::default();
        let outcome = trainer.run(&train, &validation, &mut |event| {
            match event {
                riad_model::Event::Step { epoch, step, loss, .. } => {
                    let (done, total) = ((epoch - 1) * steps + step, epochs * steps);
                    if let Some(time) = pace.step(Instant::now()) {
                        observer.event(&estimate(&config, time, total.saturating_sub(done), cancel.left()));
                    }
                    observer.event(&Event::Step {
                        epoch,
                        loss,
                        done,
                        total,
                    });
                }
                riad_model::Event::Epoch {
                    record,
                    best,
                    last,
                    weights,
                } => {
                    #[cfg(feature = "tensorboard")]
                    log.epoch(record, || weights.get());
                    #[cfg(not(feature = "tensorboard"))]
                    let _ = weights;
                    epochs = last;
                    observer.event(&Event::Epoch { record, best, last });
                }
                _ => {}
            }
            stop = cancel.reason();
            if stop.is_some() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        drop(piece);
        match outcome {
            Outcome::Interrupted => {
                let stop = stop.unwrap_or(Stop::Asked);
                let epochs = trainer.progress().epochs;
                observer.event(&Event::Stopped { epochs, stop });
                Ok(TrainingOutcome::Stopped(stop))
            }
            Outcome::Completed | Outcome::Stopped => {
                observer.event(&finished(trainer));
                Ok(TrainingOutcome::Finished)
            }
        }
    }
}

/// What came of a training.
pub(super) fn finished(trainer: &Trainer) -> Event<'static> {
    let progress = trainer.progress();
    let keeps_last = trainer.config().scoring.method.steps().is_some();
    Event::Finished {
        epochs: progress.epochs,
        kept: if keeps_last {
            progress.epochs
        } else {
            progress.best_epoch
        },
        loss: progress.best_loss().filter(|_| !keeps_last),
    }
}
