//! Planes of images, halved scale after scale.
#![allow(unsafe_code)] // Launches kernels.

use crate::{
    CudaError,
    gpu::{Buffer, Gpu, Span, one_thread_each},
};

/// Scales of gradient magnitude similarity, each half the size of the one before.
pub(crate) const SCALES: usize = 4;

/// Height and width of planes.
pub(crate) type Size = (usize, usize);

pub(crate) fn halved((height, width): Size) -> Size {
    (height.div_ceil(2), width.div_ceil(2))
}

/// Sizes of the scales, finest first.
pub(crate) fn sizes(finest: Size) -> [Size; SCALES] {
    let mut next = finest;
    std::array::from_fn(|_| {
        let size = next;
        next = halved(size);
        size
    })
}

/// Values of one plane at all scales.
pub(crate) fn pyramid_len(finest: Size) -> usize {
    sizes(finest).iter().map(|(height, width)| height * width).sum()
}

/// Planes in f32 and their halves, scale after scale in one buffer.
pub(crate) struct Pyramid {
    buffer: Buffer,
    planes: usize,
    size: Size,
}

#[repr(C)]
struct Grey {
    images: u64,
    grey: u64,
    images_count: u32,
    pixels: u32,
}

#[repr(C)]
struct Halve {
    fine: u64,
    coarse: u64,
    planes: i32,
    height: i32,
    width: i32,
}

impl Pyramid {
    pub(crate) fn new(gpu: &Gpu, planes: usize, size: Size) -> Result<Self, CudaError> {
        Ok(Self {
            buffer: gpu.buffer(planes * pyramid_len(size) * size_of::<f32>())?,
            planes,
            size,
        })
    }

    /// The planes of one scale, of which `planes` are in use.
    pub(crate) fn scale(&self, scale: usize, planes: usize) -> Span<'_> {
        let before: usize = sizes(self.size)
            .iter()
            .take(scale)
            .map(|(h, w)| self.planes * h * w)
            .sum();
        let (height, width) = sizes(self.size)[scale];
        self.buffer.part::<f32>(before, planes * height * width)
    }

    /// Takes the luma of images `[B, 3, H, W]` for the finest scale.
    pub(crate) fn take_grey(&self, gpu: &Gpu, images: Span<'_>, count: usize) -> Result<(), CudaError> {
        let pixels = self.size.0 * self.size.1;
        let arguments = Grey {
            images: images.of::<f32>("images", count * 3 * pixels)?,
            grey: self.scale(0, count).of::<f32>("grey planes", count * pixels)?,
            images_count: count as u32,
            pixels: pixels as u32,
        };
        // SAFETY: lengths were checked above; the struct is that of loss.cuh.
        unsafe { gpu.launch("grey", one_thread_each(count * pixels), &arguments) }
    }

    /// Makes the coarser scales, from the finest one of this pyramid, or from `finest` instead of it.
    pub(crate) fn halve(&self, gpu: &Gpu, finest: Option<Span<'_>>, planes: usize) -> Result<(), CudaError> {
        for (scale, (height, width)) in sizes(self.size).into_iter().take(SCALES - 1).enumerate() {
            let fine = match finest {
                Some(finest) if scale == 0 => finest,
                _ => self.scale(scale, planes),
            };
            let coarse = self.scale(scale + 1, planes);
            let (coarse_height, coarse_width) = halved((height, width));
            let count = planes * coarse_height * coarse_width;
            let arguments = Halve {
                fine: fine.of::<f32>("planes", planes * height * width)?,
                coarse: coarse.of::<f32>("halved planes", count)?,
                planes: planes as i32,
                height: height as i32,
                width: width as i32,
            };
            // SAFETY: lengths were checked above; the struct is that of loss.cuh.
            unsafe { gpu.launch("halve", one_thread_each(count), &arguments) }?;
        }
        Ok(())
    }
}
