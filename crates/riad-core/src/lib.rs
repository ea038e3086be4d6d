#![doc = include_str!("../README.md")]
//!
//! # Why it is made this way
//!
//! **Values are in [0, 1].** The constants of GMS and SSIM belong to a range of values; data in another range makes both
//! blind or nervous without any error. A network that works in [-1, 1] converts before it comes here.
//!
//! **Scales are registered.** Every map has the image's size: borders are padded, halving keeps odd rows, and enlarging
//! uses the exact factor of the halving. A map that lost its border and is stretched to fit points beside the defect.
//!
//! **Gradients are written out.** In a framework, SSIM and its gradient are about sixty small tensors, and each goes
//! through memory. Here one pass over the rows computes both, and the same code serves any framework.
//!
//! **Nothing depends on the number of threads.** Work is split by image or plane, and sums are taken in that order.
//!
//! **Nothing from outside panics.** A size that does not fit its values, a setting out of range, a map with a NaN: each is
//! an error with its cause and the way out. Values that know their size ([`Map`]) cannot contradict it; where slices come
//! with a shape, for batches that live in a framework's memory, every function checks them.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod appearance;
mod beta;
pub mod calibration;
mod components;
pub mod edges;
mod map;
pub mod mask;
pub mod metrics;
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
pub use random::Random;
pub use regions::{Region, regions};
pub use size::{LengthError, Size};
