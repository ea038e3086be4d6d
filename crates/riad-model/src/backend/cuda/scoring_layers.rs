//! The layers of a network that scores on a GPU.

use std::collections::BTreeMap;

use riad_cuda::{
    Buffer, Convolution, ConvolutionSpec, CudaError, Epilogue, Gpu, Kind as Pass, Pixels, Precision, Span,
};

use super::{
    shape::Side,
    wiring::{Guest, Wiring},
};
use crate::network::{After, Input, Kind};

/// Layers and activations for a fixed number of copies at once.
pub(super) struct ScoringLayers {
    precision: Precision,
    pub(super) side: Side,
    layers: Vec<Prepared>,
    /// Of each value that does not lie in a joint: its slot.
    slot_of: Vec<usize>,
    slots: Vec<Buffer>,
    joints: Vec<Buffer>,
    /// Of layers without a batch norm, before their bias: cuDNN writes to parts of pixels by way of such memory of its own.
    before_bias: Buffer,
}

/// A convolution between tensors that may be parts of wider pixels, whether cuDNN takes such or not.
struct Prepared {
    convolution: Convolution,
    /// Where cuDNN wants a dense x or y.
    dense: [Option<Buffer>; 2],
}

impl Prepared {
    fn new(gpu: &Gpu, spec: ConvolutionSpec) -> Result<Self, CudaError> {
        match gpu.convolution(spec) {
            Err(CudaError::Failed { .. })
                if spec.kind == Pass::Forward && (spec.x_pixel != spec.inputs || spec.y_pixel != spec.outputs) =>
            {
                Self::by_way_of_dense(gpu, spec)
            }
            convolution => Ok(Self {
                convolution: convolution?,
                dense: [None, None],
            }),
        }
    }

    /// For a cuDNN that takes dense tensors alone. Only of [`Pass::Forward`].
    fn by_way_of_dense(gpu: &Gpu, spec: ConvolutionSpec) -> Result<Self, CudaError> {
        let bytes = spec.precision.bytes();
        let (height, width) = spec.y_size()?;
        let x = spec.images * spec.height * spec.width * spec.inputs * bytes;
        let y = spec.images * height * width * spec.outputs * bytes;
        let dense = |is_needed: bool, bytes| is_needed.then(|| gpu.buffer(bytes)).transpose();
        Ok(Self {
            dense: [
                dense(spec.x_pixel != spec.inputs, x)?,
                dense(spec.y_pixel != spec.outputs, y)?,
            ],
            convolution: gpu.convolution(ConvolutionSpec {
                x_pixel: spec.inputs,
                y_pixel: spec.outputs,
                ..spec
            })?,
        })
    }

    /// Computes y from x, or x from y, as its kind says.
    fn run(
        &self,
        gpu: &Gpu,
        x: Pixels<'_>,
        weight: Span<'_>,
        y: Pixels<'_>,
        bias: Option<Span<'_>>,
    ) -> Result<(), CudaError> {
        let spec = self.convolution.spec();
        let [own_x, own_y] = [(&self.dense[0], x), (&self.dense[1], y)].map(|(dense, pixels)| match dense {
            Some(buffer) => buffer.pixels(spec.precision, pixels.len(), pixels.channel_count()),
            None => Ok(pixels),
        });
        let (own_x, own_y) = (own_x?, own_y?);
        if self.dense[0].is_some() {
            gpu.copy(x, own_x)?;
        }
        self.convolution.run(own_x, weight, own_y, bias)?;
        if self.dense[1].is_some() {
            gpu.copy(own_y, y)?;
        }
        Ok(())
    }
}

/// Bytes of activations of a network.
struct Sizes {
    slots: Vec<usize>,
    joints: Vec<usize>,
    before_bias: usize,
}

impl Sizes {
    fn new(wiring: &Wiring, precision: Precision, side: Side) -> Self {
        let bytes = |level: usize, channels: usize| side.at(level).pixels() * channels * precision.bytes();
        let of_value = |value: usize| bytes(wiring.level(value), wiring.channels(value));
        let slot_of = wiring.flow.slots();
        let inner = || 1..wiring.last();
        let mut slots = vec![0; slot_of.iter().max().map_or(0, |last| last + 1)];
        for value in inner().filter(|&value| wiring.home(value).is_none()) {
            let slot = &mut slots[slot_of[value]];
            *slot = of_value(value).max(*slot);
        }
        let joints = wiring.flow.joints.iter().enumerate();
        let without_norm = inner().filter(|value| wiring.layers[value - 1].after == After::Nothing);
        Self {
            slots,
            joints: joints
                .map(|(index, joint)| bytes(joint.level, wiring.joined(index)))
                .collect(),
            before_bias: without_norm.map(of_value).max().unwrap_or(0),
        }
    }
}

impl ScoringLayers {
    /// Bytes of activations for one copy.
    pub(super) fn bytes_of_a_copy(wiring: &Wiring, precision: Precision, side: Side) -> usize {
        let sizes = Sizes::new(wiring, precision, side);
        let all = sizes.slots.iter().chain(&sizes.joints).sum::<usize>() + sizes.before_bias;
        (all / side.images.max(1)).max(1)
    }

    /// Prepares a network's layers.
    pub(super) fn new(gpu: &Gpu, wiring: &Wiring, precision: Precision, side: Side) -> Result<Self, CudaError> {
        let sizes = Sizes::new(wiring, precision, side);
        let buffers = |sizes: Vec<usize>| -> Result<Vec<Buffer>, CudaError> {
            sizes.into_iter().map(|bytes| gpu.buffer(bytes)).collect()
        };
        // Where a value lies, pixels are as wide as its joint.
        let pixel = |value: usize| match wiring.home(value) {
            Some((joint, _)) => wiring.joined(joint),
            None => wiring.channels(value),
        };
        let layers = wiring.layers.iter().enumerate().map(|(index, layer)| {
            let dense = wiring.spec(index, Pass::Forward, precision, side);
            let read = match wiring.flow.inputs[index] {
                Input::Value(value) => pixel(value),
                Input::Joint(joint) => wiring.joined(joint),
            };
            // Without a batch norm the layer's output is dense: its bias is added on the way to where it belongs.
            let spec = match (&layer.after, layer.kind) {
                (After::NormRelu { .. }, _) => ConvolutionSpec {
                    epilogue: Epilogue::BiasRelu,
                    x_pixel: read,
                    y_pixel: pixel(index + 1),
                    ..dense
                },
                (After::Nothing | After::Tanh { .. }, Kind::Plain) => ConvolutionSpec { x_pixel: read, ..dense },
                (After::Nothing | After::Tanh { .. }, Kind::Transposed) => ConvolutionSpec { y_pixel: read, ..dense },
            };
            Prepared::new(gpu, spec)
        });
        Ok(Self {
            precision,
            side,
            layers: layers.collect::<Result<_, CudaError>>()?,
            slot_of: wiring.flow.slots(),
            slots: buffers(sizes.slots)?,
            joints: buffers(sizes.joints)?,
            before_bias: gpu.buffer(sizes.before_bias)?,
        })
    }

    /// Runs the network on as many masked copies as it was prepared for. The last layer's bias and tanh are left out.
    pub(super) fn run(
        &self,
        gpu: &Gpu,
        wiring: &Wiring,
        weights: &BTreeMap<String, (Buffer, Buffer)>,
        input: Pixels<'_>,
        output: Pixels<'_>,
    ) -> Result<(), CudaError> {
        let stored = self.side.in_precision(self.precision);
        let joint = |joint: usize| {
            stored.pixels(
                &self.joints[joint],
                wiring.flow.joints[joint].level,
                wiring.joined(joint),
            )
        };
        let place = |value: usize| {
            let (level, channels) = (wiring.level(value), wiring.channels(value));
            match wiring.home(value) {
                _ if value == 0 => Ok(input),
                _ if value == wiring.last() => Ok(output),
                Some((of, first)) => joint(of)?.channels(first, channels),
                None => stored.pixels(&self.slots[self.slot_of[value]], level, channels),
            }
        };
        for (index, (layer, prepared)) in wiring.layers.iter().zip(&self.layers).enumerate() {
            for guest in wiring.guests(index) {
                let Guest {
                    value,
                    joint: of,
                    first,
                    channels,
                    is_added,
                } = guest;
                let to = joint(of)?.channels(first, channels)?;
                if is_added {
                    gpu.add(place(value)?, to)?;
                } else {
                    gpu.copy(place(value)?, to)?;
                }
            }
            let x = match wiring.flow.inputs[index] {
                Input::Value(value) => place(value)?,
                Input::Joint(of) => joint(of)?,
            };
            let (weight, bias) = &weights[&layer.name];
            let (weight, bias, y) = (weight.span(), bias.span(), place(index + 1)?);
            let run = |y: Pixels<'_>, bias: Option<Span<'_>>| match layer.kind {
                Kind::Plain => prepared.run(gpu, x, weight, y, bias),
                Kind::Transposed => prepared.run(gpu, y, weight, x, bias),
            };
            match layer.after {
                After::NormRelu { .. } => run(y, Some(bias))?,
                After::Tanh { .. } => run(y, None)?,
                After::Nothing => {
                    let (level, channels) = (wiring.level(index + 1), wiring.channels(index + 1));
                    let before_bias = stored.pixels(&self.before_bias, level, channels)?;
                    run(before_bias, None)?;
                    gpu.add_bias(before_bias, bias, y)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::{backend::cuda::shape::spec, network::Geometry};

    const SAME_3X3: Geometry = Geometry {
        kernel: 3,
        stride: 1,
        padding: 1,
    };

    #[test]
    fn by_way_of_dense_tensors_a_layer_gives_the_same_and_nothing_else_changes() {
        let gpu = Gpu::emulated();
        let side = Side {
            images: 2,
            height: 6,
            width: 4,
        };
        let (count, precision) = (side.pixels(), Precision::F32);
        let spec = ConvolutionSpec {
            epilogue: Epilogue::BiasRelu,
            x_pixel: 24,
            y_pixel: 32,
            ..spec(Pass::Forward, precision, side, [8, 16], SAME_3X3)
        };
        let values = |count: usize| (0..count).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<_>>();
        let x = gpu.upload(&values(count * 24)).unwrap();
        let (weight, bias) = (
            gpu.upload(&values(16 * 9 * 8)).unwrap(),
            gpu.upload(&values(16)).unwrap(),
        );
        let results = [Prepared::new(&gpu, spec), Prepared::by_way_of_dense(&gpu, spec)].map(|layer| {
            let y = gpu.upload(&vec![7.0f32; count * 32]).unwrap();
            let x_part = x.pixels(precision, count, 24).unwrap().channels(16, 8).unwrap();
            let y_part = y.pixels(precision, count, 32).unwrap().channels(8, 16).unwrap();
            let layer = layer.unwrap();
            layer
                .run(&gpu, x_part, weight.span(), y_part, Some(bias.span()))
                .unwrap();
            y.read::<f32>(0, count * 32).unwrap()
        });
        assert_eq!(results[0], results[1]);
        for pixel in results[0].chunks_exact(32) {
            assert!(pixel[..8].iter().chain(&pixel[24..]).all(|value| *value == 7.0));
            assert!(pixel[8..24].iter().any(|value| *value != 7.0));
        }
    }
}
