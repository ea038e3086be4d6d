//! Activations on the CPU, and where the values of a network lie in them.

use riad_conv::{Batch, BatchMut, Dims};

use super::norm;
use crate::{
    Result,
    network::{Flow, Home, Input, Joint, Part},
};

/// An activation or its gradient, channels-last, in memory that lives on from step to step.
pub(super) struct Activation {
    values: Vec<f32>,
    dims: Dims,
}

impl Default for Activation {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            dims: Dims::new(0, 0, 0, 0),
        }
    }
}

impl Activation {
    /// Of values that are there already, as many as `dims` says.
    pub(super) fn new(values: Vec<f32>, dims: Dims) -> Self {
        Self { values, dims }
    }

    /// Takes on a shape. What is in it then is for the caller to overwrite.
    pub(super) fn shaped(&mut self, dims: Dims) -> Result<BatchMut<'_>> {
        self.values.resize(dims.values()?, 0.0);
        self.dims = dims;
        Ok(BatchMut::new(&mut self.values, dims)?)
    }

    pub(super) fn all(&self) -> &[f32] {
        &self.values
    }

    pub(super) fn all_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    pub(super) fn view(&self) -> View<'_> {
        View {
            values: &self.values,
            dims: self.dims,
            first: 0,
            channels: self.dims.channels,
        }
    }
}

/// Some of the channels of an activation.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) values: &'a [f32],
    /// Of the whole activation.
    dims: Dims,
    pub(super) first: usize,
    pub(super) channels: usize,
}

impl<'a> View<'a> {
    /// All of a batch of shape `dims`.
    pub(super) fn new(values: &'a [f32], dims: Dims) -> Self {
        Self {
            values,
            dims,
            first: 0,
            channels: dims.channels,
        }
    }

    pub(super) fn batch(self) -> Result<Batch<'a>> {
        Ok(Batch::new(self.values, self.dims)?.channels(self.first..self.first + self.channels)?)
    }

    /// Of the viewed channels.
    pub(super) fn dims(self) -> Dims {
        Dims {
            channels: self.channels,
            ..self.dims
        }
    }

    /// Values from one pixel to the next.
    pub(super) fn pixel(self) -> usize {
        self.dims.channels
    }

    /// The channels of a joint that are a part's.
    pub(super) fn part(self, part: Part) -> Self {
        Self {
            first: part.first,
            channels: part.channels,
            ..self
        }
    }
}

/// The activations of a network. Each value is in the memory of a joint, or in a slot that it was given.
pub(super) struct Activations {
    /// Of each value that does not lie in a joint: its slot.
    slot_of: Vec<usize>,
    pub(super) slots: Vec<Activation>,
    pub(super) joints: Vec<Activation>,
}

impl Activations {
    /// `slot_of` gives the slot of each value that does not lie in a joint.
    pub(super) fn new(flow: &Flow, slot_of: Vec<usize>) -> Self {
        let new = |count: usize| std::iter::repeat_with(Activation::default).take(count).collect();
        let slots = slot_of.iter().max().map_or(0, |last| last + 1);
        Self {
            slot_of,
            slots: new(slots),
            joints: new(flow.joints.len()),
        }
    }

    /// A value that was made. Value 0 is the caller's.
    pub(super) fn value<'a>(&'a self, flow: &Flow, value: usize, input: View<'a>) -> View<'a> {
        if value == 0 {
            return input;
        }
        match flow.values[value].home {
            Home::Own => self.slots[self.slot_of[value]].view(),
            Home::Joint { joint, first } => View {
                first,
                channels: flow.values[value].channels,
                ..self.joints[joint].view()
            },
        }
    }

    /// Brings into the joint that a layer reads, if it reads one, what does not lie there already.
    pub(super) fn gather(&mut self, flow: &Flow, layer: usize, input: View<'_>) -> Result<()> {
        let Input::Joint(joint) = flow.inputs[layer] else {
            return Ok(());
        };
        let Joint {
            parts,
            is_sum,
            channels,
            ..
        } = &flow.joints[joint];
        // Taken out, since its parts may lie in other joints.
        let mut whole = std::mem::take(&mut self.joints[joint]);
        for (index, part) in parts.iter().enumerate().filter(|(_, part)| !part.in_place) {
            let value = self.value(flow, part.value, input);
            whole.shaped(Dims {
                channels: *channels,
                ..value.dims()
            })?;
            if *is_sum && index > 0 {
                norm::add_channels(whole.all_mut(), value);
            } else {
                norm::copy_channels(whole.all_mut(), *channels, part.first, value);
            }
        }
        self.joints[joint] = whole;
        Ok(())
    }

    /// What a layer reads, after [`Self::gather`].
    pub(super) fn input<'a>(&'a self, flow: &Flow, layer: usize, input: View<'a>) -> View<'a> {
        match flow.inputs[layer] {
            Input::Value(value) => self.value(flow, value, input),
            Input::Joint(joint) => self.joints[joint].view(),
        }
    }

    /// Takes the memory out that a value is to be written to, and tells its first channel and how many there are in a pixel.
    /// [`Self::put`] brings it back. A layer never reads the memory that it writes.
    pub(super) fn take(&mut self, flow: &Flow, value: usize) -> (Activation, usize, usize) {
        let channels = flow.values[value].channels;
        match flow.values[value].home {
            Home::Own => (std::mem::take(&mut self.slots[self.slot_of[value]]), 0, channels),
            Home::Joint { joint, first } => (
                std::mem::take(&mut self.joints[joint]),
                first,
                flow.joints[joint].channels,
            ),
        }
    }

    pub(super) fn put(&mut self, flow: &Flow, value: usize, activation: Activation) {
        match flow.values[value].home {
            Home::Own => self.slots[self.slot_of[value]] = activation,
            Home::Joint { joint, .. } => self.joints[joint] = activation,
        }
    }
}
