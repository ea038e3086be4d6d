//! The network on candle-nn, built and run from its list of layers.

use std::collections::{BTreeMap, HashMap};

use candle_core::{Device, Module, ModuleT, Result, Tensor, bail};
use candle_nn::{
    BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig, Init, VarBuilder,
    batch_norm,
};

use crate::network::{After, EPSILON, Flow, Kind, Layer, MOMENTUM, Network, Source, TensorSpec, Weights};

/// The network of a list of layers: a U-Net, an autoencoder, or any other [`Architecture`](crate::Architecture).
///
/// Its tensors have PyTorch's names, which are those in checkpoints of this crate: `down1.conv1.weight`,
/// `down1.bn1.running_mean` and so on. Other tensors in the same file are ignored, such as an optimiser's state.
///
/// - **From a checkpoint**: `VarBuilder::from_buffered_safetensors(std::fs::read(path)?, DType::F32, &device)`, or, with candle's
///   own argument for its `unsafe`, `VarBuilder::from_mmaped_safetensors`.
/// - **To be trained**: `VarBuilder::from_varmap(&variables, DType::F32, &device)`. The initial values are PyTorch's:
///   convolutions uniform within ±1/√(fan in), batch norms the identity. candle's CPU has no seed. For a training that
///   can be repeated, set the variables to the [`tensors`] of [`Weights::initial`].
/// - **Back**: [`Checkpoint::open`](crate::Checkpoint::open) reads the file that `VarMap::save` writes.
///
/// Clones share their tensors: training one trains the others.
#[derive(Debug, Clone)]
pub struct UNet {
    blocks: Vec<Block>,
    inputs: usize,
    /// Sides of what it takes are multiples of this.
    multiple: usize,
}

/// A layer with its tensors.
#[derive(Debug, Clone)]
struct Block {
    source: Source,
    /// Values that no later layer reads.
    done: Vec<usize>,
    convolution: Convolution,
    norm: Option<BatchNorm>,
    ending: Ending,
}

#[derive(Debug, Clone)]
enum Convolution {
    Plain(Conv2d),
    Transposed(ConvTranspose2d),
}

#[derive(Debug, Clone, Copy)]
enum Ending {
    Nothing,
    Relu,
    Tanh,
}

impl UNet {
    /// Builds the network from the tensors that `vb` gives.
    ///
    /// # Errors
    /// If `vb` lacks one, or one has another shape.
    pub fn new(network: &Network, vb: VarBuilder<'_>) -> Result<Self> {
        let flow = Flow::of(network);
        let layers = network.layers().iter().enumerate();
        let blocks = layers.map(|(index, layer)| {
            let mut done = layer.source.values().to_vec();
            done.retain(|&value| flow.values[value].last_reader == Some(index));
            Block::new(layer, done, &vb)
        });
        let levels = network.levels().into_iter().max().unwrap_or(0);
        Ok(Self {
            blocks: blocks.collect::<Result<_>>()?,
            inputs: network.inputs(),
            multiple: 1 << levels,
        })
    }

    /// A copy to score with. Batch norms are folded into the convolutions before them, and nothing is kept for a
    /// backward pass. Further training of this network does not change the copy. Its output is that of `forward_t(xs,
    /// false)` of this network, within rounding, also with `forward_t(xs, true)`.
    ///
    /// # Errors
    /// If the device fails.
    pub fn folded(&self) -> Result<Self> {
        let blocks = self.blocks.iter().map(Block::folded);
        Ok(Self {
            blocks: blocks.collect::<Result<_>>()?,
            ..*self
        })
    }
}

impl ModuleT for UNet {
    /// Runs the network on normalised images `[N, C, H, W]`, whose sides must be multiples of 16 (see
    /// [`continued`](super::continued)). The result has the same size, and values in [-1, 1].
    ///
    /// With `train`, batch norms normalise by the batch's own statistics, over all its images, and move their running ones
    /// towards them, as PyTorch's do: by a tenth, the variance unbiased. Else they normalise by the running ones.
    fn forward_t(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        let (images, channels, height, width) = xs.dims4()?;
        let fits = |side: usize| side > 0 && side.is_multiple_of(self.multiple);
        if images == 0 || channels != self.inputs || !fits(height) || !fits(width) {
            bail!(
                "the network takes images [N, {}, H, W], at least one, with sides that are multiples of {}, not {:?}",
                self.inputs,
                self.multiple,
                xs.dims()
            );
        }
        let mut values = BTreeMap::from([(0, xs.clone())]);
        let mut output = xs.clone();
        for (index, block) in self.blocks.iter().enumerate() {
            let read = block.source.values().iter().map(|value| &values[value]);
            let x = match &block.source {
                Source::Value(value) => values[value].clone(),
                Source::Concatenated { .. } => Tensor::cat(&read.collect::<Vec<_>>(), 1)?,
                Source::Added { .. } => sum(read)?,
            };
            // Where nothing is trained this is their end.
            block.done.iter().for_each(|value| drop(values.remove(value)));
            output = block.forward(&x, train)?;
            values.insert(index + 1, output.clone());
        }
        Ok(output)
    }
}

impl Block {
    fn new(layer: &Layer, done: Vec<usize>, vb: &VarBuilder<'_>) -> Result<Self> {
        let shape = layer.weight_shape();
        // PyTorch counts the second dimension of a transposed convolution's weight as well. candle-nn draws other values.
        let fan_in: usize = shape[1..].iter().product();
        let bound = 1.0 / (fan_in as f64).sqrt();
        let uniform = Init::Uniform { lo: -bound, up: bound };
        let of_layer = vb.pp(&layer.name);
        let weight = of_layer.get_with_hints(&shape, "weight", uniform)?;
        let bias = Some(of_layer.get_with_hints(layer.outputs, "bias", uniform)?);
        let (stride, padding) = (layer.geometry.stride, layer.geometry.padding);
        let convolution = match layer.kind {
            Kind::Plain => {
                let config = Conv2dConfig {
                    stride,
                    padding,
                    ..Default::default()
                };
                Convolution::Plain(Conv2d::new(weight, bias, config))
            }
            Kind::Transposed => {
                let config = ConvTranspose2dConfig {
                    stride,
                    padding,
                    ..Default::default()
                };
                Convolution::Transposed(ConvTranspose2d::new(weight, bias, config))
            }
        };
        let config = BatchNormConfig {
            eps: EPSILON,
            momentum: MOMENTUM,
            ..Default::default()
        };
        let norm = layer.norm().map(|norm| batch_norm(layer.outputs, config, vb.pp(norm)));
        Ok(Self {
            source: layer.source.clone(),
            done,
            convolution,
            norm: norm.transpose()?,
            ending: match layer.after {
                After::Nothing => Ending::Nothing,
                After::NormRelu { .. } => Ending::Relu,
                After::Tanh { .. } => Ending::Tanh,
            },
        })
    }

    fn folded(&self) -> Result<Self> {
        let copied = |tensor: &Tensor| Ok::<_, candle_core::Error>(tensor.copy()?.detach());
        let bias = |bias: Option<&Tensor>| bias.map(copied).transpose();
        let convolution = match (&self.convolution, &self.norm) {
            (Convolution::Plain(plain), norm) => {
                let plain = match norm {
                    Some(norm) => plain.absorb_bn(norm)?,
                    None => plain.clone(),
                };
                let (weight, bias) = (copied(plain.weight())?, bias(plain.bias())?);
                Convolution::Plain(Conv2d::new(weight, bias, *plain.config()))
            }
            (Convolution::Transposed(transposed), _) => {
                let (weight, bias) = (copied(transposed.weight())?, bias(transposed.bias())?);
                Convolution::Transposed(ConvTranspose2d::new(weight, bias, *transposed.config()))
            }
        };
        Ok(Self {
            convolution,
            norm: None,
            source: self.source.clone(),
            done: self.done.clone(),
            ending: self.ending,
        })
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let x = match &self.convolution {
            Convolution::Plain(plain) => plain.forward(x)?,
            Convolution::Transposed(transposed) => transposed.forward(x)?,
        };
        let x = match &self.norm {
            Some(norm) => normalised(norm, &x, train)?,
            None => x,
        };
        match self.ending {
            Ending::Nothing => Ok(x),
            Ending::Relu => relu(&x),
            Ending::Tanh => x.tanh(),
        }
    }
}

/// candle-nn's batch norm, which is PyTorch's but for a batch of one value a channel. PyTorch refuses to train on one; here as on
/// the CPU it has the variance 0.
fn normalised(norm: &BatchNorm, x: &Tensor, train: bool) -> Result<Tensor> {
    let (images, _, height, width) = x.dims4()?;
    if !train || images * height * width > 1 {
        return norm.forward_t(x, train);
    }
    // The unbiased variance of one value is 0/0, and candle-nn would keep the NaN. That of twice the value is 0, and mean, output
    // and gradient stay the same.
    norm.forward_t(&Tensor::cat(&[x, x], 0)?, true)?.narrow(0, 0, 1)
}

/// ReLU whose gradient at 0 is 0, and that leaves NaN what it is, as PyTorch's. candle's has a gradient of 1 at 0, and makes 0 of NaN.
fn relu(x: &Tensor) -> Result<Tensor> {
    x.le(0.0)?.where_cond(&x.zeros_like()?, x)
}

fn sum<'a>(mut parts: impl Iterator<Item = &'a Tensor>) -> Result<Tensor> {
    match parts.next() {
        Some(first) => parts.try_fold(first.clone(), |sum, part| sum + part),
        None => bail!("there is nothing to add"),
    }
}

/// The tensors of `weights` on a device, by their names: for `VarBuilder::from_tensors` or `VarMap::set`.
///
/// # Errors
/// If the device fails.
pub fn tensors(weights: &Weights, device: &Device) -> Result<HashMap<String, Tensor>> {
    let specs = weights.network().tensors().into_iter();
    let tensors = specs.map(|TensorSpec { name, shape, .. }| {
        let tensor = Tensor::from_slice(weights.get(&name), shape, device)?;
        Ok((name, tensor))
    });
    tensors.collect()
}
