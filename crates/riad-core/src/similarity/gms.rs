//! Gradient magnitude similarity (Xue et al., "Gradient magnitude similarity deviation", arXiv 1308.3052) on gray
//! images, at up to [`SCALES`] scales.
//!
//! `GMS = (2 g r + c) / (g² + r² + c)` with the gradient magnitudes g of the target and r of the reconstruction: 1
//! where they are equal, towards 0 where only one image has an edge. The magnitude is `sqrt((I * h_x)² + (I * h_y)² +
//! 1e-8)`, h being Prewitt's kernels divided by 3. Beyond its border the image continues with its edge values. So a map
//! has the image's size, the scales stay aligned, and the border is not an edge.

use super::gray::{add_gray_gradient, gray_image};
use super::pyramid::{add_enlarged, add_to_finer, pyramid};
use super::{Shape, SimilarityError, sum_chunks, sum_pairs};
use crate::{Map, Size};

/// Number of scales of the multi-scale forms. Each scale is a 2x2 average pool of the scale before it.
pub const SCALES: usize = 4;

/// The similarity's constant for values in [0, 1]; Xue et al. give 170 for [0, 255], and 170 / 255² = 0.0026.
pub const C: f32 = 0.0026;

/// It is added under the root of the magnitude, so that the loss has a finite gradient on flat parts of the image. It
/// is far below the gradient of one 8-bit step (1 / 765, squared 1.7e-6), so it does not change the similarity of real
/// images.
pub const EPSILON: f32 = 1e-8;

/// The mean over the first `scales` scales of the similarity of each pixel, coarser maps enlarged bilinearly: values in
/// (0, 1], 1 where the gradients are equally strong. Symmetric in its images.
///
/// One scale means the images themselves. They are taken by value, so nothing is copied.
///
/// # Errors
/// Images of two sizes or without pixels, no scales, or more than [`SCALES`].
pub fn map(target_gray: Map, recon_gray: Map, scales: usize) -> Result<Map, SimilarityError> {
    let (size, recon) = (target_gray.size(), recon_gray.size());
    if size != recon {
        return Err(SimilarityError::Sizes { target: size, recon });
    }
    let shape = Shape {
        images: 1,
        channels: 1,
        size,
    };
    shape.check_empty()?;
    if !(1..=SCALES).contains(&scales) {
        return Err(SimilarityError::Scales { scales });
    }
    let [target, recon] = [target_gray, recon_gray].map(|gray| pyramid(gray, scales));
    let mut mean = similarity_map(&target[0], &recon[0]);
    let add: [fn(&Map, &mut Map); SCALES - 1] = [add_enlarged::<2>, add_enlarged::<4>, add_enlarged::<8>];
    for ((target, recon), add) in target.iter().zip(&recon).skip(1).zip(add) {
        add(&similarity_map(target, recon), &mut mean);
    }
    for value in mean.values_mut() {
        *value *= 1.0 / scales as f32;
    }
    Ok(mean)
}

/// Mean over images and [`SCALES`] of the mean over a scale's pixels of `1 - GMS` on [`gray`](super::gray()) images, and
/// `weight` times its gradient added to `grad`. In [0, 1).
///
/// No scale is enlarged. Each scale has its own mean, and all have the same weight.
///
/// # Errors
/// A slice whose length is not that of `shape`, or an empty `shape`.
pub fn multiscale_loss(
    target: &[f32],
    recon: &[f32],
    shape: Shape,
    weight: f32,
    grad: Option<&mut [f32]>,
) -> Result<f64, SimilarityError> {
    shape.check(target, recon, grad.as_deref())?;
    let scale = 1.0 / (shape.images * SCALES) as f64;
    let sum = sum_chunks(shape.image_len(), target, recon, grad, |target, recon, grad| {
        let gray = |image| Map {
            size: shape.size,
            values: gray_image(image, shape.channels),
        };
        let [target, recon] = [target, recon].map(|image| pyramid(gray(image), SCALES));
        let terms = target.iter().zip(&recon);
        let term = |(target, recon): (&Map, &Map)| mean_dissimilarity(target, recon);
        let grad = match grad {
            None => return terms.map(term).sum(),
            // In the order in which the terms are added with a gradient, so that the sum has the same bits.
            Some(_) if weight == 0.0 => return terms.rev().map(term).sum(),
            Some(grad) => grad,
        };
        let mut sum = 0.0;
        let mut coarser: Option<Map> = None;
        for (target, recon) in target.iter().zip(&recon).rev() {
            let mut gradient = Map::filled(recon.size(), 0.0);
            if let Some(coarser) = coarser {
                add_to_finer(&coarser, &mut gradient);
            }
            sum += mean_dissimilarity_and_gradient(target, recon, (f64::from(weight) * scale) as f32, &mut gradient);
            coarser = Some(gradient);
        }
        if let Some(gray) = coarser {
            add_gray_gradient(gray.values(), shape.channels, grad);
        }
        sum
    });
    Ok(sum * scale)
}

fn similarity_map(target: &Map, recon: &Map) -> Map {
    let Size { height, width } = recon.size();
    let mut map = Map::filled(recon.size(), 0.0);
    let (mut target_edges, mut recon_edges) = (Edges::new(width), Edges::new(width));
    for y in 0..height {
        target_edges.find(target, y);
        recon_edges.find(recon, y);
        let magnitudes = target_edges.magnitudes.iter().zip(&recon_edges.magnitudes);
        for (out, (&target, &recon)) in map.row_mut(y).iter_mut().zip(magnitudes) {
            *out = 1.0 - dissimilarity(target, recon);
        }
    }
    map
}

fn mean_dissimilarity(target: &Map, recon: &Map) -> f64 {
    let Size { height, width } = recon.size();
    let (mut target_edges, mut recon_edges) = (Edges::new(width), Edges::new(width));
    let mut sum = 0.0;
    for y in 0..height {
        target_edges.find(target, y);
        recon_edges.find(recon, y);
        sum += sum_pairs(&target_edges.magnitudes, &recon_edges.magnitudes, dissimilarity);
    }
    sum / recon.values().len() as f64
}

/// As [`mean_dissimilarity`], and adds `weight` times its gradient to `gradient`.
fn mean_dissimilarity_and_gradient(target: &Map, recon: &Map, weight: f32, gradient: &mut Map) -> f64 {
    let Size { height, width } = recon.size();
    let (mut target_edges, mut recon_edges) = (Edges::new(width), Edges::new(width));
    let mut slopes = Slopes::new(width);
    let scale = weight / recon.values().len() as f32;
    let mut sum = 0.0;
    for y in 0..height {
        target_edges.find(target, y);
        recon_edges.find(recon, y);
        sum += sum_pairs(&target_edges.magnitudes, &recon_edges.magnitudes, dissimilarity);
        slopes.find(&target_edges.magnitudes, &recon_edges, scale);
        slopes.add_to(gradient, y);
    }
    sum / recon.values().len() as f64
}

/// `1 - GMS`. In this form equal magnitudes give exactly 0, close magnitudes lose no digits, and the function is
/// symmetric.
fn dissimilarity(target: f32, recon: f32) -> f32 {
    let difference = recon - target;
    difference * difference / (target * target + recon * recon + C)
}

/// Derivative of [`dissimilarity`] with respect to `recon`.
fn dissimilarity_slope(target: f32, recon: f32) -> f32 {
    let difference = recon - target;
    let denominator = target * target + recon * recon + C;
    2.0 * (difference - recon * (difference * difference / denominator)) / denominator
}

/// Prewitt's filters on one row of a plane. They are separable: a sum in one direction, a difference in the other.
struct Edges {
    /// Sums and differences of three rows, with one value of padding on both sides.
    sums: Vec<f32>,
    differences: Vec<f32>,
    horizontal: Vec<f32>,
    vertical: Vec<f32>,
    magnitudes: Vec<f32>,
}

impl Edges {
    fn new(width: usize) -> Self {
        Self {
            sums: vec![0.0; width + 2],
            differences: vec![0.0; width + 2],
            horizontal: vec![0.0; width],
            vertical: vec![0.0; width],
            magnitudes: vec![0.0; width],
        }
    }

    fn find(&mut self, plane: &Map, y: usize) {
        let Size { height, width } = plane.size();
        let [above, at, below] = neighbours(y, height).map(|y| plane.row(y));
        let columns = self.sums[1..]
            .iter_mut()
            .zip(&mut self.differences[1..])
            .zip(above)
            .zip(at)
            .zip(below);
        for ((((sum, difference), &above), &at), &below) in columns {
            *sum = above + at + below;
            *difference = below - above;
        }
        for padded in [&mut self.sums, &mut self.differences] {
            padded[0] = padded[1];
            padded[width + 1] = padded[width];
        }

        let [left_sums, _, right_sums] = shifted(&self.sums, width);
        for ((horizontal, &left), &right) in self.horizontal.iter_mut().zip(left_sums).zip(right_sums) {
            *horizontal = (right - left) / 3.0;
        }
        let [left, middle, right] = shifted(&self.differences, width);
        for (((vertical, &left), &middle), &right) in self.vertical.iter_mut().zip(left).zip(middle).zip(right) {
            *vertical = (left + middle + right) / 3.0;
        }
        let components = self.horizontal.iter().zip(&self.vertical);
        for (magnitude, (&horizontal, &vertical)) in self.magnitudes.iter_mut().zip(components) {
            *magnitude = (horizontal * horizontal + vertical * vertical + EPSILON).sqrt();
        }
    }
}

/// The loss's derivatives with respect to the values of [`Edges`] for one row, from which those of the pixels follow.
struct Slopes {
    /// By the filters' results, with two zeros of padding on both sides.
    horizontal: Vec<f32>,
    vertical: Vec<f32>,
    /// By the padded sums and differences of three rows.
    sums: Vec<f32>,
    differences: Vec<f32>,
}

impl Slopes {
    fn new(width: usize) -> Self {
        Self {
            horizontal: vec![0.0; width + 4],
            vertical: vec![0.0; width + 4],
            sums: vec![0.0; width + 2],
            differences: vec![0.0; width + 2],
        }
    }

    fn find(&mut self, target_magnitudes: &[f32], recon: &Edges, scale: f32) {
        let width = target_magnitudes.len();
        let slopes = self.horizontal[2..].iter_mut().zip(&mut self.vertical[2..]);
        let components = recon.horizontal.iter().zip(&recon.vertical);
        let magnitudes = target_magnitudes.iter().zip(&recon.magnitudes);
        for ((slopes, components), (&target, &magnitude)) in slopes.zip(components).zip(magnitudes) {
            let factor = scale / 3.0 * dissimilarity_slope(target, magnitude) / magnitude;
            *slopes.0 = factor * components.0;
            *slopes.1 = factor * components.1;
        }

        let [left, _, right] = shifted(&self.horizontal, width + 2);
        for ((sum, &left), &right) in self.sums.iter_mut().zip(left).zip(right) {
            *sum = left - right;
        }
        let [left, middle, right] = shifted(&self.vertical, width + 2);
        for (((difference, &left), &middle), &right) in self.differences.iter_mut().zip(left).zip(middle).zip(right) {
            *difference = left + middle + right;
        }
        // The padding is a copy of the edge value.
        for padded in [&mut self.sums, &mut self.differences] {
            padded[1] += padded[0];
            padded[width] += padded[width + 1];
        }
    }

    fn add_to(&self, gradient: &mut Map, y: usize) {
        let [above, at, below] = neighbours(y, gradient.size().height);
        let (sums, differences) = (&self.sums[1..], &self.differences[1..]);
        for ((out, sum), difference) in gradient.row_mut(above).iter_mut().zip(sums).zip(differences) {
            *out += sum - difference;
        }
        for (out, sum) in gradient.row_mut(at).iter_mut().zip(sums) {
            *out += sum;
        }
        for ((out, sum), difference) in gradient.row_mut(below).iter_mut().zip(sums).zip(differences) {
            *out += sum + difference;
        }
    }
}

/// Row `y` with the rows above and below it. Beyond the border the edge row is repeated.
fn neighbours(y: usize, height: usize) -> [usize; 3] {
    [y.saturating_sub(1), y, (y + 1).min(height - 1)]
}

/// Three slices of `len` values, each starting one further to the right.
fn shifted(row: &[f32], len: usize) -> [&[f32]; 3] {
    std::array::from_fn(|start| &row[start..start + len])
}
