//! Networks at random, for what has to hold of any list of layers.

use proptest::prelude::*;

use super::{After, Geometry, Kind, Layer, Network, SIZE_MULTIPLE, Source};

/// Lists of layers that take `inputs` channels in and give `outputs` back: values of up to four channels at up to five sizes, each
/// read once or more often, alone, beside others and added to others, by convolutions of every geometry that there is.
pub(crate) fn lists(inputs: usize, outputs: usize) -> impl Strategy<Value = Network> {
    let choices = prop::collection::vec(any::<u16>(), 160);
    (1usize..12, choices).prop_map(move |(layers, choices)| {
        let mut list = List {
            choices: choices.into_iter(),
            layers: Vec::new(),
            values: vec![Made {
                channels: inputs,
                level: 0,
                is_read: true,
            }],
        };
        (0..layers).for_each(|_| list.push_any());
        list.finish(outputs)
    })
}

/// A list in the making.
struct List {
    choices: std::vec::IntoIter<u16>,
    layers: Vec<Layer>,
    values: Vec<Made>,
}

/// A value that is there.
struct Made {
    channels: usize,
    level: usize,
    is_read: bool,
}

const fn geometry(kernel: usize, stride: usize, padding: usize) -> Geometry {
    Geometry {
        kernel,
        stride,
        padding,
    }
}

const SAME: [Geometry; 3] = [geometry(3, 1, 1), geometry(1, 1, 0), geometry(5, 1, 2)];
const HALF: [Geometry; 4] = [
    geometry(4, 2, 1),
    geometry(3, 2, 1),
    geometry(2, 2, 0),
    geometry(1, 2, 0),
];
const TWICE: [Geometry; 2] = [geometry(4, 2, 1), geometry(2, 2, 0)];

impl List {
    /// A number below `count`.
    fn below(&mut self, count: usize) -> usize {
        usize::from(self.choices.next().unwrap_or(0)) % count
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// Appends a layer of some kind.
    fn push_any(&mut self) {
        // Of values that are read already, one in two: skips go far.
        let value = if self.below(2) == 0 {
            self.values.len() - 1
        } else {
            self.below(self.values.len())
        };
        let level = self.values[value].level;
        match self.below(5) {
            0 if SIZE_MULTIPLE >> (level + 1) > 0 => {
                let (source, geometry) = (self.source(value), self.one_of(&HALF));
                self.push(source, Kind::Plain, geometry, None);
            }
            1 if level > 0 => {
                let geometry = self.one_of(&TWICE);
                let source = self.one_or_sum(value);
                self.push(source, Kind::Transposed, geometry, None);
            }
            2 => {
                let geometry = self.one_of(&SAME);
                let source = self.one_or_sum(value);
                self.push(source, Kind::Transposed, geometry, None);
            }
            _ => {
                let (source, geometry) = (self.source(value), self.one_of(&SAME));
                self.push(source, Kind::Plain, geometry, None);
            }
        }
    }

    /// The value alone, beside others of its size, or added to others of its shape.
    fn source(&mut self, value: usize) -> Source {
        if self.below(2) == 0 {
            return self.one_or_sum(value);
        }
        let level = self.values[value].level;
        let values = self.with_others(value, |other| other.level == level);
        self.concatenated(values)
    }

    fn one_or_sum(&mut self, value: usize) -> Source {
        if self.below(2) == 0 {
            return Source::Value(value);
        }
        let (channels, level) = (self.values[value].channels, self.values[value].level);
        let values = self.with_others(value, |other| (other.channels, other.level) == (channels, level));
        let name = format!("sum{}", self.layers.len());
        Source::Added { name, values }
    }

    fn concatenated(&self, values: Vec<usize>) -> Source {
        let name = format!("concat{}", self.layers.len());
        Source::Concatenated { name, values }
    }

    /// The value among some of the others that fit, in any order.
    fn with_others(&mut self, value: usize, fits: impl Fn(&Made) -> bool) -> Vec<usize> {
        let others = (0..self.values.len()).filter(|&other| other != value && fits(&self.values[other]));
        let mut others: Vec<usize> = others.collect();
        let mut values = vec![value];
        for _ in 0..self.below(4).min(others.len()) {
            let other = others.swap_remove(self.below(others.len()));
            let place = self.below(values.len() + 1);
            values.insert(place, other);
        }
        values
    }

    fn push(&mut self, source: Source, kind: Kind, geometry: Geometry, last: Option<usize>) {
        let index = self.layers.len();
        let channels = |&value: &usize| self.values[value].channels;
        let inputs = match &source {
            Source::Value(value) => self.values[*value].channels,
            Source::Concatenated { values, .. } => values.iter().map(channels).sum(),
            Source::Added { values, .. } => self.values[values[0]].channels,
        };
        let level = self.values[source.values()[0]].level;
        for &value in source.values() {
            self.values[value].is_read = true;
        }
        let after = match (last, kind) {
            (Some(_), _) => After::Tanh { name: "tanh".into() },
            (None, Kind::Transposed) => After::Nothing,
            (None, Kind::Plain) if self.below(3) == 0 => After::Nothing,
            (None, Kind::Plain) => After::NormRelu {
                norm: format!("norm{index}"),
                relu: format!("relu{index}"),
            },
        };
        let outputs = match last {
            Some(outputs) => outputs,
            None => 1 + self.below(4),
        };
        self.values.push(Made {
            channels: outputs,
            level: match (kind, geometry.stride) {
                (Kind::Plain, 2) => level + 1,
                (Kind::Transposed, 2) => level - 1,
                _ => level,
            },
            is_read: false,
        });
        self.layers.push(Layer {
            name: format!("layer{index}"),
            source,
            kind,
            geometry,
            inputs,
            outputs,
            after,
        });
    }

    /// Leads whatever nobody has read up to the image's size, and to the last layer.
    fn finish(mut self, outputs: usize) -> Network {
        let deepest = self.values.iter().map(|value| value.level).max().unwrap_or(0);
        for level in (0..=deepest).rev() {
            let unread = (0..self.values.len()).filter(|&value| {
                let value = &self.values[value];
                value.level == level && !value.is_read
            });
            let unread: Vec<usize> = unread.collect();
            let Some(&first) = unread.first() else {
                continue;
            };
            let source = match &unread[..] {
                [only] => Source::Value(*only),
                _ => self.concatenated(unread.clone()),
            };
            let geometry = self.one_of(&SAME);
            if level == 0 {
                self.push(source, Kind::Plain, geometry, Some(outputs));
                continue;
            }
            let value = if unread.len() > 1 {
                self.push(source, Kind::Plain, geometry, None);
                self.values.len() - 1
            } else {
                first
            };
            let geometry = self.one_of(&TWICE);
            self.push(Source::Value(value), Kind::Transposed, geometry, None);
        }
        Network::new(self.layers).expect("a list that is made to fit")
    }
}
