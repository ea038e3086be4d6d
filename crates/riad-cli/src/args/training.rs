//! Options of training: RIAD, RIAD without some of its parts, and the methods that it is compared with.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueHint};
use riad::{Protocol, TrainingOptions};
use riad_core::Size;
use riad_data::{Grouping, Pattern};
use riad_model::{InputFilter, LossWeights, Method, Precision, Preset, Similarity};

use super::named;

/// Heading of the options for experiments with the method.
const METHOD: &str = "Method";

/// How to train. An option that is not given has the preset's default. If the run exists, it has the run's value.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Training")]
pub(crate) struct TrainingArgs {
    /// default: the best maps of this program. They compare the edges of each colour and subtract what is normal at each
    /// place. paper: the published method to the letter, to compare with its numbers [default: default]
    #[arg(
        long,
        help_heading = METHOD,
        value_name = "NAME",
        value_parser = named(Protocol::ALL, Protocol::name),
        hide_possible_values = true
    )]
    pub(crate) protocol: Option<Protocol>,
    #[arg(
        long,
        help_heading = METHOD,
        value_name = "NAME",
        value_parser = named(Method::ALL, Method::name),
        hide_possible_values = true,
        help = method_help()
    )]
    pub(crate) method: Option<Method>,
    /// Terms of the loss, joined by +: l2, l1, ssim, msgms. riad means l2+ssim+msgms [default: riad]
    #[arg(long, help_heading = METHOD, value_name = "TERMS")]
    pub(crate) loss: Option<LossWeights>,
    /// Region sizes K in pixels [default: 2,4,8,16]
    #[arg(long, help_heading = METHOD, value_name = "K,…", value_delimiter = ',')]
    pub(crate) regions: Option<Vec<usize>>,
    /// Number n of disjoint mask sets. An image takes n passes for each region size [default: 3]
    #[arg(long, help_heading = METHOD, value_name = "N")]
    pub(crate) sets: Option<usize>,
    /// Input of the network, for restore: edges-colour, edges-grey, high-pass, or none for the image as it is [default:
    /// edges-colour]
    #[arg(long, help_heading = METHOD, value_name = "NAME")]
    pub(crate) input: Option<InputFilter>,
    /// Weight of the differences in colour in maps. 0 leaves them out [default: 0; 50 for restore]
    #[arg(long, help_heading = METHOD, value_name = "X")]
    pub(crate) chroma: Option<f32>,
    /// How maps compare an image with its reconstruction: gms-colour, gms-grey, ssim or l2 [default: gms-colour; gms-grey
    /// with --protocol paper]
    #[arg(long, help_heading = METHOD, value_name = "NAME")]
    pub(crate) similarity: Option<Similarity>,
    /// Side of the mean filter over maps, an odd number of pixels [default: 21 at --size 256, in proportion to --size]
    #[arg(long, help_heading = METHOD, value_name = "PIXELS")]
    pub(crate) smoothing: Option<usize>,
    /// Number of scales of gms maps, 1 to 4 [default: 4 at --size 256, 3 at 128, and so on]
    #[arg(long, help_heading = METHOD, value_name = "N")]
    pub(crate) scales: Option<usize>,
    /// Size of the network. tiny and small are for CPUs, paper is the published size [default: tiny; paper with --protocol
    /// paper]
    #[arg(long, value_name = "NAME", value_parser = named(Preset::ALL, Preset::name))]
    pub(crate) preset: Option<Preset>,
    /// Number of channels of the images. 3 reads files as colour, 1 as grey, whatever the files have. Any other number reads as
    /// many lights or bands from the pages or samples of a TIFF, a NumPy array, or several files (--bands) [default: 3; with
    /// --bands one for each file]
    #[arg(long, value_name = "N")]
    pub(crate) channels: Option<usize>,
    /// The sample value that is white in files of integers. A camera of 10, 12 or 14 bits that writes unshifted samples into
    /// files of 16 bits has 1023, 4095 or 16383. The run keeps the value, and refuses images that contradict it [default: the
    /// largest value that the file's samples can have]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) white_level: Option<u16>,
    /// Resize images to this height and width in pixels, whatever their proportions: 200, or 150x400 [default: 128; 256 with
    /// --protocol paper]
    #[arg(long, value_name = "HxW")]
    pub(crate) size: Option<Size>,
    /// Do not resize images, but look at overlapping tiles of this size: 256, or 128x512 (height x width). Each epoch uses
    /// one tile of each image, at another place each time
    #[arg(long, value_name = "HxW", conflicts_with = "size")]
    pub(crate) tile: Option<Size>,
    /// Smallest overlap of neighbouring tiles in scoring [default: a quarter of a tile's shorter side]
    #[arg(long, value_name = "PIXELS", requires = "tile", conflicts_with = "size")]
    pub(crate) overlap: Option<usize>,
    /// Look for defects only where this mask image is not black. The network still sees and learns the whole image. The mask
    /// has the proportions of the images, or with --tile their size
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) roi: Option<PathBuf>,
    /// Largest number of passes over the images [default: enough for 4000 steps; with riad and
    /// autoencoder at most 300 epochs, and always 300 with --preset paper]
    #[arg(long, value_name = "N")]
    pub(crate) epochs: Option<usize>,
    /// Images per step [default: 4]
    #[arg(long, value_name = "N")]
    pub(crate) batch: Option<usize>,
    /// Learning rate [default: 1e-3; 1e-4 for the preset or the protocol paper]
    #[arg(long, value_name = "X")]
    pub(crate) lr: Option<f64>,
    /// If N epochs bring no better validation loss, lower the learning rate, and later stop. With --protocol paper stop at
    /// once [default: 20; not for restore]
    #[arg(long, value_name = "N")]
    pub(crate) patience: Option<usize>,
    /// Share of the images held out to choose the best epoch. restore only shows their loss [default: 0.2 minus --calibration,
    /// but at least 0.1]
    #[arg(long, value_name = "SHARE")]
    pub(crate) validation: Option<f64>,
    /// Share of the images held out to calibrate thresholds [default: 0.1 if that is at least 19 images, enough for --fpr 0.05,
    /// otherwise 0; 0 with --protocol paper]. With restore, the images for validation calibrate as well, unless this is 0
    #[arg(long, value_name = "SHARE")]
    pub(crate) calibration: Option<f64>,
    /// Keep all images of one part on the same side of the split. A pattern of their names, such as '{group}_*.png', in which
    /// {group} is the part and * is anything, or a CSV file with the columns path and group. Equal files always stay together.
    /// riad check names pictures that are equal or nearly equal in different files
    #[arg(long, value_name = "PATTERN|FILE")]
    pub(crate) group_by: Option<Grouping>,
    /// Leave out the images that this file names, one in a line. riad check writes such a file. The run keeps the list
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) without: Option<PathBuf>,
    /// Number that decides initial weights, split, order and masks [default: 0]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Stop after this time, such as 90s, 5m or 1h30m. The run can be resumed
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) max_time: Option<Duration>,
}

impl TrainingArgs {
    /// The options. Training uses `precision`. `bands` says which files make one image.
    pub(crate) fn options(&self, precision: Option<Precision>, bands: Option<&Pattern>) -> TrainingOptions {
        TrainingOptions {
            protocol: self.protocol,
            method: self.method,
            loss: self.loss,
            regions: self.regions.clone(),
            sets: self.sets,
            input: self.input,
            chroma: self.chroma,
            similarity: self.similarity,
            smoothing: self.smoothing,
            scales: self.scales,
            preset: self.preset,
            channels: self.channels,
            white_level: self.white_level,
            size: self.size,
            tile: self.tile,
            overlap: self.overlap,
            roi: self.roi.clone(),
            epochs: self.epochs,
            epochs_by_default: None,
            most_steps: None,
            batch: self.batch,
            lr: self.lr,
            patience: self.patience,
            validation: self.validation,
            calibration: self.calibration,
            group_by: self.group_by.clone(),
            without: self.without.clone(),
            bands: bands.cloned(),
            from: None,
            precision,
            seed: self.seed,
        }
    }
}

fn method_help() -> String {
    let methods: Vec<_> = Method::ALL
        .iter()
        .map(|method| format!("{method} {}", method.about()))
        .collect();
    format!(
        "{} [default: the training images choose: restore if their edges are at the same places, otherwise riad; riad with \
         --protocol paper, --regions, --sets, --patience or --tile; restore with --input]",
        methods.join("; ")
    )
}
