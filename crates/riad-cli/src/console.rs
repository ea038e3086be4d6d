//! Prints what the library reports: progress, remarks, and faults with their way out.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use riad::{Error, Event, Observer, Session, Stop, facts::terms};
use riad_data::{Brightest, DataError, FileFacts, counted, in_part};
use riad_model::{Alignment, EpochRecord, LossTerms, TrainConfig};
use tracing::{Level, enabled, error, info, warn};

use crate::{
    estimate,
    memory::more_memory,
    progress::{Progress, cut},
    shell::shell_quoted,
    way_out::told,
};

/// Below this number of training images, chance decides which method suits them.
const FEW: usize = 5;

/// Columns of the line that says how watching goes, at most.
const COLUMNS: usize = 80;

/// Number of files with several pictures that are remembered.
const MOST_TOLD: usize = 10_000;

/// Prints what a command does. A command has one `Console`, so each thing is printed once.
#[derive(Default)]
pub(crate) struct Console {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    progress: Option<Progress>,
    training: Option<Training>,
    /// Files of several pictures.
    told: HashSet<PathBuf>,
    /// Masks that mark more than half of their images.
    large_masks: HashSet<PathBuf>,
    brightest: Option<Brightest>,
    has_told_of_memory: bool,
    /// How often to say how watching goes, and when that was said last.
    heartbeat: Option<(Duration, Instant)>,
}

/// The training under way.
struct Training {
    category: String,
    config: TrainConfig,
    last: usize,
}

impl Training {
    fn keeps_last(&self) -> bool {
        self.config.scoring.method.steps().is_some()
    }
}

impl Console {
    /// Says how watching a folder goes, so often. Zero is never.
    pub(crate) fn watching(every: Duration) -> Self {
        let console = Self::default();
        console.state().heartbeat = (!every.is_zero()).then(|| (every, Instant::now()));
        console
    }

    /// Takes note of what was found in an image's file, and says what is to be said at once.
    pub(crate) fn note(&self, path: &Path, found: FileFacts) {
        let mut state = self.state();
        state.brightest = state.brightest.max(found.brightest);
        // A service runs for months: what it has told of is bounded.
        if state.told.len() >= MOST_TOLD {
            state.told.clear();
        }
        if found.pictures > 1 && state.told.insert(path.to_owned()) {
            warn!(
                "{}: the file has {} pictures, and only one is read; save the others as separate files",
                path.display(),
                found.pictures
            );
        }
    }

    /// Says once what to do about files that take too much memory.
    pub(crate) fn note_error(&self, error: &Error) {
        let mut state = self.state();
        if matches!(error, Error::Data(DataError::LimitExceeded { .. })) && !state.has_told_of_memory {
            state.has_told_of_memory = true;
            warn!("{}", more_memory());
        }
    }

    /// Says how many files held several pictures, if that was more than one.
    pub(crate) fn sum_up(&self) {
        let state = self.state();
        if state.told.len() > 1 {
            warn!(
                "{} files have several pictures; only one picture of each is read",
                state.told.len()
            );
        }
    }

    /// The images of another set follow.
    pub(crate) fn forget_brightness(&self) {
        self.state().brightest = None;
    }

    /// Warns if the brightest sample of all files is so dark that their camera probably has fewer bits than the files. With a white
    /// level there is no warning.
    pub(crate) fn warn_of_darkness(&self, white_level: Option<u16>) {
        let state = self.state();
        let likely = state
            .brightest
            .and_then(|brightest| Some((brightest, brightest.likely_white_level()?)));
        if let (None, Some((Brightest { sample, full, .. }, likely))) = (white_level, likely) {
            let bits = (u32::from(likely) + 1).ilog2();
            warn!(
                "the images are dark: the largest sample is {sample} of {full}. If the camera has {bits} bits, train with \
                 --white-level {likely}"
            );
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_training(&self, session: &Session<'_>) {
        let Session {
            category,
            config,
            device,
            epochs,
            steps,
            ..
        } = *session;
        if device != "cpu" {
            info!("computing on {device} in {}", config.precision);
        }
        info!("{session}; the run is in {}", shell_quoted(session.folder));
        if epochs + steps > 0 {
            info!("going on after {epochs} epochs and {steps} steps");
        }
        self.state().training = Some(Training {
            category: category.to_owned(),
            config: config.clone(),
            last: session.last,
        });
    }

    fn step(&self, epoch: usize, loss: &LossTerms, done: usize, total: usize) {
        let mut state = self.state();
        if let Some(progress) = &mut state.progress {
            progress.set_total(total as u64);
            progress.tell(done as u64, || format!("epoch {epoch}, loss {}", shown(loss)));
        }
    }

    fn epoch(&self, record: &EpochRecord, best: bool, last: usize) {
        let mut state = self.state();
        let State {
            progress: Some(progress),
            training: Some(training),
            ..
        } = &mut *state
        else {
            return;
        };
        let losses = match &record.validation {
            Some(loss) => format!("training {:.4}, validation {}", record.train.total, shown(loss)),
            None => format!("training {}", shown(&record.train)),
        };
        let is_told = best && !training.keeps_last();
        let best = if is_told { ", the best so far" } else { "" };
        let category = &training.category;
        progress.note(|| format!("{category}: epoch {}, {losses}{best}", record.epoch));
        if last < training.last {
            training.last = last;
            let patience = training.config.patience;
            progress.note(|| {
                format!("{category}: no better epoch in {patience}, so the learning rate falls, and {last} is the last epoch")
            });
        }
    }

    /// Warns of a model whose learning rate has not fallen as far as it would.
    fn warn_of_early_stop(&self, epochs: usize, stop: Stop) {
        let state = self.state();
        if let Some(training) = state.training.as_ref()
            && training.keeps_last()
            && stop == Stop::Time
        {
            warn!(
                "only {epochs} of {} epochs are trained, and the learning rate falls until the last: the finished model finds more",
                training.last
            );
        }
    }
}

impl Observer for Console {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Began { work, done, total } => {
                let progress = Progress::start(work.to_string(), work.unit(), *done as u64, *total as u64);
                self.state().progress = Some(progress);
            }
            Event::Progress { done, .. } => {
                if let Some(progress) = &mut self.state().progress {
                    progress.tell(*done as u64, String::new);
                }
            }
            Event::Ended => self.state().progress = None,
            Event::Read { path, found } => self.note(path, *found),
            Event::Fault(fault) => {
                self.note_error(fault);
                error!("{}", told(*fault));
            }
            Event::Chosen { method, images, .. } if *images < FEW => warn!(
                "the method is {method}, but {} cannot tell which method suits the product; with {FEW} or more it may be another one \
                 (--method sets it)",
                counted(*images, "training image")
            ),
            Event::Chosen { method, alignment, .. } => info!(
                "the method is {method}: the alignment of the training images is {:.3}, and the limit is {} (--method sets another)",
                alignment.max(0.0),
                Alignment::ALIGNED
            ),
            Event::TooFewToCalibrate { images, needed } => info!(
                "{images} images are too few to hold out enough for a threshold: training needs {needed} to hold out enough for \
                 --fpr 0.05; calibrate later with good images that the model was not trained with (riad calibrate), or hold out \
                 more now with --calibration SHARE"
            ),
            Event::Training(session) => self.begin_training(session),
            Event::Estimate { to_come, left, faster } => {
                let option = match &self.state().training {
                    Some(training) if training.config.scoring.tiling.is_some() => "--tile",
                    _ => "--size",
                };
                info!("{}", estimate::told(*to_come, *left, *faster, option));
            }
            Event::Step {
                epoch,
                loss,
                done,
                total,
            } => self.step(*epoch, loss, *done, *total),
            Event::Epoch { record, best, last } => self.epoch(record, *best, *last),
            Event::Stopped { epochs, stop } => {
                self.warn_of_early_stop(*epochs, *stop);
                tell(event);
            }
            Event::Suspects {
                names,
                looked_at,
                effect,
                list,
            } => tell_suspects(names, *looked_at, *effect, list),
            Event::Waiting(error) => warn!("{}; trying again", told(*error)),
            Event::Watching(counts) => {
                if let Some((every, told)) = &mut self.state().heartbeat
                    && told.elapsed() >= *every
                {
                    *told = Instant::now();
                    info!("{}", cut(counts.to_string(), COLUMNS));
                }
            }
            Event::LargeMask { file, .. } if !self.state().large_masks.insert((*file).to_owned()) => {}
            _ => tell(event),
        }
    }
}

/// Says what there is to say of an event.
fn tell(event: &Event<'_>) {
    let Some(words) = event.in_words() else { return };
    match event {
        Event::Finished { .. } | Event::Stopped { .. } | Event::Calibrated(_) | Event::Rejected { .. } => {
            info!("{words}");
        }
        _ => warn!("{words}"),
    }
}

/// Says which images a person should look at, and names the page beside the `list`.
fn tell_suspects(suspects: &[&str], looked_at: usize, effect: Option<&str>, list: &Path) {
    warn!(
        "look at {} of {looked_at} good images: {}. {} shows them, and says how to leave out images that are not good",
        suspects.len(),
        in_part(suspects, ", "),
        shell_quoted(&list.with_extension("html"))
    );
    if let Some(effect) = effect {
        warn!("{effect}");
    }
}

/// A loss. With `--verbose` also its terms.
fn shown(loss: &LossTerms) -> String {
    if enabled!(Level::DEBUG) {
        terms(loss)
    } else {
        format!("{:.4}", loss.total)
    }
}
