//! Masked copies of images on the way into the network, and reconstructions on the way out.

use candle_core::{DType, Device, Result, Tensor, bail};
use riad_core::{Masks, Size, mirrored};

use crate::{method::Normalisation, network::padded_size};

/// The hidden pixels of the n masked copies of each image: `[n, B, 1, H, W]`. A value is 1 if the pixel is hidden in
/// the copy, and 0 if it is visible.
///
/// `masks` has one item for each of the B images. A single item is enough for any number of images, and gives `[n, 1,
/// 1, H, W]`.
///
/// # Errors
/// If there is no mask, or they differ in size or in the number of sets.
pub fn hidden_pixels(masks: &[Masks], device: &Device) -> Result<Tensor> {
    let Some(first) = masks.first() else {
        bail!("there is no mask to hide regions with");
    };
    let (size, sets) = (first.size(), first.sets());
    if masks.iter().any(|masks| (masks.size(), masks.sets()) != (size, sets)) {
        bail!("all masks of a batch must have the same size and the same number of sets");
    }
    let pixels = (0..size.height).flat_map(|y| (0..size.width).map(move |x| (y, x)));
    let of_one = |masks: &Masks| {
        pixels
            .clone()
            .filter_map(|(y, x)| masks.set_of(y, x))
            .collect::<Vec<_>>()
    };
    // There are at most 255 sets.
    let sets_of_pixels = masks.iter().flat_map(of_one).map(|set| set as u8).collect();
    hidden_in(sets_of_pixels, sets, masks.len(), size, device)
}

/// [`hidden_pixels`] of the set in which each pixel is hidden, `[B, H, W]`.
pub(crate) fn hidden_in(
    sets_of_pixels: Vec<u8>,
    sets: usize,
    images: usize,
    size: Size,
    device: &Device,
) -> Result<Tensor> {
    // A byte for each pixel goes to the device, not a value for each copy.
    let sets_of_pixels = Tensor::from_vec(sets_of_pixels, (1, images, 1, size.height, size.width), device)?;
    let sets = Tensor::from_vec((0..=u8::MAX).take(sets).collect(), (sets, 1, 1, 1, 1), device)?;
    sets_of_pixels.broadcast_eq(&sets)?.to_dtype(DType::F32)
}

/// The n masked copies of each image, set by set: `[n·B, C, H, W]` of normalised images `[B, C, H, W]`. Copy `s·B + b` is image b
/// with set s hidden, which is 0 in the network's range.
///
/// `hidden` is that of [`hidden_pixels`].
///
/// # Errors
/// If images and masks differ in size or number.
pub fn hide(images: &Tensor, hidden: &Tensor) -> Result<Tensor> {
    let (count, _, height, width) = images.dims4()?;
    let (_, of, _, mask_height, mask_width) = hidden.dims5()?;
    // Broadcasting would take a batch of one, or a row of one pixel, for any number.
    if (height, width) != (mask_height, mask_width) || (of != count && of != 1) {
        bail!(
            "{count} images of {height}x{width} (height x width) do not fit masks for {of} of {mask_height}x{mask_width}"
        );
    }
    let seen = hidden.to_dtype(images.dtype())?.affine(-1.0, 1.0)?;
    images.unsqueeze(0)?.broadcast_mul(&seen)?.flatten(0, 1)
}

/// Reconstructions `[B, C, H, W]` from the network's outputs `[n·B, C, H′, W′]` for the copies of [`hide`]. Each pixel
/// comes from the copy in which it was hidden. Pixels beyond the masks' size, see [`continued`], are dropped.
///
/// # Errors
/// If outputs and masks differ in size or number.
pub fn compose(outputs: &Tensor, hidden: &Tensor) -> Result<Tensor> {
    let (sets, of, _, height, width) = hidden.dims5()?;
    let outputs = outputs.narrow(2, 0, height)?.narrow(3, 0, width)?;
    let (copies, channels, height, width) = outputs.dims4()?;
    let is_whole = sets > 0 && copies.is_multiple_of(sets);
    if !is_whole || (of != copies / sets && of != 1) {
        bail!("{copies} copies are not those of {sets} sets of masks for {of} images");
    }
    let outputs = outputs.reshape((sets, copies / sets, channels, height, width))?;
    outputs.broadcast_mul(&hidden.to_dtype(outputs.dtype())?)?.sum(0)
}

/// Images `[B, C, H, W]` continued by their mirror image to the right and below, to the sides that the network takes: the next
/// multiples of 16. The rest is cut off by [`compose`], or by `narrow`.
///
/// # Errors
/// If the device fails.
pub fn continued(images: &Tensor) -> Result<Tensor> {
    let (_, _, height, width) = images.dims4()?;
    let (size, padded) = (Size::new(height, width), padded_size(Size::new(height, width)));
    if size == padded {
        return Ok(images.clone());
    }
    let places = |padded: usize, size: usize| {
        let places: Vec<u32> = (0..padded).map(|place| mirrored(place as isize, size) as u32).collect();
        Tensor::from_vec(places, padded, images.device())
    };
    let rows = places(padded.height, height)?;
    let columns = places(padded.width, width)?;
    images.index_select(&rows, 2)?.index_select(&columns, 3)
}

/// Brings images in [0, 1] to the network's range.
///
/// # Errors
/// If the device fails.
pub fn normalised(images: &Tensor, Normalisation { mean, deviation }: Normalisation) -> Result<Tensor> {
    // In two steps, each rounded as on the CPU.
    images
        .affine(1.0, f64::from(-mean))?
        .affine(f64::from(1.0 / deviation), 0.0)
}

/// Brings images from the network's range back to [0, 1].
///
/// # Errors
/// If the device fails.
pub fn denormalised(images: &Tensor, Normalisation { mean, deviation }: Normalisation) -> Result<Tensor> {
    images.affine(f64::from(deviation), f64::from(mean))
}
