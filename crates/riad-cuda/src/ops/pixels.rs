//! What is done to the channels of pixels: biases, additions, and sums over pixels.
#![allow(unsafe_code)] // Launches kernels.

use super::{
    arguments::{Add, AddBias, BiasRelu, CHANNELS_OF_BLOCK, ChannelSums, GROUPS, THREADS, TakeChannels},
    launch::kernel,
};
use crate::{
    CudaError, Precision,
    device::{Buffer, Gpu, Pixels, Span},
    lengths::{count, product},
};

/// Blocks along x of a kernel that sums over pixels, at most: as many as fit the multiprocessors of large GPUs at once. It
/// decides the order of sums, so it does not depend on the GPU.
pub(super) const BLOCKS: usize = 384;
/// The same of kernels that sum nothing.
pub(super) const WALKERS: usize = 2048;

/// Bytes of scratch memory that batch norms and sums over pixels need for up to so many channels.
pub fn scratch_bytes(channels: usize) -> usize {
    product(&[2 * BLOCKS + 2, channels, size_of::<f32>()])
}

/// How pixels are walked over: blocks along x, at most `most`, and along y.
pub(super) fn walk(pixels: Pixels<'_>, most: usize) -> [u32; 3] {
    let all = pixels.channels / 8;
    let groups = all.clamp(1, GROUPS);
    let lanes = THREADS as usize / groups;
    let blocks = pixels.count.div_ceil(4 * lanes).clamp(1, most);
    [blocks as u32, all.div_ceil(GROUPS) as u32, 1]
}

/// Pixels as kernels take them.
pub(super) struct View {
    pub(super) at: u64,
    pub(super) count: u32,
    pub(super) channels: u32,
    pub(super) pixel: u32,
}

/// Pixels of whole groups of channels, of which there are no more than kernels count.
pub(super) fn view(what: &'static str, x: Pixels<'_>) -> Result<View, CudaError> {
    Ok(View {
        at: x.vectors(what)?,
        count: count(what, x.count)?,
        channels: count(what, x.channels)?,
        pixel: count(what, x.pixel)?,
    })
}

/// Where the pixels lie without a gap from one to the next.
pub(super) fn dense(what: &'static str, x: Pixels<'_>) -> Result<u64, CudaError> {
    if x.pixel == x.channels {
        return x.vectors(what);
    }
    Err(CudaError::Unsupported {
        what,
        reason: format!(
            "its pixels of {} values must be dense, not {} apart",
            x.channels, x.pixel
        ),
    })
}

/// The blocks that add up partial sums of channels.
pub(super) fn adding_up(channels: usize) -> [u32; 3] {
    [channels.div_ceil(CHANNELS_OF_BLOCK) as u32, 1, 1]
}

/// The address of [`scratch_bytes`] of scratch memory.
pub(super) fn scratch_for(scratch: &Buffer, channels: usize) -> Result<u64, CudaError> {
    let values = scratch_bytes(channels) / size_of::<f32>();
    scratch.span().of::<f32>("scratch memory", values)
}

impl Gpu {
    /// Writes `x` with a bias for each channel added to `y`, which may be `x`.
    ///
    /// # Errors
    /// If shapes do not match, or the device fails.
    pub fn add_bias(&self, x: Pixels<'_>, bias: Span<'_>, y: Pixels<'_>) -> Result<(), CudaError> {
        self.copy_with(bias.vectors::<f32>("a bias", x.channels)?, x, y)
    }

    /// Copies `x` to `y`, of as many pixels and channels. Values between the pixels of a view stay.
    ///
    /// # Errors
    /// If shapes do not match, or the device fails.
    pub fn copy(&self, x: Pixels<'_>, y: Pixels<'_>) -> Result<(), CudaError> {
        self.copy_with(0, x, y)
    }

    /// Copies `x` to `y`, with the bias at this address added, unless that is 0.
    fn copy_with(&self, bias: u64, x: Pixels<'_>, y: Pixels<'_>) -> Result<(), CudaError> {
        let from = view("what is copied", x)?;
        let (y, y_pixel) = y.like("a copy", x)?;
        let arguments = AddBias {
            x: from.at,
            bias,
            y,
            pixels: from.count,
            channels: from.channels,
            x_pixel: from.pixel,
            y_pixel,
        };
        // SAFETY: lengths were checked above.
        unsafe { self.launch(kernel!("add_bias", x.precision), walk(x, WALKERS), &arguments) }
    }

    /// Adds `x` to `y`, of as many pixels and channels: a sum is rounded once, from f32. Values between the pixels of a view
    /// stay.
    ///
    /// # Errors
    /// If shapes do not match, or the device fails.
    pub fn add(&self, x: Pixels<'_>, y: Pixels<'_>) -> Result<(), CudaError> {
        let from = view("what is added", x)?;
        let (y, y_pixel) = y.like("what is added to", x)?;
        let arguments = Add {
            x: from.at,
            y,
            pixels: from.count,
            channels: from.channels,
            x_pixel: from.pixel,
            y_pixel,
        };
        // SAFETY: lengths were checked above.
        unsafe { self.launch(kernel!("add", x.precision), walk(x, WALKERS), &arguments) }
    }

    /// The sums of the channels of `x` over its pixels, into `sums` in f32: a bias's gradient. Where there is a `y`, it gets a
    /// copy of `x`, dense.
    ///
    /// # Errors
    /// If shapes do not match, or the device fails.
    pub fn channel_sums(
        &self,
        x: Pixels<'_>,
        y: Option<Pixels<'_>>,
        sums: Span<'_>,
        scratch: &Buffer,
    ) -> Result<(), CudaError> {
        let from = view("what is summed", x)?;
        let grid = walk(x, BLOCKS);
        let partial = scratch_for(scratch, x.channels)?;
        let y = match y {
            Some(y) => {
                y.like("a copy", x)?;
                dense("a copy", y)?
            }
            None => 0,
        };
        let take = TakeChannels {
            x: from.at,
            y,
            partial,
            pixels: from.count,
            channels: from.channels,
            x_pixel: from.pixel,
        };
        let add = ChannelSums {
            partial,
            sums: sums.of::<f32>("sums of channels", x.channels)?,
            channels: from.channels,
            blocks: grid[0],
        };
        // SAFETY: lengths were checked above.
        unsafe {
            self.launch(kernel!("take_channels", x.precision), grid, &take)?;
            self.launch("channel_sums", adding_up(x.channels), &add)
        }
    }
}

/// Adds a bias to each channel of a convolution's result, then ReLU: the epilogue that a device has left.
///
/// # Safety
/// `y` is the address of `pixels` pixels of `pixel` values of which the first `channels` change, `bias` of as many f32; both
/// are aligned to 16 bytes, and channels come in groups of eight.
pub(super) unsafe fn bias_relu(
    gpu: &Gpu,
    precision: Precision,
    [y, bias]: [u64; 2],
    [pixels, channels, pixel]: [usize; 3],
) -> Result<(), CudaError> {
    const WHAT: &str = "a convolution's bias";
    let arguments = BiasRelu {
        values: y,
        bias,
        pixels: pixels as u64,
        channels: count(WHAT, channels)?,
        pixel: count(WHAT, pixel)?,
    };
    let blocks = product(&[pixels, channels / 8]).div_ceil(THREADS as usize);
    let grid = [count(WHAT, blocks)?, 1, 1];
    // SAFETY: the caller's.
    unsafe { gpu.launch(kernel!("bias_relu", precision), grid, &arguments) }
}
