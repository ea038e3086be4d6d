//! Colour to gray, and the way back for gradients.

use super::{Shape, SimilarityError};
use crate::LengthError;

/// One gray plane for each image, one after the other: `images * height * width` values.
///
/// Three channels are R, G and B. They are weighted by Rec. 601 luma, like the gray of Pillow, OpenCV and torchvision.
/// The published results of gradient magnitude similarity use this gray. Any other number of channels is averaged,
/// because lights or bands have no common gray. One channel stays unchanged. The weights sum to 1, so gray stays in [0,
/// 1] and the similarity's constants keep their meaning.
///
/// # Errors
/// Images of another length than `shape` says, or an empty `shape`.
pub fn gray(images: &[f32], shape: Shape) -> Result<Vec<f32>, SimilarityError> {
    shape.check_empty()?;
    LengthError::check("the batch of images", images.len(), shape.batch_len())?;
    let planes = images.chunks_exact(shape.image_len());
    Ok(planes.flat_map(|image| gray_image(image, shape.channels)).collect())
}

/// The gray plane of one image.
pub(super) fn gray_image(image: &[f32], channels: usize) -> Vec<f32> {
    let mut planes = image.chunks_exact(image.len() / channels).enumerate();
    let mut gray: Vec<f32> = planes
        .next()
        .map(|(channel, plane)| {
            plane
                .iter()
                .map(|&value| value * channel_weight(channel, channels))
                .collect()
        })
        .unwrap_or_default();
    for (channel, plane) in planes {
        let weight = channel_weight(channel, channels);
        for (gray, &value) in gray.iter_mut().zip(plane) {
            *gray += weight * value;
        }
    }
    gray
}

/// Adds the gradient that follows from the gradient of the gray plane to an image's gradient.
pub(super) fn add_gray_gradient(gray: &[f32], channels: usize, image: &mut [f32]) {
    for (channel, plane) in image.chunks_exact_mut(gray.len()).enumerate() {
        let weight = channel_weight(channel, channels);
        for (grad, &gray) in plane.iter_mut().zip(gray) {
            *grad += weight * gray;
        }
    }
}

fn channel_weight(channel: usize, channels: usize) -> f32 {
    match channels {
        3 => [0.299, 0.587, 0.114][channel],
        _ => 1.0 / channels as f32,
    }
}
