//! What `Detector.inspect_many` gives.

use std::{path::PathBuf, sync::Mutex};

use pyo3::{exceptions::PyRuntimeError, prelude::*, sync::MutexExt, types::PyIterator};
use riad::{FalsePositiveRate, Listing};

use crate::{errors::Result, inspection::Inspection, threads::compute};

/// Paths that are taken from Python at once: enough that decoding ahead seldom begins anew, few enough for endless iterators.
const PATHS: usize = 256;

/// Iterates over what was found in many images. Any number of threads may take from it.
#[pyclass(frozen, module = "riad")]
pub(crate) struct Inspections {
    detector: riad::Detector,
    usual: Option<FalsePositiveRate>,
    state: Mutex<State>,
}

struct State {
    /// What cannot be looked at, and was found to be so before anything was.
    faults: Vec<(PathBuf, riad::Error)>,
    /// The paths to come; `None` at their end.
    paths: Option<Py<PyIterator>>,
    /// What Python raised instead of a path, after those that are under way.
    raised: Option<PyErr>,
    under_way: Option<riad::Inspections>,
}

impl Inspections {
    pub(crate) fn of_paths(detector: riad::Detector, paths: Py<PyIterator>, usual: Option<FalsePositiveRate>) -> Self {
        Self::new(
            detector,
            usual,
            State {
                faults: Vec::new(),
                paths: Some(paths),
                raised: None,
                under_way: None,
            },
        )
    }

    pub(crate) fn of_folder(detector: riad::Detector, found: Listing, usual: Option<FalsePositiveRate>) -> Self {
        let faults = found.faults.into_iter().map(|fault| {
            let path = fault.path().map(PathBuf::from).unwrap_or_default();
            (path, fault.into())
        });
        let mut faults: Vec<_> = faults.collect();
        faults.reverse();
        let under_way = Some(detector.inspect_many(found.images));
        Self::new(
            detector,
            usual,
            State {
                faults,
                paths: None,
                raised: None,
                under_way,
            },
        )
    }

    fn new(detector: riad::Detector, usual: Option<FalsePositiveRate>, state: State) -> Self {
        let state = Mutex::new(state);
        Self { detector, usual, state }
    }
}

#[pymethods]
impl Inspections {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> Result<Option<Inspection>> {
        // Another thread may hold it while it computes, and this one must not hold Python's lock meanwhile.
        // Without a result for it, the work must not look complete.
        let mut state = self
            .state
            .lock_py_attached(py)
            .map_err(|_| PyRuntimeError::new_err("another thread failed while it looked at an image"))?;
        let state = &mut *state;
        if let Some((path, fault)) = state.faults.pop() {
            return Ok(Some(Inspection::failed(py, path, fault)));
        }
        loop {
            if let Some(inspections) = &mut state.under_way {
                match compute(py, || inspections.next())? {
                    Some((_, Ok(found))) => return Ok(Some(Inspection::new(found, self.usual))),
                    Some((path, Err(error))) => {
                        // The device's: nothing can be looked at any more.
                        if error.stops_everything() {
                            (state.under_way, state.paths) = (None, None);
                            return Err(error.into());
                        }
                        return Ok(Some(Inspection::failed(py, path, error)));
                    }
                    None => state.under_way = None,
                }
            }
            if let Some(raised) = state.raised.take() {
                return Err(raised.into());
            }
            let Some(paths) = &state.paths else { return Ok(None) };
            let mut next: Vec<PathBuf> = Vec::with_capacity(PATHS);
            for path in paths.bind(py).clone().take(PATHS) {
                match path.and_then(|path| path.extract()) {
                    Ok(path) => next.push(path),
                    Err(error) => {
                        state.raised = Some(error);
                        break;
                    }
                }
            }
            if next.len() < PATHS {
                state.paths = None;
            }
            if !next.is_empty() {
                state.under_way = Some(self.detector.inspect_many(next));
            }
        }
    }
}
