//! Breaking off: Ctrl-C, and the end of a time budget.

#[cfg(unix)]
use std::{io, thread};
use std::{
    process,
    sync::{
        LazyLock, Once,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use riad::Cancel;
#[cfg(unix)]
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use tracing::{info, warn};

/// What a program that a signal ended exits with: 128 + SIGINT.
pub(crate) const EXIT_CODE: u8 = 130;

static HANDLER: Once = Once::new();
/// Whether someone looks at [`PRESSED`]; otherwise Ctrl-C ends the program at once.
static WATCHED: AtomicBool = AtomicBool::new(false);
static PRESSED: LazyLock<Cancel> = LazyLock::new(Cancel::new);

/// Watches for a reason to break off, from its making until it is dropped.
///
/// The first Ctrl-C is left to the watcher, which stops at a good place; the second ends the program at once. Either
/// way no file is left half written, since all are renamed into place.
pub(crate) struct Watch {
    cancel: Cancel,
}

impl Watch {
    /// Watches for Ctrl-C, and for the end of `budget`.
    pub(crate) fn start(budget: Option<Duration>) -> Self {
        HANDLER.call_once(|| {
            if let Err(error) = listen() {
                warn!("Ctrl-C will end the program at once: {error}");
            }
        });
        WATCHED.store(true, Ordering::SeqCst);
        let cancel = PRESSED.clone();
        Self {
            cancel: match budget {
                None => cancel,
                Some(budget) => cancel.after(budget),
            },
        }
    }

    /// What breaks work off.
    pub(crate) fn cancel(&self) -> &Cancel {
        &self.cancel
    }
}

/// Breaks off as the first Ctrl-C does, whoever asks for it.
#[cfg(windows)]
pub(crate) fn end() {
    PRESSED.cancel();
}

impl Drop for Watch {
    fn drop(&mut self) {
        WATCHED.store(false, Ordering::SeqCst);
    }
}

/// Has [`on_signal`] called for Ctrl-C and SIGTERM. SIGHUP stays as it is: `nohup` has it ignored, so that work goes on after a
/// logout.
#[cfg(unix)]
fn listen() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new()
        .name("riad-signals".to_owned())
        .spawn(move || signals.forever().for_each(|_| on_signal()))?;
    Ok(())
}

/// Has [`on_signal`] called for what a console sends.
#[cfg(windows)]
fn listen() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(on_signal)
}

fn on_signal() {
    let is_first = PRESSED.reason().is_none();
    PRESSED.cancel();
    if is_first && WATCHED.load(Ordering::SeqCst) {
        info!("stopping after this step; Ctrl-C again ends at once");
    } else {
        process::exit(i32::from(EXIT_CODE));
    }
}
