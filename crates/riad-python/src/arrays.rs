//! Arrays on their way to Python.

use numpy::{IntoPyArray, PyArray3, ndarray::Array3};
use pyo3::prelude::*;
use riad::RgbImage;

use crate::errors::{Result, refused};

/// A picture as `[height, width, 3]` of bytes, without a copy.
pub(crate) fn picture(py: Python<'_>, picture: RgbImage) -> Result<Bound<'_, PyArray3<u8>>> {
    let shape = (picture.height() as usize, picture.width() as usize, 3);
    let array = Array3::from_shape_vec(shape, picture.into_raw()).map_err(refused)?;
    Ok(array.into_pyarray(py))
}
