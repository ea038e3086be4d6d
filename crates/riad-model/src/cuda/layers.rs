//! The layers of a network that scores on a GPU.

use std::collections::BTreeMap;

use riad_cuda::{Buffer, Convolution, ConvolutionSpec, CudaError, Epilogue, Gpu, Kind, PIXEL, Pixels, Precision, Span};

use super::{
    layout::padded,
    network::LAST,
    shape::{Side, spec},
};
use crate::{
    Result,
    architecture::{Architecture, Down, RESIZE_4X4, SAME_3X3, Up},
};

/// Layers and activations for so many copies at once.
pub(super) struct Layers {
    architecture: Architecture,
    precision: Precision,
    pub(super) side: Side,
    encoder: Vec<[Layer; 2]>,
    decoder: Vec<[Layer; 3]>,
    last: Layer,
    between: Buffer,
    current: Buffer,
    /// Of transposed convolutions, before their bias: cuDNN writes to parts of pixels by way of such memory of its own.
    risen: Buffer,
    /// From the image down: what decoder blocks' convolutions take in.
    joints: Vec<Buffer>,
}

/// A convolution between tensors that may be parts of wider pixels, whether cuDNN takes such or not.
struct Layer {
    convolution: Convolution,
    /// Where cuDNN wants a dense x or y.
    dense: [Option<Buffer>; 2],
    /// Of as many zeros as the layer has channels: a copy is a sum with them.
    zeros: Buffer,
}

impl Layer {
    fn new(gpu: &Gpu, spec: ConvolutionSpec) -> std::result::Result<Self, CudaError> {
        match gpu.convolution(spec) {
            Err(CudaError::Failed { .. }) if spec.x_pixel != spec.inputs || spec.y_pixel != spec.outputs => {
                Self::by_way_of_dense(gpu, spec)
            }
            convolution => Ok(Self {
                convolution: convolution?,
                dense: [None, None],
                zeros: gpu.buffer(0)?,
            }),
        }
    }

    /// For a cuDNN that takes dense tensors alone. Only of [`Kind::Forward`].
    fn by_way_of_dense(gpu: &Gpu, spec: ConvolutionSpec) -> std::result::Result<Self, CudaError> {
        let bytes = spec.precision.bytes();
        let (height, width) = spec.y_size();
        let x = spec.images * spec.height * spec.width * spec.inputs * bytes;
        let y = spec.images * height * width * spec.outputs * bytes;
        let dense = |is_needed: bool, bytes| is_needed.then(|| gpu.buffer(bytes)).transpose();
        Ok(Self {
            dense: [
                dense(spec.x_pixel != spec.inputs, x)?,
                dense(spec.y_pixel != spec.outputs, y)?,
            ],
            zeros: gpu.buffer(spec.inputs.max(spec.outputs) * size_of::<f32>())?,
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
    ) -> std::result::Result<(), CudaError> {
        let spec = self.convolution.spec();
        let [own_x, own_y] = [(&self.dense[0], x), (&self.dense[1], y)].map(|(dense, pixels)| match dense {
            Some(buffer) => buffer.pixels(spec.precision, pixels.len(), pixels.channel_count()),
            None => pixels,
        });
        if self.dense[0].is_some() {
            gpu.add_bias(x, self.zeros.span(), own_x)?;
        }
        self.convolution.run(own_x, weight, own_y, bias)?;
        if self.dense[1].is_some() {
            gpu.add_bias(own_y, self.zeros.span(), y)?;
        }
        Ok(())
    }
}

/// Channels in use, and values from one pixel to the next.
#[derive(Clone, Copy)]
struct Pixel {
    channels: usize,
    pixel: usize,
}

impl Pixel {
    fn dense(channels: usize) -> Self {
        Self {
            channels,
            pixel: channels,
        }
    }
}

impl Layers {
    /// Bytes of [`Layers`]'s activations for one copy.
    pub(super) fn bytes_of_a_copy(architecture: Architecture, precision: Precision, side: Side) -> usize {
        let width = padded(architecture.width);
        let joints: usize = (0..4).map(|level| side.at(level).pixels() * (2 << level) * width).sum();
        let others = 3 * side.pixels() * width;
        (joints + others) * precision.bytes() / side.images
    }

    /// Prepares a network's layers.
    pub(super) fn new(gpu: &Gpu, architecture: Architecture, precision: Precision, side: Side) -> Result<Self> {
        let bytes = precision.bytes();
        let has_skips = architecture.skip_connections;
        let layer = |kind, level: usize, [x, y]: [Pixel; 2], geometry, epilogue| {
            let dense = spec(kind, precision, side.at(level), [x.channels, y.channels], geometry);
            let spec = ConvolutionSpec {
                epilogue,
                x_pixel: x.pixel,
                y_pixel: y.pixel,
                ..dense
            };
            Layer::new(gpu, spec)
        };
        let decoder = architecture.decoder();
        // The encoder's half of a joint, or a tensor of its own.
        let passed = |level: usize, channels: usize| {
            let is_joint = has_skips && level < decoder.len();
            Pixel {
                channels,
                pixel: if is_joint { 2 * channels } else { channels },
            }
        };
        let mut encoder_layers = Vec::new();
        for (
            level,
            Down {
                input, output, first, ..
            },
        ) in architecture.encoder().into_iter().enumerate()
        {
            let (input, output) = (padded(input), padded(output));
            let before = if level == 0 {
                Pixel::dense(input)
            } else {
                passed(level - 1, input)
            };
            let between = Pixel::dense(output);
            encoder_layers.push([
                layer(
                    Kind::Forward,
                    level.saturating_sub(1),
                    [before, between],
                    first,
                    Epilogue::BiasRelu,
                )?,
                layer(
                    Kind::Forward,
                    level,
                    [between, passed(level, output)],
                    SAME_3X3,
                    Epilogue::BiasRelu,
                )?,
            ]);
        }
        let (mut decoder_layers, mut joints) = (Vec::new(), Vec::new());
        for (
            index,
            Up {
                input, output, skip, ..
            },
        ) in decoder.into_iter().enumerate()
        {
            let level = decoder.len() - 1 - index;
            let (input, output) = (padded(input), padded(output));
            let channels = if skip > 0 { 2 * output } else { output };
            let dense = Pixel::dense(output);
            decoder_layers.push([
                layer(
                    Kind::GradInput,
                    level,
                    [dense, Pixel::dense(input)],
                    RESIZE_4X4,
                    Epilogue::None,
                )?,
                layer(
                    Kind::Forward,
                    level,
                    [Pixel::dense(channels), dense],
                    SAME_3X3,
                    Epilogue::BiasRelu,
                )?,
                layer(Kind::Forward, level, [dense, dense], SAME_3X3, Epilogue::BiasRelu)?,
            ]);
            joints.insert(0, gpu.buffer(side.at(level).pixels() * channels * bytes)?);
        }
        let width = Pixel::dense(padded(architecture.width));
        let largest = side.pixels() * width.channels * bytes;
        Ok(Self {
            architecture,
            precision,
            side,
            encoder: encoder_layers,
            decoder: decoder_layers,
            last: layer(Kind::Forward, 0, [width, Pixel::dense(PIXEL)], SAME_3X3, Epilogue::None)?,
            between: gpu.buffer(largest)?,
            current: gpu.buffer(largest)?,
            risen: gpu.buffer(largest)?,
            joints,
        })
    }

    /// Runs the network on as many masked copies as it was prepared for.
    pub(super) fn run(
        &self,
        gpu: &Gpu,
        weights: &BTreeMap<String, (Buffer, Buffer)>,
        input: Pixels<'_>,
        output: Pixels<'_>,
    ) -> Result<()> {
        let has_skips = self.architecture.skip_connections;
        let view = self.side.in_precision(self.precision);
        let layer = |layer: &Layer, name: &str, x: Pixels<'_>, y: Pixels<'_>| {
            let (weight, bias) = &weights[name];
            layer.run(gpu, x, weight.span(), y, Some(bias.span()))
        };
        let mut x = input;
        for (level, (Down { name, output, .. }, layers)) in
            self.architecture.encoder().into_iter().zip(&self.encoder).enumerate()
        {
            let channels = padded(output);
            let between = view.pixels(&self.between, level, channels);
            let y = match self.joints.get(level) {
                Some(joint) if has_skips => view.pixels(joint, level, 2 * channels).channels(channels, channels),
                _ => view.pixels(&self.current, level, channels),
            };
            layer(&layers[0], &format!("{name}.conv1"), x, between)?;
            layer(&layers[1], &format!("{name}.conv2"), between, y)?;
            x = y;
        }
        let levels = (0..self.joints.len()).rev();
        for ((Up { name, output, skip, .. }, layers), level) in
            self.architecture.decoder().into_iter().zip(&self.decoder).zip(levels)
        {
            let channels = padded(output);
            let joint = view.pixels(
                &self.joints[level],
                level,
                if skip > 0 { 2 * channels } else { channels },
            );
            let risen = view.pixels(&self.risen, level, channels);
            let upconv = format!("{name}.upconv");
            layer(&layers[0], &upconv, risen, x)?;
            gpu.add_bias(risen, weights[&upconv].1.span(), joint.channels(0, channels))?;
            let between = view.pixels(&self.between, level, channels);
            let y = view.pixels(&self.current, level, channels);
            layer(&layers[1], &format!("{name}.conv1"), joint, between)?;
            layer(&layers[2], &format!("{name}.conv2"), between, y)?;
            x = y;
        }
        Ok(layer(&self.last, LAST, x, output)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ..spec(Kind::Forward, precision, side, [8, 16], SAME_3X3)
        };
        let values = |count: usize| (0..count).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<_>>();
        let x = gpu.upload(&values(count * 24)).unwrap();
        let (weight, bias) = (
            gpu.upload(&values(16 * 9 * 8)).unwrap(),
            gpu.upload(&values(16)).unwrap(),
        );
        let results = [Layer::new(&gpu, spec), Layer::by_way_of_dense(&gpu, spec)].map(|layer| {
            let y = gpu.upload(&vec![7.0f32; count * 32]).unwrap();
            let x_part = x.pixels(precision, count, 24).channels(16, 8);
            let y_part = y.pixels(precision, count, 32).channels(8, 16);
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
