//! Weights on their way to PyTorch and back.

use std::path::PathBuf;

use pyo3::{prelude::*, types::PyBytes};
use riad::{Checkpoint, export::torch_state_dict};

use crate::{
    errors::{Result, refused},
    threads::compute,
};

/// The content of the file that `torch.save` writes of a model's state dict.
#[pyfunction]
pub(crate) fn state_dict(py: Python<'_>, model: PathBuf) -> Result<Bound<'_, PyBytes>> {
    let bytes = compute(py, || {
        let checkpoint = Checkpoint::open(&model)?;
        torch_state_dict(&checkpoint.weights)
    })??;
    Ok(PyBytes::new(py, &bytes))
}

/// Writes a checkpoint with the settings of the model `like` and the weights of another one, of the same architecture. What belongs to
/// the weights of `like` stays behind: its calibration, what is normal, and how far its training was.
#[pyfunction]
pub(crate) fn with_weights(py: Python<'_>, like: PathBuf, weights: PathBuf, out: PathBuf) -> Result<()> {
    compute(py, || {
        let mut checkpoint = Checkpoint::open(&like)?;
        let weights = Checkpoint::open(&weights)?.weights;
        let (ours, given) = (checkpoint.weights.architecture(), weights.architecture());
        if ours != given {
            return Err(refused(format!(
                "the weights are for {given}, width {}, but {} has {ours}, width {}",
                given.width,
                like.display(),
                ours.width
            )));
        }
        checkpoint.weights = weights;
        checkpoint.normal = None;
        checkpoint.header.forget_calibration();
        checkpoint.header.progress = None;
        Ok(checkpoint.save(&out)?)
    })?
}
