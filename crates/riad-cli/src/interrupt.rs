//! Breaking off: Ctrl-C, and the end of a time budget.

use std::{
    process,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tracing::{info, warn};

/// What a program that a signal ended exits with: 128 + SIGINT.
pub(crate) const EXIT_CODE: u8 = 130;

static HANDLER: Once = Once::new();
/// Whether someone looks at [`PRESSED`]; otherwise Ctrl-C ends the program at once.
static WATCHED: AtomicBool = AtomicBool::new(false);
static PRESSED: AtomicBool = AtomicBool::new(false);

/// Why work was broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Ctrl-C, or a request of the system to end.
    Pressed,
    /// The time is up.
    Time,
}

/// Watches for a reason to break off, from its making until it is dropped.
///
/// The first Ctrl-C is left to the watcher, which stops at a good place; the second ends the program at once. Either
/// way no file is left half written, since all are renamed into place.
pub(crate) struct Watch {
    until: Option<Instant>,
}

impl Watch {
    /// Watches for Ctrl-C, and for the end of `budget`.
    pub(crate) fn start(budget: Option<Duration>) -> Self {
        HANDLER.call_once(|| {
            if let Err(error) = ctrlc::set_handler(on_signal) {
                warn!("Ctrl-C will end the program at once: {error}");
            }
        });
        WATCHED.store(true, Ordering::SeqCst);
        // A budget beyond what the clock can hold never ends.
        Self {
            until: budget.and_then(|budget| Instant::now().checked_add(budget)),
        }
    }

    /// What is left of the budget, if there is one.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// The reason to break off now, if there is one.
    pub(crate) fn reason(&self) -> Option<Reason> {
        if PRESSED.load(Ordering::SeqCst) {
            return Some(Reason::Pressed);
        }
        self.until
            .is_some_and(|until| Instant::now() >= until)
            .then_some(Reason::Time)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        WATCHED.store(false, Ordering::SeqCst);
    }
}

fn on_signal() {
    let is_first = !PRESSED.swap(true, Ordering::SeqCst);
    if is_first && WATCHED.load(Ordering::SeqCst) {
        info!("stopping after this step; Ctrl-C again ends at once");
    } else {
        process::exit(i32::from(EXIT_CODE));
    }
}
