//! Structural similarity (Wang et al., "Image quality assessment: from error visibility to structural similarity",
//! 2004) with the settings of that paper: 11x11 Gaussian window of σ = 1.5, K1 = 0.01, K2 = 0.03, for a data range of 1.
//!
//! Equal to scikit-image's `structural_similarity(…, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
//! data_range=1)`.

use rayon::prelude::*;

use super::{Shape, SimilarityError, sum_chunks, sum_pairs};

/// Side of the Gaussian window in pixels.
pub const WINDOW: usize = 11;

const RADIUS: usize = WINDOW / 2;
const SIGMA: f64 = 1.5;
const C1: f32 = 0.01 * 0.01;
const C2: f32 = 0.03 * 0.03;

/// Taken off all values before moments are made. Variances do not change, and an f32 difference of squares loses fewer
/// digits near 0 than on bright flat regions.
const CENTRE: f32 = 0.5;

/// One minus the mean SSIM over images, channels and windows that lie within the image, and `weight` times its gradient
/// added to `grad`. In [0, 2], 0 for equal images.
///
/// # Errors
/// [`SimilarityError::TooSmall`] if a side of the images is less than [`WINDOW`].
///
/// # Panics
/// If a slice's length is not that of `shape`, or `shape` is empty.
pub fn loss(
    target: &[f32],
    recon: &[f32],
    shape: Shape,
    weight: f32,
    grad: Option<&mut [f32]>,
) -> Result<f64, SimilarityError> {
    shape.check(target, recon, grad.as_deref());
    check_size(shape)?;
    let windows = (shape.height - 2 * RADIUS) * (shape.width - 2 * RADIUS);
    let count = (shape.images * shape.channels * windows) as f64;
    let slope = (-f64::from(weight) / count) as f32;
    let kernel = gaussian();
    let sum = sum_chunks(shape.plane_len(), target, recon, grad, |target, recon, grad| {
        let planes = Planes::new(target.iter().copied(), recon.iter().copied(), shape.height, shape.width);
        match grad {
            None => planes.sum(&kernel),
            Some(grad) => planes.sum_and_gradient(&kernel, slope, grad),
        }
    });
    Ok(1.0 - sum / count)
}

/// The SSIM of the window around each pixel, averaged over channels: `images * height * width` values in [-1, 1].
///
/// Beyond the border the image continues mirrored, edge value repeated, as scikit-image's `full=True` has it.
///
/// # Errors
/// [`SimilarityError::TooSmall`] if a side of the images is less than [`WINDOW`].
///
/// # Panics
/// If a slice's length is not that of `shape`, or `shape` is empty.
pub fn map(target: &[f32], recon: &[f32], shape: Shape) -> Result<Vec<f32>, SimilarityError> {
    shape.check(target, recon, None);
    check_size(shape)?;
    let Shape {
        channels,
        height,
        width,
        ..
    } = shape;
    let kernel = gaussian();
    let mut maps = vec![0.0; shape.images * shape.plane_len()];
    maps.par_chunks_exact_mut(shape.plane_len())
        .zip(
            target
                .par_chunks_exact(shape.image_len())
                .zip(recon.par_chunks_exact(shape.image_len())),
        )
        .for_each(|(map, (target, recon))| {
            let channel_pairs = target
                .chunks_exact(shape.plane_len())
                .zip(recon.chunks_exact(shape.plane_len()));
            for (target, recon) in channel_pairs {
                let planes = Planes::new(
                    mirrored(target, height, width),
                    mirrored(recon, height, width),
                    height + 2 * RADIUS,
                    width + 2 * RADIUS,
                );
                planes.add_to_map(&kernel, 1.0 / channels as f32, map);
            }
        });
    Ok(maps)
}

fn check_size(shape: Shape) -> Result<(), SimilarityError> {
    let Shape { height, width, .. } = shape;
    if height < WINDOW || width < WINDOW {
        return Err(SimilarityError::TooSmall {
            height,
            width,
            window: WINDOW,
        });
    }
    Ok(())
}

/// The window's weights along one axis, from the centre outwards; both sides together sum to 1.
fn gaussian() -> [f32; RADIUS + 1] {
    let weight = |distance: usize| (-0.5 * (distance as f64 / SIGMA).powi(2)).exp();
    let total = weight(0) + 2.0 * (1..=RADIUS).map(weight).sum::<f64>();
    std::array::from_fn(|distance| (weight(distance) / total) as f32)
}

/// The values of a plane and of [`RADIUS`] more on every side, mirrored, row by row.
fn mirrored(plane: &[f32], height: usize, width: usize) -> impl Iterator<Item = f32> {
    let mirror = |position: usize, size: usize| match position.checked_sub(RADIUS) {
        None => RADIUS - 1 - position,
        Some(inside) if inside < size => inside,
        Some(beyond) => 2 * size - 1 - beyond,
    };
    (0..height + 2 * RADIUS).flat_map(move |y| {
        let row = &plane[mirror(y, height) * width..][..width];
        (0..width + 2 * RADIUS).map(move |x| row[mirror(x, width)])
    })
}

/// What SSIM's moments are means of, for one pair of planes.
struct Planes {
    target: Vec<f32>,
    recon: Vec<f32>,
    /// `target² + recon²`: only the sum of the two variances is ever needed.
    squares: Vec<f32>,
    /// `target * recon`.
    products: Vec<f32>,
    height: usize,
    width: usize,
}

impl Planes {
    fn new(target: impl Iterator<Item = f32>, recon: impl Iterator<Item = f32>, height: usize, width: usize) -> Self {
        let target: Vec<f32> = target.map(|value| value - CENTRE).collect();
        let recon: Vec<f32> = recon.map(|value| value - CENTRE).collect();
        let squares = target
            .iter()
            .zip(&recon)
            .map(|(target, recon)| target * target + recon * recon)
            .collect();
        let products = target
            .iter()
            .zip(&recon)
            .map(|(target, recon)| target * recon)
            .collect();
        Self {
            target,
            recon,
            squares,
            products,
            height,
            width,
        }
    }

    /// Hands the moments of each row of windows to `visit`, from the top.
    fn for_each_row(&self, kernel: &[f32; RADIUS + 1], mut visit: impl FnMut(usize, &Moments)) {
        let windows = self.width - 2 * RADIUS;
        let mut columns = vec![0.0; self.width];
        let mut moments = Moments::new(windows);
        for y in 0..self.height - 2 * RADIUS {
            for (plane, means) in [
                (&self.target, &mut moments.target),
                (&self.recon, &mut moments.recon),
                (&self.squares, &mut moments.squares),
                (&self.products, &mut moments.products),
            ] {
                let rows = std::array::from_fn(|tap| &plane[(y + tap) * self.width..][..self.width]);
                weighted_sum(rows, kernel, &mut columns);
                weighted_sum(shifted(&columns, windows), kernel, means);
            }
            visit(y, &moments);
        }
    }

    fn sum(&self, kernel: &[f32; RADIUS + 1]) -> f64 {
        let mut similarities = vec![0.0; self.width - 2 * RADIUS];
        let mut sum = 0.0;
        self.for_each_row(kernel, |_, moments| {
            moments.write_similarities(&mut similarities);
            sum += total(&similarities);
        });
        sum
    }

    fn add_to_map(&self, kernel: &[f32; RADIUS + 1], factor: f32, map: &mut [f32]) {
        let windows = self.width - 2 * RADIUS;
        let mut similarities = vec![0.0; windows];
        self.for_each_row(kernel, |y, moments| {
            moments.write_similarities(&mut similarities);
            for (out, similarity) in map[y * windows..].iter_mut().zip(&similarities) {
                *out += factor * similarity;
            }
        });
    }

    /// The sum of all windows' similarities; adds `slope` times its gradient to `grad`.
    fn sum_and_gradient(&self, kernel: &[f32; RADIUS + 1], slope: f32, grad: &mut [f32]) -> f64 {
        let (width, windows) = (self.width, self.width - 2 * RADIUS);
        let mut sum = 0.0;
        let mut similarities = vec![0.0; windows];
        // The transpose of a symmetric filter over the windows inside the image is the same filter with zeros around.
        let mut slopes: [Vec<f32>; 3] = std::array::from_fn(|_| vec![0.0; windows + 4 * RADIUS]);
        let mut spread: [Vec<f32>; 3] = std::array::from_fn(|_| vec![0.0; (self.height - 2 * RADIUS) * width]);
        self.for_each_row(kernel, |y, moments| {
            let [by_recon, by_squares, by_products] = &mut slopes;
            moments.write_similarities_and_slopes(
                &mut similarities,
                &mut by_recon[2 * RADIUS..],
                &mut by_squares[2 * RADIUS..],
                &mut by_products[2 * RADIUS..],
            );
            sum += total(&similarities);
            for (slopes, spread) in slopes.iter().zip(&mut spread) {
                weighted_sum(shifted(slopes, width), kernel, &mut spread[y * width..][..width]);
            }
        });

        let zeros = vec![0.0; width];
        let mut pixels: [Vec<f32>; 3] = std::array::from_fn(|_| vec![0.0; width]);
        for (y, grad) in grad.chunks_exact_mut(width).enumerate() {
            for (spread, pixels) in spread.iter().zip(&mut pixels) {
                let rows = std::array::from_fn(|tap| match (y + tap).checked_sub(2 * RADIUS) {
                    Some(row) if row < self.height - 2 * RADIUS => &spread[row * width..][..width],
                    _ => &zeros[..],
                });
                weighted_sum(rows, kernel, pixels);
            }
            let [by_recon, by_squares, by_products] = &pixels;
            let values = self.target[y * width..].iter().zip(&self.recon[y * width..]);
            let slopes = by_recon.iter().zip(by_squares).zip(by_products);
            for ((grad, (target, recon)), ((by_recon, by_squares), by_products)) in
                grad.iter_mut().zip(values).zip(slopes)
            {
                *grad += slope * (by_recon + 2.0 * by_squares * recon + by_products * target);
            }
        }
        sum
    }
}

/// Means over each window of a row of windows.
struct Moments {
    target: Vec<f32>,
    recon: Vec<f32>,
    squares: Vec<f32>,
    products: Vec<f32>,
}

impl Moments {
    fn new(windows: usize) -> Self {
        let row = || vec![0.0; windows];
        Self {
            target: row(),
            recon: row(),
            squares: row(),
            products: row(),
        }
    }

    fn windows(&self) -> impl Iterator<Item = Window> {
        let means = self.target.iter().zip(&self.recon);
        let seconds = self.squares.iter().zip(&self.products);
        means
            .zip(seconds)
            .map(|((&target, &recon), (&squares, &products))| Window::new(target, recon, squares, products))
    }

    fn write_similarities(&self, similarities: &mut [f32]) {
        for (out, window) in similarities.iter_mut().zip(self.windows()) {
            *out = window.similarity();
        }
    }

    /// The similarities and their derivatives with respect to the moments that depend on the reconstruction.
    fn write_similarities_and_slopes(
        &self,
        similarities: &mut [f32],
        by_recon: &mut [f32],
        by_squares: &mut [f32],
        by_products: &mut [f32],
    ) {
        let slopes = by_recon.iter_mut().zip(by_squares).zip(by_products);
        for ((out, ((by_recon, by_squares), by_products)), window) in
            similarities.iter_mut().zip(slopes).zip(self.windows())
        {
            *out = window.similarity();
            (*by_recon, *by_squares, *by_products) = window.slopes();
        }
    }
}

/// The parts of one window's similarity, `luminance * structure / (brightness * variance)`.
struct Window {
    target: f32,
    recon: f32,
    luminance: f32,
    structure: f32,
    brightness: f32,
    variance: f32,
}

impl Window {
    #[inline]
    fn new(target: f32, recon: f32, squares: f32, products: f32) -> Self {
        let (target_mean, recon_mean) = (target + CENTRE, recon + CENTRE);
        Self {
            target,
            recon,
            luminance: 2.0 * target_mean * recon_mean + C1,
            structure: 2.0 * (products - target * recon) + C2,
            brightness: target_mean * target_mean + recon_mean * recon_mean + C1,
            variance: squares - target * target - recon * recon + C2,
        }
    }

    #[inline]
    fn similarity(&self) -> f32 {
        self.luminance * self.structure / (self.brightness * self.variance)
    }

    /// Derivatives by the mean of the reconstruction, of the squares and of the products.
    #[inline]
    fn slopes(&self) -> (f32, f32, f32) {
        let similarity = self.similarity();
        let inverse = 1.0 / (self.brightness * self.variance);
        let by_products = 2.0 * self.luminance * inverse;
        let by_squares = -similarity / self.variance;
        let through_luminance = 2.0 * (self.target + CENTRE) * self.structure * inverse;
        let through_brightness = -2.0 * (self.recon + CENTRE) * similarity / self.brightness;
        // The products' and squares' own means are taken off squared means, hence these two.
        let through_structure = -self.target * by_products;
        let through_variance = -2.0 * self.recon * by_squares;
        (
            through_luminance + through_brightness + through_structure + through_variance,
            by_squares,
            by_products,
        )
    }
}

/// Sum of a row, through [`sum_pairs`] for its lanes.
fn total(row: &[f32]) -> f64 {
    sum_pairs(row, row, |value, _| value)
}

/// Eleven slices of `len` values, each starting one further to the right.
fn shifted(row: &[f32], len: usize) -> [&[f32]; WINDOW] {
    std::array::from_fn(|start| &row[start..start + len])
}

/// The rows' sum weighted by the window's weights, value by value. All filtering goes through this one loop.
fn weighted_sum(rows: [&[f32]; WINDOW], kernel: &[f32; RADIUS + 1], out: &mut [f32]) {
    let len = out.len();
    // Equal lengths that the compiler can see: without them every access below is checked, and nothing vectorises.
    let rows = rows.map(|row| &row[..len]);
    for (x, out) in out.iter_mut().enumerate() {
        let mut sum = kernel[0] * rows[RADIUS][x];
        for distance in 1..=RADIUS {
            sum += kernel[distance] * (rows[RADIUS - distance][x] + rows[RADIUS + distance][x]);
        }
        *out = sum;
    }
}
