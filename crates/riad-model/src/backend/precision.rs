//! The precision of a network's computations.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Device, device::Backend};
use crate::ModelError;

/// The precision of multiplications in a network's layers. Sums and trained parameters are always f32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Precision {
    /// f32.
    #[default]
    F32,
    /// f32, rounded from 23 to 10 bits for multiplications. On NVIDIA GPUs.
    Tf32,
    /// bf16, with 7 bits. On NVIDIA GPUs. For scoring also on CPUs with AMX.
    Bf16,
}

impl Precision {
    /// All precisions, the most exact first.
    pub const ALL: &[Self] = &[Self::F32, Self::Tf32, Self::Bf16];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        }
    }

    /// The default precision of training on `device`: tf32 on an NVIDIA GPU, like PyTorch's convolutions, because the
    /// GPU is many times faster in it. Otherwise f32.
    pub fn of_training(device: &Device) -> Self {
        match device.backend() {
            Backend::Cuda(_) => Self::Tf32,
            _ => Self::F32,
        }
    }

    /// Checks that networks can score in it on `device`.
    ///
    /// # Errors
    /// [`ModelError::Precision`] with the reason and the way out, if they do not.
    pub fn check_scoring(self, device: &Device) -> Result<(), ModelError> {
        match (device.backend(), self) {
            (Backend::Cpu, _) => Ok(self.on_cpu()?.check()?),
            (Backend::Cuda(_), _) => Ok(()),
            #[cfg(feature = "candle")]
            (Backend::Candle(_), Self::F32) => Ok(()),
            #[cfg(feature = "candle")]
            (Backend::Candle(_), _) => Err(ModelError::Precision {
                reason: format!(
                    "the device {} scores in f32 only, not in {self}; use f32, or choose another device",
                    device.kind()
                ),
            }),
        }
    }

    /// Checks that networks can be trained in it on `device`.
    ///
    /// # Errors
    /// [`ModelError::Precision`] with the way out, if it cannot.
    pub fn check_training(self, device: &Device) -> Result<(), ModelError> {
        if self == Self::F32 || matches!(device.backend(), Backend::Cuda(_)) {
            return Ok(());
        }
        Err(ModelError::Precision {
            reason: format!("training in {self} needs an NVIDIA GPU; on other devices start another run in f32"),
        })
    }

    /// What `riad-conv` calls it.
    pub(crate) fn on_cpu(self) -> Result<riad_conv::Precision, ModelError> {
        match self {
            Self::F32 => Ok(riad_conv::Precision::F32),
            Self::Bf16 => Ok(riad_conv::Precision::Bf16),
            Self::Tf32 => Err(ModelError::Precision {
                reason: "tf32 is for NVIDIA GPUs; leave it out, or choose the device cuda".into(),
            }),
        }
    }

    /// What `riad-cuda` calls it.
    pub(crate) fn on_gpu(self) -> riad_cuda::Precision {
        match self {
            Self::F32 => riad_cuda::Precision::F32,
            Self::Tf32 => riad_cuda::Precision::Tf32,
            Self::Bf16 => riad_cuda::Precision::Bf16,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Precision {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        let mut all = Self::ALL.iter().copied();
        all.find(|precision| precision.name() == name)
            .ok_or_else(|| ModelError::Setting(format!("there is no precision {name:?}; there are f32, tf32 and bf16")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So that a program can say which option chooses another precision or device.
    #[test]
    fn a_precision_that_the_cpu_lacks_is_refused_as_one() {
        let check = |precision: Precision| precision.check_scoring(&Device::CPU);
        assert!(matches!(check(Precision::Tf32), Err(ModelError::Precision { .. })));
        assert!(check(Precision::F32).is_ok());
        // Whether there is AMX depends on the machine.
        assert!(matches!(
            check(Precision::Bf16),
            Ok(()) | Err(ModelError::Precision { .. })
        ));
        assert!(matches!(
            ModelError::from(riad_conv::ConvError::NoBf16),
            ModelError::Precision { .. }
        ));
    }
}
