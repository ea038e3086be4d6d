//! A session of training: its steps, and what is said and logged of them.

use std::ops::ControlFlow;

use anyhow::Result;
use riad_data::Category;
use riad_model::{Device, Event, ImageSource, LossTerms, Outcome, TrainConfig, Trainer};
use tracing::{Level, enabled, info, warn};

use super::{
    Run, Trained,
    estimate::{Estimate, told},
    preset_name,
};
use crate::{
    files::shell_quoted,
    interrupt::{Reason, Watch},
    progress::Progress,
    tensorboard::TensorBoard,
};

impl Run {
    /// Takes steps until the end, or until there is a reason to break off.
    pub(super) fn go_on(
        &self,
        trainer: &mut Trainer,
        category: &Category,
        watch: &Watch,
        device: &Device,
    ) -> Result<Trained> {
        let [train, validation] = [self.source(category, false)?, self.source(category, true)?];
        let TrainConfig {
            architecture,
            scoring,
            patience,
            precision,
            ..
        } = trainer.config();
        if device.kind() != "cpu" {
            info!("computing on {} in {precision}", device.kind());
        }
        let (patience, mut epochs) = (*patience, trainer.last_epoch());
        let keeps_last = scoring.method.steps().is_some();
        info!(
            "training {} of method {} at {}{} on {} images of {}, {} held out for validation and {} for calibration, in {}",
            preset_name(architecture.width),
            scoring.method,
            scoring.size(),
            if scoring.tiling.is_some() { ", in tiles," } else { "" },
            train.len(),
            category.name,
            validation.len(),
            self.images(category, |image| image.calibration)?.len(),
            shell_quoted(&self.folder)
        );
        let steps = train.len().div_ceil(trainer.config().batch_size);
        let first = trainer.progress().epochs * steps + trainer.progress().steps;
        if first > 0 {
            info!(
                "going on after {} epochs and {} steps",
                trainer.progress().epochs,
                trainer.progress().steps
            );
        }
        let held_out = self.images(category, |image| image.validation && !image.calibration)?;
        let mut log = TensorBoard::new(&self.folder, trainer.config(), held_out, self.reader(), device);
        let mut reason = None;
        let mut progress = Progress::start(&category.name, "step", first as u64, (epochs * steps) as u64);
        let mut estimate = Estimate::default();
        // Whoever asks for more is told a loss's terms.
        let shown = |loss: &LossTerms| {
            if enabled!(Level::DEBUG) {
                terms(loss)
            } else {
                format!("{:.4}", loss.total)
            }
        };
        let config = trainer.config().clone();
        let outcome = trainer.run(&train, &validation, &mut |event| {
            match event {
                Event::Step {
                    epoch,
                    step,
                    steps,
                    loss,
                } => {
                    let count = (epoch - 1) * steps + step;
                    if let Some(time) = estimate.step() {
                        let to_come = time.saturating_mul(u32::try_from(epochs * steps - count).unwrap_or(u32::MAX));
                        info!("{}", told(&config, to_come, watch.left()));
                    }
                    progress.tell(count as u64, || format!("epoch {epoch}, loss {}", shown(&loss)));
                }
                Event::Epoch {
                    record,
                    best,
                    last,
                    weights,
                } => {
                    log.epoch(record, || weights.get());
                    let losses = match record.validation {
                        Some(loss) => format!("training {:.4}, validation {}", record.train.total, shown(&loss)),
                        None => format!("training {}", shown(&record.train)),
                    };
                    let best = if best && !keeps_last { ", the best so far" } else { "" };
                    progress.note(|| format!("{}: epoch {}, {losses}{best}", category.name, record.epoch));
                    if last < epochs {
                        epochs = last;
                        progress.set_total((epochs * steps) as u64);
                        progress.note(|| {
                            format!(
                                "{}: no better epoch in {patience}: a lower learning rate, and {epochs} is the last",
                                category.name
                            )
                        });
                    }
                }
                _ => {}
            }
            reason = watch.reason();
            if reason.is_some() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        drop(progress);
        match (outcome, reason) {
            (Outcome::Interrupted, reason) => {
                if keeps_last && reason == Some(Reason::Time) {
                    warn!(
                        "{} epochs of {epochs} were trained, and the learning rate falls until the last: the model finds less than \
                         it will at the end",
                        trainer.progress().epochs
                    );
                }
                info!("stopped in epoch {}; nothing is lost", trainer.progress().epochs + 1);
                Ok(Trained::Stopped(reason.unwrap_or(Reason::Pressed)))
            }
            (Outcome::Completed | Outcome::Stopped, _) => {
                info!("training is finished: {}", best(trainer));
                Ok(Trained::Finished)
            }
        }
    }
}

/// A loss and its terms.
pub(crate) fn terms(loss: &LossTerms) -> String {
    let LossTerms {
        l2, ssim, msgms, total, ..
    } = loss;
    format!("{total:.4} (l2 {l2:.4}, ssim {ssim:.4}, msgms {msgms:.4})")
}

pub(super) fn best(trainer: &Trainer) -> String {
    let progress = trainer.progress();
    if trainer.config().scoring.method.steps().is_some() {
        return format!("the last of {} epochs is kept", progress.epochs);
    }
    let loss = progress
        .best_loss()
        .map_or_else(String::new, |loss| format!(" with loss {loss:.4}"));
    format!(
        "the best of {} epochs is {}{loss}",
        progress.epochs, progress.best_epoch
    )
}
