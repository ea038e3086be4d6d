//! A network for scoring on the CPU: packed layers, batch norms folded into the convolutions before them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use riad_conv::{Activation as Ending, BatchMut, Conv2d, ConvTranspose2d, Dims, Precision};

use super::activation::{Activations, View};
use crate::{
    Result,
    backend::Score,
    method::Passes,
    network::{After, Flow, Kind, Layer, Weights, folded},
};

/// Bytes of the largest activation of the images that run at once, at most, unless one image takes more: memory is bounded
/// whatever the batch.
const LARGEST_ACTIVATION: usize = 32 << 20;

/// A network as packed layers.
pub(crate) struct CpuScorer {
    flow: Flow,
    layers: Vec<Packed>,
    /// Of each value that does not lie in a joint: its slot.
    slot_of: Vec<usize>,
    passes: Passes,
    /// Memory of runs that ended, for the next ones.
    workspaces: Mutex<Vec<Activations>>,
}

/// A layer with its weights as its kernel wants them.
enum Packed {
    Plain(Conv2d),
    Transposed(ConvTranspose2d),
}

impl Packed {
    fn new(weights: &Weights, layer: &Layer, precision: Precision) -> Result<Self> {
        let (weight, bias) = folded(weights, layer);
        let ending = match layer.after {
            After::Nothing => Ending::None,
            After::NormRelu { .. } => Ending::Relu,
            After::Tanh { .. } => Ending::Tanh,
        };
        let Layer {
            inputs,
            outputs,
            geometry,
            ..
        } = *layer;
        let bias = Some(&bias[..]);
        Ok(match layer.kind {
            Kind::Plain => Self::Plain(Conv2d::new(
                &weight, inputs, outputs, bias, geometry, ending, precision,
            )?),
            Kind::Transposed => Self::Transposed(ConvTranspose2d::new(
                &weight, inputs, outputs, bias, geometry, ending, precision,
            )?),
        })
    }

    fn output(&self, dims: Dims) -> Result<Dims> {
        Ok(match self {
            Self::Plain(layer) => layer.output(dims)?,
            Self::Transposed(layer) => layer.output(dims)?,
        })
    }

    fn forward(&self, x: View<'_>, out: BatchMut<'_>) -> Result<()> {
        let x = x.batch()?;
        match self {
            Self::Plain(layer) => layer.forward(x, out)?,
            Self::Transposed(layer) => layer.forward(x, out)?,
        }
        Ok(())
    }
}

impl CpuScorer {
    pub(crate) fn new(weights: &Weights, passes: Passes, precision: Precision) -> Result<Self> {
        let network = weights.network();
        let flow = Flow::of(network);
        let layers = network.layers().iter();
        Ok(Self {
            layers: layers
                .map(|layer| Packed::new(weights, layer, precision))
                .collect::<Result<_>>()?,
            slot_of: flow.slots(),
            flow,
            passes,
            workspaces: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Activations>> {
        // A workspace is taken out whole or not at all, so a panic elsewhere leaves nothing broken.
        self.workspaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the network on a batch of shape `dims` in the network's range, channels-last.
    pub(crate) fn run(&self, input: &[f32], dims: Dims) -> Result<Vec<f32>> {
        let pixels = dims.height * dims.width;
        let outputs = self.flow.values.last().map_or(0, |value| value.channels);
        let at_once = self.images_at_once(pixels);
        let workspace = self.lock().pop();
        let mut workspace = workspace.unwrap_or_else(|| Activations::new(&self.flow, self.slot_of.clone()));
        let mut output = vec![0.0; dims.images * pixels * outputs];
        for (input, output) in input
            .chunks(at_once * pixels * dims.channels)
            .zip(output.chunks_mut(at_once * pixels * outputs))
        {
            let images = input.len() / (pixels * dims.channels);
            let to = Dims {
                images,
                channels: outputs,
                ..dims
            };
            let input = View::new(input, Dims { images, ..dims });
            self.run_chunk(input, BatchMut::new(output, to)?, &mut workspace)?;
        }
        self.lock().push(workspace);
        Ok(output)
    }

    /// How many images of `pixels` pixels run at once.
    fn images_at_once(&self, pixels: usize) -> usize {
        let joints = self.flow.joints.iter().map(|joint| (joint.channels, joint.level));
        let values = self.flow.values.iter().map(|value| (value.channels, value.level));
        let bytes = |(channels, level): (usize, usize)| channels * (pixels >> (2 * level)) * size_of::<f32>();
        let largest = joints.chain(values).map(bytes).max().unwrap_or(0);
        (LARGEST_ACTIVATION / largest.max(1)).max(1)
    }

    fn run_chunk(&self, input: View<'_>, output: BatchMut<'_>, workspace: &mut Activations) -> Result<()> {
        let flow = &self.flow;
        let mut output = Some(output);
        for (index, layer) in self.layers.iter().enumerate() {
            workspace.gather(flow, index, input)?;
            if index + 1 == self.layers.len()
                && let Some(output) = output.take()
            {
                layer.forward(workspace.input(flow, index, input), output)?;
                continue;
            }
            let (mut out, first, pixel) = workspace.take(flow, index + 1);
            let x = workspace.input(flow, index, input);
            let dims = layer.output(x.dims())?;
            let place = Dims {
                channels: pixel,
                ..dims
            };
            let place = out.shaped(place)?.channels(first..first + dims.channels)?;
            layer.forward(x, place)?;
            workspace.put(flow, index + 1, out);
        }
        Ok(())
    }
}

impl Score for CpuScorer {
    fn passes(&self) -> &Passes {
        &self.passes
    }

    fn reconstruct(&self, images: &[f32], pass: usize) -> Result<Vec<f32>> {
        let masking = self.passes.masking(pass, images)?;
        masking.compose(&self.run(&masking.hide(images)?, masking.dims())?)
    }
}
