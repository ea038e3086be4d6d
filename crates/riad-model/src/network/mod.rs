//! Networks as data: a list of layers, and what follows from the list.
//!
//! [`Architecture`] has the settings of a network, and [`Architecture::network`] gives its list of [`Layer`]s.
//! Everything else is a loop over that list: tensors, multiply-accumulates, each backend, ONNX, candle. Another
//! architecture is another list.

mod architecture;
mod flow;
mod layer;
mod weights;

#[cfg(test)]
pub(crate) mod tests;

pub use architecture::{Architecture, MAX_CHANNELS, MAX_WIDTH, Preset, SIZE_MULTIPLE};
pub use layer::{After, Kind, Layer, Network, Source};
pub use riad_conv::Geometry;
pub use weights::Weights;

pub(crate) use architecture::{check_size, padded_size};
pub(crate) use flow::{Flow, Home, Input, Joint, Part};
pub(crate) use layer::{EPSILON, MOMENTUM, Role, TensorSpec};
pub(crate) use weights::{Moments, NamedTensors, folded};
