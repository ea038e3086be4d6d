//! Filters that remove brightness and keep edges: the input of a network that restores images.

use crate::{
    Map, Size,
    smooth::{SmoothError, mean_filter},
};

/// The morphological gradient of a plane: the largest minus the smallest of the 3×3 values around each pixel. Beyond
/// the border the edge value is repeated.
///
/// For values in [0, 1] it lies in [0, 1]. It is 0 on constant parts. EdgRec (Liu et al., arXiv 2210.14485) gives its
/// network the gradient of the gray image.
///
/// ```
/// use riad_core::{Map, Size, edges::morphological_gradient};
///
/// let step = Map::new(Size::new(1, 5), vec![0.25, 0.25, 0.25, 0.75, 0.75])?;
/// assert_eq!(morphological_gradient(&step).values(), [0.0, 0.0, 0.5, 0.5, 0.0]);
/// # Ok::<(), riad_core::LengthError>(())
/// ```
pub fn morphological_gradient(plane: &Map) -> Map {
    let Size { height, width } = plane.size();
    let mut out = Map::filled(plane.size(), 0.0);
    if plane.size().is_empty() {
        return out;
    }
    let (mut largest, mut smallest) = (vec![0.0; width], vec![0.0; width]);
    for y in 0..height {
        let [above, here, below] = [y.saturating_sub(1), y, (y + 1).min(height - 1)].map(|y| plane.row(y));
        for x in 0..width {
            largest[x] = above[x].max(here[x]).max(below[x]);
            smallest[x] = above[x].min(here[x]).min(below[x]);
        }
        let out = out.row_mut(y);
        for (out, (largest, smallest)) in out[1..].iter_mut().zip(largest.windows(3).zip(smallest.windows(3))) {
            *out = range(largest, smallest);
        }
        let ends = width.min(2);
        out[0] = range(&largest[..ends], &smallest[..ends]);
        out[width - 1] = range(&largest[width - ends..], &smallest[width - ends..]);
    }
    out
}

fn range(largest: &[f32], smallest: &[f32]) -> f32 {
    let largest = largest.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let smallest = smallest.iter().copied().fold(f32::INFINITY, f32::min);
    largest - smallest
}

/// A plane minus its mean over `window` × `window` pixels around each pixel. It keeps structures that are smaller than
/// the window. For values in [0, 1] it lies in [−1, 1].
///
/// # Errors
/// [`SmoothError::EvenWindow`] if `window` is even.
pub fn high_pass(plane: &Map, window: usize) -> Result<Map, SmoothError> {
    let mut out = mean_filter(plane, window)?;
    let pairs = out.values_mut().iter_mut().zip(plane.values());
    pairs.for_each(|(mean, value)| *mean = value - *mean);
    Ok(out)
}
