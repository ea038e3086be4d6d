//! RIAD for Python: the extension `riad._riad`, which the package in `python/riad` gives out.
//!
//! It is built on the crate `riad` alone. Python's lock is released wherever something is computed ([`threads::compute`]).

mod arrays;
mod calibration;
mod detector;
mod errors;
mod evaluation;
mod image;
mod inspection;
mod inspections;
mod measures;
mod rate;
mod run;
mod threads;
mod told;
mod training;
mod weights;

use pyo3::prelude::*;

#[pymodule]
mod _riad {
    #[pymodule_export]
    use crate::{
        calibration::calibrate,
        detector::{Detector, reopened},
        evaluation::evaluate,
        inspection::{Inspection, Plane},
        inspections::Inspections,
        measures::{auroc, average_precision, gms, masks, msgms, pixel_metrics, ssim},
        run::Run,
        training::train,
        weights::{state_dict, with_weights},
    };
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::threads::remember_process();
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
