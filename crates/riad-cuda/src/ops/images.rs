//! Masked copies of images on the way into the network, and reconstructions on the way out.
#![allow(unsafe_code)] // Launches kernels.

use super::{
    arguments::{Compose, Hide, Shape, Spread},
    launch::{kernel, one_thread_each},
};
use crate::{
    CudaError,
    device::{Gpu, Pixels, Span},
    lengths::{count, product, sides},
};

/// Values of a pixel with so many channels, on the device: the next multiple of 8. Those beyond the channels are zero.
pub fn padded_channels(channels: usize) -> usize {
    channels.checked_next_multiple_of(8).unwrap_or(usize::MAX)
}

/// Shapes of a batch of images and of its masked copies, which riad-model's masking explains. Numbers that follow from them
/// are `usize::MAX` where they would be larger, which no buffer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copies {
    /// Images in the batch, each with masks of its own.
    pub images: usize,
    /// The first of these, after which they repeat, with other masks.
    pub sources: usize,
    /// Copies of each.
    pub copies: usize,
    /// Channels of the images that go into the network.
    pub inputs: usize,
    /// Channels of the reconstructions that come out of it.
    pub outputs: usize,
    /// Height and width of the images, in pixels.
    pub size: (usize, usize),
    /// Height and width of the copies, in pixels, at least those of the images, which their mirror image continues.
    pub padded: (usize, usize),
    /// Whether each pixel is hidden in one copy.
    pub hides: bool,
}

impl Copies {
    /// Values of the source images `[S, inputs, H, W]`.
    pub fn source_values(&self) -> usize {
        product(&[self.sources, self.inputs, self.size.0, self.size.1])
    }

    /// Values of the reconstructions `[B, outputs, H, W]`.
    pub fn reconstruction_values(&self) -> usize {
        product(&[self.outputs, self.image_pixels()])
    }

    /// Pixels of the images, `[B, H, W]`.
    pub fn image_pixels(&self) -> usize {
        product(&[self.images, self.size.0, self.size.1])
    }

    /// Pixels of all copies of the batch.
    pub fn pixels(&self) -> usize {
        product(&[self.images, self.copies, self.padded.0, self.padded.1])
    }

    /// Values of a pixel of the network's input.
    pub fn input_pixel(&self) -> usize {
        padded_channels(self.inputs)
    }

    /// Values of a pixel of the network's output.
    pub fn output_pixel(&self) -> usize {
        padded_channels(self.outputs)
    }

    fn sets(&self, sets: Span<'_>) -> Result<u64, CudaError> {
        if self.hides {
            sets.of::<u8>("the sets of pixels", self.image_pixels())
        } else {
            Ok(0)
        }
    }

    /// The shape for a kernel that handles so many channels, if it can number all that there is.
    fn for_kernels(&self, channels: usize, [mean, deviation]: [f32; 2]) -> Result<Shape, CudaError> {
        let what = "a batch of masked copies";
        let unsupported = |reason: &str| {
            Err(CudaError::Unsupported {
                what,
                reason: format!("{reason}: {self:?}"),
            })
        };
        let [height, width] = sides(what, self.size)?;
        let [padded_height, padded_width] = sides(what, self.padded)?;
        if padded_height < height || padded_width < width {
            return unsupported("copies are not smaller than their images");
        }
        if self.hides && self.copies > usize::from(u8::MAX) + 1 {
            return unsupported("a byte says in which copy a pixel is hidden");
        }
        if !self.hides && self.copies != 1 {
            return unsupported("where nothing is hidden there is one copy");
        }
        count(what, self.image_pixels())?;
        count(what, self.pixels())?;
        Ok(Shape {
            sources: count("the source images", self.sources)?,
            images: count(what, self.images)?,
            copies: count(what, self.copies)?,
            channels: count("channels of an image", channels)?,
            height,
            width,
            padded_height,
            padded_width,
            mean,
            deviation,
        })
    }

    fn padded_pixels(&self, what: &'static str, pixels: Pixels<'_>, pixel: usize) -> Result<u64, CudaError> {
        if pixels.count < self.pixels() || (pixels.channels, pixels.pixel) != (pixel, pixel) {
            return Err(CudaError::Length {
                what,
                expected: product(&[self.pixels(), pixel, pixels.precision.bytes()]),
                found: product(&[pixels.count, pixels.channels, pixels.precision.bytes()]),
            });
        }
        pixels.vectors(what)
    }
}

/// [`Copies`] and the normalisation, as the kernels take them.
impl Gpu {
    /// The masked copies of the source images `[S, inputs, H, W]` in f32 in [0, 1], normalised: a value is `mean` +
    /// `deviation` · that of the copies, whose pixels have [`Copies::input_pixel`] values. `sets` says in which copy each pixel
    /// is hidden, `[B, H, W]`; where nothing is hidden, it is not read.
    ///
    /// # Errors
    /// If shapes do not match or are too large, or the device fails.
    pub fn hide(
        &self,
        shape: &Copies,
        images: Span<'_>,
        sets: Span<'_>,
        normalisation: [f32; 2],
        copies: Pixels<'_>,
    ) -> Result<(), CudaError> {
        let arguments = Hide {
            images: images.of::<f32>("images", shape.source_values())?,
            sets: shape.sets(sets)?,
            copies: shape.padded_pixels("masked copies", copies, shape.input_pixel())?,
            shape: shape.for_kernels(shape.inputs, normalisation)?,
        };
        let grid = one_thread_each("masked copies", shape.pixels())?;
        // SAFETY: lengths were checked above.
        unsafe { self.launch(kernel!("hide", copies.precision), grid, &arguments) }
    }

    /// Reconstructions `[B, outputs, H, W]` in f32 from the last convolution's output, of whose pixels there are
    /// [`Copies::output_pixel`] values, as of its bias: tanh of their sum, and every pixel from the copy in which it was hidden,
    /// or from the only one. `sets` and `normalisation` are as in [`Self::hide`].
    ///
    /// # Errors
    /// If shapes do not match or are too large, or the device fails.
    pub fn compose(
        &self,
        shape: &Copies,
        outputs: Pixels<'_>,
        bias: Span<'_>,
        sets: Span<'_>,
        normalisation: [f32; 2],
        reconstructions: Span<'_>,
    ) -> Result<(), CudaError> {
        let arguments = Compose {
            outputs: shape.padded_pixels("the network's output", outputs, shape.output_pixel())?,
            bias: bias.of::<f32>("the last bias", shape.output_pixel())?,
            sets: shape.sets(sets)?,
            reconstructions: reconstructions.of::<f32>("reconstructions", shape.reconstruction_values())?,
            shape: shape.for_kernels(shape.outputs, normalisation)?,
        };
        let grid = one_thread_each("reconstructions", shape.image_pixels())?;
        // SAFETY: lengths were checked above.
        unsafe { self.launch(kernel!("compose", outputs.precision), grid, &arguments) }
    }

    /// The transpose of [`Self::compose`]: the gradient to the last convolution's output, before bias and tanh, from that to
    /// the reconstructions. It is zero where a pixel was not taken from.
    ///
    /// # Errors
    /// If shapes do not match or are too large, or the device fails.
    pub fn spread(
        &self,
        shape: &Copies,
        gradient: Span<'_>,
        reconstructions: Span<'_>,
        sets: Span<'_>,
        normalisation: [f32; 2],
        outputs: Pixels<'_>,
    ) -> Result<(), CudaError> {
        let arguments = Spread {
            gradient: gradient.of::<f32>("a gradient", shape.reconstruction_values())?,
            reconstructions: reconstructions.of::<f32>("reconstructions", shape.reconstruction_values())?,
            sets: shape.sets(sets)?,
            outputs: shape.padded_pixels("the network's output", outputs, shape.output_pixel())?,
            shape: shape.for_kernels(shape.outputs, normalisation)?,
        };
        let grid = one_thread_each("the network's output", shape.pixels())?;
        // SAFETY: lengths were checked above.
        unsafe { self.launch(kernel!("spread", outputs.precision), grid, &arguments) }
    }
}
