//! The command line of `riad watch`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueHint};
use riad::watch::Transfer;

use super::{BandsArgs, ComputeArgs, MapArgs, VerdictArgs, described};

/// Score images as they appear in a folder
#[derive(Debug, Args)]
#[command(after_help = "\
watch first scores the images that are in DIR. FILE gets one line for each image. If watch is
killed and started again, it goes on: each image gets its line, and none gets two. Choose another
FILE to score all images again. DIR, DEFECTS and the folder of --maps must lie outside of each
other. The README of riad-cli explains the columns, and has all that watch promises.

With --once the exit code is 0. It is 1 if an image could not be scored, or if another step
failed for it. Ctrl-C ends --once with exit code 130. Without --once only Ctrl-C ends watch, with
exit code 0.

watch sends verdicts nowhere. riad serve --watch also judges a folder, and has sinks for webhooks,
MQTT and PLCs.

Examples:
  riad watch --model runs/lid photos/today
  riad watch --model runs/lid photos/today --fpr 0.05 --out today.csv
  riad watch --model runs/lid inbox --fpr 0.05 --defects rejects --by move
  riad watch --model runs/lid batch-7 --fpr 0.05 --out batch-7.jsonl --maps maps --once")]
pub(crate) struct WatchArgs {
    /// Run, checkpoint or PyTorch state dict to score with
    #[arg(long, value_name = "RUN|FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) model: PathBuf,
    /// Folder to watch, with its subfolders
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,
    /// File to add lines to: .csv or .jsonl
    #[arg(long, value_name = "FILE", default_value = "results.csv", value_hint = ValueHint::FilePath)]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) verdict: VerdictArgs,
    /// Put images that are not good into this folder: defective at --fpr, or not this product
    #[arg(long, value_name = "DEFECTS", requires = "fpr", value_hint = ValueHint::DirPath)]
    pub(crate) defects: Option<PathBuf>,
    /// How to put them there
    #[arg(
        long,
        value_name = "HOW",
        default_value = "copy",
        requires = "defects",
        value_parser = described(Transfer::ALL, Transfer::name, Transfer::about)
    )]
    pub(crate) by: Transfer,
    #[command(flatten)]
    pub(crate) maps: MapArgs,
    /// End when every image in DIR has its line
    #[arg(long)]
    pub(crate) once: bool,
    /// An image is complete if it has not changed for this time, such as 500ms or 10s
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    pub(crate) settle: Duration,
    /// How often to look at the folder
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    pub(crate) interval: Duration,
    /// How often to print the heartbeat line. 0s is never
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = humantime::parse_duration)]
    pub(crate) heartbeat: Duration,
    #[command(flatten)]
    pub(crate) images: BandsArgs,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}
