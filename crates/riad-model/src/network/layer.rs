//! The layers of a network, and the tensors and multiply-accumulates that follow from them.

use std::collections::BTreeSet;

use riad_conv::Geometry;

use super::architecture::SIZE_MULTIPLE;
use crate::{ModelError, Result};

/// Added to a batch norm's variance, as PyTorch's default.
pub(crate) const EPSILON: f64 = 1e-5;
/// Share of the batch's statistics in a batch norm's running ones, as PyTorch's default.
pub(crate) const MOMENTUM: f64 = 0.1;

/// A network: its layers in the order in which they run.
///
/// Value 0 is the network's input, and layer `i` makes value `i + 1`. The last value is the network's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    layers: Vec<Layer>,
}

/// A convolution with what comes before and after it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Layer {
    /// PyTorch's name of the convolution, such as `down1.conv1`.
    pub name: String,
    /// The input of the convolution.
    pub source: Source,
    /// The kind of convolution.
    pub kind: Kind,
    /// Kernel, stride and padding.
    pub geometry: Geometry,
    /// Number of input channels.
    pub inputs: usize,
    /// Number of output channels.
    pub outputs: usize,
    /// The operation after the convolution and its bias.
    pub after: After,
}

/// The input of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// One value.
    Value(usize),
    /// Values concatenated along the channels.
    Concatenated {
        /// Name of the concatenation where nodes have names.
        name: String,
        /// The values, in their order.
        values: Vec<usize>,
    },
    /// The sum of values with the same number of channels.
    Added {
        /// Name of the sum where nodes have names.
        name: String,
        /// The values.
        values: Vec<usize>,
    },
}

/// The kind of a layer's convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A convolution: with a stride of 2 it halves the image.
    Plain,
    /// A transposed convolution: with a stride of 2 it doubles the image.
    Transposed,
}

/// The operation after a convolution and its bias.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum After {
    /// Nothing.
    Nothing,
    /// Batch norm, then ReLU. Only plain convolutions have it.
    NormRelu {
        /// PyTorch's name of the batch norm, such as `down1.bn1`.
        norm: String,
        /// Name of the ReLU where nodes have names.
        relu: String,
    },
    /// tanh. The last layer always has it, and no other layer has it.
    Tanh {
        /// Name of the tanh where nodes have names.
        name: String,
    },
}

/// What a tensor of the network is, which decides its initial value and whether the optimiser touches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A convolution's weight or bias: uniform within ±1/√(fan in), as PyTorch initialises them.
    Convolution { fan_in: usize },
    /// A batch norm's scale: 1.
    Scale,
    /// A batch norm's shift: 0.
    Shift,
    /// A batch norm's running mean: 0, not trained.
    RunningMean,
    /// A batch norm's running variance: 1, not trained.
    RunningVariance,
}

impl Role {
    pub(crate) fn is_trained(self) -> bool {
        !matches!(self, Self::RunningMean | Self::RunningVariance)
    }
}

/// Name, shape and role of a tensor of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TensorSpec {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) role: Role,
}

impl Source {
    /// The values of the input.
    pub fn values(&self) -> &[usize] {
        match self {
            Self::Value(value) => std::slice::from_ref(value),
            Self::Concatenated { values, .. } | Self::Added { values, .. } => values,
        }
    }
}

impl Layer {
    /// Shape of the convolution's weight: `[outputs, inputs, k, k]`, and `[inputs, outputs, k, k]` of a transposed one.
    pub fn weight_shape(&self) -> [usize; 4] {
        let kernel = self.geometry.kernel;
        match self.kind {
            Kind::Plain => [self.outputs, self.inputs, kernel, kernel],
            Kind::Transposed => [self.inputs, self.outputs, kernel, kernel],
        }
    }

    /// PyTorch's name of the batch norm behind the convolution, if there is one.
    pub fn norm(&self) -> Option<&str> {
        match &self.after {
            After::NormRelu { norm, .. } => Some(norm),
            After::Nothing | After::Tanh { .. } => None,
        }
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        let kernel = self.geometry.kernel;
        // PyTorch takes the fan in from the weight's second dimension, which a transposed convolution has its outputs in.
        let columns = self.weight_shape()[1];
        let role = Role::Convolution {
            fan_in: columns * kernel * kernel,
        };
        let mut specs = vec![
            TensorSpec {
                name: format!("{}.weight", self.name),
                shape: self.weight_shape().into(),
                role,
            },
            TensorSpec {
                name: format!("{}.bias", self.name),
                shape: vec![self.outputs],
                role,
            },
        ];
        let norm = self.norm().map(|norm| {
            [
                ("weight", Role::Scale),
                ("bias", Role::Shift),
                ("running_mean", Role::RunningMean),
                ("running_var", Role::RunningVariance),
            ]
            .map(|(part, role)| TensorSpec {
                name: format!("{norm}.{part}"),
                shape: vec![self.outputs],
                role,
            })
        });
        specs.extend(norm.into_iter().flatten());
        specs
    }
}

/// What is known of a value while a network's layers are checked.
struct Value {
    channels: usize,
    /// How often the image is halved before it.
    level: usize,
    /// Whether a layer reads it.
    is_read: bool,
}

impl Value {
    fn new(channels: usize, level: usize) -> Self {
        Self {
            channels,
            level,
            is_read: false,
        }
    }
}

/// The checks of [`Network::new`], in their order.
impl Layer {
    fn refused(&self, reason: String) -> ModelError {
        ModelError::Setting(format!("the layer {}: {reason}", self.name))
    }

    fn check_numbers(&self) -> Result<()> {
        if [self.inputs, self.outputs, self.geometry.kernel].contains(&0) {
            return Err(self.refused("has no channels, or no kernel".into()));
        }
        Ok(())
    }

    /// Checks that no layer before has one of its names, which are `taken` then.
    fn check_names<'a>(&'a self, taken: &mut BTreeSet<&'a str>) -> Result<()> {
        let names = [Some(self.name.as_str()), self.norm()];
        if !names.into_iter().flatten().all(|name| taken.insert(name)) {
            return Err(self.refused("has a name that another layer or batch norm has".into()));
        }
        Ok(())
    }

    /// Checks that it reads values that are there, up to the number `last`, and each once.
    fn check_reads(&self, last: usize) -> Result<()> {
        let read = self.source.values();
        if read.is_empty() || read.iter().any(|&value| value > last) {
            return Err(self.refused(format!("reads values {read:?}, and the values 0 to {last} are there")));
        }
        let is_twice = |(place, value): (usize, &usize)| read[..place].contains(value);
        if read.iter().enumerate().any(is_twice) {
            return Err(self.refused(format!("reads a value twice, of {read:?}")));
        }
        Ok(())
    }

    /// Checks that the values that it reads fit together and to its inputs, and gives their level.
    fn check_join(&self, values: &[Value]) -> Result<usize> {
        let read = self.source.values();
        let level = values[read[0]].level;
        if read.iter().any(|&value| values[value].level != level) {
            return Err(self.refused("joins values of different sizes".into()));
        }
        let found: Vec<usize> = read.iter().map(|&value| values[value].channels).collect();
        let fits = match &self.source {
            Source::Value(_) | Source::Concatenated { .. } => found.iter().sum::<usize>() == self.inputs,
            Source::Added { .. } => found.iter().all(|&channels| channels == self.inputs),
        };
        if !fits {
            return Err(self.refused(format!("takes {} channels in, and reads {found:?}", self.inputs)));
        }
        Ok(level)
    }

    /// Checks what follows the convolution, and what a transposed one may read.
    fn check_after(&self, is_last: bool) -> Result<()> {
        if is_last != matches!(self.after, After::Tanh { .. }) {
            return Err(self.refused("tanh follows the last layer, and no other".into()));
        }
        if self.kind == Kind::Transposed && self.after != After::Nothing {
            return Err(self.refused("nothing follows a transposed convolution".into()));
        }
        if self.kind == Kind::Transposed && matches!(self.source, Source::Concatenated { .. }) {
            return Err(self.refused("a transposed convolution reads no concatenation".into()));
        }
        Ok(())
    }

    /// The level of the value that it makes of values of the level `before`.
    fn level_after(&self, before: usize) -> Result<usize> {
        let Geometry {
            kernel,
            stride,
            padding,
        } = self.geometry;
        // How much of the kernel reaches over the image's border decides the size that comes out.
        let over = kernel.checked_sub(padding.saturating_mul(2));
        let after = match (self.kind, stride, over) {
            (_, 1, Some(1)) => Some(before),
            (Kind::Plain, 2, Some(1 | 2)) => Some(before + 1).filter(|level| SIZE_MULTIPLE >> level > 0),
            (Kind::Transposed, 2, Some(2)) => before.checked_sub(1),
            _ => None,
        };
        after.ok_or_else(|| {
            self.refused(format!(
                "neither keeps the image's size nor doubles it, nor halves it to a {SIZE_MULTIPLE}th at least"
            ))
        })
    }
}

impl Network {
    /// Takes the layers in the order in which they run, after checking what every backend relies on.
    ///
    /// # Errors
    /// [`ModelError::Setting`] says which layer contradicts the others, and how.
    pub(crate) fn new(layers: Vec<Layer>) -> Result<Self> {
        let Some(first) = layers.first() else {
            return Err(ModelError::Setting("a network has at least one layer".into()));
        };
        let mut values = vec![Value::new(first.inputs, 0)];
        let mut taken = BTreeSet::new();
        for (index, layer) in layers.iter().enumerate() {
            layer.check_numbers()?;
            layer.check_names(&mut taken)?;
            layer.check_reads(index)?;
            let level = layer.check_join(&values)?;
            layer.check_after(index + 1 == layers.len())?;
            let made = Value::new(layer.outputs, layer.level_after(level)?);
            let read = layer.source.values().iter();
            read.for_each(|&value| values[value].is_read = true);
            values.push(made);
        }
        // Nothing reads the last value, which is the network's output.
        let output = values.pop();
        if output.is_none_or(|output| output.level != 0) {
            return Err(ModelError::Setting(
                "the network does not end at the image's size".into(),
            ));
        }
        let mut made = layers.iter().zip(&values[1..]).rev();
        match made.find(|(_, value)| !value.is_read) {
            Some((layer, _)) => Err(layer.refused("no layer reads what it gives".into())),
            None => Ok(Self { layers }),
        }
    }

    /// The layers in the order in which they run.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Number of channels of the network's input.
    pub fn inputs(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.inputs)
    }

    /// Number of channels of the network's output.
    pub fn outputs(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.outputs)
    }

    /// Channels of a value, by its number.
    pub(crate) fn channels(&self, value: usize) -> usize {
        match value.checked_sub(1) {
            Some(layer) => self.layers[layer].outputs,
            None => self.inputs(),
        }
    }

    /// Every tensor of the network, in the order of its layers.
    pub(crate) fn tensors(&self) -> Vec<TensorSpec> {
        self.layers.iter().flat_map(Layer::tensors).collect()
    }

    /// Trained parameters: weights, biases, and batch norms' scales and shifts.
    pub fn parameters(&self) -> usize {
        self.tensors()
            .iter()
            .filter(|spec| spec.role.is_trained())
            .map(|spec| spec.shape.iter().product::<usize>())
            .sum()
    }

    /// How often the image is halved before each value, by the value's number.
    pub(crate) fn levels(&self) -> Vec<usize> {
        let mut levels = vec![0; self.layers.len() + 1];
        for (index, layer) in self.layers.iter().enumerate() {
            let before = levels[layer.source.values()[0]];
            levels[index + 1] = match (layer.kind, layer.geometry.stride) {
                (Kind::Plain, 2) => before + 1,
                (Kind::Transposed, 2) => before - 1,
                _ => before,
            };
        }
        levels
    }

    /// Multiply-accumulates of one pass over an image of `height` × `width`, which the network's halvings divide.
    pub(crate) fn macs(&self, height: usize, width: usize) -> u64 {
        let levels = self.levels();
        let of_layer = |(index, layer): (usize, &Layer)| {
            // A transposed convolution spends its kernel once for every pixel that it takes in.
            let level = match layer.kind {
                Kind::Plain => levels[index + 1],
                Kind::Transposed => levels[layer.source.values()[0]],
            };
            let pixels = ((height >> level) * (width >> level)) as u64;
            pixels * layer.weight_shape().iter().product::<usize>() as u64
        };
        self.layers.iter().enumerate().map(of_layer).sum()
    }
}
