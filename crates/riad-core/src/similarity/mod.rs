//! The similarity of an image and its reconstruction: as a loss with its gradient, and as a map over the pixels.
//!
//! Images are contiguous planar batches (images x channels x height x width) of values in [0, 1]. The constants of GMS
//! and SSIM are made for this range. Every loss is a mean, so it does not depend on the batch or image size. The losses
//! take a `weight`. For a gradient they also take a buffer of the images' shape, and *add* `weight * d loss / d
//! reconstruction` to it. So several losses can share one buffer. If the weight is 0, no gradient is computed, and nothing
//! is added. The returned value is not weighted, and is the same with and without a gradient but for rounding.
//!
//! Rayon's threads each work on an image or a plane, and sums are added in a fixed order. So results do not depend on
//! the number of threads.
//!
//! Images can have any number of channels: three for red, green and blue, or one for each light or band.

mod absolute;
mod gray;
mod pyramid;

pub mod chroma;
pub mod gms;
pub mod ssim;

pub use absolute::{l1_loss, l2_loss};
pub use gray::gray;

use rayon::prelude::*;
use thiserror::Error;

use crate::{LengthError, Size};

/// The sizes of a contiguous planar batch of images. To compare images, no size may be zero.
///
/// A length that exceeds a `usize` is `usize::MAX`, a length that no slice has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Number of images.
    pub images: usize,
    /// Number of channels of each image.
    pub channels: usize,
    /// Height and width of each image.
    pub size: Size,
}

impl Shape {
    /// Number of values in one channel of one image.
    pub fn plane_len(&self) -> usize {
        self.size.pixels()
    }

    /// Number of values in one image.
    pub fn image_len(&self) -> usize {
        self.channels.saturating_mul(self.plane_len())
    }

    /// Number of values in the batch.
    pub fn batch_len(&self) -> usize {
        self.images.saturating_mul(self.image_len())
    }

    fn check_empty(&self) -> Result<(), SimilarityError> {
        if self.batch_len() == 0 {
            return Err(SimilarityError::Empty { shape: *self });
        }
        Ok(())
    }

    fn check(&self, target: &[f32], recon: &[f32], grad: Option<&[f32]>) -> Result<(), SimilarityError> {
        self.check_empty()?;
        let expected = self.batch_len();
        LengthError::check("the target", target.len(), expected)?;
        LengthError::check("the reconstruction", recon.len(), expected)?;
        if let Some(grad) = grad {
            LengthError::check("the gradient", grad.len(), expected)?;
        }
        Ok(())
    }
}

/// Why two images cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SimilarityError {
    /// A slice has another number of values than its shape.
    #[error(transparent)]
    Length(#[from] LengthError),
    /// There is nothing to compare.
    #[error(
        "{} images of {} channels and {} pixels (height x width) have no values to compare",
        shape.images,
        shape.channels,
        shape.size
    )]
    Empty {
        /// The shape that was asked for.
        shape: Shape,
    },
    /// The target and the reconstruction are not of one size.
    #[error(
        "the target has {target} pixels, and the reconstruction has {recon} (height x width); they must have the \
        same size"
    )]
    Sizes {
        /// Size of the target.
        target: Size,
        /// Size of the reconstruction.
        recon: Size,
    },
    /// A map needs exactly one image.
    #[error("a map compares one image with its reconstruction, not {images}; take them one by one")]
    OneImage {
        /// Number of images that there are.
        images: usize,
    },
    /// The number of scales is out of range.
    #[error("gradient magnitudes are compared at 1 to {max} scales, not {scales}", max = gms::SCALES)]
    Scales {
        /// Number of scales that was asked for.
        scales: usize,
    },
    /// The images are smaller than SSIM's window.
    #[error(
        "SSIM needs {window}x{window} pixels, and the image has {size} (height x width); use larger images, or leave \
         SSIM out"
    )]
    TooSmall {
        /// Size of the images.
        size: Size,
        /// Side of the window in pixels.
        window: usize,
    },
}

/// Runs `part` over chunks of the slices in parallel, and sums what it returns in the order of the chunks.
fn sum_chunks(
    len: usize,
    target: &[f32],
    recon: &[f32],
    grad: Option<&mut [f32]>,
    part: impl Fn(&[f32], &[f32], Option<&mut [f32]>) -> f64 + Sync,
) -> f64 {
    let pairs = target.par_chunks_exact(len).zip(recon.par_chunks_exact(len));
    let parts: Vec<f64> = match grad {
        None => pairs.map(|(target, recon)| part(target, recon, None)).collect(),
        Some(grad) => pairs
            .zip(grad.par_chunks_exact_mut(len))
            .map(|((target, recon), grad)| part(target, recon, Some(grad)))
            .collect(),
    };
    parts.iter().sum()
}

/// Sum of `term` over two slices of equal length, in independent lanes. With a single running sum the compiler could
/// not vectorise, and a sum in f32 would lose digits.
fn sum_pairs(left: &[f32], right: &[f32], term: impl Fn(f32, f32) -> f32) -> f64 {
    let (left_blocks, left_rest) = left.as_chunks::<8>();
    let (right_blocks, right_rest) = right.as_chunks::<8>();
    let mut lanes = [0.0f64; 8];
    for (left, right) in left_blocks.iter().zip(right_blocks) {
        for ((lane, &left), &right) in lanes.iter_mut().zip(left).zip(right) {
            *lane += f64::from(term(left, right));
        }
    }
    for ((lane, &left), &right) in lanes.iter_mut().zip(left_rest).zip(right_rest) {
        *lane += f64::from(term(left, right));
    }
    lanes.iter().sum()
}
