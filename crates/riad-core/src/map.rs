//! Values that know their size.

use crate::{LengthError, Size};

/// One value for each pixel, row by row: an anomaly map, a plane of an image, a mask.
///
/// ```
/// use riad_core::{Map, Size};
///
/// let map = Map::new(Size::new(2, 3), vec![0.1, 0.2, 0.3, 0.4, 0.9, 0.6])?;
/// assert_eq!(map.max(), Some(0.9));
/// assert!(Map::new(Size::new(2, 3), vec![0.0; 5]).is_err());
/// # Ok::<(), riad_core::LengthError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Map<T = f32> {
    pub(crate) size: Size,
    /// `size.pixels()` values.
    pub(crate) values: Vec<T>,
}

impl<T> Map<T> {
    /// Takes `size.pixels()` values, row by row, without a copy.
    ///
    /// # Errors
    /// Another number of values.
    pub fn new(size: Size, values: Vec<T>) -> Result<Self, LengthError> {
        LengthError::check("a map", values.len(), size.pixels())?;
        Ok(Self { size, values })
    }

    /// A map that has `value` everywhere.
    ///
    /// # Panics
    /// As `vec![value; n]`, if the values do not fit in the address space. Check a size from outside against a limit
    /// first.
    pub fn filled(size: Size, value: T) -> Self
    where
        T: Clone,
    {
        Self {
            size,
            values: vec![value; size.pixels()],
        }
    }

    /// Height and width.
    pub fn size(&self) -> Size {
        self.size
    }

    /// The values, row by row.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// The values, row by row, mutable.
    pub fn values_mut(&mut self) -> &mut [T] {
        &mut self.values
    }

    /// The values, row by row, without a copy.
    pub fn into_values(self) -> Vec<T> {
        self.values
    }

    pub(crate) fn row(&self, y: usize) -> &[T] {
        &self.values[y * self.size.width..][..self.size.width]
    }

    pub(crate) fn row_mut(&mut self, y: usize) -> &mut [T] {
        &mut self.values[y * self.size.width..][..self.size.width]
    }
}

impl Map {
    /// The largest value, which is an image's score. NaN is ignored. `None` if there is no value, or only NaN.
    pub fn max(&self) -> Option<f32> {
        self.values
            .iter()
            .copied()
            .filter(|value| !value.is_nan())
            .reduce(f32::max)
    }
}
