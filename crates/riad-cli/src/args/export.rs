//! The command line of `riad export`.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use riad_model::export::Format;

use super::described;

/// Write a model for other programs
#[derive(Debug, Args)]
#[command(after_help = "\
onnx is one graph. Its input `image` is [N, C, H, W] in [0, 1] with the model's channels (RGB if
there are 3). Its outputs are `map`, [N, H, W], and `score`, [N]. The scores are those of `riad
score`, within 1e-4. The metadata say how a file becomes `image`. If the model is calibrated,
they also hold its thresholds.

Examples:
  riad export --model runs/bottle --format onnx --out bottle.onnx
  riad export --model checkpoint.pt --format onnx-network --out network.onnx
  riad export --model runs/bottle --format torch --out bottle.pt")]
pub(crate) struct ExportArgs {
    /// Run, checkpoint or PyTorch state dict to export
    #[arg(long, value_name = "RUN|FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) model: PathBuf,
    /// What to write
    #[arg(long, value_parser = described(Format::ALL, Format::name, Format::about))]
    pub(crate) format: Format,
    /// File to write
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) out: PathBuf,
}
