#![doc = include_str!("../README.md")]

mod device;
mod error;
mod lengths;
mod ops;
mod spec;

pub use device::{Buffer, Gpu, Number, Pixels, Repeated, Span};
pub use error::CudaError;
pub use ops::{
    AdamSettings, Convolution, Copies, LossMemory, MapMemory, MapSettings, Norm, Planes, TERMS, Trained, Weights,
    padded_channels, scratch_bytes,
};
pub use spec::{ConvolutionSpec, Epilogue, Kind, Precision};
