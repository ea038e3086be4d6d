//! The layers of a network that scores on a GPU.

use std::collections::BTreeMap;

use riad_cuda::{Buffer, Convolution, CudaError, Epilogue, Gpu, Kind, PIXEL, Pixels, Precision, Span};

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
    fn new(
        gpu: &Gpu,
        kind: Kind,
        precision: Precision,
        side: Side,
        [x, y]: [Pixel; 2],
        geometry: riad_conv::Geometry,
        epilogue: Epilogue,
    ) -> std::result::Result<Self, CudaError> {
        let mut spec = spec(kind, precision, side, [x.channels, y.channels], geometry);
        spec.epilogue = epilogue;
        (spec.x_pixel, spec.y_pixel) = (x.pixel, y.pixel);
        let zeros = gpu.buffer(x.channels.max(y.channels) * size_of::<f32>())?;
        let mut dense = [None, None];
        let convolution = match gpu.convolution(spec) {
            Err(CudaError::Failed { .. }) if x.channels != x.pixel || y.channels != y.pixel => {
                let (height, width) = spec.y_size();
                let bytes = precision.bytes();
                if x.channels != x.pixel {
                    dense[0] = Some(gpu.buffer(side.pixels() * x.channels * bytes)?);
                    spec.x_pixel = x.channels;
                }
                if y.channels != y.pixel {
                    dense[1] = Some(gpu.buffer(side.images * height * width * y.channels * bytes)?);
                    spec.y_pixel = y.channels;
                }
                gpu.convolution(spec)?
            }
            convolution => convolution?,
        };
        Ok(Self {
            convolution,
            dense,
            zeros,
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
        let [dense_x, dense_y] = &self.dense;
        fn dense<'a>(buffer: Option<&'a Buffer>, precision: Precision, pixels: Pixels<'a>) -> Pixels<'a> {
            buffer.map_or(pixels, |buffer| {
                buffer.pixels(precision, pixels.len(), pixels.channel_count())
            })
        }
        let (own_x, own_y) = (
            dense(dense_x.as_ref(), spec.precision, x),
            dense(dense_y.as_ref(), spec.precision, y),
        );
        let writes_x = spec.kind == Kind::GradInput;
        let zeros = self.zeros.span();
        if writes_x && dense_y.is_some() {
            gpu.add_bias(y, zeros, own_y)?;
        }
        if !writes_x && dense_x.is_some() {
            gpu.add_bias(x, zeros, own_x)?;
        }
        self.convolution.run(own_x, weight, own_y, bias)?;
        if writes_x && dense_x.is_some() {
            gpu.add_bias(own_x, zeros, x)?;
        }
        if !writes_x && dense_y.is_some() {
            gpu.add_bias(own_y, zeros, y)?;
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
        let layer = |kind, level: usize, pixels: [Pixel; 2], geometry, epilogue| {
            Layer::new(gpu, kind, precision, side.at(level), pixels, geometry, epilogue)
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
