//! What Python calls an image.

use std::path::PathBuf;

use numpy::PyReadonlyArray1;
use pyo3::{
    prelude::*,
    types::{PyByteArray, PyBytes, PyString},
};

use crate::errors::Result;

/// An image that is to be looked at.
pub(crate) enum Given {
    /// It is in a file.
    File(PathBuf),
    /// This would be in its file.
    Bytes(Vec<u8>),
}

impl Given {
    /// Takes a path, the content of a file, an array, or an image of Pillow. Values are copied while Python's lock is held: other
    /// threads may change them afterwards.
    pub(crate) fn of(image: &Bound<'_, PyAny>) -> Result<Self> {
        if let Ok(bytes) = image.cast::<PyBytes>() {
            return Ok(Self::Bytes(bytes.as_bytes().to_vec()));
        }
        if let Ok(bytes) = image.cast::<PyByteArray>() {
            return Ok(Self::Bytes(bytes.to_vec()));
        }
        if is_path(image) {
            return Ok(Self::File(image.extract()?));
        }
        let images = image.py().import("riad._images")?;
        let content = images.call_method1("content", (image,))?;
        Ok(Self::Bytes(match content.cast::<PyBytes>() {
            Ok(bytes) => bytes.as_bytes().to_vec(),
            Err(_) => npy(&content)?,
        }))
    }
}

/// Whether something is a path: text, or what has one.
pub(crate) fn is_path(value: &Bound<'_, PyAny>) -> bool {
    value.is_instance_of::<PyString>() || value.hasattr("__fspath__").unwrap_or(false)
}

/// A contiguous array and its bytes, `(descr, shape, bytes)`, as `numpy.save` writes it. So the rules of arrays in memory are those of
/// `.npy` files.
fn npy(content: &Bound<'_, PyAny>) -> Result<Vec<u8>> {
    const MAGIC: &[u8] = b"\x93NUMPY\x02\x00";
    let (descr, shape, bytes): (String, String, PyReadonlyArray1<'_, u8>) = content.extract()?;
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let bytes = bytes.as_array();
    let mut file = Vec::with_capacity(MAGIC.len() + 4 + header.len() + bytes.len());
    file.extend(MAGIC);
    file.extend((header.len() as u32).to_le_bytes());
    file.extend(header.bytes());
    match bytes.as_slice() {
        Some(bytes) => file.extend(bytes),
        None => file.extend(bytes.iter()),
    }
    Ok(file)
}
