//! `evaluate`.

use std::path::PathBuf;

use pyo3::{prelude::*, types::PyDict};
use riad::{
    Cancel, Compute, Error, Evaluation, Observer, Run, Sets,
    evaluation::{Measurement, TestSet},
    report,
};

use crate::{
    errors::{Result, refused},
    rate::{in_same_digits, rate},
    threads::watched,
};

/// Measures a model, and calls `tell` with what happens. The package's `evaluate` says on what. Gives a dictionary.
#[pyfunction]
#[pyo3(signature = (model, good, bad, tell, *, synthetic=None, fpr=None, confidence=None, report=None, bands=None, precision=None))]
#[expect(clippy::too_many_arguments, reason = "Python gives them by their names")]
pub(crate) fn evaluate<'py>(
    py: Python<'py>,
    model: PathBuf,
    good: Vec<PathBuf>,
    bad: Vec<PathBuf>,
    tell: &Bound<'_, PyAny>,
    synthetic: Option<u64>,
    fpr: Option<f64>,
    confidence: Option<f64>,
    report: Option<PathBuf>,
    bands: Option<&str>,
    precision: Option<&str>,
) -> Result<Bound<'py, PyDict>> {
    let mut how = Compute::default();
    if let Some(precision) = precision {
        how.precision = precision.parse()?;
    }
    let bands = bands.map(str::parse).transpose()?;
    let cancel = Cancel::new();
    let sets = Sets { good, bad, synthetic };
    let evaluation = watched(py, tell, &cancel, |teller| {
        let test = if sets.is_empty() && sets.synthetic.is_none() {
            own_test_set(&model, teller)?
        } else {
            TestSet::of_sets(&model, &sets, bands.as_ref(), &how, teller)?
        };
        let measurement = Measurement::of(&model)
            .bands(bands)
            .rate(rate(fpr, confidence, None))
            .pictures(report.is_some())
            .compute(how)
            .cancel(cancel.clone());
        let evaluation = measurement.measure(&test, teller)?;
        if let Some(file) = &report {
            report::write(file, std::slice::from_ref(&evaluation))?;
        }
        Ok(evaluation)
    })?;
    to_python(py, &evaluation)
}

/// The test images of the data set that a run learned from, or for want of them those that it held out.
fn own_test_set(model: &std::path::Path, observer: &dyn Observer) -> riad::Result<TestSet> {
    let Some(run) = Run::of(model)? else {
        let reason = format!(
            "{} is not in a run; name good pictures and bad pictures",
            model.display()
        );
        return Err(Error::Request(reason));
    };
    TestSet::of_run_or_held_out(&run, observer)
}

fn to_python<'py>(py: Python<'py>, evaluation: &Evaluation) -> Result<Bound<'py, PyDict>> {
    let findings = &evaluation.findings;
    let at = findings.at_threshold.as_ref().ok();
    let row = |image: &riad::evaluation::ImageScore| -> Result<_> {
        let row = PyDict::new(py);
        row.set_item("path", &image.path)?;
        row.set_item("label", u8::from(image.defect.is_some()))?;
        row.set_item("defect", image.defect.as_deref())?;
        row.set_item("score", in_same_digits(image.score))?;
        let verdict = at.map(|at| {
            if at.is_exceeded_by(image.score) {
                "defective"
            } else {
                "good"
            }
        });
        row.set_item("verdict", verdict)?;
        Ok(row)
    };
    let rows: Vec<_> = findings.images.iter().map(row).collect::<Result<_>>()?;
    let found = PyDict::new(py);
    found.set_item("name", &evaluation.name)?;
    found.set_item("data", &evaluation.data)?;
    found.set_item("model", &evaluation.model)?;
    found.set_item("sentence", evaluation.sentence())?;
    found.set_item("caution", evaluation.caution.as_deref())?;
    found.set_item("notes", findings.notes())?;
    found.set_item("rows", rows)?;
    found.set_item("json", serde_json::to_string(evaluation).map_err(refused)?)?;
    Ok(found)
}
