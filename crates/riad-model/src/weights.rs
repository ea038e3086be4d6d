//! The network's tensors on the host, by PyTorch's names.

use std::collections::BTreeMap;

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use crate::architecture::{Architecture, Role, TensorSpec};

/// Tensors as a file gives them: shape and values by name.
pub(crate) type NamedTensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Every tensor of a network, trained ones and batch norms' running statistics alike.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    architecture: Architecture,
    tensors: BTreeMap<String, Vec<f32>>,
}

impl Weights {
    /// Random weights as PyTorch initialises them: convolutions uniform within ±1/√(fan in), batch norms the identity.
    /// The same seed gives the same weights on every platform.
    pub fn initial(architecture: Architecture, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let tensors = architecture
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
        Self { architecture, tensors }
    }

    /// Takes a network's tensors, given with their shapes, after checking that they are those of a network of this
    /// crate. The width is read from the first convolution, whether there are skip connections from the first that takes
    /// one in. Tensors that the network does not have are an error, save
    /// PyTorch's `num_batches_tracked`; the error says which tensor and how it differs.
    pub(crate) fn from_tensors(mut given: NamedTensors) -> Result<Self, String> {
        const FIRST: &str = "down1.conv1.weight";
        const FIRST_WITH_SKIP: &str = "up1.conv1.weight";
        given.retain(|name, _| !name.ends_with(".num_batches_tracked"));
        let Some((shape, _)) = given.get(FIRST) else {
            let names: Vec<&str> = given.keys().take(3).map(String::as_str).collect();
            return Err(format!(
                "it has no tensor {FIRST}, so it is no RIAD U-Net; its tensors begin with {names:?}"
            ));
        };
        let width = shape.first().copied().unwrap_or(0);
        let architecture = match given.get(FIRST_WITH_SKIP) {
            Some((shape, _)) if shape.get(1) == shape.first() => Architecture::autoencoder(width),
            _ => Architecture::u_net(width),
        };
        if architecture.width == 0 || architecture.width > 4096 {
            return Err(format!(
                "{FIRST} has the shape {shape:?}; its first side, the width, must be within 1 to 4096"
            ));
        }
        let mut tensors = BTreeMap::new();
        for TensorSpec {
            name, shape: expected, ..
        } in architecture.tensors()
        {
            match given.remove(&name) {
                None => return Err(format!("the tensor {name} is missing")),
                Some((shape, _)) if shape != expected => {
                    return Err(format!(
                        "the tensor {name} has the shape {shape:?} where {expected:?} was expected"
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
            None => Ok(Self { architecture, tensors }),
        }
    }

    /// Replaces the values of all tensors by what `values` gives for each.
    pub(crate) fn try_from_fn<E>(
        architecture: Architecture,
        mut values: impl FnMut(&TensorSpec) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        let tensors = architecture
            .tensors()
            .into_iter()
            .map(|spec| values(&spec).map(|values| (spec.name, values)))
            .collect::<Result<_, E>>()?;
        Ok(Self { architecture, tensors })
    }

    /// Whether no value is NaN or infinite.
    pub(crate) fn is_finite(&self) -> bool {
        self.tensors.values().flatten().all(|value| value.is_finite())
    }

    /// The shape of the network.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// The values of the tensor `name`, in PyTorch's order.
    ///
    /// # Panics
    /// If the architecture has no such tensor; every one that it has is there.
    pub(crate) fn get(&self, name: &str) -> &[f32] {
        &self.tensors[name]
    }
}

/// Uniform in [0, 1) with 24 bits, exactly representable and the same everywhere.
fn unit(rng: &mut impl Rng) -> f32 {
    (rng.next_u32() >> 8) as f32 / (1u32 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(weights: &Weights) -> NamedTensors {
        let spec = weights.architecture.tensors();
        spec.into_iter()
            .map(|s| (s.name.clone(), (s.shape, weights.get(&s.name).to_vec())))
            .collect()
    }

    #[test]
    fn initial_weights_stay_within_pytorchs_bounds() {
        let weights = Weights::initial(Architecture::u_net(8), 1);
        let conv = weights.get("down2.conv1.weight");
        let bound = 1.0 / f32::sqrt(8.0 * 16.0);
        assert!(conv.iter().all(|v| v.abs() <= bound));
        let variance = conv.iter().map(|v| v * v).sum::<f32>() / conv.len() as f32;
        assert!((variance / (bound * bound / 3.0) - 1.0).abs() < 0.05, "{variance}");
        assert_eq!(weights, Weights::initial(Architecture::u_net(8), 1));
        assert_ne!(weights, Weights::initial(Architecture::u_net(8), 2));
    }

    #[test]
    fn foreign_tensors_are_refused_by_name() {
        let weights = Weights::initial(Architecture::u_net(2), 1);
        let mut tensors = given(&weights);
        tensors.insert("down1.bn1.num_batches_tracked".into(), (vec![], vec![3.0]));
        assert_eq!(Weights::from_tensors(tensors.clone()), Ok(weights));

        let mut missing = tensors.clone();
        missing.remove("up3.bn2.bias");
        assert!(
            Weights::from_tensors(missing)
                .unwrap_err()
                .contains("up3.bn2.bias is missing")
        );
        let mut reshaped = tensors.clone();
        reshaped.get_mut("down1.conv2.bias").unwrap().0 = vec![1, 2];
        assert!(
            Weights::from_tensors(reshaped)
                .unwrap_err()
                .contains("down1.conv2.bias has the shape [1, 2]")
        );
        let mut extra = tensors.clone();
        extra.insert("head.weight".into(), (vec![1], vec![0.0]));
        assert!(
            Weights::from_tensors(extra)
                .unwrap_err()
                .contains("head.weight belongs to no layer")
        );
        let mut broken = tensors;
        broken.get_mut("conv_final.0.bias").unwrap().1[0] = f32::NAN;
        assert!(
            Weights::from_tensors(broken)
                .unwrap_err()
                .contains("conv_final.0.bias holds NaN")
        );
        assert!(
            Weights::from_tensors(BTreeMap::new())
                .unwrap_err()
                .contains("no RIAD U-Net")
        );
    }
}
