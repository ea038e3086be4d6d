//! Anomaly maps, with the values of [`riad_core::smooth`] and [`riad_core::similarity::gms::map`].

use candle_core::{Error, Result, Tensor};
use riad_core::{mirrored, smooth::SmoothError};

use super::{
    filter::{Filter, filtered},
    gms_map,
};

/// Anomaly maps of images and their reconstructions, both `[B, C, H, W]` in [0, 1]. A map `[B, H, W]` in [0, 1] is one
/// minus the smoothed [`gms_map`]. A larger value is more anomalous.
///
/// This is the map of RIAD's paper. Only [`Scorer`](crate::Scorer) has differences in colour and edges of each colour.
///
/// As published, an image of 256×256 has four `scales` and a mean filter of 21 pixels. Its score is the maximum of the
/// mean map over several region sizes.
///
/// # Errors
/// If the two differ in shape or have no values, `scales` is not within 1 to 4, or `window` is even.
pub fn anomaly_map(images: &Tensor, reconstructions: &Tensor, scales: usize, window: usize) -> Result<Tensor> {
    let similar = mean_filter(&gms_map(images, reconstructions, scales)?, window)?;
    similar.affine(-1.0, 1.0)?.clamp(0.0, 1.0)
}

/// The mean of the `window` × `window` pixels around each pixel of maps `[B, H, W]`. Beyond its border a map continues
/// as its mirror image, `d c b a | a b c d | d c b a`.
///
/// # Errors
/// If `window` is even.
pub fn mean_filter(maps: &Tensor, window: usize) -> Result<Tensor> {
    if window.is_multiple_of(2) {
        return Err(Error::wrap(SmoothError::EvenWindow { window }));
    }
    let (_, height, width) = maps.dims3()?;
    filtered(maps, &mean_of(height, window), &mean_of(width, window))
}

fn mean_of(size: usize, window: usize) -> Filter {
    let period = (2 * size).max(1);
    // Any `period` neighbours hold every position twice, so that a window is some of those and a rest.
    let (periods, rest) = (window / period, window % period);
    let start = period - window / 2 % period;
    Filter::new(size, size, |at| {
        let whole = (0..size).map(move |position| (position, 2.0 * periods as f64 / window as f64));
        let rest = (0..rest).map(move |offset| (mirrored((start + at + offset) as isize, size), 1.0 / window as f64));
        whole.chain(rest)
    })
}
