//! Networks and scorers for programs that know nothing of this one.

mod onnx;
mod scorer_nodes;
mod torch;

pub use onnx::{onnx_network, onnx_scorer};
pub use torch::torch_state_dict;

#[cfg(test)]
#[cfg(feature = "candle")]
mod tests;
