//! The U-Net for scoring: batch norms folded into the convolutions before them.
//!
//! On the CPU the plan runs `riad-conv`'s packed layers without a candle tensor inside, on NVIDIA GPUs it is that of
//! [`crate::cuda`], on others a candle graph. All give what PyTorch would give in its evaluation mode, within rounding.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use candle_core::Tensor;
use riad_conv::{Activation, Batch, BatchMut, Conv2d, ConvTranspose2d, Dims, Geometry};

use crate::{
    Device, Precision, Result,
    architecture::{Architecture, CHANNELS, Down, EPSILON, RESIZE_4X4, SAME_3X3, Up},
    cuda::CudaPlan,
    error::ModelError,
    graph::DeviceMasks,
    masking::Masking,
    values::Values,
    weights::Weights,
};

/// A network ready to score on one device.
pub(crate) enum Plan {
    Cpu(Box<CpuPlan>),
    Cuda(Box<CudaPlan>),
    Graph(GraphPlan),
}

impl Plan {
    pub(crate) fn new(weights: &Weights, device: &Device, precision: Precision) -> Result<Self> {
        match (device, precision) {
            (Device::Cpu, _) => Ok(Self::Cpu(Box::new(CpuPlan::new(weights, precision.on_cpu()?)?))),
            (Device::Cuda(gpu), _) => Ok(Self::Cuda(Box::new(CudaPlan::new(weights, gpu, precision.on_gpu())?))),
            (Device::Metal(device), Precision::F32) => GraphPlan::new(weights, device).map(Self::Graph),
            (Device::Metal(_), _) => Err(ModelError::Setting(format!(
                "{precision} is not for Apple's GPUs; leave --precision out, or choose another device"
            ))),
        }
    }

    /// Reconstructions `[B, 3, H, W]` in [0, 1] of images `[B, 3, H, W]` in [0, 1]: every pixel from the copy in which it is
    /// hidden. An image's result does not depend on the others in the batch.
    pub(crate) fn reconstruct(&self, images: &[f32], masking: &Masking) -> Result<Vec<f32>> {
        match self {
            Self::Cpu(plan) => {
                let (copies, height, width, _) = masking.shape();
                masking.compose(&plan.run(&masking.hide(images)?, copies, height, width)?)
            }
            Self::Cuda(plan) => plan.reconstruct(images, masking),
            Self::Graph(plan) => plan.reconstruct(images, masking),
        }
    }
}

/// Weight and bias of the convolution `conv`, with the batch norm `norm` after it folded in.
pub(crate) fn folded(weights: &Weights, conv: &str, norm: &str) -> (Vec<f32>, Vec<f32>) {
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
    architecture: Architecture,
    /// Memory of runs that ended, for the next ones.
    workspaces: Mutex<Vec<Workspace>>,
}

/// The activations of one run.
#[derive(Default)]
struct Workspace {
    /// Between two layers.
    between: Values,
    /// What goes from block to block.
    current: Values,
    /// What the decoder blocks' convolutions take in, from the image down: what comes up, then, with skip connections,
    /// what the encoder passes across.
    joints: Vec<Values>,
}

impl CpuPlan {
    pub(crate) fn new(weights: &Weights, precision: riad_conv::Precision) -> Result<Self> {
        let architecture = weights.architecture();
        let conv = |block: &str, index: usize, geometry: Geometry| {
            let (weight, bias) = folded(weights, &format!("{block}.conv{index}"), &format!("{block}.bn{index}"));
            let inputs = weight.len() / bias.len() / (geometry.kernel * geometry.kernel);
            let (outputs, bias) = (bias.len(), Some(&bias[..]));
            Conv2d::new(&weight, inputs, outputs, bias, geometry, Activation::Relu, precision)
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
                    let (bias, activation) = (Some(bias), Activation::None);
                    let up = ConvTranspose2d::new(weight, input, output, bias, RESIZE_4X4, activation, precision)?;
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
            precision,
        )?;
        Ok(Self {
            encoder,
            decoder,
            last,
            architecture,
            workspaces: Mutex::default(),
        })
    }

    /// Runs the network on `images` images `[height, width, 3]`, normalised to [-1, 1].
    pub(crate) fn run(&self, input: &[f32], images: usize, height: usize, width: usize) -> Result<Vec<f32>> {
        let image_len = height * width * CHANNELS;
        let at_once = images_at_once(self.architecture.width, height, width);
        let mut workspace = self.lock().pop().unwrap_or_default();
        let mut output = vec![0.0; images * image_len];
        for (input, output) in input
            .chunks(at_once * image_len)
            .zip(output.chunks_mut(at_once * image_len))
        {
            let dims = Dims::new(input.len() / image_len, height, width, CHANNELS);
            self.run_chunk(Batch::new(input, dims)?, BatchMut::new(output, dims)?, &mut workspace)?;
        }
        self.lock().push(workspace);
        Ok(output)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Workspace>> {
        // A workspace is taken out whole or not at all, so a panic elsewhere leaves nothing broken.
        self.workspaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run_chunk(&self, input: Batch<'_>, output: BatchMut<'_>, workspace: &mut Workspace) -> Result<()> {
        let Workspace {
            between,
            current,
            joints,
        } = workspace;
        let has_skips = self.architecture.skip_connections;
        joints.resize_with(self.decoder.len(), Values::default);
        for (level, CpuDown { conv1, conv2 }) in self.encoder.iter().enumerate() {
            let x = match level.checked_sub(1) {
                Some(above) if has_skips => skip(&joints[above])?,
                Some(_) => current.batch()?,
                None => input,
            };
            conv1.forward(x, between.shaped(conv1.output(x.dims())?)?)?;
            let dims = conv2.output(between.dims())?;
            let out = match joints.get_mut(level) {
                Some(joint) if has_skips => {
                    let channels = 2 * dims.channels;
                    joint
                        .shaped(Dims { channels, ..dims })?
                        .channels(dims.channels..channels)?
                }
                _ => current.shaped(dims)?,
            };
            conv2.forward(between.batch()?, out)?;
        }
        for (CpuUp { up, conv1, conv2 }, joint) in self.decoder.iter().zip(joints.iter_mut().rev()) {
            let up_dims = up.output(current.dims())?;
            let channels = up_dims.channels * if has_skips { 2 } else { 1 };
            let out = joint.shaped(Dims { channels, ..up_dims })?;
            up.forward(current.batch()?, out.channels(0..up_dims.channels)?)?;
            conv1.forward(joint.batch()?, between.shaped(conv1.output(joint.dims())?)?)?;
            conv2.forward(between.batch()?, current.shaped(conv2.output(between.dims())?)?)?;
        }
        Ok(self.last.forward(current.batch()?, output)?)
    }
}

/// The encoder's half of a concatenation.
fn skip(joint: &Values) -> Result<Batch<'_>> {
    let channels = joint.dims().channels;
    Ok(joint.batch()?.channels(channels / 2..channels)?)
}

/// How many images to run at once: as many as keep the largest activation, the last concatenation, within 32 MiB, so
/// that memory is bounded whatever the batch.
fn images_at_once(network_width: usize, height: usize, width: usize) -> usize {
    const LARGEST_ACTIVATION: usize = 32 << 20;
    (LARGEST_ACTIVATION / (2 * network_width * height * width * size_of::<f32>())).max(1)
}

/// The network as a candle graph, channels-first.
pub(crate) struct GraphPlan {
    architecture: Architecture,
    device: candle_core::Device,
    layers: BTreeMap<String, (Tensor, Tensor)>,
}

impl GraphPlan {
    pub(crate) fn new(weights: &Weights, device: &candle_core::Device) -> Result<Self> {
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

    fn reconstruct(&self, images: &[f32], masking: &Masking) -> Result<Vec<f32>> {
        let masks = DeviceMasks::new(masking, &self.device)?;
        let copies = masks.hide(&masking.upload(images, &self.device)?)?;
        let reconstructions = masks.compose(&self.run(&copies)?)?;
        Ok(reconstructions.flatten_all()?.to_vec1()?)
    }

    /// Runs the network on images `[N, 3, H, W]`, normalised to [-1, 1].
    pub(crate) fn run(&self, input: &Tensor) -> candle_core::Result<Tensor> {
        let convolve = |x: &Tensor, layer: &str, Geometry { stride, padding, .. }: Geometry| {
            let (weight, bias) = &self.layers[layer];
            x.conv2d(weight, padding, stride, 1, 1)?.broadcast_add(bias)
        };
        let mut x = input.clone();
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
            x = if self.architecture.skip_connections {
                Tensor::cat(&[&up, &skip], 1)?
            } else {
                up
            };
            x = convolve(&x, &format!("{name}.conv1"), SAME_3X3)?.relu()?;
            x = convolve(&x, &format!("{name}.conv2"), SAME_3X3)?.relu()?;
        }
        convolve(&x, "conv_final.0", SAME_3X3)?.tanh()
    }
}
