//! `calibrate`.

use std::path::PathBuf;

use numpy::PyArray1;
use pyo3::prelude::*;
use riad::{Cancel, Compute, Recalibration};

use crate::{errors::Result, threads::watched};

/// Calibrates, and calls `tell` with what happens. The package's `calibrate` says how. Gives the model's path, its scores, and how many
/// images had faults.
#[pyfunction]
#[pyo3(signature = (model, pictures, tell, *, out=None, without=None, roi=None, bands=None, precision=None))]
#[expect(clippy::too_many_arguments, reason = "Python gives them by their names")]
pub(crate) fn calibrate<'py>(
    py: Python<'py>,
    model: PathBuf,
    pictures: Vec<PathBuf>,
    tell: &Bound<'_, PyAny>,
    out: Option<PathBuf>,
    without: Option<PathBuf>,
    roi: Option<PathBuf>,
    bands: Option<&str>,
    precision: Option<&str>,
) -> Result<(String, Bound<'py, PyArray1<f32>>, usize)> {
    let cancel = Cancel::new();
    let mut how = Compute::default();
    if let Some(precision) = precision {
        how.precision = precision.parse()?;
    }
    let mut calibration = Recalibration::of(model).compute(how).cancel(cancel.clone());
    for path in pictures {
        calibration = calibration.pictures(path);
    }
    if let Some(out) = out {
        calibration = calibration.out(out);
    }
    if let Some(without) = without {
        calibration = calibration.without(without);
    }
    if let Some(roi) = roi {
        calibration = calibration.roi(roi);
    }
    if let Some(bands) = bands {
        calibration = calibration.bands(bands.parse()?);
    }
    let done = watched(py, tell, &cancel, |teller| calibration.start(teller))?;
    let scores = PyArray1::from_slice(py, done.calibration.scores());
    Ok((done.model.to_string_lossy().into_owned(), scores, done.faults))
}
