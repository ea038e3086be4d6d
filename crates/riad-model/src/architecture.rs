//! The U-Net that both public PyTorch versions of RIAD use, at any width.
//!
//! Encoder of five blocks with `w·(1, 2, 4, 8, 8)` channels, each *conv, batch norm, ReLU, conv 3×3, batch norm, ReLU*;
//! the first convolution of block 1 is 3×3 stride 1, of the others 4×4 stride 2 padding 1. Decoder of four blocks with
//! `w·(8, 4, 2, 1)` channels, each *transposed conv 4×4 stride 2 padding 1, concat (up, skip), 2 × (conv 3×3, batch norm,
//! ReLU)*. A last convolution 3×3 to three channels, then tanh.
//!
//! Without its skip connections it is the plain autoencoder that the paper compares with: the same layers, but that a
//! decoder block's first convolution takes in what comes up alone.
//!
//! Tensor names are PyTorch's: `down{1..5}.{conv1,bn1,conv2,bn2}.*`, `up{1..4}.{upconv,conv1,bn1,conv2,bn2}.*`,
//! `conv_final.0.*`.

use std::{fmt, str::FromStr};

use riad_conv::Geometry;
use serde::{Deserialize, Serialize};

use crate::ModelError;

/// Colour channels of the images that go in and come out.
pub const CHANNELS: usize = 3;

/// The encoder halves the image four times, so the sides of what it takes are multiples of this.
pub const SIZE_MULTIPLE: usize = 16;

/// Height and width of what the network takes for an image of this size.
pub(crate) fn padded_size(height: usize, width: usize) -> (usize, usize) {
    (
        height.next_multiple_of(SIZE_MULTIPLE),
        width.next_multiple_of(SIZE_MULTIPLE),
    )
}

/// Kernel, stride and padding of every 3×3 convolution.
pub(crate) const SAME_3X3: Geometry = Geometry {
    kernel: 3,
    stride: 1,
    padding: 1,
};
/// Kernel, stride and padding of the convolutions that halve and of the transposed ones that double the image.
pub(crate) const RESIZE_4X4: Geometry = Geometry {
    kernel: 4,
    stride: 2,
    padding: 1,
};

/// Added to a batch norm's variance, as PyTorch's default.
pub(crate) const EPSILON: f64 = 1e-5;
/// Share of the batch's statistics in a batch norm's running ones, as PyTorch's default.
pub(crate) const MOMENTUM: f64 = 0.1;

/// Sizes of the network that the program offers by name.
///
/// | preset | width | parameters | MACs of one 256×256 pass | for |
/// |---|---|---|---|---|
/// | `tiny` | 16 | 1,803,923 | 3.5 G | CPUs: minutes of training |
/// | `small` | 32 | 7,206,179 | 13.7 G | CPUs: an hour or a night |
/// | `paper` | 64 | 28,805,699 | 54.5 G | GPUs; the published network |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Width 16.
    Tiny,
    /// Width 32.
    Small,
    /// Width 64, the published network.
    Paper,
}

impl Preset {
    /// All presets, smallest first.
    pub const ALL: [Self; 3] = [Self::Tiny, Self::Small, Self::Paper];

    /// The architecture that the preset names.
    pub fn architecture(self) -> Architecture {
        let width = match self {
            Self::Tiny => 16,
            Self::Small => 32,
            Self::Paper => 64,
        };
        Architecture::u_net(width)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Small => "small",
            Self::Paper => "paper",
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Preset {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        Self::ALL
            .into_iter()
            .find(|preset| preset.name() == name)
            .ok_or_else(|| ModelError::Setting(format!("no preset is named {name:?}; there are tiny, small and paper")))
    }
}

/// A network's shape: everything that decides which tensors it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Architecture {
    /// Channels of the first block; the others are 2, 4 and 8 times as wide.
    pub width: usize,
    /// Whether it is a U-Net: decoder blocks take in what the encoder has at their resolution.
    #[serde(default = "yes")]
    pub skip_connections: bool,
}

fn yes() -> bool {
    true
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

/// An encoder block: its name and channels, and the geometry of its first convolution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Down {
    pub(crate) name: &'static str,
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) first: Geometry,
}

/// A decoder block: its name and channels; it doubles the image and takes in a skip connection of `skip` channels, if that
/// is not 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Up {
    pub(crate) name: &'static str,
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) skip: usize,
}

impl Architecture {
    /// A U-Net of this width, the paper's network.
    pub fn u_net(width: usize) -> Self {
        Self {
            width,
            skip_connections: true,
        }
    }

    /// An autoencoder of this width, whose code is all that the decoder sees.
    pub fn autoencoder(width: usize) -> Self {
        Self {
            width,
            skip_connections: false,
        }
    }

    pub(crate) fn encoder(self) -> [Down; 5] {
        let w = self.width;
        let down = |name, input, output, first| Down {
            name,
            input,
            output,
            first,
        };
        [
            down("down1", CHANNELS, w, SAME_3X3),
            down("down2", w, 2 * w, RESIZE_4X4),
            down("down3", 2 * w, 4 * w, RESIZE_4X4),
            down("down4", 4 * w, 8 * w, RESIZE_4X4),
            down("down5", 8 * w, 8 * w, RESIZE_4X4),
        ]
    }

    pub(crate) fn decoder(self) -> [Up; 4] {
        let w = self.width;
        let up = |name, input, output| Up {
            name,
            input,
            output,
            skip: if self.skip_connections { output } else { 0 },
        };
        [
            up("up1", 8 * w, 8 * w),
            up("up2", 8 * w, 4 * w),
            up("up3", 4 * w, 2 * w),
            up("up4", 2 * w, w),
        ]
    }

    /// Every tensor of the network, in the order of its layers.
    pub(crate) fn tensors(self) -> Vec<TensorSpec> {
        let mut specs = Vec::new();
        for Down {
            name,
            input,
            output,
            first,
        } in self.encoder()
        {
            push_conv(&mut specs, &format!("{name}.conv1"), input, output, first.kernel);
            push_norm(&mut specs, &format!("{name}.bn1"), output);
            push_conv(&mut specs, &format!("{name}.conv2"), output, output, SAME_3X3.kernel);
            push_norm(&mut specs, &format!("{name}.bn2"), output);
        }
        for Up {
            name,
            input,
            output,
            skip,
        } in self.decoder()
        {
            push_transposed(&mut specs, &format!("{name}.upconv"), input, output);
            push_conv(
                &mut specs,
                &format!("{name}.conv1"),
                output + skip,
                output,
                SAME_3X3.kernel,
            );
            push_norm(&mut specs, &format!("{name}.bn1"), output);
            push_conv(&mut specs, &format!("{name}.conv2"), output, output, SAME_3X3.kernel);
            push_norm(&mut specs, &format!("{name}.bn2"), output);
        }
        push_conv(&mut specs, "conv_final.0", self.width, CHANNELS, SAME_3X3.kernel);
        specs
    }

    /// Trained parameters: weights, biases, and batch norms' scales and shifts.
    pub fn parameters(self) -> usize {
        self.tensors()
            .iter()
            .filter(|spec| spec.role.is_trained())
            .map(|spec| spec.shape.iter().product::<usize>())
            .sum()
    }

    /// Multiply-accumulates of one forward pass over one `height` × `width` image.
    pub fn macs(self, height: usize, width: usize) -> u64 {
        let (height, width) = padded_size(height, width);
        let (mut pixels, mut total) = ((height * width) as u64, 0);
        for (
            index,
            Down {
                input, output, first, ..
            },
        ) in self.encoder().into_iter().enumerate()
        {
            if index > 0 {
                pixels /= 4;
            }
            total += pixels * (output * (input * first.kernel * first.kernel + output * 9)) as u64;
        }
        for Up {
            input, output, skip, ..
        } in self.decoder()
        {
            // A transposed convolution spends its kernel once for every input pixel.
            total += pixels * (input * output * 16) as u64;
            pixels *= 4;
            total += pixels * (output * (output + skip + output) * 9) as u64;
        }
        total + pixels * (self.width * CHANNELS * 9) as u64
    }
}

fn push_conv(specs: &mut Vec<TensorSpec>, name: &str, input: usize, output: usize, kernel: usize) {
    let role = Role::Convolution {
        fan_in: input * kernel * kernel,
    };
    specs.push(TensorSpec {
        name: format!("{name}.weight"),
        shape: vec![output, input, kernel, kernel],
        role,
    });
    specs.push(TensorSpec {
        name: format!("{name}.bias"),
        shape: vec![output],
        role,
    });
}

fn push_transposed(specs: &mut Vec<TensorSpec>, name: &str, input: usize, output: usize) {
    let kernel = RESIZE_4X4.kernel;
    // PyTorch takes a transposed convolution's fan in from its weight's second dimension, the output channels.
    let role = Role::Convolution {
        fan_in: output * kernel * kernel,
    };
    specs.push(TensorSpec {
        name: format!("{name}.weight"),
        shape: vec![input, output, kernel, kernel],
        role,
    });
    specs.push(TensorSpec {
        name: format!("{name}.bias"),
        shape: vec![output],
        role,
    });
}

fn push_norm(specs: &mut Vec<TensorSpec>, name: &str, channels: usize) {
    for (part, role) in [
        ("weight", Role::Scale),
        ("bias", Role::Shift),
        ("running_mean", Role::RunningMean),
        ("running_var", Role::RunningVariance),
    ] {
        specs.push(TensorSpec {
            name: format!("{name}.{part}"),
            shape: vec![channels],
            role,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counted by PyTorch over the public implementation (METHOD.md), and by fvcore-style accounting for the MACs.
    #[test]
    fn paper_preset_is_the_published_network() {
        let paper = Preset::Paper.architecture();
        assert_eq!(paper.parameters(), 28_805_699);
        assert_eq!(paper.macs(256, 256), 54_517_563_392);
    }

    #[test]
    fn presets_have_the_documented_sizes() {
        let sizes = Preset::ALL.map(|preset| preset.architecture().parameters());
        assert_eq!(sizes, [1_803_923, 7_206_179, 28_805_699]);
    }

    #[test]
    fn preset_names_round_trip() {
        for preset in Preset::ALL {
            assert_eq!(preset.to_string().parse::<Preset>().unwrap(), preset);
        }
        assert!("huge".parse::<Preset>().is_err());
    }
}
