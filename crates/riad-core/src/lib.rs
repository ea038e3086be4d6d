#![doc = include_str!("../README.md")]
//!
//! # Why it is made this way
//!
//! **Values are in [0, 1].** The constants of GMS and SSIM are made for this range. With data in another range, both
//! find too little or too much, and no error says so. If a network works in [-1, 1], convert its values first.
//!
//! **Scales are aligned.** Every map has the image's size: borders are padded, halving keeps odd rows, and enlarging
//! uses the exact factor of the halving. If a map lost its border and were stretched to the image's size, its peaks
//! would lie beside the defects.
//!
//! **Gradients are written out.** In a framework, SSIM and its gradient are about sixty small tensors, and each is
//! written to memory and read again. Here one pass over the rows computes both. The same code works with any framework.
//!
//! **Nothing depends on the number of threads.** Work is divided by image or plane, and sums are added in that order.
//!
//! **No input makes a function panic.** A size that does not fit its values, a setting out of range, or a map with a
//! NaN is an error that says the cause and the way out. Only [`Map::filled`] panics, for a size that no memory holds. A
//! [`Map`] always has as many values as its size. Batches in a framework's memory are slices with a shape, and every
//! function checks the slices.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod appearance;
mod beta;
pub mod calibration;
mod components;
pub mod edges;
mod map;
pub mod mask;
pub mod metrics;
mod mirror;
pub mod outlier;
pub mod published;
pub mod random;
mod regions;
pub mod similarity;
mod size;
pub mod smooth;

pub use appearance::{Appearance, AppearanceError, Difference, Likeness, Looks};
pub use calibration::{Calibration, CalibrationError};
pub use components::{Components, components};
pub use map::Map;
pub use mask::{MaskError, Masks};
pub use mirror::mirrored;
pub use random::Random;
pub use regions::{Region, regions};
pub use size::{LengthError, Size, SizeError};
