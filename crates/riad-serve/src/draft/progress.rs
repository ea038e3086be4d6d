//! How a training goes.

use std::{
    path::Path,
    sync::Mutex,
    time::{Duration, Instant},
};

use riad::{EpochRecord, Observer, Run, Work};
use serde::Serialize;
use utoipa::ToSchema;

use super::Draft;
use crate::events::Events;

/// How many losses are told at most; of more every other one is left out.
const MOST_LOSSES: usize = 200;

/// The least time between two words about it.
const TELL: Duration = Duration::from_secs(1);

/// The losses of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Loss {
    /// From 1.
    epoch: usize,
    /// Of the pictures that are learned from.
    learned: f64,
    /// Of those that it is watched with.
    watched: Option<f64>,
}

impl From<&EpochRecord> for Loss {
    fn from(record: &EpochRecord) -> Self {
        Self {
            epoch: record.epoch,
            learned: record.train.total,
            watched: record.validation.as_ref().map(|loss| loss.total),
        }
    }
}

/// What the API says of a training.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct TrainingState {
    /// What is being done, in words.
    doing: String,
    /// How much of that is done, from 0 to 1.
    progress: f64,
    /// How many seconds the training takes from now on, about, once that is known.
    seconds_left: Option<f64>,
    /// How many epochs are done.
    epoch: usize,
    /// The last epoch, as far as is known.
    epochs: Option<usize>,
    /// The losses of epochs, in their order; of many not all.
    losses: Vec<Loss>,
}

/// How a training goes.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    doing: String,
    done: usize,
    total: usize,
    /// When the first step of this session was done, and how many were then: it holds what is made ready once.
    first: Option<(Instant, usize)>,
    is_training: bool,
    epoch: usize,
    epochs: Option<usize>,
    losses: Vec<Loss>,
    /// One in how many epochs has its losses told.
    every: usize,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            doing: "beginning".to_owned(),
            every: 1,
            ..Self::default()
        }
    }

    /// That of a run which nobody trains now; `None` if it has not come far.
    pub(super) fn of_run(run: &Path) -> Option<Self> {
        let history = Run::open(run).ok()?.history(&()).ok()?;
        let mut progress = Self::new();
        "not under way".clone_into(&mut progress.doing);
        for record in &history {
            progress.add(record.into());
        }
        Some(progress)
    }

    fn add(&mut self, loss: Loss) {
        self.epoch = self.epoch.max(loss.epoch);
        // An epoch that was broken off comes again.
        self.losses.retain(|known| known.epoch < loss.epoch);
        if loss.epoch.is_multiple_of(self.every.max(1)) {
            self.losses.push(loss);
        }
        while self.losses.len() > MOST_LOSSES {
            self.every = 2 * self.every.max(1);
            let every = self.every;
            self.losses.retain(|loss| loss.epoch.is_multiple_of(every));
        }
    }

    fn take(&mut self, event: &riad::Event<'_>) -> bool {
        match event {
            riad::Event::Began { work, done, total } => {
                self.is_training = matches!(work, Work::Training(_));
                self.doing = match work {
                    Work::Training(_) => "training".to_owned(),
                    Work::Measuring(_) => "trying it on made-up defects".to_owned(),
                    other => other.to_string(),
                };
                (self.done, self.total) = (*done, *total);
            }
            riad::Event::Progress { done, .. } => self.done = *done,
            riad::Event::Step { done, total, .. } => {
                (self.done, self.total) = (*done, *total);
                self.first.get_or_insert((Instant::now(), *done));
            }
            riad::Event::Epoch { record, last, .. } => {
                self.epochs = Some(*last);
                self.add((*record).into());
            }
            riad::Event::Training(session) => {
                (self.epoch, self.epochs, self.first) = (session.epochs, Some(session.last), None);
            }
            _ => return false,
        }
        true
    }

    /// How much is left of the training, from the time that its steps took.
    fn left(&self) -> Option<Duration> {
        let (since, from) = self.first.filter(|_| self.is_training)?;
        let steps = self.done.checked_sub(from).filter(|steps| *steps > 0)?;
        let left = self.total.saturating_sub(self.done) as f64 / steps as f64;
        Duration::try_from_secs_f64(since.elapsed().as_secs_f64() * left).ok()
    }

    pub(super) fn state(&self) -> TrainingState {
        TrainingState {
            doing: self.doing.clone(),
            progress: match self.total {
                0 => 0.0,
                total => (self.done as f64 / total as f64).clamp(0.0, 1.0),
            },
            seconds_left: self.left().map(|left| left.as_secs_f64()),
            epoch: self.epoch,
            epochs: self.epochs,
            losses: self.losses.clone(),
        }
    }
}

/// Takes note of how a training goes, and tells it.
pub(super) struct Teller<'a> {
    draft: &'a Draft,
    events: &'a Events,
    told: Mutex<Instant>,
}

impl<'a> Teller<'a> {
    pub(super) fn new(draft: &'a Draft, events: &'a Events) -> Self {
        Self {
            draft,
            events,
            told: Mutex::new(Instant::now()),
        }
    }
}

impl Observer for Teller<'_> {
    fn event(&self, event: &riad::Event<'_>) {
        let is_news = match &mut self.draft.now().progress {
            Some(progress) => progress.take(event),
            None => false,
        };
        // Threads may tell at once, and one is enough.
        if is_news
            && let Ok(mut told) = self.told.try_lock()
            && told.elapsed() >= TELL
        {
            *told = Instant::now();
            self.draft.tell(self.events);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(epoch: usize) -> Loss {
        Loss {
            epoch,
            learned: 1.0 / epoch as f64,
            watched: None,
        }
    }

    #[test]
    fn of_many_losses_some_are_told_over_all_epochs() {
        let mut progress = Progress::new();
        for epoch in 1..=1333 {
            progress.add(loss(epoch));
        }
        let epochs: Vec<_> = progress.losses.iter().map(|loss| loss.epoch).collect();
        assert!(
            epochs.len() > MOST_LOSSES / 2 && epochs.len() <= MOST_LOSSES,
            "{}",
            epochs.len()
        );
        assert!(epochs.iter().all(|epoch| epoch.is_multiple_of(8)));
        assert!(epochs.first() == Some(&8) && epochs.last() == Some(&1328));
        assert_eq!(progress.state().epoch, 1333);
    }

    #[test]
    fn an_epoch_that_comes_again_is_told_once() {
        let mut progress = Progress::new();
        for epoch in [1, 2, 3, 3, 4] {
            progress.add(loss(epoch));
        }
        assert_eq!(progress.losses.len(), 4);
    }
}
