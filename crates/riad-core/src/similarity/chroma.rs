//! Differences in colour that do not depend on the brightness.

use super::{Shape, SimilarityError};
use crate::Map;

/// The difference in colour between an image and its reconstruction at each pixel: the variance over the channels of
/// their difference. If a reconstruction is darker or brighter by the same amount in every channel, the difference is
/// 0.
///
/// It shows changes that have no edge. GMS does not show these. For three channels in [0, 1] it is at most 8/9. One
/// channel has no colour, so the difference is 0.
///
/// # Errors
/// Slices of another length than `shape` says, or a `shape` that is not of one image.
pub fn map(target: &[f32], recon: &[f32], shape: Shape) -> Result<Map, SimilarityError> {
    shape.check(target, recon, None)?;
    if shape.images != 1 {
        return Err(SimilarityError::OneImage { images: shape.images });
    }
    let (pixels, share) = (shape.plane_len(), 1.0 / shape.channels as f32);
    let (mut mean, mut squares) = (vec![0.0f32; pixels], Map::filled(shape.size, 0.0f32));
    for (target, recon) in target.chunks_exact(pixels).zip(recon.chunks_exact(pixels)) {
        let sums = mean.iter_mut().zip(squares.values_mut());
        for ((mean, square), (target, recon)) in sums.zip(target.iter().zip(recon)) {
            let difference = recon - target;
            *mean += share * difference;
            *square += share * difference * difference;
        }
    }
    for (square, mean) in squares.values_mut().iter_mut().zip(mean) {
        let variance = *square - mean * mean;
        // NaN stays NaN.
        *square = if variance < 0.0 { 0.0 } else { variance };
    }
    Ok(squares)
}
