//! What `riad compare` takes.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use riad::report::Comparison;

use super::{DeviceArgs, PhotosArgs, VerdictArgs};

/// Compare runs on the same test images: which run finds which defects
#[derive(Debug, Args)]
#[command(after_help = "\
Each run is measured on the test images of its training data, or on the pictures of --good and
--bad. The images must be the same for all runs. The page says how many defects all runs find,
one run alone finds, and no run finds. It marks the better value of each metric. It shows the
images, first the images on which the runs disagree.

Each run uses its own threshold for --fpr, which is 0.05 by default. If a run has none, each run
uses the threshold of its best F1.

Examples:
  riad compare runs/small runs/large
  riad compare runs/riad runs/restore --good photos/more-good --bad photos/bad --out compared.html")]
pub(crate) struct CompareArgs {
    /// Folders of two to 26 runs
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
