//! The inpainting loss, and its gradient to the reconstructions.
#![allow(unsafe_code)] // Launches kernels.

use super::{
    arguments::{
        Gaussian, GmsGradient, GmsSums, LossTerms, PixelGradient, RADIUS, SCALES, SsimSums, THREADS, TILE, WINDOW,
    },
    launch::one_thread_each,
    pyramid::{Pyramid, Size, pixels, sizes},
};
use crate::{
    CudaError,
    device::{Buffer, Gpu, Span},
    lengths::{count, product, sides},
};

/// Blocks of a kernel that sums over planes, at most.
const BLOCKS: usize = 256;
/// What CUDA takes as blocks along z, where the planes of a batch lie.
const MOST_PLANES: usize = 65535;

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

/// Memory that the loss of images of one size and number of channels needs.
pub struct LossMemory {
    images: usize,
    channels: usize,
    size: Size,
    coefficients: Buffer,
    targets: Pyramid,
    found: Pyramid,
    slopes: Buffer,
    gradients: Pyramid,
    partial: Buffer,
    terms: Buffer,
}

/// SSIM's window along one axis, σ = 1.5.
fn gaussian() -> Gaussian {
    let line: [f64; WINDOW] = std::array::from_fn(|i| {
        let distance = i as f64 - RADIUS as f64;
        (-distance * distance / (2.0 * 1.5 * 1.5)).exp()
    });
    let sum: f64 = line.iter().sum();
    Gaussian {
        weights: line.map(|weight| (weight / sum) as f32),
    }
}

fn tiles((height, width): Size) -> usize {
    height.div_ceil(TILE) * width.div_ceil(TILE)
}

/// Where SSIM's windows lie: they are within the image.
fn windows((height, width): Size) -> Size {
    (height - 2 * RADIUS, width - 2 * RADIUS)
}

fn gms_blocks(values: usize) -> usize {
    values.div_ceil(THREADS as usize).min(BLOCKS)
}

impl LossMemory {
    /// Memory for batches of up to `images` images of `channels` channels, of this height and width in pixels, which are at
    /// least 11. [`Self::terms`] are NaN until there is a loss.
    ///
    /// # Errors
    /// [`CudaError::Unsupported`] if the images are too small, or so large or many that kernels cannot count them;
    /// [`CudaError::Memory`] if there is not enough of it.
    pub fn new(gpu: &Gpu, images: usize, channels: usize, size: (usize, usize)) -> Result<Self, CudaError> {
        let unsupported = |reason| {
            Err(CudaError::Unsupported {
                what: "the loss",
                reason,
            })
        };
        if size.0 <= 2 * RADIUS || size.1 <= 2 * RADIUS {
            return unsupported(format!(
                "images of {}x{} are smaller than SSIM's window, which is 11x11",
                size.0, size.1
            ));
        }
        let planes = product(&[channels, images]);
        if !(1..=MOST_PLANES).contains(&planes) {
            return unsupported(format!(
                "a batch has from 1 to {MOST_PLANES} channels in all, not {planes}; take a smaller batch"
            ));
        }
        // Its planes can be counted, and so can the pixels of an image.
        let targets = Pyramid::new(gpu, images, size)?;
        let blocks = product(&[planes, tiles(size)]);
        count("the loss's tiles", blocks)?;
        let bytes = |values: &[usize]| product(&[product(values), size_of::<f32>()]);
        let partial = product(&[planes, tiles(windows(size))]) + SCALES * BLOCKS + 2 * blocks;
        Ok(Self {
            images,
            channels,
            size,
            coefficients: gpu.buffer(bytes(&[3, planes, pixels(windows(size))]))?,
            targets,
            found: Pyramid::new(gpu, images, size)?,
            slopes: gpu.buffer(bytes(&[2, images, pixels(size)]))?,
            gradients: Pyramid::new(gpu, images, size)?,
            partial: gpu.buffer(bytes(&[partial]))?,
            terms: gpu.upload(&[f64::NAN; TERMS])?,
        })
    }

    /// [`TERMS`] numbers of the last [`Gpu::loss`]; NaN before the first.
    pub fn terms(&self) -> &Buffer {
        &self.terms
    }
}

impl Gpu {
    /// The loss of `count` reconstructions against images, both `[B, C, H, W]` in f32, into [`LossMemory::terms`], and its
    /// gradient to the reconstructions, likewise, into `gradient`. SSIM is averaged over channels; GMS is that of their grey:
    /// Rec. 601's luma of three channels, the mean of any other number.
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
        let LossMemory { size, channels, .. } = *memory;
        if count > memory.images {
            return Err(CudaError::Length {
                what: "the loss's memory",
                expected: count,
                found: memory.images,
            });
        }
        // None of these wraps: the memory is for as many.
        let planes = channels * count;
        let values = planes * pixels(size);
        let images_at = images.of::<f32>("images", values)?;
        let reconstructions_at = reconstructions.of::<f32>("reconstructions", values)?;
        let gradient_at = gradient.of::<f32>("the loss's gradient", values)?;

        let partial = memory.partial.span().pointer();
        let after = |pointer: u64, values: usize| pointer + (values * size_of::<f32>()) as u64;
        let window_count = planes * pixels(windows(size));
        let ssim_tiles = tiles(windows(size));
        let gms_at = after(partial, planes * ssim_tiles);
        let pixels_at = after(gms_at, SCALES * BLOCKS);
        let [height, width] = sides("the loss", size)?;
        let ssim = SsimSums {
            images: images_at,
            reconstructions: reconstructions_at,
            coefficients: memory.coefficients.span().pointer(),
            partial,
            planes: planes as u32,
            height,
            width,
            slope: -weights.ssim / window_count as f32,
            gaussian: gaussian(),
        };
        // SAFETY: lengths were checked above, those of the memory follow from the size.
        unsafe { self.launch("ssim_sums", [ssim_tiles as u32, 1, planes as u32], &ssim) }?;

        for (pyramid, from) in [(&memory.targets, images), (&memory.found, reconstructions)] {
            pyramid.take_grey(self, from, [count, channels])?;
            pyramid.halve(self, None, count)?;
        }
        let sizes = sizes(size);
        let counts = sizes.map(|size| count * pixels(size));
        let blocks = counts.map(|count| gms_blocks(count) as u32);
        let mut coarser = 0;
        // From the coarsest scale, whose gradient the next finer one takes up. Every scale's slopes fit the finest's memory.
        for scale in (0..SCALES).rev() {
            let [height, width] = sides("the loss", sizes[scale])?;
            let before: u32 = blocks.iter().take(scale).sum();
            let sums = GmsSums {
                images: memory.targets.scale(scale, count)?.pointer(),
                reconstructions: memory.found.scale(scale, count)?.pointer(),
                slopes: memory.slopes.span().pointer(),
                partial: after(gms_at, before as usize),
                planes: count as u32,
                height,
                width,
                slope: weights.msgms / (SCALES as f32 * counts[scale] as f32),
            };
            let gradient = GmsGradient {
                slopes: sums.slopes,
                coarser,
                gradient: memory.gradients.scale(scale, count)?.pointer(),
                planes: count as u32,
                height,
                width,
            };
            let grid = one_thread_each("the loss", counts[scale])?;
            // SAFETY: as above.
            unsafe {
                self.launch("gms_sums", [blocks[scale], 1, 1], &sums)?;
                self.launch("gms_gradient", grid, &gradient)?;
            }
            coarser = gradient.gradient;
        }

        let pixel_tiles = tiles(size);
        let pixel_gradient = PixelGradient {
            images: images_at,
            reconstructions: reconstructions_at,
            coefficients: ssim.coefficients,
            grey_gradient: memory.gradients.scale(0, count)?.pointer(),
            gradient: gradient_at,
            partial: pixels_at,
            planes: planes as u32,
            channels: channels as u32,
            height,
            width,
            squared: weights.l2 / values as f32,
            absolute: weights.l1 / values as f32,
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
            values: values as f32,
            gms_counts: counts.map(|count| count as f32),
            l2: weights.l2,
            l1: weights.l1,
            ssim_weight: weights.ssim,
            msgms: weights.msgms,
        };
        let grid = [pixel_tiles as u32, 1, planes as u32];
        // SAFETY: as above.
        unsafe {
            self.launch("pixel_gradient", grid, &pixel_gradient)?;
            self.launch("loss_terms", [1, 1, 1], &terms)
        }
    }
}
