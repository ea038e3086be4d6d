//! Gradient magnitude similarity, as [`riad_core::similarity::gms`] has it.

use candle_core::{Error, Result, Tensor};
use riad_core::{
    Size,
    similarity::{
        SimilarityError,
        gms::{C, EPSILON, SCALES},
    },
};

use super::{
    filter::{Filter, filtered},
    shape_of,
};

/// The loss of multi-scale gradient magnitude similarity (Xue et al., arXiv 1308.3052): the mean over the images and over four
/// scales of each scale's mean of `1 − GMS`, with `GMS = (2·g·r + c) / (g² + r² + c)`, g and r the gradient magnitudes of image and
/// reconstruction. A scalar in [0, 1), 0 for equal images.
///
/// `images` and `reconstructions` are `[B, C, H, W]` in [0, 1]. Three channels are red, green and blue, and become Rec.
/// 601 luma. Any other number of channels is averaged.
///
/// # Errors
/// If the two differ in shape, or have no values.
pub fn msgms_loss(images: &Tensor, reconstructions: &Tensor) -> Result<Tensor> {
    shape_of(images, reconstructions)?;
    let scales = dissimilarities(images, reconstructions, SCALES)?;
    let means = scales.iter().map(Tensor::mean_all).collect::<Result<Vec<_>>>()?;
    Tensor::stack(&means, 0)?.mean_all()
}

/// The similarity of images and reconstructions `[B, C, H, W]` in [0, 1] at each pixel: `[B, H, W]` in (0, 1], the mean
/// over the first `scales` of four scales of `GMS`, see [`msgms_loss`]. The maps of the coarser scales are enlarged
/// bilinearly.
///
/// # Errors
/// If the two differ in shape, have no values, or `scales` is not within 1 to 4.
pub fn gms_map(images: &Tensor, reconstructions: &Tensor, scales: usize) -> Result<Tensor> {
    let size = shape_of(images, reconstructions)?.size;
    if !(1..=SCALES).contains(&scales) {
        return Err(Error::wrap(SimilarityError::Scales { scales }));
    }
    let scales = dissimilarities(images, reconstructions, scales)?;
    let enlarged = scales
        .iter()
        .enumerate()
        .map(|(scale, map)| enlarged(map, size, 1 << scale));
    let maps = enlarged.collect::<Result<Vec<_>>>()?;
    Tensor::stack(&maps, 0)?.mean(0)?.affine(-1.0, 1.0)?.squeeze(1)
}

/// `1 − GMS` at each pixel of each scale, `[B, 1, H, W]` and its halvings, finest first.
fn dissimilarities(images: &Tensor, reconstructions: &Tensor, scales: usize) -> Result<Vec<Tensor>> {
    let (mut x, mut y) = (grey(images)?, grey(reconstructions)?);
    let mut of_scales = Vec::with_capacity(scales);
    for scale in 0..scales {
        if scale > 0 {
            (x, y) = (halved(&x)?, halved(&y)?);
        }
        let (g, r) = (magnitude(&x)?, magnitude(&y)?);
        // In this form it is exactly 0 where the two are equal, and loses no digits where they nearly are.
        let similar = ((g.sqr()? + r.sqr()?)? + f64::from(C))?;
        of_scales.push(((g - r)?.sqr()? / similar)?);
    }
    Ok(of_scales)
}

/// Grey images `[B, 1, H, W]` of `[B, C, H, W]`, see [`riad_core::similarity::gray`].
pub(super) fn grey(images: &Tensor) -> Result<Tensor> {
    match images.dim(1)? {
        1 => Ok(images.clone()),
        3 => {
            let luma = Tensor::new(&[0.299f32, 0.587, 0.114], images.device())?.to_dtype(images.dtype())?;
            images.broadcast_mul(&luma.reshape((1, 3, 1, 1))?)?.sum_keepdim(1)
        }
        _ => images.mean_keepdim(1),
    }
}

/// Averages of 2×2 pixels; a last row or column without a partner, which candle's pooling drops, is averaged alone.
fn halved(grey: &Tensor) -> Result<Tensor> {
    let (_, _, height, width) = grey.dims4()?;
    grey.pad_with_same(2, 0, height % 2)?
        .pad_with_same(3, 0, width % 2)?
        .avg_pool2d(2)
}

/// The gradient's magnitude by Prewitt's kernels divided by 3. Beyond the border the image continues with its edge values.
fn magnitude(grey: &Tensor) -> Result<Tensor> {
    let (_, _, height, width) = grey.dims4()?;
    let across = filtered(grey, &sum_of_three(height), &difference(width))?;
    let down = filtered(grey, &difference(height), &sum_of_three(width))?;
    // Under the root, whose gradient is infinite on flat regions.
    (((across.sqr()? + down.sqr()?)? / 9.0)? + f64::from(EPSILON))?.sqrt()
}

fn sum_of_three(size: usize) -> Filter {
    Filter::new(size, size, |at| {
        [(at.saturating_sub(1), 1.0), (at, 1.0), ((at + 1).min(size - 1), 1.0)]
    })
}

fn difference(size: usize) -> Filter {
    Filter::new(size, size, |at| {
        [((at + 1).min(size - 1), 1.0), (at.saturating_sub(1), -1.0)]
    })
}

/// A coarser scale's map `[B, 1, H, W]` enlarged by `factor`, which is that of its halvings, and cut off at `size`.
fn enlarged(map: &Tensor, size: Size, factor: usize) -> Result<Tensor> {
    if factor == 1 {
        return Ok(map.clone());
    }
    let (_, _, height, width) = map.dims4()?;
    filtered(
        map,
        &enlargement(height, size.height, factor),
        &enlargement(width, size.width, factor),
    )
}

/// An axis enlarged by `factor`, interpolated between the centres of its values, so that every value lands on the pixels that it was
/// averaged from.
fn enlargement(coarse: usize, size: usize, factor: usize) -> Filter {
    Filter::new(coarse, size, |at| {
        // Beyond the outermost centres the value is constant.
        let centre = ((at as f64 + 0.5) / factor as f64 - 0.5).clamp(0.0, (coarse - 1) as f64);
        let (before, share) = (centre as usize, centre.fract());
        [(before, 1.0 - share), ((before + 1).min(coarse - 1), share)]
    })
}
