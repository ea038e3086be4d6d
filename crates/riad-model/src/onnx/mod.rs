//! ONNX graphs under construction: nodes and constants, and a network's nodes. [`export`](crate::export) and the
//! methods decide what is written.

mod graph;
mod network;
pub(crate) mod proto;

pub(crate) use graph::{Graph, Side, integer, integers, text};
pub(crate) use network::add_network;
