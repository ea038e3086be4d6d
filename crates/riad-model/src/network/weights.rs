//! The network's tensors on the host, by PyTorch's names.

use std::collections::BTreeMap;

use riad_core::random::Random;

use super::{
    architecture::{Architecture, MAX_CHANNELS, MAX_WIDTH},
    layer::{EPSILON, Layer, Network, Role, TensorSpec},
};
use crate::Result;

/// Tensors as a file gives them: shape and values by name.
pub(crate) type NamedTensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// First and second moments of Adam, by the tensor's name.
pub(crate) type Moments = BTreeMap<String, [Vec<f32>; 2]>;

/// All tensors of a network: trained parameters, and the running statistics of batch norms.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    architecture: Architecture,
    network: Network,
    tensors: BTreeMap<String, Vec<f32>>,
}

impl Weights {
    /// Random weights in PyTorch's way: convolutions uniform within ±1/√(fan in), batch norms the identity. The same
    /// seed gives the same weights on every platform.
    ///
    /// # Errors
    /// If no such network exists: see [`Architecture::check`].
    pub fn initial(architecture: Architecture, seed: u64) -> Result<Self> {
        Ok(Self::initial_of(architecture, architecture.network()?, seed))
    }

    pub(super) fn initial_of(architecture: Architecture, network: Network, seed: u64) -> Self {
        let mut rng = Random::new(seed);
        let tensors = network
            .tensors()
            .into_iter()
            .map(|TensorSpec { name, shape, role }| {
                let count = shape.iter().product();
                let values = match role {
                    Role::Convolution { fan_in } => {
                        let bound = 1.0 / (fan_in as f32).sqrt();
                        (0..count).map(|_| (2.0 * unit(&mut rng) - 1.0) * bound).collect()
                    }
                    Role::Scale | Role::RunningVariance => vec![1.0; count],
                    Role::Shift | Role::RunningMean => vec![0.0; count],
                };
                (name, values)
            })
            .collect();
        Self {
            architecture,
            network,
            tensors,
        }
    }

    /// Weights of layers that no [`Architecture`] has: backends know nothing but the list.
    #[cfg(test)]
    pub(crate) fn of_network(network: Network, seed: u64) -> Self {
        Self::initial_of(Architecture::u_net(1), network, seed)
    }

    /// Takes the tensors of weights of the public PyTorch code, given with their shapes. The width and the channels that the network
    /// sees are read from the first convolution, those that it gives back from the last, and whether there are skip connections
    /// from the first that takes one in.
    ///
    /// # Errors
    /// Says which tensor differs from a network of this crate, and how.
    pub(crate) fn from_foreign(given: NamedTensors) -> Result<Self, String> {
        const FIRST: &str = "down1.conv1.weight";
        const FIRST_WITH_SKIP: &str = "up1.conv1.weight";
        const LAST: &str = "conv_final.0.weight";
        let Some((shape, _)) = given.get(FIRST) else {
            let names: Vec<&str> = given.keys().take(3).map(String::as_str).collect();
            return Err(format!(
                "it has no tensor {FIRST}, so it is not a RIAD U-Net; its first tensors are {names:?}"
            ));
        };
        let &[width @ 1..=MAX_WIDTH, inputs @ 1..=MAX_CHANNELS, _, _] = &shape[..] else {
            return Err(format!(
                "{FIRST} has the shape {shape:?}; its first side, the width, must be within 1 to {MAX_WIDTH}, and its second, \
                 the channels that it sees, within 1 to {MAX_CHANNELS}"
            ));
        };
        let architecture = match given.get(FIRST_WITH_SKIP) {
            Some((shape, _)) if shape.get(1) == shape.first() => Architecture::autoencoder(width),
            _ => Architecture::u_net(width),
        };
        let channels = match given.get(LAST).map(|(shape, _)| &shape[..]) {
            Some(&[channels @ 1..=MAX_CHANNELS, ..]) => channels,
            // What is missing or of another shape is told of below.
            _ => inputs,
        };
        Self::from_tensors(architecture.with_channels(channels).with_inputs(inputs), given)
    }

    /// Takes a network's tensors, given with their shapes, after checking that they are those of the architecture. Tensors
    /// that the network does not have are an error, save PyTorch's `num_batches_tracked`.
    ///
    /// # Errors
    /// Says which tensor differs, and how.
    pub(crate) fn from_tensors(architecture: Architecture, mut given: NamedTensors) -> Result<Self, String> {
        given.retain(|name, _| !name.ends_with(".num_batches_tracked"));
        let network = architecture.network().map_err(|error| error.to_string())?;
        let mut tensors = BTreeMap::new();
        for TensorSpec {
            name, shape: expected, ..
        } in network.tensors()
        {
            match given.remove(&name) {
                None => return Err(format!("the tensor {name} is missing")),
                Some((shape, _)) if shape != expected => {
                    return Err(format!(
                        "the tensor {name} has the shape {shape:?}, and {expected:?} was expected"
                    ));
                }
                Some((_, values)) if values.iter().any(|v| !v.is_finite()) => {
                    return Err(format!("the tensor {name} holds NaN or infinite values"));
                }
                Some((_, values)) => tensors.insert(name, values),
            };
        }
        match given.keys().next() {
            Some(name) => Err(format!("the tensor {name} belongs to no layer of the RIAD U-Net")),
            None => Ok(Self {
                architecture,
                network,
                tensors,
            }),
        }
    }

    /// Weights of the same network, with what `values` gives for each tensor.
    pub(crate) fn try_map<E>(&self, mut values: impl FnMut(&TensorSpec) -> Result<Vec<f32>, E>) -> Result<Self, E> {
        let specs = self.network.tensors().into_iter();
        let tensors = specs.map(|spec| values(&spec).map(|values| (spec.name, values)));
        Ok(Self {
            tensors: tensors.collect::<Result<_, E>>()?,
            ..self.bare()
        })
    }

    /// The network without its tensors.
    pub(crate) fn bare(&self) -> Self {
        Self {
            architecture: self.architecture,
            network: self.network.clone(),
            tensors: BTreeMap::new(),
        }
    }

    /// Whether no value is NaN or infinite.
    pub(crate) fn is_finite(&self) -> bool {
        self.tensors.values().flatten().all(|value| value.is_finite())
    }

    /// The settings of the network.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// The network's layers.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Every tensor's name and values, in the order of the layers.
    pub fn tensors(&self) -> impl Iterator<Item = (String, &[f32])> {
        let specs = self.network().tensors().into_iter();
        specs.map(|spec| {
            let values = self.get(&spec.name);
            (spec.name, values)
        })
    }

    /// The values of the tensor `name`, in PyTorch's order.
    ///
    /// # Panics
    /// If the network has no such tensor; every one that it has is there.
    pub(crate) fn get(&self, name: &str) -> &[f32] {
        &self.tensors[name]
    }
}

/// Weight and bias of a layer's convolution for scoring: with the batch norm after it folded in, if there is one.
pub(crate) fn folded(weights: &Weights, layer: &Layer) -> (Vec<f32>, Vec<f32>) {
    let part = |layer: &str, name: &str| weights.get(&format!("{layer}.{name}"));
    let (weight, bias) = (part(&layer.name, "weight"), part(&layer.name, "bias"));
    let Some(norm) = layer.norm() else {
        return (weight.to_vec(), bias.to_vec());
    };
    let (scale, shift) = (part(norm, "weight"), part(norm, "bias"));
    let (mean, variance) = (part(norm, "running_mean"), part(norm, "running_var"));
    let factors: Vec<f64> = scale
        .iter()
        .zip(variance)
        .map(|(&s, &v)| f64::from(s) / (f64::from(v) + EPSILON).sqrt())
        .collect();
    // Batch norms follow plain convolutions alone, whose outputs are the weight's rows.
    let per_output = weight.len() / bias.len();
    let weight = weight
        .chunks_exact(per_output)
        .zip(&factors)
        .flat_map(|(row, &factor)| row.iter().map(move |&w| (f64::from(w) * factor) as f32))
        .collect();
    let bias = (0..bias.len())
        .map(|c| ((f64::from(bias[c]) - f64::from(mean[c])) * factors[c] + f64::from(shift[c])) as f32)
        .collect();
    (weight, bias)
}

/// Uniform in [0, 1) with 24 bits, exactly representable and the same everywhere.
fn unit(rng: &mut Random) -> f32 {
    (rng.next_u32() >> 8) as f32 / (1u32 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(weights: &Weights) -> NamedTensors {
        let spec = weights.network.tensors();
        spec.into_iter()
            .map(|s| (s.name.clone(), (s.shape, weights.get(&s.name).to_vec())))
            .collect()
    }

    fn initial(architecture: Architecture, seed: u64) -> Weights {
        Weights::initial(architecture, seed).unwrap()
    }

    #[test]
    fn initial_weights_stay_within_pytorchs_bounds() {
        let weights = initial(Architecture::u_net(8), 1);
        let conv = weights.get("down2.conv1.weight");
        let bound = 1.0 / f32::sqrt(8.0 * 16.0);
        assert!(conv.iter().all(|v| v.abs() <= bound));
        let variance = conv.iter().map(|v| v * v).sum::<f32>() / conv.len() as f32;
        assert!((variance / (bound * bound / 3.0) - 1.0).abs() < 0.05, "{variance}");
        assert_eq!(weights, initial(Architecture::u_net(8), 1));
        assert_ne!(weights, initial(Architecture::u_net(8), 2));
    }

    #[test]
    fn foreign_tensors_say_what_network_they_are_of() {
        for architecture in [
            Architecture::u_net(2),
            Architecture::autoencoder(3),
            Architecture::u_net(2).with_channels(1),
            Architecture::autoencoder(2).with_channels(5),
            Architecture::u_net(2).with_inputs(1),
        ] {
            let weights = initial(architecture, 1);
            assert_eq!(Weights::from_foreign(given(&weights)), Ok(weights));
        }
    }

    #[test]
    fn foreign_tensors_are_refused_by_name() {
        let weights = initial(Architecture::u_net(2), 1);
        let mut tensors = given(&weights);
        tensors.insert("down1.bn1.num_batches_tracked".into(), (vec![], vec![3.0]));
        assert_eq!(Weights::from_foreign(tensors.clone()), Ok(weights));

        let refused = |change: &dyn Fn(&mut NamedTensors), reason: &str| {
            let mut tensors = tensors.clone();
            change(&mut tensors);
            let error = Weights::from_foreign(tensors).unwrap_err();
            assert!(error.contains(reason), "{error}");
        };
        refused(&|given| drop(given.remove("up3.bn2.bias")), "up3.bn2.bias is missing");
        refused(
            &|given| given.get_mut("down1.conv2.bias").unwrap().0 = vec![1, 2],
            "down1.conv2.bias has the shape [1, 2]",
        );
        refused(
            &|given| drop(given.insert("head.weight".into(), (vec![1], vec![0.0]))),
            "head.weight belongs to no layer",
        );
        refused(
            &|given| given.get_mut("conv_final.0.bias").unwrap().1[0] = f32::NAN,
            "conv_final.0.bias holds NaN",
        );
        refused(&NamedTensors::clear, "not a RIAD U-Net");
        for shape in [
            vec![],
            vec![2],
            vec![0, 3, 3, 3],
            vec![1 << 62, 3, 3, 3],
            vec![2, 1 << 62, 3, 3],
        ] {
            refused(
                &|given| given.get_mut("down1.conv1.weight").unwrap().0 = shape.clone(),
                "down1.conv1.weight has the shape",
            );
        }
    }
}
