//! The parts of the network, each with the values that its backward pass needs.

use std::collections::BTreeMap;

use riad_conv::{Batch, BatchMut, Dims, Geometry, conv2d, conv2d_grad_input, conv2d_grad_weight};

use super::{
    norm::{Affine, Channels, Statistics, add_channels},
    parameters::Parameters,
};
use crate::{
    Result,
    architecture::{MOMENTUM, SAME_3X3},
    values::Values,
};

/// What a decoder block's convolutions take in: along the channels what comes up through the decoder, then what the encoder
/// passes across, if it does.
pub(super) struct Joint {
    /// Channels that come up.
    up: usize,
    /// Channels that are passed across; 0 without a skip connection.
    skip: usize,
    pub(super) values: Values,
    pub(super) gradient: Values,
}

impl Joint {
    pub(super) fn new(up: usize, skip: usize) -> Self {
        Self {
            up,
            skip,
            values: Values::default(),
            gradient: Values::default(),
        }
    }

    pub(super) fn has_skip(&self) -> bool {
        self.skip > 0
    }

    fn channels(&self) -> usize {
        self.up + self.skip
    }

    /// Where `pixels`, of any number of channels, come up.
    pub(super) fn up(&mut self, pixels: Dims) -> Result<BatchMut<'_>> {
        let channels = self.channels();
        Ok(self.values.shaped(Dims { channels, ..pixels })?.channels(0..self.up)?)
    }

    pub(super) fn up_gradient(&self) -> Result<Batch<'_>> {
        Ok(self.gradient.batch()?.channels(0..self.up)?)
    }

    pub(super) fn skip(&self) -> Result<Batch<'_>> {
        Ok(self.values.batch()?.channels(self.up..self.channels())?)
    }

    /// Adds the gradient to what the encoder passed across.
    pub(super) fn add_skip_gradient(&self, sum: &mut Values) {
        add_channels(sum.all_mut(), self.skip, self.gradient.all(), self.channels(), self.up);
    }
}

/// Convolution, batch norm and ReLU.
pub(super) struct Block {
    conv: String,
    norm: String,
    geometry: Geometry,
    channels: usize,
    /// The convolution's output.
    convolved: Values,
    statistics: Statistics,
    /// The block's output, where it does not lie in a joint.
    pub(super) output: Values,
}

impl Block {
    /// The two blocks of the level `name`, `channels` wide, the first with a geometry of its own.
    pub(super) fn pair(name: &str, channels: usize, first: Geometry) -> [Self; 2] {
        [(1, first), (2, SAME_3X3)].map(|(index, geometry)| Self {
            conv: format!("{name}.conv{index}"),
            norm: format!("{name}.bn{index}"),
            geometry,
            channels,
            convolved: Values::default(),
            statistics: Statistics::default(),
            output: Values::default(),
        })
    }

    /// The convolution, and the statistics of its output, which the running ones take in.
    pub(super) fn convolve(
        &mut self,
        parameters: &Parameters,
        running: &mut BTreeMap<String, Vec<f32>>,
        x: Batch<'_>,
    ) -> Result<()> {
        let [weight, bias] = parameters.layer(&self.conv);
        let out = self.convolved.shaped(x.dims().conv2d(self.channels, self.geometry)?)?;
        conv2d(x, weight, Some(bias), self.geometry, out)?;
        self.statistics = Statistics::of(self.convolved.all(), self.channels);
        let Statistics { mean, variance, count } = &self.statistics;
        // PyTorch keeps the unbiased variance for inference.
        let unbias = *count as f32 / (*count as f32 - 1.0).max(1.0);
        for (part, batch, factor) in [("running_mean", mean, 1.0), ("running_var", variance, unbias)] {
            if let Some(running) = running.get_mut(&format!("{}.{part}", self.norm)) {
                for (running, batch) in running.iter_mut().zip(batch) {
                    *running = *running * (1.0 - MOMENTUM as f32) + batch * factor * MOMENTUM as f32;
                }
            }
        }
        Ok(())
    }

    fn affine<'a>(&self, parameters: &'a Parameters) -> Affine<'a> {
        let [scale, shift] = parameters.layer(&self.norm);
        Affine { scale, shift }
    }

    /// Batch norm and ReLU of what was convolved.
    pub(super) fn normalise(&mut self, parameters: &Parameters) -> Result<Batch<'_>> {
        self.output.shaped(self.convolved.dims())?;
        let out = Channels {
            values: self.output.all_mut(),
            pixel: self.channels,
            first: 0,
        };
        let affine = {
            let [scale, shift] = parameters.layer(&self.norm);
            Affine { scale, shift }
        };
        self.statistics.forward(self.convolved.all(), affine, out);
        self.output.batch()
    }

    /// The same, into what a joint takes across.
    pub(super) fn normalise_into<'a>(&mut self, parameters: &Parameters, joint: &'a mut Joint) -> Result<Batch<'a>> {
        let pixel = joint.channels();
        joint.values.shaped(Dims {
            channels: pixel,
            ..self.convolved.dims()
        })?;
        let out = Channels {
            values: joint.values.all_mut(),
            pixel,
            first: joint.up,
        };
        self.statistics
            .forward(self.convolved.all(), self.affine(parameters), out);
        joint.skip()
    }

    /// Replaces the gradient `dy` to the block's output by that to the convolution's output, and leaves those to the
    /// parameters and, where it is asked for, to the input `x`.
    pub(super) fn backward(
        &self,
        parameters: &mut Parameters,
        x: Batch<'_>,
        dy: &mut Values,
        dx: Option<&mut Values>,
    ) -> Result<()> {
        let affine = self.affine(parameters);
        let [scale, shift] = self.statistics.backward(self.convolved.all(), affine, dy.all_mut());
        let [scale_gradient, shift_gradient] = parameters.gradients(&self.norm);
        scale_gradient.copy_from_slice(&scale);
        shift_gradient.copy_from_slice(&shift);
        let dy = dy.batch()?;
        let [weight, bias] = parameters.gradients(&self.conv);
        conv2d_grad_weight(x, dy, self.geometry, weight)?;
        // Batch norm takes the mean away again, so that the loss does not depend on the bias.
        bias.fill(0.0);
        if let Some(dx) = dx {
            let [weight, _] = parameters.layer(&self.conv);
            conv2d_grad_input(dy, weight, self.geometry, dx.shaped(x.dims())?)?;
        }
        Ok(())
    }
}
