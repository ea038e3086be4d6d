//! Anomaly maps as numbers, for other programs to measure and threshold.

use std::io::Cursor;

use tiff::encoder::{TiffEncoder, colortype::Gray32Float};

use super::Plane;
use crate::{Error, Result};

/// A TIFF with one 32-bit float per pixel. MVTec's evaluation scripts read this format.
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

/// NumPy's format, version 1.0: `[H, W]` of 32-bit floats.
pub fn npy(map: &Plane) -> Vec<u8> {
    const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
    /// What the values begin at a multiple of.
    const ALIGNED: usize = 64;
    let (width, height) = map.size();
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({height}, {width}), }}");
    let length = (MAGIC.len() + 2 + header.len() + 1).next_multiple_of(ALIGNED) - MAGIC.len() - 2;
    header = format!("{header:<width$}\n", width = length - 1);
    // Two numbers of ten digits at most: it is far from 65,536 characters.
    let mut file = [MAGIC, &(length as u16).to_le_bytes(), header.as_bytes()].concat();
    file.extend(map.values().iter().flat_map(|value| value.to_le_bytes()));
    file
}

#[cfg(test)]
mod tests {
    use riad_core::{Map, Size};

    use super::*;

    /// What `numpy.save` writes of `numpy.float32([[0, 1, 2], [3, 4, 5]])`, NumPy 2.4.
    #[test]
    fn arrays_are_as_numpy_writes_them() {
        let map = Map::new(Size::new(2, 3), (0..6u8).map(f32::from).collect()).unwrap();
        let mut expected = b"\x93NUMPY\x01\x00v\x00".to_vec();
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
        expected.extend(format!("{header:<117}\n").bytes());
        expected.extend((0..6u8).flat_map(|value| f32::from(value).to_le_bytes()));
        assert_eq!(npy(&Plane::new(map).unwrap()), expected);
    }
}
