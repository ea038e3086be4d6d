//! Networks and scorers as files for other programs.

mod onnx;
mod scorer_nodes;
mod torch;

pub use onnx::{onnx_network, onnx_scorer};
pub use torch::torch_state_dict;

#[cfg(test)]
#[cfg(feature = "candle")]
mod tests;
