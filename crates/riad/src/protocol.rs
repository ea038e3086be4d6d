//! From the options of a training to its settings.

use std::{path::PathBuf, str::FromStr};

use riad_core::Size;
use riad_data::{Fit, Grouping, Pattern, Reader, Shares, load_ahead};
use riad_model::{
    Alignment, Architecture, Device, InputFilter, LossWeights, Method, Precision, Preset, ScoringSettings, Similarity,
    Tiling, TrainConfig,
};
use serde::{Deserialize, Serialize};

use crate::{Error, Event, Observer, Result, names::one_of};

/// How the network is trained and its maps are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Protocol {
    /// The best maps of this library. They compare the edges of each colour and subtract what is normal at each place.
    #[default]
    Default,
    /// The published method to the letter, to compare with its numbers.
    Paper,
}

impl Protocol {
    /// All protocols.
    pub const ALL: &[Self] = &[Self::Default, Self::Paper];

    /// `default` or `paper`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Paper => "paper",
        }
    }
}

impl FromStr for Protocol {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        one_of("protocol", Self::ALL, Self::name, name)
    }
}

/// How to train. A field that is `None` has the protocol's default. If the run exists, it has the run's value.
#[derive(Clone, Debug, Default)]
pub struct TrainingOptions {
    /// How the network is trained and its maps are made.
    pub protocol: Option<Protocol>,
    /// The method. By default the training images choose it, or an option below that only one method has.
    pub method: Option<Method>,
    /// Terms of the loss.
    pub loss: Option<LossWeights>,
    /// Region sizes k in pixels: 2, 4, 8, 16 by default.
    pub regions: Option<Vec<usize>>,
    /// Number n of disjoint mask sets: 3 by default.
    pub sets: Option<usize>,
    /// The input of the network, for restoration.
    pub input: Option<InputFilter>,
    /// Weight of the differences in colour in maps.
    pub chroma: Option<f32>,
    /// How maps compare an image with its reconstruction.
    pub similarity: Option<Similarity>,
    /// Side of the mean filter over maps, an odd number of pixels.
    pub smoothing: Option<usize>,
    /// Number of scales at which edges are compared, 1 to 4.
    pub scales: Option<usize>,
    /// Size of the network.
    pub preset: Option<Preset>,
    /// Number of channels of the images: 3 by default, or one for each file of a pattern.
    pub channels: Option<usize>,
    /// The sample value that is white in files of integers.
    pub white_level: Option<u16>,
    /// Images are resized to this height and width in pixels. The default is 128, and 256 with the paper's protocol.
    pub size: Option<Size>,
    /// Height and width of tiles. With it, images are not resized but cut into tiles, so `size` must be `None`.
    pub tile: Option<Size>,
    /// Smallest overlap of neighbouring tiles in pixels: a quarter of the shorter side by default. It needs `tile`.
    pub overlap: Option<usize>,
    /// A mask image. Defects are looked for where it is not black.
    pub roi: Option<PathBuf>,
    /// Largest number of passes over the images.
    pub epochs: Option<usize>,
    /// Passes over the images if `epochs` is `None` and the method has no number of steps.
    pub epochs_by_default: Option<usize>,
    /// Largest number of steps, in whole epochs, if `epochs` is `None`: 4000 by default with a small preset.
    pub most_steps: Option<usize>,
    /// Images per step: 4 by default.
    pub batch: Option<usize>,
    /// Learning rate.
    pub lr: Option<f64>,
    /// Number of epochs without a better validation loss after which the learning rate is lowered.
    pub patience: Option<usize>,
    /// Share of the images held out for validation.
    pub validation: Option<f64>,
    /// Share of the images held out to calibrate thresholds.
    pub calibration: Option<f64>,
    /// Which images show the same part. They stay on the same side of the split.
    pub group_by: Option<Grouping>,
    /// A file that names images to leave out.
    pub without: Option<PathBuf>,
    /// Which files make one image together.
    pub bands: Option<Pattern>,
    /// A run or a checkpoint whose weights training starts with. Method, network size, image size, channels, input and
    /// maps that are `None` have its values. Method, network size and channels must be the same.
    pub from: Option<PathBuf>,
    /// The precision to train in.
    pub precision: Option<Precision>,
    /// Number that decides initial weights, split, order and masks: 0 by default.
    pub seed: Option<u64>,
}

impl TrainingOptions {
    /// The same for the [demo set](riad_data::demo): enough training to see what this library does, within a few minutes on two
    /// cores. It only sets options that are `None`.
    pub fn for_demo(self) -> Self {
        let is_resized = self.tile.is_none();
        Self {
            preset: self.preset.or(Some(Preset::Tiny)),
            size: self.size.or(is_resized.then_some(Size::new(128, 128))),
            epochs_by_default: Some(12),
            most_steps: Some(1500),
            batch: self.batch.or(Some(2)),
            lr: self.lr.or(Some(2e-3)),
            ..self
        }
    }
}

/// Steps of a training with a small preset, at most, unless epochs are asked for. 300 epochs of hundreds of images would take hours. On
/// bottle, 5040 steps of RIAD find about as much as 1680 (docs/results.md).
const MOST_STEPS: usize = 4000;

/// Training images whose alignment chooses the method, at most.
const MOST_LOOKED_AT: usize = 64;

/// The method to train `images` with: the one asked for, or the one that an option belongs to, and else the one that suits the
/// images.
pub(crate) fn method(options: &TrainingOptions, images: Vec<PathBuf>, observer: &dyn Observer) -> Result<Method> {
    match asked(options) {
        Some(method) => Ok(method),
        None => suited(images, options.reader(), observer),
    }
}

/// The method that is asked for, by its name or by an option that it alone has.
fn asked(options: &TrainingOptions) -> Option<Method> {
    let is_of_riad = options.regions.is_some() || options.sets.is_some() || options.patience.is_some();
    // A tile may lie anywhere in an image.
    let is_riad = is_of_riad || options.tile.is_some() || options.protocol == Some(Protocol::Paper);
    let by_option = || {
        is_riad
            .then_some(Method::RIAD)
            .or(options.input.map(|_| Method::RESTORE))
    };
    options.method.or_else(by_option)
}

/// Checks options as far as that can be done before the images are looked at, which takes time.
///
/// # Errors
/// If they contradict each other, or one is out of range.
pub(crate) fn check(options: &TrainingOptions, device: &Device) -> Result<()> {
    let method = asked(options).unwrap_or(Method::RIAD);
    options.config(method, 1, device).map(|_| ())
}

/// The method that suits images by their alignment.
fn suited(images: Vec<PathBuf>, reader: Reader, observer: &dyn Observer) -> Result<Method> {
    let step = images.len().div_ceil(MOST_LOOKED_AT).max(1);
    let images = images.into_iter().step_by(step).collect();
    let mut alignment = Alignment::new(reader.channels).map_err(Error::request)?;
    let mut looked_at = 0;
    for (_, loaded) in load_ahead(images, reader, Fit::Resized(Alignment::SIZE)) {
        // What cannot be read is named with all else that is wrong, before anything is trained.
        if let Ok(loaded) = loaded {
            alignment.add(loaded.image.values())?;
            looked_at += 1;
        }
    }
    let method = alignment.method();
    observer.event(&Event::Chosen {
        method,
        alignment: alignment.value(),
        images: looked_at,
    });
    Ok(method)
}

impl TrainingOptions {
    /// The reader for training images.
    pub fn reader(&self) -> Reader {
        Reader::new(channels(self))
            .with_pattern(self.bands.clone())
            .with_white_level(self.white_level)
    }

    /// The method to train these images with: the method that is set, or the method that suits the images.
    ///
    /// # Errors
    /// If the images cannot be read.
    pub fn method_for(&self, images: Vec<PathBuf>, observer: &dyn Observer) -> Result<Method> {
        method(self, images, observer)
    }

    /// How many tiles an image of this size is scored in: 1 without tiles, 0 if it is smaller than a tile.
    pub fn tiles(&self, image: Size) -> usize {
        let Some(tile) = self.tile else { return 1 };
        let overlap = self.overlap(tile);
        let along = |side: usize, tile: usize| match side.checked_sub(tile) {
            Some(rest) => 1 + rest.div_ceil(tile.saturating_sub(overlap).max(1)),
            None => 0,
        };
        along(image.height, tile.height) * along(image.width, tile.width)
    }

    /// The smallest overlap of neighbouring tiles of this size in pixels.
    fn overlap(&self, tile: Size) -> usize {
        self.overlap.unwrap_or(tile.height.min(tile.width) / 4)
    }

    /// The settings of a training on `device` with this number of images. They are the protocol's settings, with three
    /// exceptions: options that are set, the learning rate and the most steps of the small presets, and the epochs of a
    /// method that has a fixed number of steps.
    ///
    /// # Errors
    /// If options contradict each other, or one is out of range.
    pub fn config(&self, method: Method, images: usize, device: &Device) -> Result<TrainConfig> {
        let protocol = self.protocol.unwrap_or_default();
        let (preset, side, similarity) = match protocol {
            Protocol::Default => (Preset::Tiny, 128, Similarity::GmsColour),
            Protocol::Paper => (Preset::Paper, 256, Similarity::GmsGrey),
        };
        if self.size.is_some() && self.tile.is_some() {
            return Err(Error::request(
                "an image is either resized (size) or cut into tiles (tile); leave one of the two out",
            ));
        }
        if self.overlap.is_some() && self.tile.is_none() {
            return Err(Error::request(
                "an overlap is that of tiles; give their size (tile), too, or leave the overlap out",
            ));
        }
        let preset = self.preset.unwrap_or(preset);
        let seed = self.seed.unwrap_or(0);
        let size = self.tile.or(self.size);
        let Size { height, width } = size.unwrap_or(Size::new(side, side));
        let mut scoring = method.settings(height, width);
        scoring.tiling = self.tile.map(|tile| Tiling {
            overlap: self.overlap(tile),
        });
        scoring.white_level = self.white_level;
        scoring.mask_seed = seed;
        scoring.similarity = self.similarity.unwrap_or(similarity);
        scoring.smoothing = self.smoothing.unwrap_or(scoring.smoothing);
        scoring.scales = self.scales.unwrap_or(scoring.scales);
        scoring.chroma = self.chroma.unwrap_or(scoring.chroma);
        scoring.input = self.input.unwrap_or(scoring.input);
        if self.regions.is_some() || self.sets.is_some() {
            let published = ScoringSettings::default();
            if scoring.region_sizes.is_empty() {
                return Err(Error::NotOfMethod {
                    method,
                    settings: &["regions", "sets"],
                    reason: format!("the method {method} hides nothing, so it has no regions and no sets"),
                });
            }
            scoring.region_sizes = self.regions.clone().unwrap_or(published.region_sizes);
            scoring.sets = self.sets.unwrap_or(published.sets);
        }

        let channels = channels(self);
        let architecture = method
            .architecture(preset.width())
            .with_channels(channels)
            .with_inputs(scoring.input.channels(channels));
        let mut config = TrainConfig::published(architecture, scoring);
        let is_for_cpus = protocol == Protocol::Default && matches!(preset, Preset::Tiny | Preset::Small);
        let learning_rate = if is_for_cpus { 1e-3 } else { config.learning_rate };
        config.batch_size = self.batch.unwrap_or(config.batch_size);
        let steps_of_an_epoch = images.div_ceil(config.batch_size.max(1)).max(1);
        config.epochs = self.epochs_by_default.unwrap_or(config.epochs);
        if let Some(steps) = method.steps() {
            if self.patience.is_some() {
                return Err(Error::NotOfMethod {
                    method,
                    settings: &["patience"],
                    reason: format!("the method {method} is trained to its last epoch, so it has no patience"),
                });
            }
            config.epochs = steps.div_ceil(steps_of_an_epoch);
        }
        if let Some(most) = self.most_steps.or(is_for_cpus.then_some(MOST_STEPS)) {
            config.epochs = config.epochs.min(most.div_ceil(steps_of_an_epoch));
        }
        config.epochs = self.epochs.unwrap_or(config.epochs);
        config.learning_rate = self.lr.unwrap_or(learning_rate);
        config.patience = self.patience.unwrap_or(config.patience);
        config.decays_early = protocol == Protocol::Default;
        config.loss = self.loss.unwrap_or(config.loss);
        config.precision = self.precision.unwrap_or(Precision::of_training(device));
        config.seed = seed;
        // Before a folder is made for the run.
        config.check().map_err(Error::request)?;
        Ok(config)
    }
}

/// Channels of the images. Files that belong together are a channel each, unless more is said.
fn channels(options: &TrainingOptions) -> usize {
    let files = options.bands.as_ref().map(Pattern::files_of_an_image);
    options.channels.or(files).unwrap_or(Architecture::COLOUR)
}

/// The name of an option that is given and is not what a run was started with, if there is one.
pub(crate) fn differing(
    options: &TrainingOptions,
    protocol: Protocol,
    shares: Shares,
    config: &TrainConfig,
) -> Option<&'static str> {
    let TrainConfig {
        architecture,
        scoring,
        epochs,
        batch_size,
        learning_rate,
        patience,
        loss,
        precision,
        seed,
        ..
    } = config;
    let (size, tiling) = (scoring.size(), scoring.tiling);
    let regions = &scoring.region_sizes;
    let same = [
        ("protocol", options.protocol.is_none_or(|given| given == protocol)),
        ("method", options.method.is_none_or(|given| given == scoring.method)),
        ("loss", options.loss.is_none_or(|given| given == *loss)),
        ("regions", options.regions.as_ref().is_none_or(|given| given == regions)),
        ("sets", options.sets.is_none_or(|given| given == scoring.sets)),
        ("input", options.input.is_none_or(|given| given == scoring.input)),
        ("chroma", options.chroma.is_none_or(|given| given == scoring.chroma)),
        (
            "similarity",
            options.similarity.is_none_or(|given| given == scoring.similarity),
        ),
        (
            "smoothing",
            options.smoothing.is_none_or(|given| given == scoring.smoothing),
        ),
        ("scales", options.scales.is_none_or(|given| given == scoring.scales)),
        (
            "white_level",
            options
                .white_level
                .is_none_or(|given| scoring.white_level == Some(given)),
        ),
        (
            "preset",
            options.preset.is_none_or(|given| given.width() == architecture.width),
        ),
        (
            "channels",
            options.channels.is_none_or(|given| given == architecture.channels()),
        ),
        (
            "size",
            options.size.is_none_or(|given| tiling.is_none() && given == size),
        ),
        (
            "tile",
            options.tile.is_none_or(|given| tiling.is_some() && given == size),
        ),
        (
            "overlap",
            options
                .overlap
                .is_none_or(|given| tiling == Some(Tiling { overlap: given })),
        ),
        ("epochs", options.epochs.is_none_or(|given| given == *epochs)),
        ("batch", options.batch.is_none_or(|given| given == *batch_size)),
        ("lr", options.lr.is_none_or(|given| given == *learning_rate)),
        (
            "patience",
            options
                .patience
                .is_none_or(|given| given == *patience && scoring.method.steps().is_none()),
        ),
        (
            "validation",
            options.validation.is_none_or(|given| given == shares.validation),
        ),
        (
            "calibration",
            options.calibration.is_none_or(|given| given == shares.calibration),
        ),
        ("precision", options.precision.is_none_or(|given| given == *precision)),
        ("seed", options.seed.is_none_or(|given| given == *seed)),
    ];
    same.iter().find(|(_, same)| !same).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_keeps_what_is_asked_for() {
        let asked = TrainingOptions {
            batch: Some(7),
            tile: Some(Size::new(64, 64)),
            ..TrainingOptions::default()
        };
        let demo = asked.for_demo();
        assert_eq!(
            (demo.preset, demo.size, demo.batch, demo.epochs_by_default),
            (Some(Preset::Tiny), None, Some(7), Some(12))
        );
        assert_eq!(TrainingOptions::default().for_demo().size, Some(Size::new(128, 128)));
    }

    #[test]
    fn a_small_preset_has_no_more_steps_than_end_soon() {
        let epochs = |options: TrainingOptions, method, images| {
            let config = options.config(method, images, &Device::CPU).unwrap();
            config.epochs
        };
        let of = |preset| TrainingOptions {
            preset: Some(preset),
            ..TrainingOptions::default()
        };
        // 56 steps in an epoch, and 5.
        assert_eq!(epochs(of(Preset::Tiny), Method::RIAD, 224), 72);
        assert_eq!(epochs(of(Preset::Small), Method::RIAD, 20), 300);
        assert_eq!(epochs(of(Preset::Tiny), Method::RESTORE, 20), 800);
        assert_eq!(epochs(of(Preset::Paper), Method::RIAD, 224), 300);
        let paper = TrainingOptions {
            protocol: Some(Protocol::Paper),
            ..of(Preset::Tiny)
        };
        assert_eq!(epochs(paper, Method::RIAD, 224), 300);
        // The demo has 26 steps in an epoch.
        let demo = || TrainingOptions::default().for_demo();
        assert_eq!(epochs(demo(), Method::RIAD, 52), 12);
        assert_eq!(epochs(demo(), Method::RESTORE, 52), 58);
    }

    #[test]
    fn tiles_cover_an_image_with_their_overlap() {
        let tiled = |overlap| TrainingOptions {
            tile: Some(Size::new(256, 256)),
            overlap,
            ..TrainingOptions::default()
        };
        // Starts at 0, 186, 372, 558 and 744 of 1000 rows, and at eight places of 1500 columns.
        assert_eq!(tiled(None).tiles(Size::new(1000, 1500)), 5 * 8);
        assert_eq!(tiled(Some(0)).tiles(Size::new(512, 513)), 2 * 3);
        assert_eq!(tiled(None).tiles(Size::new(256, 256)), 1);
        assert_eq!(tiled(None).tiles(Size::new(255, 4000)), 0);
        assert_eq!(TrainingOptions::default().tiles(Size::new(4000, 4000)), 1);
    }

    #[test]
    fn what_would_be_ignored_is_refused() {
        let side = Some(Size::new(64, 64));
        let config = |size, tile, overlap| {
            let options = TrainingOptions {
                size,
                tile,
                overlap,
                ..TrainingOptions::default()
            };
            options
                .config(Method::RIAD, 1, &Device::CPU)
                .map_err(|error| error.to_string())
        };
        assert!(
            config(side, side, None)
                .unwrap_err()
                .contains("leave one of the two out")
        );
        for size in [None, side] {
            assert!(config(size, None, Some(8)).unwrap_err().contains("size (tile), too"));
        }
        assert!(config(side, None, None).is_ok() && config(None, side, Some(8)).is_ok());
    }
}
