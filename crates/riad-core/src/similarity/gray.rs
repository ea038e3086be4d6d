//! Colour to gray, and the way back for gradients.

use super::Shape;

/// One gray plane per image: `images * height * width` values.
///
/// Three channels are taken for R, G, B and weighted by Rec. 601 luma, the gray of Pillow, OpenCV and torchvision, on
/// which the published results of gradient-magnitude similarity rest. One channel is passed through; any other number
/// has no agreed meaning and is averaged. All weights sum to 1, so that gray stays in [0, 1] and the similarity's
/// constants keep their meaning.
///
/// # Panics
/// If `images` has another length than `shape` says.
pub fn gray(images: &[f32], shape: Shape) -> Vec<f32> {
    assert_eq!(
        images.len(),
        shape.batch_len(),
        "the images must have the values of {shape:?}"
    );
    images
        .chunks_exact(shape.image_len().max(1))
        .flat_map(|image| gray_image(image, shape.channels))
        .collect()
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

/// Adds to an image's gradient what the gradient of its gray plane stands for.
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
