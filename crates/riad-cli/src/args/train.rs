//! The command line of `riad train`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{BandsArgs, CategoryArgs, ComputeArgs, TrainingArgs};

/// Train a network on good images
#[derive(Debug, Args)]
#[command(after_help = "\
DATA is a folder of good images, or the folder of a category in a data set (MVTec AD:
train/good/*.png, …; --format lists the others). With --category, DATA is a folder of such
folders. If a data set has its own images for validation (MVTec AD 2, MVTec LOCO), the program
holds them out and trains on all others.

Ctrl-C stops after the current step. --resume goes on. The resumed run ends in the same bytes as
a run that was never stopped. The same holds for a run that was killed.

Examples:
  riad train photos/good --out runs/lid
  riad train data/mvtec/bottle
  riad train data/mvtec --category bottle --preset small --out runs/small
  riad train data/visa --category candle --format visa
  riad train photos/good --size 256 --max-time 30m
  riad train photos/labels --size 96x320 --out runs/labels
  riad train photos/web --tile 256 --overlap 64 --out runs/web
  riad train photos/cast --bands '*_light{0..3}.png' --out runs/cast
  riad train --resume runs/bottle")]
pub(crate) struct TrainArgs {
    /// Folder of images to learn from. With --resume, name it only if the images have moved
    #[arg(value_name = "DATA", required_unless_present = "resume", value_hint = ValueHint::DirPath)]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) category: CategoryArgs,
    /// Folder of the run [default: runs/<category>]
    #[arg(long, value_name = "RUN", value_hint = ValueHint::DirPath)]
    pub(crate) out: Option<PathBuf>,
    /// Go on with this run from its last save
    #[arg(long, value_name = "RUN", conflicts_with = "out", value_hint = ValueHint::DirPath)]
    pub(crate) resume: Option<PathBuf>,
    /// Start with the weights of this run or checkpoint instead of random ones. --method, --preset, --size and --channels have
    /// its values by default. Method, preset and channels must be the same. The run keeps a digest of these weights
    #[arg(long, value_name = "RUN|FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) from: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) images: BandsArgs,
    #[command(flatten)]
    pub(crate) training: TrainingArgs,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}
