//! Differences of each pixel.

use super::{Shape, SimilarityError, sum_chunks, sum_pairs};

/// Mean squared error over all values of the batch, and `weight` times its gradient added to `grad`.
///
/// # Errors
/// A slice whose length is not that of `shape`, or an empty `shape`.
pub fn l2_loss(
    target: &[f32],
    recon: &[f32],
    shape: Shape,
    weight: f32,
    grad: Option<&mut [f32]>,
) -> Result<f64, SimilarityError> {
    mean(
        target,
        recon,
        shape,
        weight,
        grad,
        |error| error * error,
        |error| 2.0 * error,
    )
}

/// Mean absolute error over all values of the batch, and `weight` times its gradient added to `grad`.
///
/// If target and reconstruction are equal, the gradient is 0.
///
/// # Errors
/// A slice whose length is not that of `shape`, or an empty `shape`.
pub fn l1_loss(
    target: &[f32],
    recon: &[f32],
    shape: Shape,
    weight: f32,
    grad: Option<&mut [f32]>,
) -> Result<f64, SimilarityError> {
    let slope = |error: f32| if error == 0.0 { 0.0 } else { error.signum() };
    mean(target, recon, shape, weight, grad, f32::abs, slope)
}

/// Mean of `term(reconstruction - target)`, whose derivative is `slope`.
fn mean(
    target: &[f32],
    recon: &[f32],
    shape: Shape,
    weight: f32,
    grad: Option<&mut [f32]>,
    term: impl Fn(f32) -> f32 + Sync,
    slope: impl Fn(f32) -> f32 + Sync,
) -> Result<f64, SimilarityError> {
    shape.check(target, recon, grad.as_deref())?;
    let count = shape.batch_len() as f64;
    let scale = (f64::from(weight) / count) as f32;
    let grad = grad.filter(|_| weight != 0.0);
    let sum = sum_chunks(shape.plane_len(), target, recon, grad, |target, recon, grad| {
        if let Some(grad) = grad {
            for ((grad, &target), &recon) in grad.iter_mut().zip(target).zip(recon) {
                *grad += scale * slope(recon - target);
            }
        }
        sum_pairs(target, recon, |target, recon| term(recon - target))
    });
    Ok(sum / count)
}
