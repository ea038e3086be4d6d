//! Gaussian-weighted moments of all windows, row by row, and the similarity that they make.

use std::array;

/// Side of the Gaussian window in pixels.
pub const WINDOW: usize = 11;

/// Pixels between the window's centre and its edge.
pub(super) const RADIUS: usize = WINDOW / 2;

/// Subtracted from all values before moments are computed. Variances do not change. Near 0 an f32 difference of squares
/// loses fewer digits than on bright flat regions.
pub(super) const CENTRE: f32 = 0.5;

const SIGMA: f64 = 1.5;
/// Keeps the similarity of means in the dark from being one of noise: (K1 · L)² with K1 = 0.01, for values in [0, L = 1].
pub const C1: f32 = 0.01 * 0.01;
/// The same for the similarity of contrasts on flat regions, with K2 = 0.03.
pub const C2: f32 = 0.03 * 0.03;

/// The window along one axis, as the two-dimensional Gaussian is separable.
pub(super) struct Gaussian {
    /// Weights from the centre outwards; both sides together sum to 1.
    weights: [f32; RADIUS + 1],
}

impl Gaussian {
    pub(super) fn new() -> Self {
        let weight = |distance: usize| (-0.5 * (distance as f64 / SIGMA).powi(2)).exp();
        let total = weight(0) + 2.0 * (1..=RADIUS).map(weight).sum::<f64>();
        Self {
            weights: array::from_fn(|distance| (weight(distance) / total) as f32),
        }
    }

    /// The weighted sum of the slices, value by value. All filtering uses this loop. Along columns the slices are rows.
    /// Along rows they are [`shifted`] views of one row.
    pub(super) fn filter(&self, slices: [&[f32]; WINDOW], out: &mut [f32]) {
        // Blocks of a known length keep their sums in registers, and only their starts need a bounds check.
        const BLOCK: usize = 16;
        let (blocks, rest) = out.as_chunks_mut::<BLOCK>();
        let rest_start = blocks.len() * BLOCK;
        for (index, block) in blocks.iter_mut().enumerate() {
            self.filter_block(slices.map(|slice| &slice[index * BLOCK..][..BLOCK]), block);
        }
        self.filter_block(slices.map(|slice| &slice[rest_start..]), rest);
    }

    #[inline(always)]
    fn filter_block(&self, slices: [&[f32]; WINDOW], out: &mut [f32]) {
        for (out, centre) in out.iter_mut().zip(slices[RADIUS]) {
            *out = self.weights[0] * centre;
        }
        for distance in 1..=RADIUS {
            let weight = self.weights[distance];
            for ((out, before), after) in out
                .iter_mut()
                .zip(slices[RADIUS - distance])
                .zip(slices[RADIUS + distance])
            {
                *out += weight * (before + after);
            }
        }
    }
}

/// Slices of `len` values, each starting one further to the right.
pub(super) fn shifted(row: &[f32], len: usize) -> [&[f32]; WINDOW] {
    array::from_fn(|start| &row[start..start + len])
}

/// The latest [`WINDOW`] rows of a plane that is written from the top, with zeros before the first. Filtering along
/// columns needs no other rows, and these stay in the processor's cache.
pub(super) struct LatestRows {
    values: Vec<f32>,
    width: usize,
    /// Which of the rows is the oldest.
    oldest: usize,
}

impl LatestRows {
    pub(super) fn new(width: usize) -> Self {
        Self {
            values: vec![0.0; WINDOW * width],
            width,
            oldest: 0,
        }
    }

    /// The place of the next row, which is that of the oldest.
    pub(super) fn replace_oldest(&mut self) -> &mut [f32] {
        let start = self.oldest * self.width;
        self.oldest = (self.oldest + 1) % WINDOW;
        &mut self.values[start..start + self.width]
    }

    /// The rows from the oldest to the newest.
    pub(super) fn rows(&self) -> [&[f32]; WINDOW] {
        array::from_fn(|age| &self.values[(self.oldest + age) % WINDOW * self.width..][..self.width])
    }
}

/// Takes the rows of a pair of planes, and returns the moments of the windows that end in the latest row.
pub(super) struct Scan<'a> {
    gaussian: &'a Gaussian,
    rows_taken: usize,
    /// What moments are means of, for one row.
    values: [Vec<f32>; MOMENTS],
    /// Those, filtered along the row.
    filtered: [LatestRows; MOMENTS],
    moments: Moments,
}

/// Means of the target, of the reconstruction, of the sum of their squares (the two variances are never needed apart) and
/// of their product.
const MOMENTS: usize = 4;

impl<'a> Scan<'a> {
    pub(super) fn new(gaussian: &'a Gaussian, width: usize) -> Self {
        let windows = width - 2 * RADIUS;
        Self {
            gaussian,
            rows_taken: 0,
            values: array::from_fn(|_| vec![0.0; width]),
            filtered: array::from_fn(|_| LatestRows::new(windows)),
            moments: Moments {
                means: array::from_fn(|_| vec![0.0; windows]),
            },
        }
    }

    /// None until there are enough rows for a window.
    pub(super) fn push(&mut self, target: &[f32], recon: &[f32]) -> Option<&Moments> {
        let [targets, recons, squares, products] = &mut self.values;
        let values = targets.iter_mut().zip(recons).zip(squares.iter_mut().zip(products));
        for (((target_out, recon_out), (squares, product)), (&target, &recon)) in values.zip(target.iter().zip(recon)) {
            let (target, recon) = (target - CENTRE, recon - CENTRE);
            (*target_out, *recon_out) = (target, recon);
            (*squares, *product) = (target * target + recon * recon, target * recon);
        }
        for (values, filtered) in self.values.iter().zip(&mut self.filtered) {
            let row = filtered.replace_oldest();
            self.gaussian.filter(shifted(values, row.len()), row);
        }
        self.rows_taken += 1;
        if self.rows_taken < WINDOW {
            return None;
        }
        for (filtered, means) in self.filtered.iter().zip(&mut self.moments.means) {
            self.gaussian.filter(filtered.rows(), means);
        }
        Some(&self.moments)
    }
}

/// Moments of each window of a row of windows, in the order of [`MOMENTS`].
pub(super) struct Moments {
    means: [Vec<f32>; MOMENTS],
}

impl Moments {
    pub(super) fn write_similarities(&self, similarities: &mut [f32]) {
        for (out, window) in similarities.iter_mut().zip(self.windows()) {
            *out = window.similarity();
        }
    }

    /// The similarities and their derivatives with respect to the moments that depend on the reconstruction.
    pub(super) fn write_similarities_and_slopes(
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

    fn windows(&self) -> impl Iterator<Item = Window> {
        let [targets, recons, squares, products] = &self.means;
        let means = targets.iter().zip(recons).zip(squares.iter().zip(products));
        means.map(|((&target, &recon), (&squares, &product))| Window::new(target, recon, squares, product))
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
    fn new(target: f32, recon: f32, squares: f32, product: f32) -> Self {
        let (target_mean, recon_mean) = (target + CENTRE, recon + CENTRE);
        Self {
            target,
            recon,
            luminance: 2.0 * target_mean * recon_mean + C1,
            structure: 2.0 * (product - target * recon) + C2,
            brightness: target_mean * target_mean + recon_mean * recon_mean + C1,
            variance: squares - target * target - recon * recon + C2,
        }
    }

    #[inline]
    fn similarity(&self) -> f32 {
        self.luminance * self.structure / (self.brightness * self.variance)
    }

    /// Derivatives by the means of the reconstruction, of the squares and of the product.
    #[inline]
    fn slopes(&self) -> (f32, f32, f32) {
        let inverse = 1.0 / (self.brightness * self.variance);
        let similarity = self.similarity();
        let by_product = 2.0 * self.luminance * inverse;
        let by_squares = -similarity / self.variance;
        let through_luminance = 2.0 * (self.target + CENTRE) * self.structure * inverse;
        let through_brightness = -2.0 * (self.recon + CENTRE) * similarity / self.brightness;
        // Variance and covariance are the means of squares and product less those of products of the means.
        let through_structure = -self.target * by_product;
        let through_variance = -2.0 * self.recon * by_squares;
        (
            through_luminance + through_brightness + through_structure + through_variance,
            by_squares,
            by_product,
        )
    }
}
