//! Planes of images, halved scale after scale.
#![allow(unsafe_code)] // Launches kernels.

use super::{
    arguments::{Grey, Halve, SCALES},
    launch::one_thread_each,
};
use crate::{
    CudaError,
    device::{Buffer, Gpu, Span},
    lengths::{count, product, sides},
};

/// Height and width of planes, in pixels.
pub(super) type Size = (usize, usize);

pub(super) fn halved((height, width): Size) -> Size {
    (height.div_ceil(2), width.div_ceil(2))
}

/// Sizes of the scales, finest first.
pub(super) fn sizes(finest: Size) -> [Size; SCALES] {
    let mut next = finest;
    std::array::from_fn(|_| {
        let size = next;
        next = halved(size);
        size
    })
}

/// Values of one plane of a size.
pub(super) fn pixels((height, width): Size) -> usize {
    product(&[height, width])
}

/// Planes in f32 and their halves, scale after scale in one buffer.
pub(super) struct Pyramid {
    buffer: Buffer,
    planes: usize,
    size: Size,
}

impl Pyramid {
    /// Memory for `planes` planes of a size, which kernels must be able to number.
    pub(super) fn new(gpu: &Gpu, planes: usize, size: Size) -> Result<Self, CudaError> {
        sides("a plane", size)?;
        count("planes", product(&[planes, pixels(size)]))?;
        let of_a_plane: usize = sizes(size).into_iter().map(pixels).sum();
        Ok(Self {
            buffer: gpu.buffer(product(&[planes, of_a_plane, size_of::<f32>()]))?,
            planes,
            size,
        })
    }

    /// The planes of one scale, of which `planes` are in use.
    pub(super) fn scale(&self, scale: usize, planes: usize) -> Result<Span<'_>, CudaError> {
        let sizes = sizes(self.size).map(pixels);
        let before: usize = sizes.iter().take(scale).map(|pixels| self.planes * pixels).sum();
        let of_a_plane = sizes.get(scale).copied().unwrap_or(usize::MAX);
        self.buffer.part::<f32>(before, product(&[planes, of_a_plane]))
    }

    /// Takes the grey of `images` images `[B, C, H, W]` for the finest scale: Rec. 601's luma of three channels, the mean of
    /// any other number.
    pub(super) fn take_grey(&self, gpu: &Gpu, from: Span<'_>, [images, channels]: [usize; 2]) -> Result<(), CudaError> {
        let pixels = pixels(self.size);
        let arguments = Grey {
            images: from.of::<f32>("images", product(&[images, channels, pixels]))?,
            grey: self.scale(0, images)?.pointer(),
            images_count: count("images", images)?,
            channels: count("channels", channels)?,
            pixels: count("pixels", pixels)?,
        };
        let grid = one_thread_each("grey planes", product(&[images, pixels]))?;
        // SAFETY: lengths were checked above.
        unsafe { gpu.launch("grey", grid, &arguments) }
    }

    /// Makes the coarser scales, from the finest one of this pyramid, or from `finest` instead of it.
    pub(super) fn halve(&self, gpu: &Gpu, finest: Option<Span<'_>>, planes: usize) -> Result<(), CudaError> {
        for (scale, size) in sizes(self.size).into_iter().take(SCALES - 1).enumerate() {
            let fine = match finest {
                Some(finest) if scale == 0 => finest,
                _ => self.scale(scale, planes)?,
            };
            let halved = product(&[planes, pixels(halved(size))]);
            let [height, width] = sides("a plane", size)?;
            let arguments = Halve {
                fine: fine.of::<f32>("planes", product(&[planes, pixels(size)]))?,
                coarse: self.scale(scale + 1, planes)?.pointer(),
                planes: count("planes", planes)?,
                height,
                width,
            };
            // SAFETY: lengths were checked above.
            unsafe { gpu.launch("halve", one_thread_each("halved planes", halved)?, &arguments) }?;
        }
        Ok(())
    }
}
