#![doc = include_str!("../README.md")]

mod adam;
mod backend;
mod channels;
mod convolution;
mod error;
mod gpu;
mod images;
mod loss;
mod maps;
mod planes;
mod recording;

pub use adam::{AdamSettings, Trained};
pub use channels::{Norm, scratch_bytes};
pub use convolution::{ConvolutionSpec, Epilogue, Kind, Precision};
pub use error::CudaError;
pub use gpu::{Buffer, Convolution, Gpu, Number, Pixels, Span};
pub use images::{Copies, PIXEL};
pub use loss::{LossMemory, TERMS, Weights};
pub use maps::{MapMemory, MapSettings, Planes};
pub use recording::Repeated;
