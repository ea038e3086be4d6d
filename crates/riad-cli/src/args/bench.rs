//! The command line of `riad bench`.

#![allow(
    rustdoc::invalid_html_tags,
    reason = "clap prints these comments, and <NAME> is what people know from help"
)]

use std::{num::NonZeroUsize, time::Duration};

use clap::Args;
use riad_model::{Method, Preset};

use super::{ComputeArgs, preset_parser, training::method_parser};

/// Tell how fast this machine scores and trains, to choose a preset and a size
#[derive(Debug, Args)]
#[command(after_help = "\
Measured with random weights, on which speed does not depend, and scoring in batches of 4; reading image files, and spoiling them for
restore, comes on top.
What would take too long is estimated from the largest network measured by the number of operations, and marked with ~; ask
for that preset and size alone to have it measured. The last column is what `riad train` takes for so many images, with
validation and calibration.

Examples:
  riad bench
  riad bench --preset small --size 256 --images 500 --epochs 40
  riad bench --method restore
  riad bench --device cuda --json")]
pub(crate) struct BenchArgs {
    /// Preset to measure [default: all]
    #[arg(long, value_name = "NAME", value_parser = preset_parser())]
    pub(crate) preset: Option<Preset>,
    /// Side of the images in pixels, a multiple of 16 [default: 128 and 256]
    #[arg(long, value_name = "PIXELS")]
    pub(crate) size: Option<usize>,
    /// Images per training step
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) batch: u16,
    /// Good images that a training to estimate has
    #[arg(long, value_name = "N", default_value = "200")]
    pub(crate) images: NonZeroUsize,
    /// Epochs that a training to estimate runs [default: those of riad train]
    #[arg(long, value_name = "N")]
    pub(crate) epochs: Option<NonZeroUsize>,
    /// Method to measure: riad, restore or autoencoder
    #[arg(long, value_name = "NAME", value_parser = method_parser(), default_value = "riad", hide_possible_values = true)]
    pub(crate) method: Method,
    /// About how long to measure, all in all
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) time: Duration,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}
