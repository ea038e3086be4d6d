//! Masked copies of images on the way into the network, and reconstructions on the way out.
#![allow(unsafe_code)] // Launches kernels.

use crate::{
    CudaError,
    gpu::{Gpu, Pixels, Span, kernel, one_thread_each},
};

/// Channels of an image.
pub(crate) const CHANNELS: usize = 3;
/// Channels of the network's input and output: those of an image, and what pads them.
pub const PIXEL: usize = 8;

/// Shapes of a batch of images and of its masked copies, which riad-model's masking explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copies {
    /// Images in the batch, each with masks of its own.
    pub images: usize,
    /// The first of these, after which they repeat, with other masks.
    pub sources: usize,
    /// Copies of each.
    pub copies: usize,
    /// Height and width of the images.
    pub size: (usize, usize),
    /// Height and width of the copies, which are continued by their mirror image.
    pub padded: (usize, usize),
    /// Whether each pixel is hidden in one copy.
    pub hides: bool,
}

impl Copies {
    /// Bytes of the images in f32.
    pub fn images_bytes(&self) -> usize {
        self.image_values() * size_of::<f32>()
    }

    fn source_values(&self) -> usize {
        self.sources * CHANNELS * self.size.0 * self.size.1
    }

    /// Values of the images' reconstructions.
    pub fn image_values(&self) -> usize {
        self.images * CHANNELS * self.size.0 * self.size.1
    }

    fn image_pixels(&self) -> usize {
        self.images * self.size.0 * self.size.1
    }

    /// Pixels of the copies.
    pub fn pixels(&self) -> usize {
        self.images * self.copies * self.padded.0 * self.padded.1
    }

    fn sets(&self, sets: Span<'_>) -> Result<u64, CudaError> {
        if self.hides {
            sets.of::<u8>("the sets of pixels", self.image_pixels())
        } else {
            Ok(0)
        }
    }

    fn for_kernels(&self, [mean, deviation]: [f32; 2]) -> Shape {
        Shape {
            sources: self.sources.max(1) as i32,
            images: self.images as i32,
            copies: self.copies as i32,
            height: self.size.0 as i32,
            width: self.size.1 as i32,
            padded_height: self.padded.0 as i32,
            padded_width: self.padded.1 as i32,
            mean,
            deviation,
        }
    }

    fn padded_pixels(&self, what: &'static str, pixels: Pixels<'_>) -> Result<u64, CudaError> {
        if pixels.count < self.pixels() || (pixels.channels, pixels.pixel) != (PIXEL, PIXEL) {
            return Err(CudaError::Length {
                what,
                expected: self.pixels() * PIXEL * pixels.precision.bytes(),
                found: pixels.count * pixels.channels * pixels.precision.bytes(),
            });
        }
        Ok(pixels.pointer())
    }
}

/// [`Copies`] and the normalisation, as the kernels take them.
#[repr(C)]
struct Shape {
    sources: i32,
    images: i32,
    copies: i32,
    height: i32,
    width: i32,
    padded_height: i32,
    padded_width: i32,
    mean: f32,
    deviation: f32,
}

#[repr(C)]
struct Hide {
    images: u64,
    sets: u64,
    copies: u64,
    shape: Shape,
}

#[repr(C)]
struct Compose {
    outputs: u64,
    bias: u64,
    sets: u64,
    reconstructions: u64,
    shape: Shape,
}

#[repr(C)]
struct Spread {
    gradient: u64,
    reconstructions: u64,
    sets: u64,
    outputs: u64,
    shape: Shape,
}

impl Gpu {
    /// The masked copies of the source images `[S, 3, H, W]` in f32, normalised. `sets` says in which copy each pixel is
    /// hidden, `[B, H, W]`.
    ///
    /// # Errors
    /// If shapes do not match, or the device fails.
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
            copies: shape.padded_pixels("masked copies", copies)?,
            shape: shape.for_kernels(normalisation),
        };
        // SAFETY: lengths were checked above; the struct is that of images.cuh.
        unsafe {
            self.launch(
                kernel!("hide", copies.precision),
                one_thread_each(shape.pixels()),
                &arguments,
            )
        }
    }

    /// Reconstructions `[B, 3, H, W]` in f32 from the last convolution's output, to which its bias and tanh are applied:
    /// every pixel from the copy in which it was hidden, or from the only one.
    ///
    /// # Errors
    /// If shapes do not match, or the device fails.
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
            outputs: shape.padded_pixels("the network's output", outputs)?,
            bias: bias.of::<f32>("the last bias", PIXEL)?,
            sets: shape.sets(sets)?,
            reconstructions: reconstructions.of::<f32>("reconstructions", shape.image_values())?,
            shape: shape.for_kernels(normalisation),
        };
        let grid = one_thread_each(shape.image_pixels());
        // SAFETY: lengths were checked above; the struct is that of images.cuh.
        unsafe { self.launch(kernel!("compose", outputs.precision), grid, &arguments) }
    }

    /// The transpose of [`Self::compose`]: the gradient to the last convolution's output, before bias and tanh, from that to
    /// the reconstructions.
    ///
    /// # Errors
    /// If shapes do not match, or the device fails.
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
            gradient: gradient.of::<f32>("a gradient", shape.image_values())?,
            reconstructions: reconstructions.of::<f32>("reconstructions", shape.image_values())?,
            sets: shape.sets(sets)?,
            outputs: shape.padded_pixels("the network's output", outputs)?,
            shape: shape.for_kernels(normalisation),
        };
        let grid = one_thread_each(shape.pixels());
        // SAFETY: lengths were checked above; the struct is that of images.cuh.
        unsafe { self.launch(kernel!("spread", outputs.precision), grid, &arguments) }
    }
}
