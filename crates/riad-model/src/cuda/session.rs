//! What a network on a GPU consists of, and what batches of one shape take: prepared convolutions and memory.

use riad_conv::Geometry;
use riad_cuda::{Buffer, Convolution, CudaError, Gpu, Kind, PIXEL, Precision};

use super::shape::{Side, spec};
use crate::architecture::{RESIZE_4X4, SAME_3X3};

/// A convolution's three passes.
pub(super) struct Passes {
    pub(super) forward: Convolution,
    pub(super) weight: Convolution,
    pub(super) input: Option<Convolution>,
}

/// Convolution, batch norm and ReLU.
pub(super) struct Block {
    pub(super) conv: String,
    pub(super) norm: String,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) geometry: Geometry,
    /// Halvings of the image before it.
    pub(super) level: usize,
}

/// What the forward pass leaves of a block.
pub(super) struct Kept {
    pub(super) convolved: Buffer,
    pub(super) output: Buffer,
    /// What the backward pass has to know of the batch norm.
    pub(super) line: Buffer,
}

/// A decoder block: a transposed convolution into a joint, then two blocks.
pub(super) struct Rise {
    pub(super) conv: String,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) skip: usize,
    /// Halvings of the image after it.
    pub(super) level: usize,
    pub(super) blocks: [Block; 2],
}

/// Convolutions ready for batches of one shape.
pub(super) struct Prepared {
    pub(super) side: Side,
    pub(super) encoder: Vec<[Passes; 2]>,
    pub(super) decoder: Vec<(Passes, [Passes; 2])>,
    pub(super) last: Passes,
}

/// Activations and gradients, for batches of up to so many images.
pub(super) struct Memory {
    pub(super) side: Side,
    pub(super) encoder: Vec<[Kept; 2]>,
    pub(super) decoder: Vec<[Kept; 2]>,
    /// What decoder blocks' convolutions take in, and its gradient, from the image down.
    pub(super) joints: Vec<[Buffer; 2]>,
    pub(super) input: Buffer,
    /// The last convolution's, later its gradient.
    pub(super) output: Buffer,
    /// Of the transposed convolutions, before their bias.
    pub(super) risen: Buffer,
    pub(super) gradients: [Buffer; 2],
}

impl Block {
    pub(super) fn pair(name: &str, inputs: usize, outputs: usize, first: Geometry, level: usize) -> [Self; 2] {
        let before = if first.stride > 1 { level - 1 } else { level };
        [(1, inputs, first, before), (2, outputs, SAME_3X3, level)].map(|(index, inputs, geometry, level)| Self {
            conv: format!("{name}.conv{index}"),
            norm: format!("{name}.bn{index}"),
            inputs,
            outputs,
            geometry,
            level,
        })
    }

    /// Halvings of the image after it.
    pub(super) fn level_after(&self) -> usize {
        self.level + usize::from(self.geometry.stride > 1)
    }
}

impl Prepared {
    /// Prepares every convolution of a network.
    pub(super) fn new(
        gpu: &Gpu,
        precision: Precision,
        encoder: &[[Block; 2]],
        decoder: &[Rise],
        side: Side,
    ) -> Result<Self, CudaError> {
        let passes = |kinds: [Kind; 3], level: usize, channels: [usize; 2], geometry: Geometry, has_input: bool| {
            let [forward, weight, input] = kinds.map(|kind| spec(kind, precision, side.at(level), channels, geometry));
            Ok::<_, CudaError>(Passes {
                forward: gpu.convolution(forward)?,
                weight: gpu.convolution(weight)?,
                input: has_input.then(|| gpu.convolution(input)).transpose()?,
            })
        };
        const CONVOLUTION: [Kind; 3] = [Kind::Forward, Kind::GradWeight, Kind::GradInput];
        const TRANSPOSED: [Kind; 3] = [Kind::GradInput, Kind::GradWeight, Kind::Forward];
        let block = |block: &Block, has_input: bool| {
            let channels = [block.inputs, block.outputs];
            passes(CONVOLUTION, block.level, channels, block.geometry, has_input)
        };
        let width = encoder.first().map_or(PIXEL, |[first, _]| first.outputs);
        let encoder = encoder
            .iter()
            .enumerate()
            .map(|(level, [first, second])| Ok([block(first, level > 0)?, block(second, true)?]));
        let decoder = decoder.iter().map(|rise| {
            let [first, second] = &rise.blocks;
            // A transposed convolution's image side is the larger one, which it writes.
            let channels = [rise.outputs, rise.inputs];
            Ok((
                passes(TRANSPOSED, rise.level, channels, RESIZE_4X4, true)?,
                [block(first, true)?, block(second, true)?],
            ))
        });
        Ok(Self {
            side,
            encoder: encoder.collect::<Result<_, CudaError>>()?,
            decoder: decoder.collect::<Result<_, CudaError>>()?,
            last: passes(CONVOLUTION, 0, [width, PIXEL], SAME_3X3, true)?,
        })
    }
}

impl Memory {
    /// Memory for a network's activations.
    pub(super) fn new(
        gpu: &Gpu,
        precision: Precision,
        encoder: &[[Block; 2]],
        decoder: &[Rise],
        side: Side,
    ) -> Result<Self, CudaError> {
        let bytes = precision.bytes();
        let buffer = |level: usize, channels: usize| gpu.buffer(side.at(level).pixels() * channels * bytes);
        let kept = |blocks: &[Block; 2]| -> Result<[Kept; 2], CudaError> {
            let kept = |block: &Block| {
                Ok(Kept {
                    convolved: buffer(block.level_after(), block.outputs)?,
                    output: buffer(block.level_after(), block.outputs)?,
                    line: gpu.buffer(4 * block.outputs * size_of::<f32>())?,
                })
            };
            Ok([kept(&blocks[0])?, kept(&blocks[1])?])
        };
        let joints = decoder.iter().rev().map(|rise| {
            let channels = rise.outputs + rise.skip;
            Ok([buffer(rise.level, channels)?, buffer(rise.level, channels)?])
        });
        let blocks = encoder.iter().chain(decoder.iter().map(|rise| &rise.blocks));
        let sizes = blocks.flatten().flat_map(|block| {
            let before = side.at(block.level).pixels() * block.inputs;
            [before, side.at(block.level_after()).pixels() * block.outputs]
        });
        let largest = sizes.max().unwrap_or(0) * bytes;
        let risen = decoder.iter().map(|rise| side.at(rise.level).pixels() * rise.outputs);
        Ok(Self {
            side,
            encoder: encoder.iter().map(kept).collect::<Result<_, CudaError>>()?,
            decoder: decoder
                .iter()
                .map(|rise| kept(&rise.blocks))
                .collect::<Result<_, CudaError>>()?,
            joints: joints.collect::<Result<_, CudaError>>()?,
            input: buffer(0, PIXEL)?,
            output: buffer(0, PIXEL)?,
            risen: gpu.buffer(risen.max().unwrap_or(0) * bytes)?,
            gradients: [gpu.buffer(largest)?, gpu.buffer(largest)?],
        })
    }
}
