//! The U-Net's nodes, batch norms folded into the convolutions before them.

use riad_conv::Geometry;

use super::graph::{Graph, integer, integers};
use crate::{
    architecture::{CHANNELS, Down, RESIZE_4X4, SAME_3X3, Up},
    plan::folded,
    weights::Weights,
};

/// Adds the network over `input`, `[N, 3, H, W]` in its own range; gives the name of its output, which has the same shape,
/// in [-1, 1]. Nodes have the names of PyTorch's layers.
pub(super) fn add(graph: &mut Graph, weights: &Weights, input: &str) -> String {
    let architecture = weights.architecture();
    let mut x = input.to_owned();
    let mut skips = Vec::new();
    for Down {
        name,
        input,
        output,
        first,
    } in architecture.encoder()
    {
        x = block(graph, weights, (name, 1), &x, (input, output), first);
        x = block(graph, weights, (name, 2), &x, (output, output), SAME_3X3);
        skips.push(x.clone());
    }
    skips.pop();
    for (
        Up {
            name,
            input,
            output,
            skip,
        },
        skipped,
    ) in architecture.decoder().into_iter().zip(skips.iter().rev())
    {
        let layer = format!("{name}.upconv");
        let part = |part| weights.get(&format!("{layer}.{part}"));
        let parameters = Parameters {
            shape: [input, output],
            weight: part("weight"),
            bias: part("bias"),
        };
        let up = convolution(graph, &layer, "ConvTranspose", &x, parameters, RESIZE_4X4);
        x = if architecture.skip_connections {
            graph.node(
                &format!("{name}.concat"),
                "Concat",
                &[&up, skipped],
                vec![integer("axis", 1)],
            )
        } else {
            up
        };
        x = block(graph, weights, (name, 1), &x, (output + skip, output), SAME_3X3);
        x = block(graph, weights, (name, 2), &x, (output, output), SAME_3X3);
    }
    let parameters = Parameters {
        shape: [CHANNELS, architecture.width],
        weight: weights.get("conv_final.0.weight"),
        bias: weights.get("conv_final.0.bias"),
    };
    let last = convolution(graph, "conv_final.0", "Conv", &x, parameters, SAME_3X3);
    graph.node("conv_final.1", "Tanh", &[&last], vec![])
}

/// Convolution, folded batch norm and ReLU.
fn block(
    graph: &mut Graph,
    weights: &Weights,
    (block, index): (&str, usize),
    x: &str,
    (input, output): (usize, usize),
    geometry: Geometry,
) -> String {
    let layer = format!("{block}.conv{index}");
    let (weight, bias) = folded(weights, &layer, &format!("{block}.bn{index}"));
    let parameters = Parameters {
        shape: [output, input],
        weight: &weight,
        bias: &bias,
    };
    let x = convolution(graph, &layer, "Conv", x, parameters, geometry);
    graph.node(&format!("{block}.relu{index}"), "Relu", &[&x], vec![])
}

/// What a convolution multiplies by and adds.
struct Parameters<'a> {
    /// The weight's first two sides: outputs and inputs, and the other way about for a transposed convolution.
    shape: [usize; 2],
    weight: &'a [f32],
    bias: &'a [f32],
}

fn convolution(
    graph: &mut Graph,
    layer: &str,
    op: &str,
    x: &str,
    parameters: Parameters<'_>,
    geometry: Geometry,
) -> String {
    let Geometry {
        kernel,
        stride,
        padding,
    } = geometry;
    let Parameters {
        shape: [first, second],
        weight,
        bias,
    } = parameters;
    let weight = graph.floats(&format!("{layer}.weight"), &[first, second, kernel, kernel], weight);
    let bias = graph.floats(&format!("{layer}.bias"), &[bias.len()], bias);
    let sides = |value: usize, count: usize| vec![value as i64; count];
    let attributes = vec![
        integers("kernel_shape", &sides(kernel, 2)),
        integers("strides", &sides(stride, 2)),
        integers("pads", &sides(padding, 4)),
    ];
    graph.node(layer, op, &[x, &weight, &bias], attributes)
}
