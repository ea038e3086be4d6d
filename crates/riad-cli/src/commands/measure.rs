//! Measuring a model, for all commands that show what it finds.

use anyhow::Result;
use riad::{
    Compute, Evaluation,
    evaluation::{Measurement, TestSet},
};
use tracing::info;

use crate::{args::warn_of_precision, console::Console};

/// Measures a model on test images.
pub(super) fn measure(
    test: &TestSet,
    measurement: Measurement,
    compute: &Compute,
    console: &Console,
) -> Result<Evaluation> {
    let category = &test.category;
    info!("measuring {} on {} test images", category.name, category.test.len());
    let evaluation = measurement.compute(compute.clone()).measure(test, console)?;
    if let Some(calibrated) = evaluation.calibrated_otherwise {
        warn_of_precision(&evaluation.model, calibrated, compute.precision);
    }
    Ok(evaluation)
}
