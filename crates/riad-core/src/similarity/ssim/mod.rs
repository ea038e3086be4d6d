//! Structural similarity (Wang et al., "Image quality assessment: from error visibility to structural similarity",
//! 2004) with the settings of that paper: 11x11 Gaussian window of σ = 1.5, K1 = 0.01, K2 = 0.03, for a data range of 1.
//!
//! Equal to scikit-image's `structural_similarity(…, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
//! data_range=1)`.

mod moments;

use std::array;

use self::moments::{CENTRE, Gaussian, LatestRows, Moments, RADIUS, Scan};
use super::{Shape, SimilarityError, sum_chunks, sum_pairs};
use crate::{Map, Size, mirrored};

pub use self::moments::{C1, C2, WINDOW};

/// One minus the mean SSIM over images, channels and windows that lie within the image, and `weight` times its gradient
/// added to `grad`. In [0, 2], 0 for equal images.
///
/// # Errors
/// [`SimilarityError::TooSmall`] if a side of the images is less than [`WINDOW`]; a slice whose length is not that of
/// `shape`, or an empty `shape`.
pub fn loss(
    target: &[f32],
    recon: &[f32],
    shape: Shape,
    weight: f32,
    grad: Option<&mut [f32]>,
) -> Result<f64, SimilarityError> {
    shape.check(target, recon, grad.as_deref())?;
    check_size(shape.size)?;
    let Size { height, width } = shape.size;
    let windows = (height - 2 * RADIUS) * (width - 2 * RADIUS);
    let count = (shape.images * shape.channels * windows) as f64;
    let slope = (-f64::from(weight) / count) as f32;
    let grad = grad.filter(|_| weight != 0.0);
    let gaussian = Gaussian::new();
    let sum = sum_chunks(shape.plane_len(), target, recon, grad, |target, recon, grad| {
        let planes = Planes {
            target,
            recon,
            height,
            width,
        };
        match grad {
            None => planes.sum(&gaussian),
            Some(grad) => planes.sum_and_gradient(&gaussian, slope, grad),
        }
    });
    Ok(1.0 - sum / count)
}

/// The SSIM of the window around each pixel of one image, averaged over channels: values in [-1, 1].
///
/// Beyond the border the image continues mirrored, edge value repeated, as scikit-image's `full=True` has it.
///
/// # Errors
/// [`SimilarityError::TooSmall`] if a side of the image is less than [`WINDOW`]; a slice whose length is not that of
/// `shape`, or a `shape` of no or several images.
pub fn map(target: &[f32], recon: &[f32], shape: Shape) -> Result<Map, SimilarityError> {
    shape.check(target, recon, None)?;
    if shape.images != 1 {
        return Err(SimilarityError::OneImage { images: shape.images });
    }
    check_size(shape.size)?;
    let Size { height, width } = shape.size;
    let gaussian = Gaussian::new();
    let factor = 1.0 / shape.channels as f32;
    let mut map = Map::filled(shape.size, 0.0);
    let channels = target
        .chunks_exact(shape.plane_len())
        .zip(recon.chunks_exact(shape.plane_len()));
    for (target, recon) in channels {
        let planes = Planes {
            target,
            recon,
            height,
            width,
        };
        planes.add_to_map(&gaussian, factor, map.values_mut());
    }
    Ok(map)
}

fn check_size(size: Size) -> Result<(), SimilarityError> {
    if size.height < WINDOW || size.width < WINDOW {
        return Err(SimilarityError::TooSmall { size, window: WINDOW });
    }
    Ok(())
}

/// One channel of a target and of its reconstruction.
struct Planes<'a> {
    target: &'a [f32],
    recon: &'a [f32],
    height: usize,
    width: usize,
}

impl Planes<'_> {
    /// Calls `visit` with the moments of each row of windows inside the planes, from the top.
    fn for_each_row(&self, gaussian: &Gaussian, mut visit: impl FnMut(usize, &Moments)) {
        let mut scan = Scan::new(gaussian, self.width);
        let rows = self
            .target
            .chunks_exact(self.width)
            .zip(self.recon.chunks_exact(self.width));
        for (y, (target, recon)) in rows.enumerate() {
            if let Some(moments) = scan.push(target, recon) {
                visit(y - 2 * RADIUS, moments);
            }
        }
    }

    /// The sum of the similarities of all windows inside the planes.
    fn sum(&self, gaussian: &Gaussian) -> f64 {
        let mut similarities = vec![0.0; self.width - 2 * RADIUS];
        let mut sum = 0.0;
        self.for_each_row(gaussian, |_, moments| {
            moments.write_similarities(&mut similarities);
            sum += total(&similarities);
        });
        sum
    }

    /// The same sum; adds `slope` times its gradient to `grad`.
    fn sum_and_gradient(&self, gaussian: &Gaussian, slope: f32, grad: &mut [f32]) -> f64 {
        let (width, windows) = (self.width, self.width - 2 * RADIUS);
        let mut sum = 0.0;
        let mut similarities = vec![0.0; windows];
        // The transpose of a symmetric filter over the windows inside a plane is the same filter with zeros around.
        let mut slopes: [Vec<f32>; 3] = array::from_fn(|_| vec![0.0; windows + 4 * RADIUS]);
        let mut spread: [LatestRows; 3] = array::from_fn(|_| LatestRows::new(width));
        let mut pixels: [Vec<f32>; 3] = array::from_fn(|_| vec![0.0; width]);
        let mut finish_row = |y: usize, spread: &[LatestRows; 3]| {
            for (spread, pixels) in spread.iter().zip(&mut pixels) {
                gaussian.filter(spread.rows(), pixels);
            }
            let row = y * width..(y + 1) * width;
            let values = self.target[row.clone()].iter().zip(&self.recon[row.clone()]);
            let [by_recon, by_squares, by_products] = &pixels;
            let slopes = by_recon.iter().zip(by_squares).zip(by_products);
            for ((grad, (target, recon)), ((by_recon, by_squares), by_products)) in
                grad[row].iter_mut().zip(values).zip(slopes)
            {
                *grad += slope * (by_recon + 2.0 * by_squares * (recon - CENTRE) + by_products * (target - CENTRE));
            }
        };
        // The last row of windows that contains a row of pixels starts at this row. After it, the row of pixels is
        // complete.
        self.for_each_row(gaussian, |y, moments| {
            let [by_recon, by_squares, by_products] = &mut slopes;
            moments.write_similarities_and_slopes(
                &mut similarities,
                &mut by_recon[2 * RADIUS..],
                &mut by_squares[2 * RADIUS..],
                &mut by_products[2 * RADIUS..],
            );
            sum += total(&similarities);
            for (slopes, spread) in slopes.iter().zip(&mut spread) {
                gaussian.filter(moments::shifted(slopes, width), spread.replace_oldest());
            }
            finish_row(y, &spread);
        });
        for y in self.height - 2 * RADIUS..self.height {
            for spread in &mut spread {
                spread.replace_oldest().fill(0.0);
            }
            finish_row(y, &spread);
        }
        sum
    }

    /// Adds `factor` times the similarity of the window around each pixel.
    fn add_to_map(&self, gaussian: &Gaussian, factor: f32, map: &mut [f32]) {
        let mirror = |position: usize, size: usize| mirrored(position as isize - RADIUS as isize, size);
        let columns: Vec<usize> = (0..self.width + 2 * RADIUS).map(|x| mirror(x, self.width)).collect();
        let mut scan = Scan::new(gaussian, columns.len());
        let mut similarities = vec![0.0; self.width];
        let mut rows = map.chunks_exact_mut(self.width);
        for y in 0..self.height + 2 * RADIUS {
            let start = mirror(y, self.height) * self.width;
            let [target, recon] =
                [self.target, self.recon].map(|plane| columns.iter().map(|x| plane[start + x]).collect::<Vec<_>>());
            if let Some(moments) = scan.push(&target, &recon)
                && let Some(row) = rows.next()
            {
                moments.write_similarities(&mut similarities);
                for (out, similarity) in row.iter_mut().zip(&similarities) {
                    *out += factor * similarity;
                }
            }
        }
    }
}

/// Sum of a row, through [`sum_pairs`] for its lanes.
fn total(row: &[f32]) -> f64 {
    sum_pairs(row, row, |value, _| value)
}
