//! The inpainting loss, and its gradient to the reconstructions.
#![allow(unsafe_code)] // Launches kernels.

use crate::{
    CudaError,
    gpu::{Buffer, Gpu, Span, one_thread_each},
    planes::{Pyramid, SCALES, Size, sizes},
};

/// Side of the tiles that loss.cuh works on.
const TILE: usize = 16;
/// What SSIM's window reaches on each side.
const RADIUS: usize = 5;
/// Blocks of a kernel that sums over planes, at most.
const BLOCKS: usize = 256;

/// Weights of the loss's terms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// Of the mean squared error.
    pub l2: f32,
    /// Of the mean absolute error.
    pub l1: f32,
    /// Of 1 − SSIM.
    pub ssim: f32,
    /// Of the mean over four scales of 1 − GMS.
    pub msgms: f32,
}

/// Values that [`Gpu::loss`] leaves: l2, l1, ssim, msgms and their weighted sum, in f64.
pub const TERMS: usize = 5;

/// Memory that the loss of images of one size needs.
pub struct LossMemory {
    images: usize,
    size: Size,
    coefficients: Buffer,
    targets: Pyramid,
    found: Pyramid,
    slopes: Buffer,
    gradients: Pyramid,
    partial: Buffer,
    terms: Buffer,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Gaussian([f32; 2 * RADIUS + 1]);

#[repr(C)]
struct SsimSums {
    images: u64,
    reconstructions: u64,
    coefficients: u64,
    partial: u64,
    planes: i32,
    height: i32,
    width: i32,
    slope: f32,
    gaussian: Gaussian,
}

#[repr(C)]
struct PixelGradient {
    images: u64,
    reconstructions: u64,
    coefficients: u64,
    grey_gradient: u64,
    gradient: u64,
    partial: u64,
    planes: i32,
    height: i32,
    width: i32,
    squared: f32,
    absolute: f32,
    gaussian: Gaussian,
}

#[repr(C)]
struct GmsSums {
    images: u64,
    reconstructions: u64,
    slopes: u64,
    partial: u64,
    planes: i32,
    height: i32,
    width: i32,
    slope: f32,
}

#[repr(C)]
struct GmsGradient {
    slopes: u64,
    coarser: u64,
    gradient: u64,
    planes: i32,
    height: i32,
    width: i32,
}

#[repr(C)]
struct LossTerms {
    ssim: u64,
    gms: u64,
    pixels: u64,
    terms: u64,
    ssim_blocks: u32,
    gms_blocks: [u32; SCALES],
    pixel_blocks: u32,
    windows: f32,
    values: f32,
    gms_counts: [f32; SCALES],
    l2: f32,
    l1: f32,
    ssim_weight: f32,
    msgms: f32,
}

/// SSIM's window along one axis, σ = 1.5.
fn gaussian() -> Gaussian {
    let line: [f64; 2 * RADIUS + 1] = std::array::from_fn(|i| {
        let distance = i as f64 - RADIUS as f64;
        (-distance * distance / (2.0 * 1.5 * 1.5)).exp()
    });
    let sum: f64 = line.iter().sum();
    Gaussian(line.map(|weight| (weight / sum) as f32))
}

fn tiles((height, width): Size) -> usize {
    height.div_ceil(TILE) * width.div_ceil(TILE)
}

fn windows((height, width): Size) -> Size {
    (height - 2 * RADIUS, width - 2 * RADIUS)
}

fn gms_blocks(images: usize, (height, width): Size) -> usize {
    (images * height * width).div_ceil(256).min(BLOCKS)
}

impl LossMemory {
    /// Memory for batches of up to `images` images of this height and width, which are at least 11.
    ///
    /// # Errors
    /// If the images are too small, or there is not enough memory.
    pub fn new(gpu: &Gpu, images: usize, size: (usize, usize)) -> Result<Self, CudaError> {
        if size.0 <= 2 * RADIUS || size.1 <= 2 * RADIUS {
            return Err(CudaError::Failed {
                what: "the loss".into(),
                status: format!("images of {}x{} are smaller than SSIM's window", size.0, size.1),
            });
        }
        let planes = 3 * images;
        let (windows_y, windows_x) = windows(size);
        let pixels = images * size.0 * size.1;
        let partial = planes * tiles(windows(size)) + SCALES * BLOCKS + 2 * planes * tiles(size);
        Ok(Self {
            images,
            size,
            coefficients: gpu.buffer(3 * planes * windows_y * windows_x * size_of::<f32>())?,
            targets: Pyramid::new(gpu, images, size)?,
            found: Pyramid::new(gpu, images, size)?,
            slopes: gpu.buffer(2 * pixels * size_of::<f32>())?,
            gradients: Pyramid::new(gpu, images, size)?,
            partial: gpu.buffer(partial * size_of::<f32>())?,
            terms: gpu.buffer(TERMS * size_of::<f64>())?,
        })
    }

    /// [`TERMS`] numbers of the last [`Gpu::loss`].
    pub fn terms(&self) -> &Buffer {
        &self.terms
    }
}

impl Gpu {
    /// The loss of `count` reconstructions against images, both `[B, 3, H, W]` in f32, into [`LossMemory::terms`], and its
    /// gradient to the reconstructions.
    ///
    /// # Errors
    /// If shapes do not match, or the device fails.
    pub fn loss(
        &self,
        memory: &LossMemory,
        count: usize,
        images: Span<'_>,
        reconstructions: Span<'_>,
        weights: Weights,
        gradient: Span<'_>,
    ) -> Result<(), CudaError> {
        let LossMemory { size, .. } = *memory;
        let (height, width) = size;
        let (planes, pixels) = (3 * count, height * width);
        if count > memory.images {
            return Err(CudaError::Length {
                what: "the loss's memory",
                expected: count,
                found: memory.images,
            });
        }
        let images_at = images.of::<f32>("images", planes * pixels)?;
        let reconstructions_at = reconstructions.of::<f32>("reconstructions", planes * pixels)?;
        let gradient_at = gradient.of::<f32>("the loss's gradient", planes * pixels)?;

        let partial = memory.partial.span().pointer();
        let after = |pointer: u64, values: usize| pointer + (values * size_of::<f32>()) as u64;
        let (windows_y, windows_x) = windows(size);
        let window_count = planes * windows_y * windows_x;
        let ssim_tiles = tiles(windows(size));
        let gms_at = after(partial, planes * ssim_tiles);
        let pixels_at = after(gms_at, SCALES * BLOCKS);
        let ssim = SsimSums {
            images: images_at,
            reconstructions: reconstructions_at,
            coefficients: memory.coefficients.span().pointer(),
            partial,
            planes: planes as i32,
            height: height as i32,
            width: width as i32,
            slope: -weights.ssim / window_count as f32,
            gaussian: gaussian(),
        };
        // SAFETY: lengths were checked above, those of the memory follow from the size; the struct is that of loss.cuh.
        unsafe { self.launch("ssim_sums", [ssim_tiles as u32, 1, planes as u32], &ssim) }?;

        for (pyramid, planes) in [(&memory.targets, images), (&memory.found, reconstructions)] {
            pyramid.take_grey(self, planes, count)?;
            pyramid.halve(self, None, count)?;
        }
        let (mut blocks, mut counts) = ([0; SCALES], [0.0; SCALES]);
        let sizes = sizes(size);
        for (scale, &(height, width)) in sizes.iter().enumerate() {
            blocks[scale] = gms_blocks(count, (height, width)) as u32;
            counts[scale] = (count * height * width) as f32;
        }
        let mut coarser = 0;
        // From the coarsest scale, whose gradient the next finer one takes up. Every scale's slopes fit the finest's memory.
        for scale in (0..SCALES).rev() {
            let (height, width) = sizes[scale];
            let before: u32 = blocks.iter().take(scale).sum();
            let sums = GmsSums {
                images: memory.targets.scale(scale, count).pointer(),
                reconstructions: memory.found.scale(scale, count).pointer(),
                slopes: memory.slopes.span().pointer(),
                partial: after(gms_at, before as usize),
                planes: count as i32,
                height: height as i32,
                width: width as i32,
                slope: weights.msgms / (SCALES as f32 * counts[scale]),
            };
            let gradient = GmsGradient {
                slopes: sums.slopes,
                coarser,
                gradient: memory.gradients.scale(scale, count).pointer(),
                planes: count as i32,
                height: height as i32,
                width: width as i32,
            };
            // SAFETY: as above.
            unsafe {
                self.launch("gms_sums", [blocks[scale], 1, 1], &sums)?;
                self.launch("gms_gradient", one_thread_each(count * height * width), &gradient)?;
            }
            coarser = gradient.gradient;
        }

        let values = (planes * pixels) as f32;
        let pixel_tiles = tiles(size);
        let pixel_gradient = PixelGradient {
            images: images_at,
            reconstructions: reconstructions_at,
            coefficients: ssim.coefficients,
            grey_gradient: memory.gradients.scale(0, count).pointer(),
            gradient: gradient_at,
            partial: pixels_at,
            planes: planes as i32,
            height: height as i32,
            width: width as i32,
            squared: weights.l2 / values,
            absolute: weights.l1 / values,
            gaussian: gaussian(),
        };
        let terms = LossTerms {
            ssim: partial,
            gms: gms_at,
            pixels: pixels_at,
            terms: memory.terms.span().pointer(),
            ssim_blocks: (planes * ssim_tiles) as u32,
            gms_blocks: blocks,
            pixel_blocks: (planes * pixel_tiles) as u32,
            windows: window_count as f32,
            values,
            gms_counts: counts,
            l2: weights.l2,
            l1: weights.l1,
            ssim_weight: weights.ssim,
            msgms: weights.msgms,
        };
        // SAFETY: as above.
        unsafe {
            self.launch(
                "pixel_gradient",
                [pixel_tiles as u32, 1, planes as u32],
                &pixel_gradient,
            )?;
            self.launch("loss_terms", [1, 1, 1], &terms)
        }
    }
}
