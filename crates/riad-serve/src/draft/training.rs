//! Training the model of a line that is being made, in the background.

use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use riad::{
    Cancel, Compute, Detector, Layout, ModelError, Observer, Recalibration, Run, Training, TrainingOptions,
    TrainingOutcome,
};

use super::{BeingMade, Draft, Found, Plan, Stage, progress::Progress, progress::Teller};
use crate::{
    Error, Result,
    events::Events,
    making::{Making, NotMade, quietly},
    store::Store,
};

impl Draft {
    /// Begins to train its model, or goes on with a training of this plan that was broken off or failed.
    ///
    /// # Errors
    /// [`NotMade::Asked`] if it has too few pictures, is made already, or the plan cannot be meant; [`NotMade::Busy`] if something else
    /// is being made.
    pub(crate) fn train(
        self: &Arc<Self>,
        plan: Plan,
        making: &Arc<Making>,
        (store, events): (&Store, &Events),
        compute: &Compute,
    ) -> Result<BeingMade, NotMade> {
        let alone = self.alone();
        self.check_open()?;
        // All that lies in the folder is learned from.
        let is_other = self.sweep(store)?;
        self.enough()?;
        let options = self.options_of(&plan, store)?;
        let place = making.begin(&self.name).ok_or(NotMade::Busy)?;
        let (goes_on, before) = {
            let now = self.now();
            let is_left = match now.stage {
                // A step of it failed, and what was learned before is there.
                Stage::Stopped | Stage::Failed => true,
                // Only its trial failed.
                Stage::Trained => now.found.is_none(),
                _ => false,
            };
            (
                is_left && !is_other && now.plan.as_ref() == Some(&plan),
                now.plan.clone(),
            )
        };
        if !goes_on {
            self.forget_run()?;
        }
        tracing::info!(
            "line {}: {} to train{}",
            self.name,
            if goes_on { "goes on" } else { "begins" },
            if before.is_some() && !goes_on {
                ", from the start"
            } else {
                ""
            }
        );
        let kept = self.keep(store, |now| {
            now.stage = Stage::Training;
            (now.plan, now.note, now.found) = (Some(plan), None, None);
            now.progress = match now.progress.take().filter(|_| goes_on) {
                None => Some(Progress::new()),
                known => known,
            };
        });
        if let Err(error) = kept {
            self.now().stage = Stage::Failed;
            return Err(error.into());
        }
        // From here on its stage keeps others away. If there is no thread to be had, it ends on this one, and takes this.
        drop(alone);
        self.tell(events);
        let (draft, store, events, compute) = (self.clone(), store.clone(), events.clone(), compute.clone());
        place.on_a_thread(move |place| {
            // A fault of ours must not keep other models from being made.
            let learned = catch_unwind(AssertUnwindSafe(|| {
                draft.learn(options, &store, &events, (&compute, place.cancel()))
            }))
            .unwrap_or_else(|_| {
                Err(Error::Request(
                    "it met a fault of the program; please report it".to_owned(),
                ))
            });
            // Whoever sees that it has ended may begin the next.
            drop(place);
            if let Err(error) = draft.ended(learned, &store) {
                tracing::error!(
                    "line {}: what became of its training could not be kept: {error}",
                    draft.name
                );
            }
            draft.tell(&events);
        });
        Ok(self.state())
    }

    /// Takes note of how a training has ended.
    fn ended(&self, learned: Result<Result<Found>>, store: &Store) -> Result<()> {
        let _alone = self.alone();
        self.keep(store, |now| match learned {
            Ok(Ok(found)) => (now.stage, now.found) = (Stage::Trained, Some(found)),
            Ok(Err(error)) => {
                tracing::error!("line {}: its model could not be tried: {error}", self.name);
                now.stage = Stage::Trained;
                now.note = Some(format!(
                    "the model is there, but it could not be tried on made-up defects: {error}; train again by the same plan to try it again"
                ));
            }
            Err(Error::Riad(riad::Error::Cancelled)) => {
                now.stage = Stage::Stopped;
                now.note = Some("stopped; nothing is lost, and it can go on".to_owned());
            }
            Err(error) => {
                tracing::error!("line {}: its model could not be trained: {error}", self.name);
                (now.stage, now.note) = (Stage::Failed, Some(error.to_string()));
            }
        })
    }

    /// Trains its model, and tries it.
    fn learn(
        &self,
        options: TrainingOptions,
        store: &Store,
        events: &Events,
        (compute, cancel): (&Compute, &Cancel),
    ) -> Result<Result<Found>> {
        let teller = Teller::new(self, events);
        quietly(|| {
            let options = TrainingOptions {
                roi: self.mask()?,
                ..options
            };
            let train = || {
                let training = Training::new(self.good())
                    .layout(Layout::Folder)
                    .options(options.clone())
                    .out(self.run())
                    .device(compute.device.clone())
                    .cancel(cancel.clone());
                training.start(&teller)
            };
            let run = match train() {
                Err(error) if is_of_no_use(&error) => {
                    tracing::warn!("line {}: its training begins from the start: {error}", self.name);
                    self.forget_run()?;
                    self.now().progress = Some(Progress::new());
                    train()
                }
                trained => trained,
            }?;
            if run.outcome() != Some(TrainingOutcome::Finished) {
                return Err(riad::Error::Cancelled.into());
            }
            calibrate_as_scored(&run, (compute, cancel, &teller))?;
            match Found::of(self, store, self.rate, (compute, cancel, &teller)) {
                Err(Error::Riad(riad::Error::Cancelled)) => Err(riad::Error::Cancelled.into()),
                tried => Ok(tried),
            }
        })?
    }

    /// Removes what an earlier training has left.
    fn forget_run(&self) -> Result<()> {
        let run = self.run();
        match fs::remove_dir_all(&run) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", run)(error)),
            _ => Ok(()),
        }
    }
}

/// Calibrates a run in the precision that its line scores in. Its training has calibrated it in the usual one.
fn calibrate_as_scored(run: &Run, (compute, cancel, observer): (&Compute, &Cancel, &dyn Observer)) -> Result<()> {
    let detector = Detector::options().compute(compute.clone()).open(run.folder())?;
    if detector.calibrated_otherwise().is_none() {
        return Ok(());
    }
    let mut recalibration = Recalibration::of(run.folder())
        .compute(compute.clone())
        .cancel(cancel.clone());
    for image in run.good().filter(|image| image.is_for_calibration) {
        recalibration = recalibration.pictures(image.path);
    }
    recalibration.start(observer)?;
    Ok(())
}

/// Whether no training goes on from the run that an earlier one has left: it is damaged, or of other pictures or another plan.
fn is_of_no_use(error: &riad::Error) -> bool {
    matches!(
        error,
        riad::Error::Differs { .. }
            | riad::Error::Damaged { .. }
            | riad::Error::OtherImages { .. }
            | riad::Error::Model(ModelError::Checkpoint { .. })
    )
}
