//! Anomaly maps as numbers, for other programs to measure and threshold.

use std::io::Cursor;

use anyhow::{Context, Result};
use npyz::WriterBuilder;
use tiff::encoder::{TiffEncoder, colortype::Gray32Float};

use crate::picture::Plane;

/// A TIFF of one 32-bit float per pixel, as MVTec's evaluation scripts read them.
pub(crate) fn tiff(map: &Plane) -> Result<Vec<u8>> {
    let mut file = Cursor::new(Vec::new());
    let (width, height) = map.size();
    TiffEncoder::new(&mut file)
        .and_then(|mut encoder| encoder.write_image::<Gray32Float>(width, height, map.values()))
        .context("a map cannot be written as TIFF")?;
    Ok(file.into_inner())
}

/// NumPy's format: `[H, W]` of 32-bit floats.
pub(crate) fn npy(map: &Plane) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    let (width, height) = map.size();
    let options = npyz::WriteOptions::new().default_dtype();
    let mut writer = options
        .shape(&[height.into(), width.into()])
        .writer(&mut file)
        .begin_nd()?;
    writer.extend(map.values())?;
    writer.finish()?;
    Ok(file)
}
