//! ONNX graphs under construction: nodes and constants, and a network's nodes. What is written with them is
//! [`export`](crate::export)'s and each method's.

mod graph;
mod network;
pub(crate) mod proto;

pub(crate) use graph::{Graph, Side, integer, integers, text};
pub(crate) use network::add_network;
