//! Methods: the network's input, its target, and the way to a loss, a map and a score.
//!
//! Each method has its own file here, and its name in [`Method::ALL`]. Nothing outside of this room asks which method
//! it is. Methods share these parts: input filters ([`InputFilter`]), masked copies ([`masking`](Masking)), the loss,
//! the maps, tiles and regions of interest.

mod alignment;
mod autoencoder;
mod examples;
mod filter;
mod loss;
mod map;
mod masking;
mod normal;
mod restore;
mod riad;
mod roi;
mod settings;
mod tiling;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    ModelError, Result,
    network::{Architecture, Weights},
    onnx::Graph,
    seed::Step,
};

pub use alignment::Alignment;
pub use examples::Examples;
pub use filter::InputFilter;
pub use loss::{LossTerms, LossWeights};
pub use map::{Keep, Scored};
pub use masking::Normalisation;
pub use normal::{Normal, NormalSums};
pub use roi::Roi;
pub use settings::{ScoringSettings, Similarity};
pub use tiling::Tiling;

pub(crate) use loss::loss;
pub(crate) use map::{MapSettings, maps};
#[cfg(test)]
#[cfg(feature = "candle")]
pub(crate) use masking::tests::{maskings, values};
pub(crate) use masking::{Frame, Masking, Passes};
pub(crate) use tiling::Grid;

/// A method, by its name.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub struct Method(&'static dyn Definition);

/// What a method is.
trait Definition: Sync {
    /// Its name, for people and in files.
    fn name(&self) -> &'static str;

    /// What it does, in a sentence without a full stop.
    fn about(&self) -> &'static str;

    /// How exported files call the method, and what its network does.
    fn titles(&self) -> [&'static str; 2];

    /// The network for colour images that it trains.
    fn architecture(&self, width: usize) -> Architecture;

    /// The method's settings, made of the published ones for images of the same size.
    fn settings(&self, published: ScoringSettings) -> ScoringSettings;

    /// The steps that it is trained for at least, in whole epochs; `None` if it is trained until nothing improves.
    fn steps(&self) -> Option<usize> {
        None
    }

    /// Whether the network is shown corrupted images in training, and has to give back what they were.
    fn corrupts(&self) -> bool {
        false
    }

    /// Checks what of the settings is the method's own.
    fn check(&self, scoring: &ScoringSettings) -> Result<()>;

    /// The passes that an image goes through to be scored.
    fn passes(&self, scoring: &ScoringSettings, frame: Frame) -> Result<Passes>;

    /// What each pass's map is called, in the passes' order.
    fn pass_names(&self, scoring: &ScoringSettings) -> Vec<String>;

    /// What there is to know of the method's own settings: names and values for people.
    fn facts(&self, scoring: &ScoringSettings) -> Vec<(&'static str, String)>;

    /// What the network sees of `count` images in a step of training.
    fn draw(&self, scoring: &ScoringSettings, frame: Frame, step: Step, count: usize) -> Result<Masking>;

    /// Writes the passes down as ONNX nodes: from normalised images `[N, C, H, W]` to what the network makes of them,
    /// `[N·passes, C, H, W]`, normalised as well.
    fn export(
        &self,
        graph: &mut Graph,
        weights: &Weights,
        scoring: &ScoringSettings,
        normalised: &str,
    ) -> Result<String>;
}

impl Method {
    /// Inpainting of hidden regions, the published method.
    pub const RIAD: Self = Self(&riad::Riad);
    /// The paper's method for comparison: it reconstructs the visible image.
    pub const AUTOENCODER: Self = Self(&autoencoder::Autoencoder);
    /// Restoration of images from their edges.
    pub const RESTORE: Self = Self(&restore::Restore);

    /// All methods.
    pub const ALL: &[Self] = &[Self::RIAD, Self::AUTOENCODER, Self::RESTORE];

    /// Its name, for people and in files.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// What it does, in a sentence without a full stop.
    pub fn about(self) -> &'static str {
        self.0.about()
    }

    /// How weights from elsewhere are scored with: those of a network that sees other channels than it gives back restore from
    /// grey edges, and all others fill in, as published. That a network restores grey images, or from the edges of each channel,
    /// its tensors do not tell.
    pub(crate) fn settings_of_foreign(architecture: Architecture) -> ScoringSettings {
        let ScoringSettings { height, width, .. } = ScoringSettings::default();
        match architecture.inputs() == architecture.channels() {
            true => ScoringSettings::default(),
            false => ScoringSettings {
                input: InputFilter::EdgesGrey,
                ..Self::RESTORE.settings(height, width)
            },
        }
    }

    /// The network for colour images that it trains.
    pub fn architecture(self, width: usize) -> Architecture {
        self.0.architecture(width)
    }

    /// The method's settings for images of this size. They are the published ones, if there are any.
    pub fn settings(self, height: usize, width: usize) -> ScoringSettings {
        ScoringSettings {
            method: self,
            ..self.0.settings(ScoringSettings::for_size(height, width))
        }
    }

    /// The steps that it is trained for at least, in whole epochs; `None` if it is trained until nothing improves.
    pub fn steps(self) -> Option<usize> {
        self.0.steps()
    }

    /// Whether it is trained with damaged [`Examples`](crate::Examples).
    pub fn corrupts(self) -> bool {
        self.0.corrupts()
    }

    /// How exported files call the method, and what its network does.
    pub(crate) fn titles(self) -> [&'static str; 2] {
        self.0.titles()
    }

    pub(crate) fn check(self, scoring: &ScoringSettings) -> Result<()> {
        self.0.check(scoring)
    }

    pub(crate) fn passes(self, scoring: &ScoringSettings, channels: usize) -> Result<Passes> {
        self.0.passes(scoring, Frame::of(scoring, channels))
    }

    /// The name of each pass in reports, in the order of [`Scored::region_maps`].
    pub fn pass_names(self, scoring: &ScoringSettings) -> Vec<String> {
        self.0.pass_names(scoring)
    }

    /// What there is to know of the method's own settings: names and values for people.
    pub fn facts(self, scoring: &ScoringSettings) -> Vec<(&'static str, String)> {
        self.0.facts(scoring)
    }

    pub(crate) fn draw(self, scoring: &ScoringSettings, channels: usize, step: Step, count: usize) -> Result<Masking> {
        self.0.draw(scoring, Frame::of(scoring, channels), step, count)
    }

    pub(crate) fn export(
        self,
        graph: &mut Graph,
        weights: &Weights,
        scoring: &ScoringSettings,
        normalised: &str,
    ) -> Result<String> {
        self.0.export(graph, weights, scoring, normalised)
    }
}

impl From<Method> for &'static str {
    fn from(method: Method) -> Self {
        method.name()
    }
}

impl TryFrom<String> for Method {
    type Error = ModelError;

    fn try_from(name: String) -> Result<Self> {
        name.parse()
    }
}

impl PartialEq for Method {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Method {}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Method {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|method| method.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|method| method.name()).collect();
            ModelError::Setting(format!("there is no method {name:?}; there are {}", listed(&names)))
        })
    }
}

/// Checks that settings of a method that hides nothing have no regions to hide.
fn hides_nothing(scoring: &ScoringSettings) -> Result<()> {
    if scoring.region_sizes.is_empty() {
        return Ok(());
    }
    Err(ModelError::Setting(format!(
        "the method {} hides nothing, so it has no region sizes",
        scoring.method
    )))
}

/// Checks that settings of a method that shows images as they are have no filter: edges would tell of what is hidden.
fn filters_nothing(scoring: &ScoringSettings) -> Result<()> {
    if scoring.input.is_none() {
        return Ok(());
    }
    Err(ModelError::Setting(format!(
        "the method {} does not filter its input, so it cannot use the input filter {}",
        scoring.method, scoring.input
    )))
}

/// Names as a sentence lists them.
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [name] => (*name).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_knows_its_name_and_its_settings() {
        for &method in Method::ALL {
            assert_eq!(method.name().parse::<Method>().unwrap(), method);
            let settings = method.settings(64, 48);
            assert_eq!(settings.method, method);
            settings.check().unwrap();
            let passes = method.passes(&settings, 3).unwrap();
            assert_eq!(method.pass_names(&settings).len(), passes.len());
        }
        let error = "draem".parse::<Method>().unwrap_err().to_string();
        assert!(error.contains("riad, autoencoder and restore"), "{error}");
    }
}
