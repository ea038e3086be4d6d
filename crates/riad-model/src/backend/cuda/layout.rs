//! Where the network's tensors lie on a GPU.
//!
//! Channels are padded to multiples of eight with zeros. They stay zero: the weights and scale of a padded channel are
//! 0, so its values and all its gradients are 0. Convolutions' weights are channels-last.

use std::{collections::BTreeMap, ops::Range};

use riad_cuda::padded_channels as padded;

use crate::network::{Network, Role, Source, TensorSpec, Weights};

/// The buffers that tensors are gathered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arena {
    /// Convolutions' weights.
    Kernels,
    /// Biases, scales and shifts.
    Vectors,
    /// Batch norms' running statistics.
    Running,
}

/// A tensor's place, and how its values are arranged there.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) arena: Arena,
    pub(super) first: usize,
    pub(super) len: usize,
    shape: Vec<usize>,
    /// Of a convolution: where its input channels come from, one part after the other.
    inputs: Vec<usize>,
}

impl Slot {
    pub(super) fn range(&self) -> Range<usize> {
        self.first..self.first + self.len
    }

    /// Calls `visit` with (place in PyTorch's order, place in the slot) for every value.
    fn for_each(&self, mut visit: impl FnMut(usize, usize)) {
        let &[rows, columns, kernel, _] = &self.shape[..] else {
            (0..self.shape.iter().product()).for_each(|place| visit(place, place));
            return;
        };
        // Where each column lies among the channels of a pixel. A transposed convolution is its own convolution's input
        // gradient: its columns are that one's inputs, in one part.
        let (mut channels, mut width) = (Vec::with_capacity(columns), 0);
        for &part in &self.inputs {
            channels.extend(width..width + part);
            width += padded(part);
        }
        let taps = kernel * kernel;
        for row in 0..rows {
            for (column, channel) in channels.iter().enumerate() {
                for tap in 0..taps {
                    visit(
                        (row * columns + column) * taps + tap,
                        (row * taps + tap) * width + channel,
                    );
                }
            }
        }
    }

    /// Values in PyTorch's order from those in the slot.
    pub(super) fn unpacked(&self, slot: &[f32]) -> Vec<f32> {
        let mut values = vec![0.0; self.shape.iter().product()];
        self.for_each(|torch, place| values[torch] = slot[place]);
        values
    }

    /// Writes values in PyTorch's order to the slot.
    pub(super) fn pack(&self, values: &[f32], slot: &mut [f32]) {
        self.for_each(|torch, place| slot[place] = values[torch]);
    }
}

/// The places of all tensors of a network.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    slots: BTreeMap<String, Slot>,
    lens: [usize; 3],
}

/// Every tensor begins where cuDNN's widest loads and a cache line do.
const ALIGNMENT: usize = 128;

impl Layout {
    pub(super) fn new(network: &Network) -> Self {
        let mut layout = Self {
            slots: BTreeMap::new(),
            lens: [0; 3],
        };
        // Of each convolution's weight: where its columns come from. Those of a transposed one are what it makes.
        let parts: BTreeMap<String, Vec<usize>> = network
            .layers()
            .iter()
            .filter_map(|layer| {
                let Source::Concatenated { values, .. } = &layer.source else {
                    return None;
                };
                let channels = values.iter().map(|&value| network.channels(value)).collect();
                Some((format!("{}.weight", layer.name), channels))
            })
            .collect();
        for TensorSpec { name, shape, role } in network.tensors() {
            let mut inputs = Vec::new();
            let (arena, len) = match (role, &shape[..]) {
                (Role::RunningMean | Role::RunningVariance, shape) => (Arena::Running, padded(shape[0])),
                (_, &[rows, columns, kernel, _]) => {
                    inputs = parts.get(&name).cloned().unwrap_or_else(|| vec![columns]);
                    let width: usize = inputs.iter().map(|&part| padded(part)).sum();
                    (Arena::Kernels, padded(rows) * kernel * kernel * width)
                }
                (_, shape) => (Arena::Vectors, padded(shape[0])),
            };
            let end = &mut layout.lens[arena as usize];
            let first = *end;
            *end = (first + len).next_multiple_of(ALIGNMENT);
            layout.slots.insert(
                name,
                Slot {
                    arena,
                    first,
                    len,
                    shape,
                    inputs,
                },
            );
        }
        layout
    }

    /// The place of the tensor `name`.
    ///
    /// # Panics
    /// If the network has no such tensor.
    pub(super) fn slot(&self, name: &str) -> &Slot {
        &self.slots[name]
    }

    /// Names and places of the tensors in an arena.
    pub(super) fn slots(&self, arena: Arena) -> impl Iterator<Item = (&String, &Slot)> {
        self.slots.iter().filter(move |(_, slot)| slot.arena == arena)
    }

    /// An arena with the values that `values` gives for each tensor in it, if it has any for it.
    pub(super) fn packed<'a>(&self, arena: Arena, values: impl Fn(&str) -> Option<&'a [f32]>) -> Vec<f32> {
        let mut packed = vec![0.0; self.lens[arena as usize]];
        for (name, slot) in self.slots(arena) {
            if let Some(values) = values(name) {
                slot.pack(values, &mut packed[slot.range()]);
            }
        }
        packed
    }

    /// An arena of the network's weights.
    pub(super) fn packed_weights(&self, arena: Arena, weights: &Weights) -> Vec<f32> {
        self.packed(arena, |name| Some(weights.get(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Architecture;

    #[test]
    fn every_value_has_a_place_of_its_own_and_comes_back() {
        for architecture in [
            Architecture::u_net(3),
            Architecture::autoencoder(5),
            Architecture::u_net(8),
        ] {
            let weights = Weights::initial(architecture, 3).unwrap();
            let layout = Layout::new(weights.network());
            for arena in [Arena::Kernels, Arena::Vectors, Arena::Running] {
                let packed = layout.packed_weights(arena, &weights);
                for (name, slot) in layout.slots(arena) {
                    assert_eq!(slot.unpacked(&packed[slot.range()]), weights.get(name), "{name}");
                    let filled = packed[slot.range()].iter().filter(|value| **value != 0.0).count();
                    let expected = weights.get(name).iter().filter(|value| **value != 0.0).count();
                    assert_eq!(filled, expected, "{name}");
                }
            }
        }
    }

    /// [outputs, kernel, kernel, inputs], with the skip connection's channels after those that come up, each padded.
    #[test]
    fn joints_are_padded_part_by_part() {
        let layout = Layout::new(&Architecture::u_net(3).network().unwrap());
        let slot = layout.slot("up4.conv1.weight");
        assert_eq!(slot.len, 8 * 9 * 16);
        let values: Vec<f32> = (0..3 * 6 * 9).map(|place| place as f32).collect();
        let mut packed = vec![-1.0; slot.len];
        slot.pack(&values, &mut packed);
        // Output channel 2, input channel 4, which is the skip connection's second, tap (1, 2).
        assert_eq!(packed[(2 * 9 + 5) * 16 + 8 + 1], values[(2 * 6 + 4) * 9 + 5]);
    }
}
