#![doc = include_str!("../README.md")]
//!
//! # Why it is built this way
//! **One kernel.** Everything but weight gradients is one loop nest: a tile of output cells by blocks of sixteen output
//! channels, held in registers, over taps and input channels. A convolution is one pass of it. A transposed convolution
//! with stride s is s² passes, one for each phase of the output, with only the taps of that phase. So no product with
//! an inserted zero is computed. The input gradient of a strided convolution is the same. Winograd's products are a
//! pass with one tap. A second loop nest serves weight gradients the same way.
//!
//! **Bands.** The rows of a task are first copied, with their borders, into a layout with sixteen values between
//! neighbouring cells. So kernels do not know borders, strides or the number of channels, the general case is the fast
//! case, and no access pattern depends on a power of two in the image's width. If a row of pixels has at most sixteen
//! values (RGB with a 3×3 kernel), one vector holds them all.
//!
//! **Winograd** F(4×4, 3×3), and F(4×4, 2×2) on phases, wherever a layer splits into 3×3 or 2×2 neighbouring taps and has
//! at least sixteen channels on both sides; otherwise the direct sum. The choice looks at channels and geometry alone.
//!
//! **bf16** layers are the direct algorithm in AMX's tile registers, which hold sixteen cells by 32 input channels. The bands
//! are the same with two bf16 in place of each f32; pixels are rounded on their way into them.
//!
//! **Vectors.** Kernels are written once over a vector of `f32` and compiled for each instruction set, chosen when the first
//! layer runs. Channels are packed in blocks of sixteen at all of them: one, two or four registers, or an array.
//!
//! # What it guarantees
//! - **Determinism.** On one instruction set, the same bits for any number of threads, and for an image whatever its
//!   neighbours in the batch: every output is one sum in one order. Weight gradients sum over the batch in chunks that
//!   depend on its shape alone.
//! - **Accuracy.** Errors against exact arithmetic stay at the level of f32 sums: at 512 channels, Winograd's are 1.7 (3×3)
//!   and 1.5 (2×2) times those of the direct sum. They follow the largest value of a neighbourhood of six pixels, and a NaN
//!   or infinity reaches the whole 4×4 tile.
//! - **Memory.** Besides input and output: weights packed (Winograd: 4 times their size for 3×3, 6.25 times for 4×4 with
//!   stride 2, kept per calling thread at the largest layer's size by the functions), and per worker thread one band with its
//!   transforms: about 1.5 MB up to 128 channels, 5 MB at 512, in weight gradients up to 20 MB. Chunks of weight gradients
//!   add at most 64 groups of 64 output channels' weights.

mod axis;
mod batch;
mod bf16;
mod buffer;
mod correlation;
mod direct;
mod error;
mod gradient;
mod kernel;
mod layer;
mod narrow;
mod ops;
mod scratch;
mod shape;
mod simd;
#[cfg(test)]
mod tests;
mod winograd;

pub use batch::{Batch, BatchMut};
pub use error::ConvError;
pub use kernel::Activation;
pub use layer::{Conv2d, ConvTranspose2d, Precision};
pub use ops::{
    conv_transpose2d, conv_transpose2d_grad_input, conv_transpose2d_grad_weight, conv2d, conv2d_grad_input,
    conv2d_grad_weight, grad_bias,
};
pub use shape::{Dims, Geometry};
