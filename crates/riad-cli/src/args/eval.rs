//! The command line of `riad eval`.

use std::path::PathBuf;

use clap::{Args, Id, ValueHint};

use super::{
    BandsArgs, ComputeArgs, PhotosArgs, TrainingArgs, VerdictArgs,
    category::{DataFormat, format_parser},
};

/// Measure how well defects are found
#[derive(Debug, Args)]
#[command(after_help = "\
The first sentence says how many defects are found and how many good images are stopped. Each
number has a range that contains the true share with a confidence of 95 %. The threshold is that
of --fpr. Without --fpr it is that of 0.05, if the calibration has enough images. Then come the
worst misses, and the metrics.

eval writes report.html, results.json and scores.csv to the folder of --out, which must lie
outside of DATA. Without --model it trains first, each category in <OUT>/<category>/run. If a run
is there, eval goes on with it or uses it again. With --model RUN and without DATA it measures on
the data that the run was trained with. With neither, it runs the demo in the folder riad-demo.

A category or an image that cannot be measured is named. The others are measured, and the exit
code is 1. A defect without a mask counts in image metrics only. results.json names these
defects.

Examples:
  riad eval
  riad eval --model runs/lid --good photos/more-good --bad photos/bad
  riad eval --model runs/lid --synthetic
  riad eval data/mvtec/bottle --model runs/bottle --fpr 0.05
  riad eval data/mvtec --max-time 10m --out runs/mvtec
  riad eval data/mvtec --category bottle --model checkpoint.pt")]
pub(crate) struct EvalArgs {
    /// Folder of a category in a data set, or a folder of such folders
    #[arg(value_name = "DATA", conflicts_with = "PhotosArgs", value_hint = ValueHint::DirPath)]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) photos: PhotosArgs,
    /// Make up defects of growing size on the pictures of --good, or on the pictures that the run held out. Say from which
    /// size on they are found. It cannot say how many real defects are found. --seed draws them
    #[arg(long, requires = "model", conflicts_with_all = ["data", "category", "format", "bad"])]
    pub(crate) synthetic: bool,
    /// Run, checkpoint or PyTorch state dict to measure
    #[arg(
        long,
        value_name = "RUN|FILE",
        conflicts_with_all = training_options(),
        value_hint = ValueHint::AnyPath
    )]
    pub(crate) model: Option<PathBuf>,
    /// Category of DATA [default: all]
    #[arg(long, value_name = "NAME", conflicts_with = "PhotosArgs")]
    pub(crate) category: Option<String>,
    /// Layout of DATA. auto finds it by the folders and files in DATA
    #[arg(
        long,
        value_name = "NAME",
        default_value = "auto",
        value_parser = format_parser(),
        conflicts_with = "PhotosArgs"
    )]
    pub(crate) format: DataFormat,
    /// Folder to write to [default: <RUN>/eval with --model RUN, riad-demo for the demo, otherwise runs/eval]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) verdict: VerdictArgs,
    #[command(flatten)]
    pub(crate) images: BandsArgs,
    #[command(flatten)]
    pub(crate) training: TrainingArgs,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

/// The options of training that conflict with `--model`: all but the seed, because the seed also draws made-up defects.
fn training_options() -> Vec<Id> {
    let command = TrainingArgs::augment_args(clap::Command::new(""));
    let options = command.get_arguments().map(clap::Arg::get_id);
    options.filter(|id| *id != "seed").cloned().collect()
}
