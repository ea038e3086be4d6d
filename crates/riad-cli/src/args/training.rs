//! How to train, and what: RIAD, parts of it left out, and what it is compared with.

use std::{path::PathBuf, time::Duration};

use clap::{
    Args, ValueEnum, ValueHint,
    builder::{PossibleValuesParser, TypedValueParser},
};
use riad::{Protocol, TrainingOptions};
use riad_core::Size;
use riad_data::{Grouping, Pattern};
use riad_model::{InputFilter, LossWeights, Method, Precision, Preset, Similarity};

use super::{preset_parser, size::parse_size};

/// Heading of the options for experiments with the method.
const METHOD: &str = "Method";

/// How to train. What is not given takes the preset's default, or for a run that exists what it was started with.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Training")]
pub(crate) struct TrainingArgs {
    /// default: what this program does best, maps of the edges of each colour, beyond what is normal at each place. paper: the
    /// published method to the letter, for comparison with its numbers [default: default]
    #[arg(long, help_heading = METHOD, value_enum, value_name = "NAME", hide_possible_values = true)]
    pub(crate) protocol: Option<ProtocolName>,
    #[arg(
        long,
        help_heading = METHOD,
        value_name = "NAME",
        value_parser = method_parser(),
        hide_possible_values = true,
        help = method_help()
    )]
    pub(crate) method: Option<Method>,
    /// Terms of the loss, joined by +: l2, l1, ssim, msgms. riad is l2+ssim+msgms [default: riad]
    #[arg(long, help_heading = METHOD, value_name = "TERMS")]
    pub(crate) loss: Option<LossWeights>,
    /// Region sizes K in pixels [default: 2,4,8,16]
    #[arg(long, help_heading = METHOD, value_name = "K,…", value_delimiter = ',')]
    pub(crate) regions: Option<Vec<usize>>,
    /// Disjoint mask sets n: every image is reconstructed in so many passes for each region size [default: 3]
    #[arg(long, help_heading = METHOD, value_name = "N")]
    pub(crate) sets: Option<usize>,
    /// What the network of restore sees: edges-grey, edges-colour, high-pass, or none for the image as it is [default:
    /// edges-grey]
    #[arg(long, help_heading = METHOD, value_name = "NAME")]
    pub(crate) input: Option<InputFilter>,
    /// Weight of differences in colour that are added to maps, 0 for none [default: 0; 50 for restore]
    #[arg(long, help_heading = METHOD, value_name = "X")]
    pub(crate) chroma: Option<f32>,
    /// By what maps compare an image with its reconstruction: gms-colour, gms-grey, ssim or l2 [default: gms-colour;
    /// gms-grey with --protocol paper]
    #[arg(long, help_heading = METHOD, value_name = "NAME")]
    pub(crate) similarity: Option<Similarity>,
    /// Side in pixels of the mean filter over maps, odd [default: 21 at --size 256, and in proportion]
    #[arg(long, help_heading = METHOD, value_name = "PIXELS")]
    pub(crate) smoothing: Option<usize>,
    /// Number of scales at which gms maps compare, 1 to 4 [default: 4 at --size 256, 3 at 128, and so on]
    #[arg(long, help_heading = METHOD, value_name = "N")]
    pub(crate) scales: Option<usize>,
    /// Size of the network: tiny and small for CPUs, paper is the published one [default: tiny; paper with --protocol
    /// paper]
    #[arg(long, value_name = "NAME", value_parser = preset_parser())]
    pub(crate) preset: Option<Preset>,
    /// Channels of the images: 3 for colour, 1 for grey, whatever the files have; any other number of lights or bands as they
    /// are in the pages or samples of a TIFF, a NumPy array, or several files (--bands) [default: 3; with --bands one for
    /// each file]
    #[arg(long, value_name = "N")]
    pub(crate) channels: Option<usize>,
    /// The sample that is white in files of integers, such as 1023, 4095 or 16383 of a camera of 10, 12 or 14 bits whose samples
    /// lie unshifted in files of 16 bits. The run keeps it, and refuses images that contradict it [default: the greatest that a
    /// file's samples can be]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) white_level: Option<u16>,
    /// Height and width in pixels that images are resized to, whatever their proportions: 200, or 150x400 [default: 256]
    #[arg(long, value_name = "HxW", value_parser = parse_size)]
    pub(crate) size: Option<Size>,
    /// Look at images at their own resolution, in overlapping tiles of this size, instead of resizing them: 256, or
    /// 128x512 (height x width). An epoch looks at one tile of each image, elsewhere every time
    #[arg(long, value_name = "HxW", value_parser = parse_size, conflicts_with = "size")]
    pub(crate) tile: Option<Size>,
    /// Pixels that neighbouring tiles share at least when an image is scored [default: a quarter of a tile's shorter side]
    #[arg(long, value_name = "PIXELS", requires = "tile")]
    pub(crate) overlap: Option<usize>,
    /// Look for defects only where this mask image is not black; images are seen and learned whole. It has the images'
    /// proportions, with --tile their size
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) roi: Option<PathBuf>,
    /// Passes over the images, at most [default: 300; for restore enough for 4000 steps]
    #[arg(long, value_name = "N")]
    pub(crate) epochs: Option<usize>,
    /// Images per step [default: 4]
    #[arg(long, value_name = "N")]
    pub(crate) batch: Option<usize>,
    /// Learning rate [default: 1e-3; 1e-4 for the preset or the protocol paper]
    #[arg(long, value_name = "X")]
    pub(crate) lr: Option<f64>,
    /// Lower the learning rate, and later stop, when so many epochs brought no better validation loss; with --protocol
    /// paper stop at once [default: 20; not for restore]
    #[arg(long, value_name = "N")]
    pub(crate) patience: Option<usize>,
    /// Share of the images held out to choose the best epoch, or with restore to watch the loss [default: 0.2 less --calibration, but at least 0.1]
    #[arg(long, value_name = "SHARE")]
    pub(crate) validation: Option<f64>,
    /// Share of the images held out from all training to calibrate thresholds with [default: 0.1 where that is 19 images
    /// or more, enough for --fpr 0.05, else 0; 0 with --protocol paper]
    #[arg(long, value_name = "SHARE")]
    pub(crate) calibration: Option<f64>,
    /// Keep images of one part on one side of the split: a pattern of their names with {group} for the part's and * for
    /// anything, such as '{group}_*.png', or a CSV file with the columns path and group. Equal files always stay together
    #[arg(long, value_name = "PATTERN|FILE")]
    pub(crate) group_by: Option<Grouping>,
    /// Leave out the images that this file names, one in a line, as riad check writes it; the run remembers them
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) without: Option<PathBuf>,
    /// Decides initial weights, split, order and masks [default: 0]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Stop after this time, such as 90s, 5m or 1h30m; the run can be resumed
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) max_time: Option<Duration>,
}

impl TrainingArgs {
    /// What is asked for, trained in `precision`, of images whose files belong together as `bands` says.
    pub(crate) fn options(&self, precision: Option<Precision>, bands: Option<&Pattern>) -> TrainingOptions {
        let Self {
            protocol,
            method,
            loss,
            regions,
            sets,
            input,
            chroma,
            similarity,
            smoothing,
            scales,
            preset,
            channels,
            white_level,
            size,
            tile,
            overlap,
            roi,
            epochs,
            batch,
            lr,
            patience,
            validation,
            calibration,
            group_by,
            without,
            seed,
            max_time: _,
        } = self.clone();
        TrainingOptions {
            protocol: protocol.map(|name| match name {
                ProtocolName::Default => Protocol::Default,
                ProtocolName::Paper => Protocol::Paper,
            }),
            method,
            loss,
            regions,
            sets,
            input,
            chroma,
            similarity,
            smoothing,
            scales,
            preset,
            channels,
            white_level,
            size,
            tile,
            overlap,
            roi,
            epochs,
            epochs_by_default: None,
            batch,
            lr,
            patience,
            validation,
            calibration,
            group_by,
            without,
            bands: bands.cloned(),
            from: None,
            precision,
            seed,
        }
    }
}

/// A protocol by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProtocolName {
    /// Maps of each colour's edges, less the mean map of training images.
    Default,
    /// The published method.
    Paper,
}

pub(super) fn method_parser() -> impl TypedValueParser<Value = Method> {
    let names = Method::ALL.iter().map(|method| method.name());
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Method>())
}

fn method_help() -> String {
    let methods: Vec<_> = Method::ALL
        .iter()
        .map(|method| format!("{method} {}", method.about()))
        .collect();
    format!(
        "{} [default: by the training images, restore if their edges are at the same places, else riad; riad with \
         --protocol paper, --regions, --sets, --patience or --tile; restore with --input]",
        methods.join("; ")
    )
}
