//! From the options of a training run to its settings.

use std::path::PathBuf;

use anyhow::Result;
use riad_core::Size;
use riad_data::{Fit, Pattern, Reader, Shares, load_ahead};
use riad_model::{
    Alignment, Architecture, Device, Method, Precision, Preset, ScoringSettings, Similarity, Tiling, TrainConfig,
};
use tracing::info;

use crate::{
    args::{Protocol, TrainingArgs},
    usage,
};

/// Training images whose alignment chooses the method, at most.
const MOST_LOOKED_AT: usize = 64;

/// The method to train `images` with: the one asked for, or the one that an option belongs to, and else the one that suits the
/// images.
pub(crate) fn method(args: &TrainingArgs, images: Vec<PathBuf>) -> Result<Method> {
    match asked(args) {
        Some(method) => Ok(method),
        None => suited(images, reader(args)),
    }
}

/// The method that is asked for, by its name or by an option that it alone has.
fn asked(args: &TrainingArgs) -> Option<Method> {
    let is_of_riad = args.regions.is_some() || args.sets.is_some() || args.patience.is_some();
    // A tile may lie anywhere in an image.
    let is_riad = is_of_riad || args.tile.is_some() || args.protocol == Some(Protocol::Paper);
    let by_option = || is_riad.then_some(Method::RIAD).or(args.input.map(|_| Method::RESTORE));
    args.method.or_else(by_option)
}

/// Checks options as far as that can be done before the images are looked at, which takes time.
///
/// # Errors
/// If they contradict each other, or one is out of range.
pub(crate) fn check(args: &TrainingArgs, device: &Device) -> Result<()> {
    config(args, asked(args).unwrap_or(Method::RIAD), 1, device).map(|_| ())
}

/// How images are read.
pub(crate) fn reader(args: &TrainingArgs) -> Reader {
    Reader::new(channels(args))
        .with_pattern(args.bands.clone())
        .with_white_level(args.white_level)
}

/// The method that suits images by their alignment.
fn suited(images: Vec<PathBuf>, reader: Reader) -> Result<Method> {
    let step = images.len().div_ceil(MOST_LOOKED_AT).max(1);
    let images = images.into_iter().step_by(step).collect();
    let mut alignment = Alignment::new(reader.channels).map_err(|error| usage(error.to_string()))?;
    for (_, loaded) in load_ahead(images, reader, Fit::Resized(Alignment::SIZE)) {
        // What cannot be read is named with all else that is wrong, before anything is trained.
        if let Ok(loaded) = loaded {
            alignment.add(loaded.image.values())?;
        }
    }
    let method = alignment.method();
    info!(
        "the method is {method}: the alignment of the training images is {:.3}, and the limit is {} (--method chooses another)",
        alignment.value().max(0.0),
        Alignment::ALIGNED
    );
    Ok(method)
}

/// The setting to train with on `device` and so many images: the protocol's, but for what is asked for, the small presets'
/// learning rate, and the epochs of a method that takes as many steps whatever the images.
///
/// # Errors
/// If options contradict each other, or one is out of range.
pub(crate) fn config(args: &TrainingArgs, method: Method, images: usize, device: &Device) -> Result<TrainConfig> {
    let protocol = args.protocol.unwrap_or_default();
    let (preset, similarity) = match protocol {
        Protocol::Default => (Preset::Tiny, Similarity::GmsColour),
        Protocol::Paper => (Preset::Paper, Similarity::GmsGrey),
    };
    let preset = args.preset.unwrap_or(preset);
    let seed = args.seed.unwrap_or(0);
    let size = args.tile.or(args.size);
    let Size { height, width } = size.unwrap_or(ScoringSettings::default().size());
    let mut scoring = method.settings(height, width);
    scoring.tiling = args.tile.map(|Size { height, width }| Tiling {
        overlap: args.overlap.unwrap_or(height.min(width) / 4),
    });
    scoring.white_level = args.white_level;
    scoring.mask_seed = seed;
    scoring.similarity = args.similarity.unwrap_or(similarity);
    scoring.smoothing = args.smoothing.unwrap_or(scoring.smoothing);
    scoring.scales = args.scales.unwrap_or(scoring.scales);
    scoring.chroma = args.chroma.unwrap_or(scoring.chroma);
    scoring.input = args.input.unwrap_or(scoring.input);
    if args.regions.is_some() || args.sets.is_some() {
        let published = ScoringSettings::default();
        if scoring.region_sizes.is_empty() {
            return Err(usage(format!(
                "the method {method} hides nothing: leave out --regions and --sets, or --method {method}"
            )));
        }
        scoring.region_sizes = args.regions.clone().unwrap_or(published.region_sizes);
        scoring.sets = args.sets.unwrap_or(published.sets);
    }

    let channels = channels(args);
    let architecture = method
        .architecture(preset.width())
        .with_channels(channels)
        .with_inputs(scoring.input.channels(channels));
    let mut config = TrainConfig::published(architecture, scoring);
    let learning_rate = match (protocol, preset) {
        (Protocol::Default, Preset::Tiny | Preset::Small) => 1e-3,
        _ => config.learning_rate,
    };
    config.batch_size = args.batch.unwrap_or(config.batch_size);
    config.epochs = args.epochs_by_default.unwrap_or(config.epochs);
    if let Some(steps) = method.steps() {
        if args.patience.is_some() {
            return Err(usage(format!(
                "the method {method} is trained to its last epoch, so it has no patience: leave out --patience, and say \
                 how many by --epochs"
            )));
        }
        config.epochs = steps.div_ceil(images.div_ceil(config.batch_size.max(1)).max(1));
    }
    config.epochs = args.epochs.unwrap_or(config.epochs);
    config.learning_rate = args.lr.unwrap_or(learning_rate);
    config.patience = args.patience.unwrap_or(config.patience);
    config.decays_early = protocol == Protocol::Default;
    config.loss = args.loss.unwrap_or(config.loss);
    config.precision = args.precision.unwrap_or(Precision::of_training(device));
    config.seed = seed;
    // Before a folder is made for the run.
    config.check().map_err(|error| usage(error.to_string()))?;
    Ok(config)
}

/// Channels of the images. Files that belong together are a channel each, unless more is said.
pub(crate) fn channels(args: &TrainingArgs) -> usize {
    channels_of(args.channels, args.bands.as_ref())
}

/// Channels of images for which so many are asked, if any, and whose files belong together as `bands` says.
pub(crate) fn channels_of(asked: Option<usize>, bands: Option<&Pattern>) -> usize {
    asked
        .or(bands.map(Pattern::files_of_an_image))
        .unwrap_or(Architecture::COLOUR)
}

/// The name of an option that is given and is not what a run was started with, if there is one.
pub(crate) fn differing(
    args: &TrainingArgs,
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
        ("protocol", args.protocol.is_none_or(|given| given == protocol)),
        ("method", args.method.is_none_or(|given| given == scoring.method)),
        ("loss", args.loss.is_none_or(|given| given == *loss)),
        ("regions", args.regions.as_ref().is_none_or(|given| given == regions)),
        ("sets", args.sets.is_none_or(|given| given == scoring.sets)),
        ("input", args.input.is_none_or(|given| given == scoring.input)),
        ("chroma", args.chroma.is_none_or(|given| given == scoring.chroma)),
        (
            "similarity",
            args.similarity.is_none_or(|given| given == scoring.similarity),
        ),
        (
            "smoothing",
            args.smoothing.is_none_or(|given| given == scoring.smoothing),
        ),
        ("scales", args.scales.is_none_or(|given| given == scoring.scales)),
        (
            "white-level",
            args.white_level.is_none_or(|given| scoring.white_level == Some(given)),
        ),
        (
            "preset",
            args.preset.is_none_or(|given| given.width() == architecture.width),
        ),
        (
            "channels",
            args.channels.is_none_or(|given| given == architecture.channels),
        ),
        ("size", args.size.is_none_or(|given| tiling.is_none() && given == size)),
        ("tile", args.tile.is_none_or(|given| tiling.is_some() && given == size)),
        (
            "overlap",
            args.overlap
                .is_none_or(|given| tiling == Some(Tiling { overlap: given })),
        ),
        ("epochs", args.epochs.is_none_or(|given| given == *epochs)),
        ("batch", args.batch.is_none_or(|given| given == *batch_size)),
        ("lr", args.lr.is_none_or(|given| given == *learning_rate)),
        (
            "patience",
            args.patience
                .is_none_or(|given| given == *patience && scoring.method.steps().is_none()),
        ),
        (
            "validation",
            args.validation.is_none_or(|given| given == shares.validation),
        ),
        (
            "calibration",
            args.calibration.is_none_or(|given| given == shares.calibration),
        ),
        ("precision", args.precision.is_none_or(|given| given == *precision)),
        ("seed", args.seed.is_none_or(|given| given == *seed)),
    ];
    same.iter().find(|(_, same)| !same).map(|(name, _)| *name)
}
