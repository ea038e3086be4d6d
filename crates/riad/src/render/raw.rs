//! Anomaly maps as numbers, for other programs to measure and threshold.

use std::io::Cursor;

use npyz::WriterBuilder;
use tiff::encoder::{TiffEncoder, colortype::Gray32Float};

use super::Plane;
use crate::{Error, Result};

/// A TIFF of one 32-bit float per pixel, as MVTec's evaluation scripts read them.
///
/// # Errors
/// If the map is too large for such a file.
pub fn tiff(map: &Plane) -> Result<Vec<u8>> {
    let mut file = Cursor::new(Vec::new());
    let (width, height) = map.size();
    TiffEncoder::new(&mut file)
        .and_then(|mut encoder| encoder.write_image::<Gray32Float>(width, height, map.values()))
        .map_err(Error::render("a TIFF file of a map"))?;
    Ok(file.into_inner())
}

/// NumPy's format: `[H, W]` of 32-bit floats.
///
/// # Errors
/// None that is known: the bytes are written to memory.
pub fn npy(map: &Plane) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    let (width, height) = map.size();
    let mut write = || {
        let options = npyz::WriteOptions::new().default_dtype();
        let mut writer = options
            .shape(&[height.into(), width.into()])
            .writer(&mut file)
            .begin_nd()?;
        writer.extend(map.values())?;
        writer.finish()
    };
    write().map_err(Error::render("a NumPy file of a map"))?;
    Ok(file)
}
