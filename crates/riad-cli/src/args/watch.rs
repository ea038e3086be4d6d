//! The command line of `riad watch`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, ValueHint};

use super::{BandsArgs, ComputeArgs, MapArgs, VerdictArgs};

/// Score images as they appear in a folder
#[derive(Debug, Args)]
#[command(after_help = "\
watch first scores the images that are in DIR. Choose a --settle that is longer than the longest
pause of the program that writes there. Or let that program write under another ending, or
elsewhere on the same disk, and rename.

FILE gets one line for each image: path, size, modified and score, or error if the image cannot
be scored. With --fpr it also has p_value, verdict, threshold, rate and regions. Each line has
riad_version and model. Paths and regions are written as in riad score. If watch is killed and
started again, it goes on: each image gets its line, and none gets two. Choose another FILE to
score all images again. The README of riad-cli explains the columns, and has all that watch
promises.

DIR, DEFECTS and the folder of --maps must lie outside of each other. If a step fails for an
image, such as moving it, watch says so once and tries again. It goes on with the other images.

With --once the exit code is 0. It is 1 if an image could not be scored, or if another step
failed for it. watch does not wait for such an image. It also does not wait for an image that
keeps changing for 100 times --settle: it names this image. Ctrl-C ends --once with exit code
130. Without --once only Ctrl-C ends watch, with exit code 0.

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
    /// Put images that --fpr calls defective into this folder
    #[arg(long, value_name = "DEFECTS", requires = "fpr", value_hint = ValueHint::DirPath)]
    pub(crate) defects: Option<PathBuf>,
    /// How to put defects there
    #[arg(long, value_enum, value_name = "HOW", default_value_t = ByName::Copy, requires = "defects")]
    pub(crate) by: ByName,
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

/// How a defect gets to the folder of defects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ByName {
    /// A copy
    Copy,
    /// A hard link: a second name of the same file, on the same disk. If the file is written later, both names show it
    Link,
    /// A link, or a copy if a link is not possible. The image is removed from DIR when its line is written
    Move,
}
