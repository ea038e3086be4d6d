//! The U-Net that both public PyTorch versions of RIAD use, at any width and for any number of channels.
//!
//! Encoder of five blocks with `w·(1, 2, 4, 8, 8)` channels, each *conv, batch norm, ReLU, conv 3×3, batch norm, ReLU*;
//! the first convolution of block 1 is 3×3 stride 1, of the others 4×4 stride 2 padding 1. Decoder of four blocks with
//! `w·(8, 4, 2, 1)` channels, each *transposed conv 4×4 stride 2 padding 1, concat (up, skip), 2 × (conv 3×3, batch norm,
//! ReLU)*. A last convolution 3×3 to the image's channels, then tanh.
//!
//! Without skip connections it is the paper's plain autoencoder: the same layers, but the first convolution of a
//! decoder block has only the upsampled values as input.
//!
//! Tensor names are PyTorch's: `down{1..5}.{conv1,bn1,conv2,bn2}.*`, `up{1..4}.{upconv,conv1,bn1,conv2,bn2}.*`,
//! `conv_final.0.*`.

use std::{fmt, str::FromStr};

use riad_conv::Geometry;
use riad_core::Size;
use serde::{Deserialize, Serialize};

use super::layer::{After, Kind, Layer, Network, Source};
use crate::{ModelError, Result};

/// The sides of the network's input are multiples of this, because the encoder halves the image four times.
pub const SIZE_MULTIPLE: usize = 16;

/// The largest width of a network. The published width is 64.
pub const MAX_WIDTH: usize = 4096;

/// The largest number of channels of an image.
pub const MAX_CHANNELS: usize = 256;

/// The longest side of an image that is accepted, in pixels.
const MAX_SIDE: usize = 16384;

/// Refuses image sizes that the network cannot take. An image must be as large as what may be added to it, which mirrors
/// it.
pub(crate) fn check_size(size: Size) -> Result<()> {
    let fits = |side: usize| (SIZE_MULTIPLE..=MAX_SIDE).contains(&side);
    if fits(size.height) && fits(size.width) {
        return Ok(());
    }
    Err(ModelError::Setting(format!(
        "the network takes images whose sides are {SIZE_MULTIPLE} to {MAX_SIDE} pixels, not {size} (height x width)"
    )))
}

/// The size of what the network takes for an image of this size.
pub(crate) fn padded_size(size: Size) -> Size {
    Size::new(
        size.height.next_multiple_of(SIZE_MULTIPLE),
        size.width.next_multiple_of(SIZE_MULTIPLE),
    )
}

/// Kernel, stride and padding of every 3×3 convolution.
const SAME_3X3: Geometry = Geometry {
    kernel: 3,
    stride: 1,
    padding: 1,
};
/// Kernel, stride and padding of the convolutions that halve and of the transposed ones that double the image.
const RESIZE_4X4: Geometry = Geometry {
    kernel: 4,
    stride: 2,
    padding: 1,
};

/// Sizes of the network by name.
///
/// | preset | width | parameters | MACs of one 256×256 pass | for |
/// |---|---|---|---|---|
/// | `tiny` | 16 | 1,803,923 | 3.5 G | CPUs: minutes of training |
/// | `small` | 32 | 7,206,179 | 13.7 G | CPUs: an hour or a night |
/// | `paper` | 64 | 28,805,699 | 54.5 G | GPUs; the published network |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
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
    pub const ALL: &[Self] = &[Self::Tiny, Self::Small, Self::Paper];

    /// The preset's width.
    pub fn width(self) -> usize {
        match self {
            Self::Tiny => 16,
            Self::Small => 32,
            Self::Paper => 64,
        }
    }

    /// The preset's U-Net for colour images.
    pub fn architecture(self) -> Architecture {
        Architecture::u_net(self.width())
    }

    /// Its name, in messages and files.
    pub fn name(self) -> &'static str {
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

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|preset| preset.name() == name)
            .ok_or_else(|| ModelError::Setting(format!("no preset is named {name:?}; there are tiny, small and paper")))
    }
}

/// The settings of a network: everything that decides its layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
#[non_exhaustive]
pub struct Architecture {
    /// Channels of the first block, 1 to [`MAX_WIDTH`]; the others are 2, 4 and 8 times as wide.
    pub width: usize,
    /// Whether it is a U-Net: decoder blocks get the encoder's values at their resolution.
    pub skip_connections: bool,
    channels: usize,
    inputs: usize,
}

/// An [`Architecture`] in a checkpoint.
#[derive(Serialize, Deserialize)]
struct Written {
    width: usize,
    skip_connections: bool,
    /// `None` if they are those of colour images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channels: Option<usize>,
    /// `None` if they are the images' channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inputs: Option<usize>,
}

impl From<Written> for Architecture {
    fn from(written: Written) -> Self {
        let channels = written.channels.unwrap_or(Self::COLOUR);
        Self {
            width: written.width,
            skip_connections: written.skip_connections,
            channels,
            inputs: written.inputs.unwrap_or(channels),
        }
    }
}

impl From<Architecture> for Written {
    fn from(architecture: Architecture) -> Self {
        let Architecture {
            width,
            skip_connections,
            channels,
            inputs,
        } = architecture;
        Self {
            width,
            skip_connections,
            channels: Some(channels).filter(|&channels| channels != Architecture::COLOUR),
            inputs: Some(inputs).filter(|&inputs| inputs != channels),
        }
    }
}

impl Architecture {
    /// Channels of colour images.
    pub const COLOUR: usize = 3;

    /// A U-Net of this width for colour images, the paper's network.
    pub fn u_net(width: usize) -> Self {
        Self {
            width,
            skip_connections: true,
            channels: Self::COLOUR,
            inputs: Self::COLOUR,
        }
    }

    /// An autoencoder of this width for colour images. The decoder sees only the code.
    pub fn autoencoder(width: usize) -> Self {
        Self {
            skip_connections: false,
            ..Self::u_net(width)
        }
    }

    /// The same for images of another number of channels, 1 to [`MAX_CHANNELS`]. If the network sees as many channels as
    /// the images have, it does so afterwards.
    pub fn with_channels(self, channels: usize) -> Self {
        let inputs = if self.inputs == self.channels {
            channels
        } else {
            self.inputs
        };
        Self {
            channels,
            inputs,
            ..self
        }
    }

    /// The same for a network that sees `inputs` channels of an image, 1 to [`MAX_CHANNELS`].
    pub fn with_inputs(self, inputs: usize) -> Self {
        Self { inputs, ..self }
    }

    /// Channels of the images, and of the network's output.
    pub fn channels(self) -> usize {
        self.channels
    }

    /// Channels that the network sees.
    pub fn inputs(self) -> usize {
        self.inputs
    }

    /// Checks that such a network exists.
    ///
    /// # Errors
    /// [`ModelError::Setting`] names what is out of range.
    pub fn check(self) -> Result<()> {
        if !(1..=MAX_WIDTH).contains(&self.width) {
            return Err(ModelError::Setting(format!(
                "the width must be within 1 to {MAX_WIDTH}, not {}",
                self.width
            )));
        }
        for channels in [self.channels, self.inputs] {
            if !(1..=MAX_CHANNELS).contains(&channels) {
                return Err(ModelError::Setting(format!(
                    "images have 1 to {MAX_CHANNELS} channels, not {channels}"
                )));
            }
        }
        Ok(())
    }

    /// The network's layers. This is the one place that knows their order.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn network(self) -> Result<Network> {
        self.check()?;
        let w = self.width;
        let mut layers = Layers(Vec::new());
        let mut inputs = self.inputs;
        // What the encoder passes across, and its channels, from the image down.
        let mut skips = Vec::new();
        let mut x = 0;
        for (index, outputs) in [w, 2 * w, 4 * w, 8 * w, 8 * w].into_iter().enumerate() {
            let first = if index == 0 { SAME_3X3 } else { RESIZE_4X4 };
            x = layers.blocks(
                &format!("down{}", index + 1),
                Source::Value(x),
                [inputs, outputs],
                first,
            );
            skips.push(x);
            inputs = outputs;
        }
        skips.pop();
        for (index, outputs) in [8 * w, 4 * w, 2 * w, w].into_iter().enumerate() {
            let block = format!("up{}", index + 1);
            let up = layers.push(Layer {
                name: format!("{block}.upconv"),
                source: Source::Value(x),
                kind: Kind::Transposed,
                geometry: RESIZE_4X4,
                inputs,
                outputs,
                after: After::Nothing,
            });
            let skip = skips.pop().filter(|_| self.skip_connections);
            // The encoder passes as many channels across as come up.
            let (source, joined) = match skip {
                Some(skip) => {
                    let name = format!("{block}.concat");
                    let values = vec![up, skip];
                    (Source::Concatenated { name, values }, 2 * outputs)
                }
                None => (Source::Value(up), outputs),
            };
            x = layers.blocks(&block, source, [joined, outputs], SAME_3X3);
            inputs = outputs;
        }
        layers.push(Layer {
            name: "conv_final.0".into(),
            source: Source::Value(x),
            kind: Kind::Plain,
            geometry: SAME_3X3,
            inputs,
            outputs: self.channels,
            after: After::Tanh {
                name: "conv_final.1".into(),
            },
        });
        Network::new(layers.0)
    }

    /// Trained parameters: weights, biases, and batch norms' scales and shifts.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn parameters(self) -> Result<usize> {
        Ok(self.network()?.parameters())
    }

    /// Multiply-accumulates of one forward pass over one `height` × `width` image.
    ///
    /// # Errors
    /// As [`Self::check`], and if no network takes such an image.
    pub fn macs(self, height: usize, width: usize) -> Result<u64> {
        let size = Size::new(height, width);
        check_size(size)?;
        let size = padded_size(size);
        Ok(self.network()?.macs(size.height, size.width))
    }
}

impl fmt::Display for Architecture {
    /// What kind of network it is, for people: `U-Net` or `autoencoder`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(if self.skip_connections { "U-Net" } else { "autoencoder" })
    }
}

/// Layers so far.
struct Layers(Vec<Layer>);

impl Layers {
    /// Appends a layer, and gives the number of the value that it makes.
    fn push(&mut self, layer: Layer) -> usize {
        self.0.push(layer);
        self.0.len()
    }

    /// Appends the two blocks *conv, batch norm, ReLU* of a level, the first with a geometry of its own.
    fn blocks(&mut self, level: &str, source: Source, [inputs, outputs]: [usize; 2], first: Geometry) -> usize {
        let mut block = |index: usize, source, inputs, geometry| {
            self.push(Layer {
                name: format!("{level}.conv{index}"),
                source,
                kind: Kind::Plain,
                geometry,
                inputs,
                outputs,
                after: After::NormRelu {
                    norm: format!("{level}.bn{index}"),
                    relu: format!("{level}.relu{index}"),
                },
            })
        };
        let between = block(1, source, inputs, first);
        block(2, Source::Value(between), outputs, SAME_3X3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counted by PyTorch over the public implementation (METHOD.md), and by fvcore-style accounting for the MACs.
    #[test]
    fn paper_preset_is_the_published_network() {
        let paper = Preset::Paper.architecture();
        assert_eq!(paper.parameters().unwrap(), 28_805_699);
        assert_eq!(paper.macs(256, 256).unwrap(), 54_517_563_392);
    }

    #[test]
    fn presets_have_the_documented_sizes() {
        let sizes: Vec<usize> = Preset::ALL
            .iter()
            .map(|preset| preset.architecture().parameters().unwrap())
            .collect();
        assert_eq!(sizes, [1_803_923, 7_206_179, 28_805_699]);
    }

    #[test]
    fn preset_names_round_trip() {
        for &preset in Preset::ALL {
            assert_eq!(preset.to_string().parse::<Preset>().unwrap(), preset);
        }
        assert!("huge".parse::<Preset>().is_err());
    }

    /// Only the first and the last layer see the image: 9 weights a channel and output, and one bias.
    #[test]
    fn other_channels_change_the_first_and_the_last_layer_alone() {
        let colour = Architecture::u_net(16);
        for channels in [1, 2, 4, 9] {
            let parameters = colour.with_channels(channels).parameters().unwrap() as isize;
            let more = channels as isize - 3;
            assert_eq!(
                parameters - colour.parameters().unwrap() as isize,
                more * (2 * 16 * 9 + 1)
            );
        }
    }

    /// A network that sees as many channels as its images have is one and the same, however its settings were put together.
    #[test]
    fn equal_networks_have_equal_settings_and_equal_files() {
        let gray = Architecture::u_net(4).with_channels(1);
        let ways = [
            Architecture::u_net(4).with_inputs(1).with_channels(1),
            Architecture::u_net(4).with_channels(1).with_inputs(1),
            gray.with_inputs(3).with_inputs(1),
            serde_json::from_str(r#"{"width":4,"skip_connections":true,"channels":1,"inputs":1}"#).unwrap(),
        ];
        let text = serde_json::to_string(&gray).unwrap();
        assert_eq!(text, r#"{"width":4,"skip_connections":true,"channels":1}"#);
        for way in ways {
            assert_eq!(way, gray);
            assert_eq!(serde_json::to_string(&way).unwrap(), text);
        }
        assert_eq!(gray.with_inputs(3).with_channels(2).inputs(), 3);
        let edges = Architecture::u_net(4).with_inputs(1);
        let text = serde_json::to_string(&edges).unwrap();
        assert_eq!(text, r#"{"width":4,"skip_connections":true,"inputs":1}"#);
        assert_eq!(serde_json::from_str::<Architecture>(&text).unwrap(), edges);
    }

    #[test]
    fn networks_that_cannot_be_are_refused() {
        for width in [0, MAX_WIDTH + 1, 1 << 62, usize::MAX] {
            assert!(Architecture::u_net(width).network().is_err());
            assert!(Architecture::u_net(width).macs(256, 256).is_err());
        }
        for side in [0, 15, MAX_SIDE + 1, usize::MAX] {
            assert!(Architecture::u_net(4).macs(side, 256).is_err());
            assert!(Architecture::u_net(4).macs(256, side).is_err());
        }
        for channels in [0, MAX_CHANNELS + 1, usize::MAX] {
            assert!(Architecture::u_net(4).with_channels(channels).network().is_err());
        }
    }
}
