//! What is made in the background, of which there is one at a time: it takes cores from the lines.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use riad::Cancel;

use crate::{Error, Result};

/// What is being made, of which there is one at a time.
#[derive(Debug, Default)]
pub(crate) struct Making {
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    /// The line that something is made for, and what breaks it off.
    work: Option<(String, Cancel)>,
    thread: Option<JoinHandle<()>>,
    is_ending: bool,
}

/// Why something is not made.
#[derive(Debug)]
pub(crate) enum NotMade {
    /// What was asked for cannot be meant: in words.
    Wrong(String),
    /// What was asked for cannot be now: in words.
    Asked(String),
    /// Something else is being made.
    Busy,
    /// The store failed.
    Failed(Error),
}

impl From<Error> for NotMade {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// The place of the one that makes something. When it is dropped, the next may.
#[derive(Debug)]
pub(crate) struct Place {
    making: Arc<Making>,
    cancel: Cancel,
}

impl Making {
    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place, unless something is being made, or the service ends.
    pub(crate) fn begin(self: &Arc<Self>, line: &str) -> Option<Place> {
        let mut now = self.now();
        if now.work.is_some() || now.is_ending {
            return None;
        }
        let cancel = Cancel::new();
        now.work = Some((line.to_owned(), cancel.clone()));
        Some(Place {
            making: self.clone(),
            cancel,
        })
    }

    /// Breaks off what is made for a line, if that is what is being made.
    pub(crate) fn stop(&self, line: &str) {
        if let Some((_, cancel)) = self.now().work.as_ref().filter(|(of, _)| of == line) {
            cancel.cancel();
        }
    }

    /// Breaks off what is being made, waits until it has ended, and has nothing made any more.
    pub(crate) fn end(&self) {
        let thread = {
            let mut now = self.now();
            now.is_ending = true;
            if let Some((_, cancel)) = &now.work {
                cancel.cancel();
            }
            now.thread.take()
        };
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Place {
    /// What breaks it off.
    pub(crate) fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Makes it on a thread of its own.
    pub(crate) fn on_a_thread<F: FnOnce(Self) + Send + 'static>(self, work: F) {
        let making = self.making.clone();
        // The thread is given its place once the lock is free, which the place takes when it is dropped.
        let (give, take) = mpsc::channel::<(Self, F)>();
        let work_when_given = move || {
            if let Ok((place, work)) = take.recv() {
                work(place);
            }
        };
        let mut now = making.now();
        let before = match thread::Builder::new().spawn(work_when_given) {
            Ok(thread) => now.thread.replace(thread),
            Err(error) => {
                drop(now);
                tracing::error!("there is no thread to make anything on: {error}");
                // It ends as if somebody had stopped it.
                self.cancel.cancel();
                return work(self);
            }
        };
        drop(now);
        let _ = give.send((self, work));
        // The one before gave its place away, so it has ended or is about to.
        if let Some(before) = before {
            let _ = before.join();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.making.now().work = None;
    }
}

/// How many cores what is made in the background may use: half of them, so that the lines have the others.
pub(crate) fn cores() -> usize {
    (thread::available_parallelism().map_or(1, usize::from) / 2).max(1)
}

/// Computes with [`cores`].
///
/// # Errors
/// If there are no threads to be had.
pub(crate) fn quietly<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(cores())
        .thread_name(|_| "riad-training".to_owned())
        .build()
        .map_err(|error| Error::Request(format!("threads to train with cannot be had: {error}")))?;
    Ok(pool.install(work))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_made_at_a_time_and_none_after_the_end() {
        let making = Arc::new(Making::default());
        let place = making.begin("lid").unwrap();
        assert!(making.begin("cap").is_none());
        making.stop("cap");
        assert_eq!(place.cancel().reason(), None);
        making.stop("lid");
        assert!(place.cancel().reason().is_some());
        drop(place);
        let place = making.begin("cap").unwrap();
        assert_eq!(place.cancel().reason(), None);
        let cancel = place.cancel().clone();
        place.on_a_thread(|place| {
            while place.cancel().reason().is_none() {
                thread::yield_now();
            }
        });
        making.end();
        assert!(cancel.reason().is_some() && making.begin("lid").is_none());
    }
}
