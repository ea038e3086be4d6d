//! The command line of `riad score`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::{BandsArgs, ComputeArgs, MapArgs, VerdictArgs};

/// Score images: a larger score is more anomalous
#[derive(Debug, Args)]
#[command(after_help = "\
Only scores go to standard output: one line per image, in order, as soon as the score is known.
If an image cannot be read, a message goes to standard error (and {\"path\", \"error\"} to a
jsonl). The others are scored, and the exit code is 1. Defects do not change the exit code.

In each path that this program writes, % and two hexadecimal digits stand for one byte. So no name
is a command to a spreadsheet or a terminal. In Python, urllib.parse.unquote_to_bytes(path) gives
the exact name back.

With --fpr R each line has a p-value and a verdict. The p-value is the probability that a good
image scores at least as high. The verdict is defective if the p-value is at most R. It is
not_this_product if the image as a whole resembles none of the good ones, such as a dark image,
another product, or an image of a camera that was moved. In jsonl, \"reason\" then says why.

An image is defective if a pixel of its map is above the threshold. In jsonl, \"regions\" are the
parts of the map above the threshold, the highest peak first. Each has the x, y, width and height
of its box, its area and its peak, in pixels of the image's file.

Examples:
  riad score --model runs/bottle photos/today > scores.csv
  riad score --model runs/bottle photos/today --fpr 0.05
  riad score --model runs/bottle a.png b.jpg --format jsonl
  riad score --model runs/bottle photos/today --maps maps
  riad score --model runs/bottle mvtec/bottle/test --maps maps/bottle/test --map-format tiff")]
pub(crate) struct ScoreArgs {
    /// Run, checkpoint or PyTorch state dict to score with
    #[arg(long, value_name = "RUN|FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) model: PathBuf,
    /// Image files, and folders of images with their subfolders
    #[arg(value_name = "PATH", required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// What to write to standard output
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) verdict: VerdictArgs,
    #[command(flatten)]
    pub(crate) maps: MapArgs,
    #[command(flatten)]
    pub(crate) images: BandsArgs,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A header, then path,score; with --fpr path,score,p_value,verdict
    Csv,
    /// {"path": …, "score": …} per line; with --fpr also "p_value", "verdict" and "regions"
    Jsonl,
}
