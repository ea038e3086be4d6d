//! A network as a GPU sees it: channels padded, where each value lies, and each layer's convolutions.

use riad_cuda::{Convolution, ConvolutionSpec, CudaError, Gpu, Kind as Pass, Precision, padded_channels};

use super::shape::{Side, spec};
use crate::network::{Flow, Home, Input, Kind, Layer, Network, Part};

/// Layers and values, with channels as they lie on the device: padded to multiples of eight, in a concatenation part by part.
#[derive(Debug, Clone)]
pub(super) struct Wiring {
    pub(super) layers: Vec<Layer>,
    pub(super) flow: Flow,
    /// Channels of each joint.
    joints: Vec<usize>,
}

/// A part of a joint that does not lie there already.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guest {
    pub(super) value: usize,
    pub(super) joint: usize,
    pub(super) first: usize,
    pub(super) channels: usize,
    /// Whether it is added to what the joint holds; else it is copied there.
    pub(super) is_added: bool,
}

impl Wiring {
    pub(super) fn new(network: &Network) -> Self {
        let flow = Flow::of(network);
        let joints = flow.joints.iter().map(|joint| {
            let parts = joint.parts.iter().map(|part| padded_channels(part.channels));
            if joint.is_sum {
                padded_channels(joint.channels)
            } else {
                parts.sum()
            }
        });
        Self {
            layers: network.layers().to_vec(),
            joints: joints.collect(),
            flow,
        }
    }

    /// The value that the network gives back.
    pub(super) fn last(&self) -> usize {
        self.layers.len()
    }

    /// Channels of a value.
    pub(super) fn channels(&self, value: usize) -> usize {
        padded_channels(self.flow.values[value].channels)
    }

    /// How often the image is halved before a value.
    pub(super) fn level(&self, value: usize) -> usize {
        self.flow.values[value].level
    }

    /// Channels of a joint.
    pub(super) fn joined(&self, joint: usize) -> usize {
        self.joints[joint]
    }

    /// The parts of a joint: each with its first channel and its channels.
    pub(super) fn parts(&self, joint: usize) -> impl Iterator<Item = (Part, usize, usize)> + '_ {
        let joint = &self.flow.joints[joint];
        joint.parts.iter().scan(0, |next, part| {
            let (first, channels) = (*next, padded_channels(part.channels));
            *next += if joint.is_sum { 0 } else { channels };
            Some((*part, first, channels))
        })
    }

    /// The joint that a value lies in, with its first channel there.
    pub(super) fn home(&self, value: usize) -> Option<(usize, usize)> {
        match self.flow.values[value].home {
            Home::Own => None,
            Home::Joint { joint, .. } => {
                let mut parts = self.parts(joint);
                let part = parts.find(|(part, ..)| part.value == value && part.in_place);
                part.map(|(_, first, _)| (joint, first))
            }
        }
    }

    /// Channels and level of what a layer reads.
    pub(super) fn read(&self, layer: usize) -> (usize, usize) {
        match self.flow.inputs[layer] {
            Input::Value(value) => (self.channels(value), self.level(value)),
            Input::Joint(joint) => (self.joined(joint), self.flow.joints[joint].level),
        }
    }

    /// What has to be brought into the joint that a layer reads.
    pub(super) fn guests(&self, layer: usize) -> Vec<Guest> {
        let Input::Joint(joint) = self.flow.inputs[layer] else {
            return Vec::new();
        };
        let guests = self.parts(joint).enumerate().filter(|(_, (part, ..))| !part.in_place);
        guests
            .map(|(index, (part, first, channels))| Guest {
                value: part.value,
                joint,
                first,
                channels,
                is_added: self.flow.joints[joint].is_sum && index > 0,
            })
            .collect()
    }

    /// The widest number of channels of any value or joint.
    pub(super) fn widest(&self) -> usize {
        let values = (0..self.flow.values.len()).map(|value| self.channels(value));
        values.chain(self.joints.iter().copied()).max().unwrap_or(0)
    }

    /// A layer's convolution in one of its passes, between dense tensors.
    pub(super) fn spec(&self, layer: usize, pass: Pass, precision: Precision, side: Side) -> ConvolutionSpec {
        let (read, level) = self.read(layer);
        let (made, geometry) = (self.channels(layer + 1), self.layers[layer].geometry);
        match self.layers[layer].kind {
            Kind::Plain => spec(pass, precision, side.at(level), [read, made], geometry),
            // A transposed convolution is the input gradient of one whose image side is what it makes, and which makes what it
            // reads.
            Kind::Transposed => {
                let pass = match pass {
                    Pass::Forward => Pass::GradInput,
                    Pass::GradInput => Pass::Forward,
                    Pass::GradWeight => Pass::GradWeight,
                };
                spec(pass, precision, side.at(self.level(layer + 1)), [made, read], geometry)
            }
        }
    }
}

/// A layer's convolutions, one for each of its three passes.
pub(super) struct Convolutions {
    pub(super) forward: Convolution,
    pub(super) weight: Convolution,
    /// Not of a layer that reads the network's input, to which nobody asks the gradient.
    pub(super) input: Option<Convolution>,
}

impl Convolutions {
    /// Prepares the convolutions of every layer for batches of one shape.
    pub(super) fn of_all(gpu: &Gpu, wiring: &Wiring, precision: Precision, side: Side) -> Result<Vec<Self>, CudaError> {
        let of_layer = |layer: usize| {
            let pass = |pass| gpu.convolution(wiring.spec(layer, pass, precision, side));
            let has_input = wiring.flow.inputs[layer] != Input::Value(0);
            Ok(Self {
                forward: pass(Pass::Forward)?,
                weight: pass(Pass::GradWeight)?,
                input: has_input.then(|| pass(Pass::GradInput)).transpose()?,
            })
        };
        (0..wiring.layers.len()).map(of_layer).collect()
    }
}

/// Memory for gradients to values, by slots that are used again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GradientSlots {
    /// Of each value but the network's input and output.
    pub(super) of_value: Vec<Option<usize>>,
    /// Of each layer that reads a value to which another layer has given a gradient already.
    pub(super) aside: Vec<Option<usize>>,
    pub(super) count: usize,
}

impl GradientSlots {
    /// Goes through a backward pass. The addresses that it computes with must not change, since the GPU repeats it.
    pub(super) fn new(wiring: &Wiring) -> Self {
        let (mut of_value, mut aside) = (vec![None; wiring.layers.len() + 1], vec![None; wiring.layers.len()]);
        let (mut count, mut free) = (0, Vec::<usize>::new());
        let mut take = |free: &mut Vec<usize>| {
            free.sort_unstable_by(|a, b| b.cmp(a));
            free.pop().unwrap_or_else(|| {
                count += 1;
                count - 1
            })
        };
        for layer in (0..wiring.layers.len()).rev() {
            let made = layer + 1;
            if made != wiring.last() && of_value[made].is_none() {
                of_value[made] = Some(take(&mut free));
            }
            if let Input::Value(read @ 1..) = wiring.flow.inputs[layer] {
                let slot = take(&mut free);
                if of_value[read].is_none() {
                    of_value[read] = Some(slot);
                } else {
                    aside[layer] = Some(slot);
                    free.push(slot);
                }
            }
            free.extend(of_value[made]);
        }
        Self { of_value, aside, count }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::network::{Architecture, tests::lists};

    /// [outputs, kernel, kernel, inputs], with the skip connection's channels after those that come up, each padded.
    #[test]
    fn concatenations_are_padded_part_by_part() {
        let wiring = Wiring::new(&Architecture::u_net(3).network().unwrap());
        let (joint, first) = wiring.home(2).unwrap();
        assert_eq!((wiring.joined(joint), first), (16, 8));
        assert_eq!(wiring.flow.values[2].channels, 3);
    }

    #[test]
    fn two_slots_carry_the_gradients_of_a_u_net() {
        for architecture in [Architecture::u_net(4), Architecture::autoencoder(4)] {
            let slots = GradientSlots::new(&Wiring::new(&architecture.network().unwrap()));
            assert_eq!(slots.count, 2);
            assert!(slots.aside.iter().all(Option::is_none));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

        /// The parts of a joint fill it, each next to the one before, and a value that lies in one is the part that says so.
        #[test]
        fn the_parts_of_a_joint_fill_it(network in lists(3, 2)) {
            let wiring = Wiring::new(&network);
            for joint in 0..wiring.flow.joints.len() {
                let mut next = 0;
                for (part, first, channels) in wiring.parts(joint) {
                    prop_assert_eq!(channels, wiring.channels(part.value));
                    if wiring.flow.joints[joint].is_sum {
                        prop_assert_eq!((first, channels, part.in_place), (0, wiring.joined(joint), false));
                        next = channels;
                    } else {
                        prop_assert_eq!(first, next);
                        next += channels;
                    }
                    prop_assert_eq!(part.in_place, wiring.home(part.value) == Some((joint, first)));
                }
                prop_assert_eq!(next, wiring.joined(joint));
            }
        }

        /// A slot that holds a gradient is not given to another before it was taken, and each value's gradient is the sum of those
        /// from all layers that read it by itself.
        #[test]
        fn a_slot_never_holds_two_gradients(network in lists(3, 2)) {
            let wiring = Wiring::new(&network);
            let slots = GradientSlots::new(&wiring);
            // By the slot: a value, and the layers whose gradients to it are summed up there.
            let mut holds: Vec<Option<(usize, Vec<usize>)>> = vec![None; slots.count];
            for layer in (0..wiring.layers.len()).rev() {
                let made = layer + 1;
                let alone = (0..wiring.layers.len()).rev().filter(|&of| wiring.flow.inputs[of] == Input::Value(made));
                let alone: Vec<usize> = alone.collect();
                if made != wiring.last() {
                    let slot = slots.of_value[made].unwrap();
                    if alone.is_empty() {
                        // What comes from joints is copied there.
                        prop_assert_eq!(&holds[slot], &None, "the gradient to value {}", made);
                        holds[slot] = Some((made, alone));
                    } else {
                        prop_assert_eq!(&holds[slot], &Some((made, alone)), "the gradient to value {}", made);
                    }
                }
                if let Input::Value(read @ 1..) = wiring.flow.inputs[layer] {
                    let slot = slots.of_value[read].unwrap();
                    match slots.aside[layer] {
                        None => {
                            prop_assert_eq!(&holds[slot], &None, "what {} gives", wiring.layers[layer].name);
                            holds[slot] = Some((read, vec![layer]));
                        }
                        Some(aside) => {
                            prop_assert_eq!(&holds[aside], &None, "what {} adds", wiring.layers[layer].name);
                            match &mut holds[slot] {
                                Some((value, from)) if *value == read => from.push(layer),
                                other => prop_assert!(false, "value {} is to be added to {:?}", read, other),
                            }
                        }
                    }
                }
                if let Some(slot) = slots.of_value[made] {
                    holds[slot] = None;
                }
            }
            prop_assert!(holds.iter().all(Option::is_none));
        }
    }
}
