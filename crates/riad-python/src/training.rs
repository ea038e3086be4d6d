//! `train`.

use std::{path::PathBuf, str::FromStr, time::Duration};

use pyo3::prelude::*;
use riad::{Cancel, Size, Training, TrainingOptions, TrainingOutcome};

use crate::{
    errors::{Failure, Result, refused},
    run::Run,
    threads::watched,
};

/// A number of pixels: of a square's side, or height and width.
#[derive(FromPyObject)]
pub(crate) enum Pixels {
    Side(usize),
    Sides(usize, usize),
}

impl From<Pixels> for Size {
    fn from(pixels: Pixels) -> Self {
        match pixels {
            Pixels::Side(side) => Self::new(side, side),
            Pixels::Sides(height, width) => Self::new(height, width),
        }
    }
}

/// Reads a setting from its name.
fn named<T: FromStr>(name: Option<String>) -> Result<Option<T>>
where
    Failure: From<T::Err>,
{
    Ok(name.map(|name| name.parse()).transpose()?)
}

/// Trains, and calls `tell` with what happens. The package's `train` says what the settings are.
#[pyfunction]
#[pyo3(signature = (
    data, tell, *, out=None, layout=None, time=None, protocol=None, method=None, loss=None, regions=None, sets=None, input=None,
    chroma=None, similarity=None, smoothing=None, scales=None, preset=None, channels=None, white_level=None, size=None, tile=None,
    overlap=None, roi=None, epochs=None, batch=None, lr=None, patience=None, validation=None, calibration=None, group_by=None,
    without=None, bands=None, precision=None, seed=None
))]
#[expect(clippy::too_many_arguments, reason = "Python gives them by their names")]
pub(crate) fn train(
    py: Python<'_>,
    data: PathBuf,
    tell: &Bound<'_, PyAny>,
    out: Option<PathBuf>,
    layout: Option<String>,
    time: Option<f64>,
    protocol: Option<&str>,
    method: Option<String>,
    loss: Option<String>,
    regions: Option<Vec<usize>>,
    sets: Option<usize>,
    input: Option<String>,
    chroma: Option<f32>,
    similarity: Option<String>,
    smoothing: Option<usize>,
    scales: Option<usize>,
    preset: Option<String>,
    channels: Option<usize>,
    white_level: Option<u16>,
    size: Option<Pixels>,
    tile: Option<Pixels>,
    overlap: Option<usize>,
    roi: Option<PathBuf>,
    epochs: Option<usize>,
    batch: Option<usize>,
    lr: Option<f64>,
    patience: Option<usize>,
    validation: Option<f64>,
    calibration: Option<f64>,
    group_by: Option<String>,
    without: Option<PathBuf>,
    bands: Option<String>,
    precision: Option<String>,
    seed: Option<u64>,
) -> Result<Run> {
    let options = TrainingOptions {
        protocol: protocol.map(str::parse).transpose()?,
        method: named(method)?,
        loss: named(loss)?,
        regions,
        sets,
        input: named(input)?,
        chroma,
        similarity: named(similarity)?,
        smoothing,
        scales,
        preset: named(preset)?,
        channels,
        white_level,
        size: size.map(Size::from),
        tile: tile.map(Size::from),
        overlap,
        roi,
        epochs,
        batch,
        lr,
        patience,
        validation,
        calibration,
        group_by: named(group_by)?,
        without,
        bands: named(bands)?,
        precision: named(precision)?,
        seed,
        ..TrainingOptions::default()
    };
    let mut cancel = Cancel::new();
    if let Some(seconds) = time {
        let time = Duration::try_from_secs_f64(seconds);
        cancel = cancel.after(time.map_err(|_| refused(format!("{seconds} is not a number of seconds")))?);
    }
    let mut training = Training::new(data).options(options).cancel(cancel.clone());
    if let Some(out) = out {
        training = training.out(out);
    }
    if let Some(layout) = named(layout)? {
        training = training.layout(layout);
    }
    let run = watched(py, tell, &cancel, |teller| training.start(teller))?;
    Ok(Run::new(run.folder(), run.outcome() == Some(TrainingOutcome::Finished)))
}
