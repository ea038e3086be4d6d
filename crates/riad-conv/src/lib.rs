#![doc = include_str!("../README.md")]
//!
//! # Why it is built this way
//! One kernel does everything but weight gradients: a tile of output cells by blocks of output channels, held in
//! registers, over taps and input channels. A convolution is one pass of it; a transposed convolution with stride s, which
//! is also the input gradient of a strided convolution, is s² passes with the taps that meet each phase of the output, so
//! that no product with an inserted zero is ever computed. Bands of rows are first copied, with their borders, into a
//! layout where neighbouring cells are a constant apart: no kernel knows about borders or strides.

mod axis;
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

pub use error::ConvError;
pub use kernel::Activation;
pub use layer::{Conv2d, ConvTranspose2d};
pub use ops::{
    conv_transpose2d, conv_transpose2d_grad_input, conv_transpose2d_grad_weight, conv2d, conv2d_grad_input,
    conv2d_grad_weight,
};
pub use shape::{Dims, Geometry};
