//! A network's nodes, batch norms folded into the convolutions before them.

use super::graph::{Graph, integer, integers};
use crate::network::{After, Geometry, Kind, Layer, Source, Weights, folded};

/// Adds the network over `input`, `[N, C, H, W]` in its own range; gives the name of its output, which has the same height
/// and width, in [-1, 1]. Nodes have the names of PyTorch's layers.
pub(crate) fn add_network(graph: &mut Graph, weights: &Weights, input: &str) -> String {
    let mut values = vec![input.to_owned()];
    for layer in weights.network().layers() {
        let x = source(graph, &layer.source, &values);
        let x = convolution(graph, weights, layer, &x);
        values.push(match &layer.after {
            After::Nothing => x,
            After::NormRelu { relu, .. } => graph.node(relu, "Relu", &[&x], vec![]),
            After::Tanh { name } => graph.node(name, "Tanh", &[&x], vec![]),
        });
    }
    values.pop().unwrap_or_default()
}

/// What a layer takes in, of the values so far.
fn source(graph: &mut Graph, source: &Source, values: &[String]) -> String {
    let named: Vec<&str> = source.values().iter().map(|&value| values[value].as_str()).collect();
    match source {
        Source::Value(value) => values[*value].clone(),
        Source::Concatenated { name, .. } => graph.node(name, "Concat", &named, vec![integer("axis", 1)]),
        Source::Added { name, .. } => graph.node(name, "Sum", &named, vec![]),
    }
}

fn convolution(graph: &mut Graph, weights: &Weights, layer: &Layer, x: &str) -> String {
    let name = &layer.name;
    let Geometry {
        kernel,
        stride,
        padding,
    } = layer.geometry;
    let op = match layer.kind {
        Kind::Plain => "Conv",
        Kind::Transposed => "ConvTranspose",
    };
    let (weight, bias) = folded(weights, layer);
    let weight = graph.floats(&format!("{name}.weight"), &layer.weight_shape(), &weight);
    let bias = graph.floats(&format!("{name}.bias"), &[bias.len()], &bias);
    let sides = |value: usize, count: usize| vec![value as i64; count];
    let attributes = vec![
        integers("kernel_shape", &sides(kernel, 2)),
        integers("strides", &sides(stride, 2)),
        integers("pads", &sides(padding, 4)),
    ];
    graph.node(name, op, &[x, &weight, &bias], attributes)
}
