//! The flow of values from layer to layer. Every backend needs it to lay out its memory.

use super::layer::{Network, Source};

/// What a network's layers read and write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flow {
    /// By the value's number; value 0 is what the network takes in.
    pub(crate) values: Vec<Value>,
    /// Concatenations and sums, in the order of the layers that read them.
    pub(crate) joints: Vec<Joint>,
    /// What each layer reads.
    pub(crate) inputs: Vec<Input>,
}

/// A value that a layer makes, or the network takes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) channels: usize,
    /// How often the image is halved before it.
    pub(crate) level: usize,
    pub(crate) home: Home,
    /// The last layer that reads it, by itself or in a joint.
    pub(crate) last_reader: Option<usize>,
}

/// Where a value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    /// In memory of its own.
    Own,
    /// In a concatenation, from this channel on: whoever makes it writes it there, so that nothing is copied.
    Joint { joint: usize, first: usize },
}

/// What a layer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    Value(usize),
    Joint(usize),
}

/// Several values that a layer reads as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Joint {
    pub(crate) channels: usize,
    pub(crate) level: usize,
    pub(crate) parts: Vec<Part>,
    /// Whether its parts are added; else they are concatenated.
    pub(crate) is_sum: bool,
    /// The layer that reads it.
    pub(crate) reader: usize,
}

/// A value in a joint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) value: usize,
    pub(crate) channels: usize,
    /// The channel where it begins; 0 in a sum.
    pub(crate) first: usize,
    /// Whether it lies there already. If not, it is copied or added when the joint is read.
    pub(crate) in_place: bool,
}

impl Flow {
    pub(crate) fn of(network: &Network) -> Self {
        let layers = network.layers();
        let outputs = layers.iter().map(|layer| layer.outputs);
        let mut values: Vec<Value> = std::iter::once(network.inputs())
            .chain(outputs)
            .zip(network.levels())
            .map(|(channels, level)| Value {
                channels,
                level,
                home: Home::Own,
                last_reader: None,
            })
            .collect();
        let (mut joints, mut inputs) = (Vec::<Joint>::new(), Vec::new());
        for (reader, layer) in layers.iter().enumerate() {
            for &value in layer.source.values() {
                values[value].last_reader = Some(reader);
            }
            let (numbers, is_sum) = match &layer.source {
                Source::Value(value) => {
                    inputs.push(Input::Value(*value));
                    continue;
                }
                Source::Concatenated { values, .. } => (values, false),
                Source::Added { values, .. } => (values, true),
            };
            let joint = joints.len();
            let mut parts = Vec::new();
            // Values that lie in the joint.
            let mut here: Vec<usize> = Vec::new();
            let mut first = 0;
            for &number in numbers {
                let channels = values[number].channels;
                // The network's input is the caller's, and a layer cannot write into what it reads.
                let reads = |maker: usize, value: usize| layers[maker].source.values().contains(&value);
                let apart = |&other: &usize| !reads(number - 1, other) && !reads(other - 1, number);
                let in_place = !is_sum && number > 0 && values[number].home == Home::Own && here.iter().all(apart);
                if in_place {
                    values[number].home = Home::Joint { joint, first };
                    here.push(number);
                }
                parts.push(Part {
                    value: number,
                    channels,
                    first,
                    in_place,
                });
                first += if is_sum { 0 } else { channels };
            }
            joints.push(Joint {
                channels: layer.inputs,
                level: values[numbers[0]].level,
                parts,
                is_sum,
                reader,
            });
            inputs.push(Input::Joint(joint));
        }
        Self { values, joints, inputs }
    }

    /// Slots of memory for values that do not lie in joints, by the value's number, if nothing but the output is wanted: a slot
    /// is used again as soon as its value was read for the last time.
    pub(crate) fn slots(&self) -> Vec<usize> {
        let mut slot_of = vec![0; self.values.len()];
        // The value in each slot.
        let mut slots: Vec<usize> = Vec::new();
        let inner = self.values.iter().enumerate().skip(1);
        for (value, _) in inner.filter(|(_, value)| value.home == Home::Own) {
            // Layer `value - 1` makes the value, and may still read others.
            let is_free = |&of: &usize| self.values[of].last_reader.is_none_or(|last| last + 1 < value);
            let slot = slots.iter().position(is_free).unwrap_or(slots.len());
            if slot == slots.len() {
                slots.push(value);
            } else {
                slots[slot] = value;
            }
            slot_of[value] = slot;
        }
        slot_of
    }

    /// Whether a layer reads the value by itself.
    pub(crate) fn is_read_alone(&self, value: usize) -> bool {
        self.inputs.contains(&Input::Value(value))
    }

    /// The joints that a value is part of, with its part.
    pub(crate) fn parts_of(&self, value: usize) -> impl Iterator<Item = (usize, Part)> + '_ {
        self.joints.iter().enumerate().flat_map(move |(joint, of)| {
            let parts = of.parts.iter().filter(move |part| part.value == value);
            parts.map(move |&part| (joint, part))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::network::{Architecture, tests::lists};

    /// The U-Net's skip connections are written where they are read, and its concatenations are whole.
    #[test]
    fn a_u_net_copies_nothing() {
        let network = Architecture::u_net(4).network().unwrap();
        let flow = Flow::of(&network);
        assert_eq!(flow.joints.len(), 4);
        for joint in &flow.joints {
            assert!(joint.parts.iter().all(|part| part.in_place));
            assert_eq!(
                joint.parts.iter().map(|part| part.channels).sum::<usize>(),
                joint.channels
            );
            assert_eq!(joint.channels, network.layers()[joint.reader].inputs);
        }
        assert_eq!(flow.values.last().unwrap().last_reader, None);
        assert_eq!(flow.values.iter().map(|value| value.level).max(), Some(4));
    }

    #[test]
    fn two_slots_carry_a_u_net_and_an_autoencoder() {
        for architecture in [Architecture::u_net(4), Architecture::autoencoder(4)] {
            let flow = Flow::of(&architecture.network().unwrap());
            assert_eq!(flow.slots().iter().max(), Some(&1));
        }
    }

    /// Values that lie in a channel, each with its channel there: more than one in a sum.
    type Channel = Vec<(usize, usize)>;

    /// What lies in slots and joints while a network runs.
    struct Memory<'a> {
        flow: &'a Flow,
        slot_of: Vec<usize>,
        slots: Vec<Vec<Channel>>,
        joints: Vec<Vec<Channel>>,
    }

    fn channels_of(flow: &Flow, value: usize) -> Vec<Channel> {
        (0..flow.values[value].channels)
            .map(|channel| vec![(value, channel)])
            .collect()
    }

    impl<'a> Memory<'a> {
        fn new(flow: &'a Flow, slot_of: Vec<usize>) -> Self {
            let slots = vec![Vec::new(); slot_of.iter().max().unwrap() + 1];
            let joints = flow.joints.iter().map(|joint| vec![Channel::new(); joint.channels]);
            Self {
                joints: joints.collect(),
                flow,
                slot_of,
                slots,
            }
        }

        fn value(&self, value: usize) -> Vec<Channel> {
            match self.flow.values[value].home {
                _ if value == 0 => channels_of(self.flow, 0),
                Home::Own => self.slots[self.slot_of[value]].clone(),
                Home::Joint { joint, first } => {
                    // Memory that is written to has nothing to be read.
                    let channels = self.joints[joint].iter().skip(first);
                    channels.take(self.flow.values[value].channels).cloned().collect()
                }
            }
        }

        /// What a layer reads, after gathering it if it is a joint.
        fn read(&self, layer: usize) -> Vec<Channel> {
            match self.flow.inputs[layer] {
                Input::Value(value) => self.value(value),
                Input::Joint(joint) => self.joints[joint].clone(),
            }
        }

        fn gather(&mut self, layer: usize) {
            let Input::Joint(joint) = self.flow.inputs[layer] else {
                return;
            };
            let mut whole = std::mem::take(&mut self.joints[joint]);
            let Joint { parts, is_sum, .. } = &self.flow.joints[joint];
            for (index, part) in parts.iter().enumerate().filter(|(_, part)| !part.in_place) {
                let to = &mut whole[part.first..part.first + part.channels];
                for (to, from) in to.iter_mut().zip(self.value(part.value)) {
                    if *is_sum && index > 0 {
                        to.extend(from);
                    } else {
                        *to = from;
                    }
                }
            }
            self.joints[joint] = whole;
        }

        /// Runs a layer, and gives what it read.
        fn run(&mut self, layer: usize) -> Vec<Channel> {
            self.gather(layer);
            let made = layer + 1;
            // As on the CPU, what is written to is out of reach meanwhile.
            let home = self.flow.values[made].home;
            let memory = match home {
                Home::Own => &mut self.slots[self.slot_of[made]],
                Home::Joint { joint, .. } => &mut self.joints[joint],
            };
            let mut out = std::mem::take(memory);
            let read = self.read(layer);
            let value = channels_of(self.flow, made);
            match home {
                Home::Own => {
                    out = value;
                    self.slots[self.slot_of[made]] = out;
                }
                Home::Joint { joint, first } => {
                    out[first..first + value.len()].clone_from_slice(&value);
                    self.joints[joint] = out;
                }
            }
            read
        }
    }

    /// What a layer's list says that it reads.
    fn wanted(flow: &Flow, source: &Source) -> Vec<Channel> {
        let values = source.values().iter().map(|&value| channels_of(flow, value));
        match source {
            Source::Value(_) | Source::Concatenated { .. } => values.flatten().collect(),
            Source::Added { .. } => {
                let columns = values.reduce(|mut sum, value| {
                    sum.iter_mut().zip(value).for_each(|(sum, more)| sum.extend(more));
                    sum
                });
                columns.unwrap()
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

        /// Every layer reads what its list says, however little memory there is: nothing was written over, or was never written. And
        /// where each value keeps its memory, the backward pass finds all of it again.
        #[test]
        fn what_a_layer_reads_is_there(network in lists(3, 2)) {
            let flow = Flow::of(&network);
            for slot_of in [flow.slots(), (0..flow.values.len()).collect()] {
                let keeps_all = slot_of.len() == slot_of.iter().collect::<BTreeSet<_>>().len();
                let mut memory = Memory::new(&flow, slot_of);
                // Twice, since memory is used again by the next images.
                for _ in 0..2 {
                    for (index, layer) in network.layers().iter().enumerate() {
                        prop_assert_eq!(memory.run(index), wanted(&flow, &layer.source), "{}", layer.name);
                    }
                    for (index, layer) in network.layers().iter().enumerate().filter(|_| keeps_all) {
                        prop_assert_eq!(memory.read(index), wanted(&flow, &layer.source), "{} again", layer.name);
                    }
                }
            }
        }
    }

    #[test]
    fn an_autoencoder_has_no_joints() {
        let flow = Flow::of(&Architecture::autoencoder(4).network().unwrap());
        assert!(flow.joints.is_empty());
        assert!(flow.values.iter().all(|value| value.home == Home::Own));
    }
}
