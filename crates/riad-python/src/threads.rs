//! Computing without Python's lock, also in a process that was forked.

use std::{
    process,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use pyo3::{exceptions::PyRuntimeError, prelude::*};
use rayon::{ThreadPool, ThreadPoolBuilder};
use riad::Cancel;

use crate::{errors::Result, told::Teller};

/// How long Ctrl-C may wait to be seen.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The process that the extension was loaded in.
static LOADED_IN: AtomicU32 = AtomicU32::new(0);

/// The threads of a process that was forked from it.
static OF_FORK: Mutex<Option<(u32, Arc<ThreadPool>)>> = Mutex::new(None);

/// Remembers which process loads the extension.
pub(crate) fn remember_process() {
    LOADED_IN.store(process::id(), Ordering::SeqCst);
}

/// Computes something while other threads of Python run.
///
/// A fork copies none of rayon's threads, so that work given to its pool would wait for ever. In a forked process, as
/// `multiprocessing` and data loaders begin them, the work gets threads of its own.
///
/// # Errors
/// If the system gives no threads.
pub(crate) fn compute<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> Result<T> {
    let threads = of_fork()?;
    Ok(py.detach(|| match threads {
        None => work(),
        Some(threads) => threads.install(work),
    }))
}

/// The same for a thread that does not hold Python's lock.
///
/// # Errors
/// As [`compute`].
fn computed<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    Ok(match of_fork()? {
        None => work(),
        Some(threads) => threads.install(work),
    })
}

fn of_fork() -> Result<Option<Arc<ThreadPool>>> {
    let process = process::id();
    if process == LOADED_IN.load(Ordering::SeqCst) {
        return Ok(None);
    }
    // Nothing that panics runs under the lock.
    let mut threads = OF_FORK.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((of, threads)) = threads.as_ref()
        && *of == process
    {
        return Ok(Some(Arc::clone(threads)));
    }
    let made = ThreadPoolBuilder::new().build();
    let made = Arc::new(made.map_err(|error| PyRuntimeError::new_err(format!("threads cannot be started: {error}")))?);
    // A pool that a fork left behind has no threads to end, and to wait for them would be for ever.
    std::mem::forget(threads.replace((process, Arc::clone(&made))));
    Ok(Some(made))
}

/// Runs work that takes a while on a thread of its own, while this one calls `tell` with what happens, and looks for Ctrl-C. An
/// exception from either breaks the work off at its next good place, and is raised then.
///
/// # Errors
/// What the work gives, or the exception.
pub(crate) fn watched<T: Send>(
    py: Python<'_>,
    tell: &Bound<'_, PyAny>,
    cancel: &Cancel,
    work: impl FnOnce(&Teller) -> riad::Result<T> + Send,
) -> Result<T> {
    let (sender, mut told) = mpsc::channel();
    let mut raised: Option<PyErr> = None;
    let outcome = thread::scope(|scope| {
        let teller = Teller(sender);
        let worker = scope.spawn(move || computed(|| work(&teller)));
        loop {
            let told = &mut told;
            match py.detach(move || told.recv_timeout(LOOK_EVERY)) {
                Ok(told) if raised.is_none() => {
                    let heard = told.to_python(py).and_then(|told| Ok(tell.call1((told,))?));
                    raised = heard.err().map(PyErr::from);
                }
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if let Err(signal) = py.check_signals() {
                raised.get_or_insert(signal);
            }
            if raised.is_some() {
                cancel.cancel();
            }
        }
        py.detach(|| worker.join())
    });
    if let Some(raised) = raised {
        return Err(raised.into());
    }
    match outcome {
        Ok(done) => Ok(done??),
        Err(_) => Err(PyRuntimeError::new_err("the work panicked, which is a bug in riad").into()),
    }
}
