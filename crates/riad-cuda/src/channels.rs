//! Batch norm with ReLU, biases, and sums over pixels.
#![allow(unsafe_code)] // Launches kernels.

use crate::{
    CudaError, Precision,
    gpu::{Buffer, Gpu, Pixels, Span, THREADS, kernel, one_thread_each},
};

/// Blocks along x of a kernel that sums over pixels, at most: as many as fit the multiprocessors of large GPUs at once. It
/// decides the order of sums, so it does not depend on the GPU.
const BLOCKS: usize = 384;
/// The same of kernels that sum nothing.
const WALKERS: usize = 2048;
/// Groups of eight channels that a block has side by side, as in channels.cuh.
const GROUPS: usize = 32;
/// Channels of a block that adds up partial sums, as in channels.cuh.
const CHANNELS_OF_BLOCK: usize = 8;

/// Bytes of scratch memory that the functions here need for up to so many channels.
pub fn scratch_bytes(channels: usize) -> usize {
    (2 * BLOCKS + 2) * channels * size_of::<f32>()
}

/// A batch norm's parameters and state, one number in f32 for each channel, but for `line`.
#[derive(Clone, Copy)]
pub struct Norm<'a> {
    /// Bias of the convolution before it, which is not in what that gave: the mean takes it away again.
    pub bias: Span<'a>,
    /// Scale.
    pub scale: Span<'a>,
    /// Shift.
    pub shift: Span<'a>,
    /// Running mean.
    pub running_mean: Span<'a>,
    /// Running variance.
    pub running_variance: Span<'a>,
    /// Four numbers for each channel, which the forward pass leaves to the backward pass.
    pub line: Span<'a>,
}

#[repr(C)]
struct NormSums {
    x: u64,
    partial: u64,
    pixels: u32,
    channels: u32,
}

#[repr(C)]
struct NormLine {
    x: u64,
    partial: u64,
    bias: u64,
    scale: u64,
    shift: u64,
    running_mean: u64,
    running_variance: u64,
    line: u64,
    pixels: u32,
    channels: u32,
    blocks: u32,
    momentum: f32,
    epsilon: f32,
}

#[repr(C)]
struct NormForward {
    x: u64,
    line: u64,
    y: u64,
    also: u64,
    pixels: u32,
    channels: u32,
    y_pixel: u32,
    also_pixel: u32,
}

#[repr(C)]
struct NormGradientSums {
    x: u64,
    dy: u64,
    more: u64,
    line: u64,
    partial: u64,
    pixels: u32,
    channels: u32,
    more_pixel: u32,
}

#[repr(C)]
struct NormGradientLine {
    partial: u64,
    line: u64,
    scale_gradient: u64,
    shift_gradient: u64,
    slope: u64,
    pixels: u32,
    channels: u32,
    blocks: u32,
}

#[repr(C)]
struct NormBackward {
    x: u64,
    dy: u64,
    more: u64,
    line: u64,
    slope: u64,
    dx: u64,
    pixels: u32,
    channels: u32,
    more_pixel: u32,
}

#[repr(C)]
struct AddBias {
    x: u64,
    bias: u64,
    y: u64,
    pixels: u32,
    channels: u32,
    x_pixel: u32,
    y_pixel: u32,
}

#[repr(C)]
struct TakeChannels {
    x: u64,
    y: u64,
    partial: u64,
    pixels: u32,
    channels: u32,
    x_pixel: u32,
}

#[repr(C)]
struct ChannelSums {
    partial: u64,
    sums: u64,
    channels: u32,
    blocks: u32,
}

/// How pixels are walked over: blocks along x, at most `most`, and along y.
fn walk(pixels: Pixels<'_>, most: usize) -> [u32; 3] {
    let all = pixels.channels / 8;
    let groups = all.clamp(1, GROUPS);
    let lanes = THREADS as usize / groups;
    let blocks = pixels.count.div_ceil(4 * lanes).clamp(1, most);
    [blocks as u32, all.div_ceil(GROUPS) as u32, 1]
}

/// What every function here takes: whole groups of channels, and no more pixels than 32 bits count.
fn check(x: Pixels<'_>) -> Result<(u32, u32), CudaError> {
    let is_whole = x.channels > 0 && x.channels.is_multiple_of(8) && x.pixel.is_multiple_of(8);
    match (u32::try_from(x.count), is_whole) {
        (Ok(count), true) if count > 0 => Ok((count, x.channels as u32)),
        _ => Err(CudaError::Failed {
            what: "a layer".into(),
            status: format!("{} pixels of {} channels are not supported", x.count, x.channels),
        }),
    }
}

fn adding_up(channels: usize) -> [u32; 3] {
    [channels.div_ceil(CHANNELS_OF_BLOCK) as u32, 1, 1]
}

impl Gpu {
    /// Batch norm by the statistics of `x`, which the running ones take in with the weight `momentum`, then ReLU; into `y`
    /// and `also`. `epsilon` is added to the variance. `scratch` has [`scratch_bytes`].
    ///
    /// # Errors
    /// If shapes do not match, or the device fails.
    pub fn norm_relu(
        &self,
        x: Pixels<'_>,
        norm: Norm<'_>,
        [momentum, epsilon]: [f32; 2],
        y: Option<Pixels<'_>>,
        also: Option<Pixels<'_>>,
        scratch: &Buffer,
    ) -> Result<(), CudaError> {
        let (pixels, channels) = check(x)?;
        let each = x.channels;
        let grid = walk(x, BLOCKS);
        let partial = scratch.span().of::<f32>("scratch memory", (2 * BLOCKS + 2) * each)?;
        let sums = NormSums {
            x: x.pointer(),
            partial,
            pixels,
            channels,
        };
        let line = NormLine {
            x: x.pointer(),
            partial,
            bias: norm.bias.of::<f32>("a bias", each)?,
            scale: norm.scale.of::<f32>("a scale", each)?,
            shift: norm.shift.of::<f32>("a shift", each)?,
            running_mean: norm.running_mean.of::<f32>("a running mean", each)?,
            running_variance: norm.running_variance.of::<f32>("a running variance", each)?,
            line: norm.line.of::<f32>("a norm's line", 4 * each)?,
            pixels,
            channels,
            blocks: grid[0],
            momentum,
            epsilon,
        };
        let out = |what, pixels: Option<Pixels<'_>>| match pixels {
            Some(pixels) => pixels.like(what, x).map(|y| (y.pointer(), y.pixel as u32)),
            None => Ok((0, 0)),
        };
        let ((y, y_pixel), (also, also_pixel)) = (out("a norm's output", y)?, out("a norm's second output", also)?);
        let forward = NormForward {
            x: x.pointer(),
            line: line.line,
            y,
            also,
            pixels,
            channels,
            y_pixel,
            also_pixel,
        };
        // SAFETY: lengths were checked above; the structs are those of channels.cuh.
        unsafe {
            self.launch(kernel!("norm_sums", x.precision), grid, &sums)?;
            self.launch(kernel!("norm_line", x.precision), adding_up(each), &line)?;
            self.launch(kernel!("norm_forward", x.precision), walk(x, WALKERS), &forward)
        }
    }

    /// The backward pass of [`Self::norm_relu`]: from the gradient to its output, `dy` and, where there is one, `more`, to
    /// that to its input, which replaces `dy`, and to scale and shift, in this order in `gradients`.
    ///
    /// # Errors
    /// If shapes do not match, or the device fails.
    pub fn norm_relu_backward(
        &self,
        x: Pixels<'_>,
        norm: Norm<'_>,
        dy: Pixels<'_>,
        more: Option<Pixels<'_>>,
        gradients: [Span<'_>; 2],
        scratch: &Buffer,
    ) -> Result<(), CudaError> {
        let (pixels, channels) = check(x)?;
        let each = x.channels;
        let grid = walk(x, BLOCKS);
        let partial = scratch.span().of::<f32>("scratch memory", (2 * BLOCKS + 2) * each)?;
        let slope = partial + (2 * BLOCKS * each * size_of::<f32>()) as u64;
        let line = norm.line.of::<f32>("a norm's line", 4 * each)?;
        let dy = dy.like("a norm's gradient", x)?;
        if dy.pixel != each || x.pixel != each {
            return Err(CudaError::Failed {
                what: "a norm's backward pass".into(),
                status: "its pixels must be dense".into(),
            });
        }
        let dy = dy.pointer();
        let (more, more_pixel) = match more {
            Some(more) => (more.like("a norm's second gradient", x)?.pointer(), more.pixel as u32),
            None => (0, 0),
        };
        let sums = NormGradientSums {
            x: x.pointer(),
            dy,
            more,
            line,
            partial,
            pixels,
            channels,
            more_pixel,
        };
        let gradient_line = NormGradientLine {
            partial,
            line,
            scale_gradient: gradients[0].of::<f32>("a scale's gradient", each)?,
            shift_gradient: gradients[1].of::<f32>("a shift's gradient", each)?,
            slope,
            pixels,
            channels,
            blocks: grid[0],
        };
        let backward = NormBackward {
            x: x.pointer(),
            dy,
            more,
            line,
            slope,
            dx: dy,
            pixels,
            channels,
            more_pixel,
        };
        // SAFETY: lengths were checked above; the structs are those of channels.cuh.
        unsafe {
            self.launch(kernel!("norm_gradient_sums", x.precision), grid, &sums)?;
            self.launch("norm_gradient_line", adding_up(each), &gradient_line)?;
            self.launch(kernel!("norm_backward", x.precision), walk(x, WALKERS), &backward)
        }
    }

    /// Writes `x` with a bias for each channel added to `y`, which may be `x`.
    ///
    /// # Errors
    /// If shapes do not match, or the device fails.
    pub fn add_bias(&self, x: Pixels<'_>, bias: Span<'_>, y: Pixels<'_>) -> Result<(), CudaError> {
        let (pixels, channels) = check(x)?;
        let y = y.like("a bias's output", x)?;
        let arguments = AddBias {
            x: x.pointer(),
            bias: bias.of::<f32>("a bias", x.channels)?,
            y: y.pointer(),
            pixels,
            channels,
            x_pixel: x.pixel as u32,
            y_pixel: y.pixel as u32,
        };
        // SAFETY: lengths were checked above; the struct is that of channels.cuh.
        unsafe { self.launch(kernel!("add_bias", x.precision), walk(x, WALKERS), &arguments) }
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
        let (pixels, channels) = check(x)?;
        let grid = walk(x, BLOCKS);
        let partial = scratch.span().of::<f32>("scratch memory", 2 * BLOCKS * x.channels)?;
        let y = match y {
            Some(y) if y.pixel == x.channels => y.like("a copy", x)?.pointer(),
            Some(y) => {
                return Err(CudaError::Failed {
                    what: "a copy".into(),
                    status: format!("its pixels of {} values must be dense", y.pixel),
                });
            }
            None => 0,
        };
        let take = TakeChannels {
            x: x.pointer(),
            y,
            partial,
            pixels,
            channels,
            x_pixel: x.pixel as u32,
        };
        let add = ChannelSums {
            partial,
            sums: sums.of::<f32>("sums of channels", x.channels)?,
            channels,
            blocks: grid[0],
        };
        // SAFETY: lengths were checked above; the structs are those of channels.cuh.
        unsafe {
            self.launch(kernel!("take_channels", x.precision), grid, &take)?;
            self.launch("channel_sums", adding_up(x.channels), &add)
        }
    }
}

#[repr(C)]
struct Fold {
    weight: u64,
    bias: u64,
    scale: u64,
    shift: u64,
    mean: u64,
    variance: u64,
    folded_weight: u64,
    folded_bias: u64,
    weights: u32,
    row: u32,
    biases: u32,
    epsilon: f32,
}

impl Gpu {
    /// A convolution's weight and bias with the batch norm after it folded in: `norm` is its scale, shift, mean and
    /// variance. Without one the weight is rounded to `precision` alone. All else is f32. `weights` values of the weight are
    /// in `rows` rows, one for each of the `biases` output channels where there is a norm.
    ///
    /// # Errors
    /// If shapes do not match, or the device fails.
    pub fn fold(
        &self,
        precision: Precision,
        [rows, weights, biases]: [usize; 3],
        [weight, bias]: [Span<'_>; 2],
        norm: Option<[Span<'_>; 4]>,
        epsilon: f32,
        [folded_weight, folded_bias]: [Span<'_>; 2],
    ) -> Result<(), CudaError> {
        let [scale, shift, mean, variance] = match norm {
            Some(parts) => {
                let mut pointers = [0; 4];
                for (pointer, part) in pointers.iter_mut().zip(parts) {
                    *pointer = part.of::<f32>("a norm to fold", rows)?;
                }
                pointers
            }
            None => [0; 4],
        };
        let arguments = Fold {
            weight: weight.of::<f32>("a weight to fold", weights)?,
            bias: bias.of::<f32>("a bias to fold", biases)?,
            scale,
            shift,
            mean,
            variance,
            folded_weight: folded_weight.of::<u8>("a folded weight", weights * precision.bytes())?,
            folded_bias: folded_bias.of::<f32>("a folded bias", biases)?,
            weights: weights as u32,
            row: (weights / rows.max(1)).max(1) as u32,
            biases: biases as u32,
            epsilon,
        };
        // SAFETY: lengths were checked above; the struct is that of channels.cuh.
        unsafe {
            self.launch(
                kernel!("fold", precision),
                one_thread_each(weights.max(biases)),
                &arguments,
            )
        }
    }
}

#[repr(C)]
struct BiasRelu {
    values: u64,
    bias: u64,
    pixels: u64,
    channels: u32,
    pixel: u32,
}

/// Adds a bias to each channel of a convolution's result, then ReLU: for plans whose library does not do both at once.
///
/// # Safety
/// `y` is the address of `pixels` pixels of `pixel` values of which the first `channels` change, `bias` of as many f32.
#[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "the emulation needs none"))]
pub(crate) unsafe fn bias_relu(
    backend: &dyn crate::backend::Backend,
    precision: crate::Precision,
    [y, bias]: [u64; 2],
    [pixels, channels, pixel]: [usize; 3],
) -> Result<(), CudaError> {
    let arguments = BiasRelu {
        values: y,
        bias,
        pixels: pixels as u64,
        channels: channels as u32,
        pixel: pixel as u32,
    };
    let grid = one_thread_each(pixels * channels / 8);
    let arguments = std::ptr::from_ref(&arguments).cast();
    // SAFETY: the caller's; the struct is that of channels.cuh.
    unsafe { backend.launch(kernel!("bias_relu", precision), grid, THREADS, arguments) }
}
