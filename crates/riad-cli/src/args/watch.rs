//! The command line of `riad watch`.

#![allow(
    rustdoc::invalid_html_tags,
    reason = "clap prints these comments, and <NAME> is what people know from help"
)]

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, ValueHint};

use super::{BandsArgs, ComputeArgs, MapArgs, VerdictArgs};

/// Score images as they appear in a folder
#[derive(Debug, Args)]
#[command(after_help = "\
Images that lie in DIR already are scored first. An image is scored when its size and time of change have been the same
for the time of --settle: let it be longer than the longest pause of whoever writes there, or let them write under
another ending or elsewhere on the same disk and rename. DIR is looked at every --interval, also where network shares
report no changes.

FILE gets one line for each image: path, size, modified and score, or error where it cannot be scored; with --fpr also
p_value, verdict, threshold, rate and regions; and always riad_version and model, the first 12 digits of the SHA-256 of the
model's file. These columns tell lines apart where another model or rate goes on with FILE. An image that changes, or is
replaced under the same name, has another size or time of change, and gets another line; its last one counts. Killed at any
instant and started again, riad watch goes on: no image is left out, none has two lines. Start another FILE to score all
images again.

In regions are the parts of the image that are above the threshold, the highest peak first, as an array of JSON, in a .csv
too: x, y, width and height of the box around each, its area and its peak, in pixels of the image's file. Boxes and areas
are measured on the map, which is coarser where the image was made smaller to be looked at. A good image has none: [].

Paths are written as riad score writes them. What cannot be done for one image, such as moving it, is told once and tried
again, and keeps no other from being scored.

A defect is in DEFECTS, whole, before its line is in FILE. It lies there as below DIR; if another image has its name,
its name gets a number. Nothing is ever overwritten.

The maps of --maps are whole and on the disk before the image's line is in FILE. They lie as the image does below DIR, under
its name without the ending, or with it where images that lie there differ in that alone. A later image of the same name
replaces them. What cannot be written is told, and the image has its line all the same. The folder of --maps, DIR and
DEFECTS must not lie in each other.

A link in DIR that leads into DEFECTS or the folder of --maps is named and passed over.

With --once it ends when every image in DIR has its line, with exit code 0. An image that cannot be scored, or for which
something else cannot be done, is not waited for, and the exit code is 1. Nor is one that keeps changing for 100 times
--settle, which is more than three minutes by default: it is named, and scored when --once runs again. Killed and started again, it goes on. Ctrl-C ends
it with 130; without --once nothing else ends it, and the exit code is 0.

Every --heartbeat a line on standard error tells how many images have a line, and how many of those are defects; how many
images in DIR have none; how long ago the last line was; and the median of the times that the last 100 images took. With -q
there is none.

Examples:
  riad watch --model runs/lid photos/today
  riad watch --model runs/lid photos/today --fpr 0.05 --out today.csv
  riad watch --model runs/lid inbox --fpr 0.05 --defects rejects --by move
  riad watch --model runs/lid batch-7 --fpr 0.05 --out batch-7.jsonl --maps maps --once")]
pub(crate) struct WatchArgs {
    /// The run's folder or checkpoint to score with, a PyTorch state dict included
    #[arg(long, value_name = "RUN|FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) model: PathBuf,
    /// Folder to watch, with its subfolders
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,
    /// File that lines are added to: .csv or .jsonl
    #[arg(long, value_name = "FILE", default_value = "results.csv", value_hint = ValueHint::FilePath)]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) verdict: VerdictArgs,
    /// Set images aside in this folder that --fpr calls defective; outside of DIR
    #[arg(long, value_name = "DEFECTS", requires = "fpr", value_hint = ValueHint::DirPath)]
    pub(crate) defects: Option<PathBuf>,
    /// How to set defects aside
    #[arg(long, value_enum, value_name = "HOW", default_value_t = ByName::Copy, requires = "defects")]
    pub(crate) by: ByName,
    #[command(flatten)]
    pub(crate) maps: MapArgs,
    /// End when every image in DIR has its line
    #[arg(long)]
    pub(crate) once: bool,
    /// How long an image must stay as it is to count as complete, such as 500ms or 10s
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    pub(crate) settle: Duration,
    /// How often to look at the folder
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    pub(crate) interval: Duration,
    /// How often to tell how it goes; 0s is never
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
    /// A hard link: a second name of the same file, on the same disk. What is later written into that file, both names show
    Link,
    /// A link, or a copy where there can be none, and removed from DIR when its line is written
    Move,
}
