//! A mean filter. Its time does not depend on the window's size.

use thiserror::Error;

use crate::{Map, Size, mirrored};

/// Why a map cannot be smoothed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SmoothError {
    /// The window has no centre pixel.
    #[error("a mean filter of {window} pixels has no centre; use an odd window, such as {}", .window.saturating_add(1))]
    EvenWindow {
        /// Window that was asked for, in pixels.
        window: usize,
    },
}

/// Replaces every value by the mean of the `window` x `window` values around it.
///
/// Beyond its border the map continues as its mirror image, with the edge value repeated (`d c b a | a b c d | d c b
/// a`). This is the default of `scipy.ndimage.uniform_filter`. So a constant map stays constant. The window may be
/// larger than the map. Running sums in f64 need a few operations per pixel for any window. One NaN or infinity makes
/// all later values of its sums wrong, so pass only finite maps.
///
/// # Errors
/// [`SmoothError::EvenWindow`] if `window` is even (0 included).
pub fn mean_filter(map: &Map, window: usize) -> Result<Map, SmoothError> {
    if window.is_multiple_of(2) {
        return Err(SmoothError::EvenWindow { window });
    }
    let mut out = Map::filled(map.size(), 0.0);
    if map.size().is_empty() {
        return Ok(out);
    }
    let Size { height, width } = map.size();

    let rows = MirroredWindow::new(height, window);
    let columns = MirroredWindow::new(width, window);
    let row = |y: usize| map.row(y);

    // Sums over whole periods: every window contains the same number of them.
    let mut periods = vec![0.0f64; width];
    for y in 0..height {
        add(&mut periods, row(y), rows.periods * 2.0);
    }
    let mut vertical = periods;
    for position in 0..rows.rest {
        add(&mut vertical, row(rows.indices[position]), 1.0);
    }

    let scale = 1.0 / (window as f64 * window as f64);
    for (y, out) in out.values_mut().chunks_exact_mut(width).enumerate() {
        let mut sum = columns.periods * 2.0 * vertical.iter().sum::<f64>();
        sum += (0..columns.rest)
            .map(|position| vertical[columns.indices[position]])
            .sum::<f64>();
        for (x, out) in out.iter_mut().enumerate() {
            *out = (sum * scale) as f32;
            sum += vertical[columns.indices[x + columns.rest]] - vertical[columns.indices[x]];
        }
        let (entering, leaving) = (row(rows.indices[y + rows.rest]), row(rows.indices[y]));
        for ((sum, &enters), &leaves) in vertical.iter_mut().zip(entering).zip(leaving) {
            *sum += f64::from(enters) - f64::from(leaves);
        }
    }
    Ok(out)
}

fn add(sums: &mut [f64], row: &[f32], factor: f64) {
    for (sum, &value) in sums.iter_mut().zip(row) {
        *sum += factor * f64::from(value);
    }
}

/// A window sliding over an axis of `size` positions that continues mirrored, hence with period `2 * size`.
///
/// Any `2 * size` neighbours sum to twice the axis, so a window is `periods` of those and a `rest` shorter than one.
struct MirroredWindow {
    periods: f64,
    rest: usize,
    /// Indices into the axis, from the start of the window around index 0 to the end of the last window's rest.
    indices: Vec<usize>,
}

impl MirroredWindow {
    fn new(size: usize, window: usize) -> Self {
        let period = 2 * size;
        let rest = window % period;
        let first = -((window / 2 % period) as isize);
        Self {
            periods: (window / period) as f64,
            rest,
            indices: (first..).take(size + rest).map(|place| mirrored(place, size)).collect(),
        }
    }
}
