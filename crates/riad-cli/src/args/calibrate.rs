//! The command line of `riad calibrate`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{BandsArgs, ComputeArgs};

/// Calibrate a model's thresholds with good images that it was not trained with
#[derive(Debug, Args)]
#[command(after_help = "\
calibrate keeps the scores of the images in the model, and replaces earlier ones. --fpr of
`score` and `eval` takes its thresholds from these scores. A false-positive rate R needs at least
1/R - 1 images: 19 for 0.05, 99 for 0.01. The images must be like the good images to come: the
same product, camera and light. Do not choose them by their scores. Calibrate again when the
light has changed.

An image that cannot be read is named and left out, and the exit code is 1. `train` calibrates by
itself, with the images of --calibration. If a run is trained further, it loses its calibration.

Examples:
  riad calibrate --model runs/lid photos/more-good
  riad calibrate --model runs/lid photos/more-good --roi lid-mask.png
  riad calibrate --model checkpoint.pt photos/good --out calibrated.safetensors")]
pub(crate) struct CalibrateArgs {
    /// Run, checkpoint or PyTorch state dict to calibrate
    #[arg(long, value_name = "RUN|FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) model: PathBuf,
    /// Good images, and folders of good images with their subfolders
    #[arg(value_name = "PATH", required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// Leave out the images that this file names, one in a line. calibrate writes such a file for unusual images.
    /// Give that file another name first, because calibrate writes it anew
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) without: Option<PathBuf>,
    /// From now on, look for defects only where this mask image is not black. It replaces the model's own region
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) roi: Option<PathBuf>,
    /// File for the calibrated model [default: best.safetensors of the RUN]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) images: BandsArgs,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}
