//! What `riad compare` takes.

#![allow(
    rustdoc::invalid_html_tags,
    reason = "clap prints these comments, and <NAME> is what people know from help"
)]

use std::path::PathBuf;

use clap::{Args, ValueHint};
use riad::report::Comparison;

use super::{DeviceArgs, PhotosArgs, VerdictArgs};

/// Set runs beside each other on the same test images: who finds what
#[derive(Debug, Args)]
#[command(after_help = "\
Each run is measured on the test images of the data that it was trained with, or on the pictures of --good and --bad. They
must be the same for all. The page has how many defects are found by all, by one alone and by none, the metrics with the
better value marked, and the images, those first on which the runs disagree.

Each run judges by its own threshold for --fpr, or else for 0.05; if one has none, all do by that of their best F1.

Examples:
  riad compare runs/small runs/large
  riad compare runs/riad runs/restore --good photos/more-good --bad photos/bad --out compared.html")]
pub(crate) struct CompareArgs {
    /// Folders of runs, from two to 26
    #[arg(value_name = "RUN", required = true, num_args = 2..=Comparison::MOST, value_hint = ValueHint::DirPath)]
    pub(crate) runs: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) photos: PhotosArgs,
    /// File to write
    #[arg(long, value_name = "FILE", default_value = "compare.html", value_hint = ValueHint::FilePath)]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) verdict: VerdictArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}
