//! The U-Net for scoring: batch norms folded into the convolutions before them.
//!
//! On the CPU the plan runs `riad-conv`'s packed layers without a candle tensor inside; on other devices it is a candle
//! graph. Both give what [`crate::network::Network`] would give in PyTorch's evaluation mode, within rounding.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use riad_conv::{Activation, Conv2d, ConvTranspose2d, Dims, Geometry};

use crate::{
    Result,
    architecture::{Architecture, CHANNELS, Down, RESIZE_4X4, SAME_3X3, Up},
    ops::{EPSILON, Layout},
    weights::Weights,
};

/// A network ready to score on one device.
pub(crate) enum Plan {
    Cpu(Box<CpuPlan>),
    Graph(GraphPlan),
}

impl Plan {
    pub(crate) fn new(weights: &Weights, device: &Device) -> Result<Self> {
        match Layout::on(device) {
            Layout::ChannelsLast => Ok(Self::Cpu(Box::new(CpuPlan::new(weights)?))),
            Layout::ChannelsFirst => GraphPlan::new(weights, device).map(Self::Graph),
        }
    }

    /// The layout that [`Self::run`] takes and gives.
    pub(crate) fn layout(&self) -> Layout {
        match self {
            Self::Cpu(_) => Layout::ChannelsLast,
            Self::Graph(_) => Layout::ChannelsFirst,
        }
    }

    /// Runs the network on `images` three-channel images of `height` × `width`, normalised to [-1, 1]. An image's result
    /// does not depend on the others in the batch.
    pub(crate) fn run(&self, input: &[f32], images: usize, height: usize, width: usize) -> Result<Vec<f32>> {
        match self {
            Self::Cpu(plan) => plan.run(input, images, height, width),
            Self::Graph(plan) => plan.run(input, (images, CHANNELS, height, width)),
        }
    }
}

/// Weight and bias of the convolution `conv`, with the batch norm `norm` after it folded in.
fn folded(weights: &Weights, conv: &str, norm: &str) -> (Vec<f32>, Vec<f32>) {
    let part = |layer: &str, name: &str| weights.get(&format!("{layer}.{name}"));
    let (weight, bias) = (part(conv, "weight"), part(conv, "bias"));
    let (scale, shift) = (part(norm, "weight"), part(norm, "bias"));
    let (mean, variance) = (part(norm, "running_mean"), part(norm, "running_var"));
    let factors: Vec<f64> = scale
        .iter()
        .zip(variance)
        .map(|(&s, &v)| f64::from(s) / (f64::from(v) + EPSILON).sqrt())
        .collect();
    let per_output = weight.len() / bias.len();
    let weight = weight
        .chunks_exact(per_output)
        .zip(&factors)
        .flat_map(|(row, &factor)| row.iter().map(move |&w| (f64::from(w) * factor) as f32))
        .collect();
    let bias = (0..bias.len())
        .map(|c| ((f64::from(bias[c]) - f64::from(mean[c])) * factors[c] + f64::from(shift[c])) as f32)
        .collect();
    (weight, bias)
}

/// An encoder block on the CPU.
struct CpuDown {
    conv1: Conv2d,
    conv2: Conv2d,
}

/// A decoder block on the CPU.
struct CpuUp {
    up: ConvTranspose2d,
    conv1: Conv2d,
    conv2: Conv2d,
}

/// The network as packed CPU layers.
pub(crate) struct CpuPlan {
    encoder: Vec<CpuDown>,
    decoder: Vec<CpuUp>,
    last: Conv2d,
    width: usize,
}

/// An activation on the way through [`CpuPlan`], channels-last.
struct Activations {
    values: Vec<f32>,
    dims: Dims,
}

impl CpuPlan {
    pub(crate) fn new(weights: &Weights) -> Result<Self> {
        let architecture = weights.architecture();
        let conv = |block: &str, index: usize, geometry: Geometry| {
            let (weight, bias) = folded(weights, &format!("{block}.conv{index}"), &format!("{block}.bn{index}"));
            let inputs = weight.len() / bias.len() / (geometry.kernel * geometry.kernel);
            Conv2d::new(&weight, inputs, bias.len(), Some(&bias), geometry, Activation::Relu)
        };
        let encoder = architecture
            .encoder()
            .into_iter()
            .map(|Down { name, first, .. }| {
                Ok(CpuDown {
                    conv1: conv(name, 1, first)?,
                    conv2: conv(name, 2, SAME_3X3)?,
                })
            })
            .collect::<Result<_>>()?;
        let decoder = architecture
            .decoder()
            .into_iter()
            .map(
                |Up {
                     name, input, output, ..
                 }| {
                    let weight = weights.get(&format!("{name}.upconv.weight"));
                    let bias = weights.get(&format!("{name}.upconv.bias"));
                    let up = ConvTranspose2d::new(weight, input, output, Some(bias), RESIZE_4X4, Activation::None)?;
                    Ok(CpuUp {
                        up,
                        conv1: conv(name, 1, SAME_3X3)?,
                        conv2: conv(name, 2, SAME_3X3)?,
                    })
                },
            )
            .collect::<Result<_>>()?;
        let last = Conv2d::new(
            weights.get("conv_final.0.weight"),
            architecture.width,
            CHANNELS,
            Some(weights.get("conv_final.0.bias")),
            SAME_3X3,
            Activation::Tanh,
        )?;
        Ok(Self {
            encoder,
            decoder,
            last,
            width: architecture.width,
        })
    }

    fn run(&self, input: &[f32], images: usize, height: usize, width: usize) -> Result<Vec<f32>> {
        let image_len = height * width * CHANNELS;
        let at_once = images_at_once(self.width, height, width);
        let mut output = Vec::with_capacity(images * image_len);
        for chunk in input.chunks(at_once * image_len) {
            let dims = Dims::new(chunk.len() / image_len, height, width, CHANNELS);
            output.extend(self.run_chunk(chunk, dims)?);
        }
        Ok(output)
    }

    fn run_chunk(&self, input: &[f32], dims: Dims) -> Result<Vec<f32>> {
        let mut skips: Vec<Activations> = Vec::new();
        for CpuDown { conv1, conv2 } in &self.encoder {
            let x = match skips.last() {
                Some(skip) => forward(conv1, &skip.values, skip.dims)?,
                None => forward(conv1, input, dims)?,
            };
            skips.push(forward(conv2, &x.values, x.dims)?);
        }
        let bottom = skips.pop();
        let mut x = bottom.unwrap_or(Activations {
            values: Vec::new(),
            dims,
        });
        for (CpuUp { up, conv1, conv2 }, skip) in self.decoder.iter().zip(skips.into_iter().rev()) {
            let joined = concatenated(up, &x, &skip)?;
            drop((x, skip));
            let y = forward(conv1, &joined.values, joined.dims)?;
            drop(joined);
            x = forward(conv2, &y.values, y.dims)?;
        }
        Ok(forward(&self.last, &x.values, x.dims)?.values)
    }
}

/// How many images to run at once: as many as keep the largest activation, the last concatenation, within 32 MiB, so
/// that memory is bounded whatever the batch.
fn images_at_once(network_width: usize, height: usize, width: usize) -> usize {
    const LARGEST_ACTIVATION: usize = 32 << 20;
    (LARGEST_ACTIVATION / (2 * network_width * height * width * size_of::<f32>())).max(1)
}

fn forward(layer: &Conv2d, x: &[f32], dims: Dims) -> Result<Activations> {
    let dims_out = layer.output(dims)?;
    let mut values = vec![0.0; dims_out.values()?];
    layer.forward_into(x, dims, &mut values, dims_out.channels, 0)?;
    Ok(Activations { values, dims: dims_out })
}

/// The transposed convolution of `x`, then `skip`, along the channels; the layer writes straight into its half.
fn concatenated(layer: &ConvTranspose2d, x: &Activations, skip: &Activations) -> Result<Activations> {
    let up = layer.output(x.dims)?;
    let channels = up.channels + skip.dims.channels;
    let dims = Dims { channels, ..up };
    let mut values = vec![0.0; dims.values()?];
    layer.forward_into(&x.values, x.dims, &mut values, channels, 0)?;
    for (pixel, skip) in values
        .chunks_exact_mut(channels)
        .zip(skip.values.chunks_exact(skip.dims.channels))
    {
        pixel[up.channels..].copy_from_slice(skip);
    }
    Ok(Activations { values, dims })
}

/// The network as a candle graph, channels-first.
pub(crate) struct GraphPlan {
    architecture: Architecture,
    device: Device,
    layers: BTreeMap<String, (Tensor, Tensor)>,
}

impl GraphPlan {
    pub(crate) fn new(weights: &Weights, device: &Device) -> Result<Self> {
        let architecture = weights.architecture();
        let mut layers = BTreeMap::new();
        let mut insert = |name: String, shape: [usize; 4], weight: &[f32], bias: &[f32]| -> Result<()> {
            let weight = Tensor::from_slice(weight, &shape, device)?;
            let bias = Tensor::from_slice(bias, (1, bias.len(), 1, 1), device)?;
            layers.insert(name, (weight, bias));
            Ok(())
        };
        let blocks = architecture.encoder().map(
            |Down {
                 name,
                 input,
                 output,
                 first,
             }| (name, input, output, first),
        );
        let ups = architecture
            .decoder()
            .map(|Up { name, output, skip, .. }| (name, output + skip, output, SAME_3X3));
        for (name, input, output, first) in blocks.into_iter().chain(ups) {
            for (index, input, kernel) in [(1, input, first.kernel), (2, output, SAME_3X3.kernel)] {
                let (weight, bias) = folded(weights, &format!("{name}.conv{index}"), &format!("{name}.bn{index}"));
                insert(
                    format!("{name}.conv{index}"),
                    [output, input, kernel, kernel],
                    &weight,
                    &bias,
                )?;
            }
        }
        for Up {
            name, input, output, ..
        } in architecture.decoder()
        {
            let layer = format!("{name}.upconv");
            let kernel = RESIZE_4X4.kernel;
            let (weight, bias) = (
                weights.get(&format!("{layer}.weight")),
                weights.get(&format!("{layer}.bias")),
            );
            insert(layer, [input, output, kernel, kernel], weight, bias)?;
        }
        let (weight, bias) = (weights.get("conv_final.0.weight"), weights.get("conv_final.0.bias"));
        insert(
            "conv_final.0".into(),
            [CHANNELS, architecture.width, 3, 3],
            weight,
            bias,
        )?;
        Ok(Self {
            architecture,
            device: device.clone(),
            layers,
        })
    }

    pub(crate) fn run(&self, input: &[f32], shape: (usize, usize, usize, usize)) -> Result<Vec<f32>> {
        let convolve = |x: &Tensor, layer: &str, Geometry { stride, padding, .. }: Geometry| {
            let (weight, bias) = &self.layers[layer];
            x.conv2d(weight, padding, stride, 1, 1)?.broadcast_add(bias)
        };
        let mut x = Tensor::from_slice(input, shape, &self.device)?;
        let mut skips = Vec::new();
        for Down { name, first, .. } in self.architecture.encoder() {
            x = convolve(&x, &format!("{name}.conv1"), first)?.relu()?;
            x = convolve(&x, &format!("{name}.conv2"), SAME_3X3)?.relu()?;
            skips.push(x.clone());
        }
        skips.pop();
        for (Up { name, .. }, skip) in self.architecture.decoder().into_iter().zip(skips.into_iter().rev()) {
            let (weight, bias) = &self.layers[&format!("{name}.upconv")];
            let Geometry { stride, padding, .. } = RESIZE_4X4;
            let up = x.conv_transpose2d(weight, padding, 0, stride, 1)?.broadcast_add(bias)?;
            x = Tensor::cat(&[&up, &skip], 1)?;
            x = convolve(&x, &format!("{name}.conv1"), SAME_3X3)?.relu()?;
            x = convolve(&x, &format!("{name}.conv2"), SAME_3X3)?.relu()?;
        }
        Ok(convolve(&x, "conv_final.0", SAME_3X3)?
            .tanh()?
            .flatten_all()?
            .to_vec1()?)
    }
}
