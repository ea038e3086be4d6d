//! The command line of `riad bench`.

use std::{num::NonZeroUsize, time::Duration};

use clap::Args;
use riad_model::{Method, Preset};

use super::{ComputeArgs, named};

/// Measure how fast this machine scores and trains, to choose a preset and a size
#[derive(Debug, Args)]
#[command(after_help = "\
bench uses random weights, because speed does not depend on weights. It scores in batches of 4.
The time to read image files is not included, nor the time to damage them for restore.

If a measurement would take too long, bench estimates it and marks it with ~. The estimate comes
from the largest network that was measured, by the number of operations. Name that preset and
size to have them measured. The last column is the time that `riad train` takes for --images
images, with validation and calibration.

Examples:
  riad bench
  riad bench --preset small --size 256 --images 500 --epochs 40
  riad bench --method restore
  riad bench --device cuda --json")]
pub(crate) struct BenchArgs {
    /// Preset to measure [default: all]
    #[arg(long, value_name = "NAME", value_parser = named(Preset::ALL, Preset::name))]
    pub(crate) preset: Option<Preset>,
    /// Side of the images in pixels, a multiple of 16 [default: 128 and 256]
    #[arg(long, value_name = "PIXELS")]
    pub(crate) size: Option<usize>,
    /// Images per training step
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) batch: u16,
    /// Number of good images of the training to estimate
    #[arg(long, value_name = "N", default_value = "200")]
    pub(crate) images: NonZeroUsize,
    /// Number of epochs of the training to estimate [default: that of riad train]
    #[arg(long, value_name = "N")]
    pub(crate) epochs: Option<NonZeroUsize>,
    /// Method to measure: riad, restore or autoencoder
    #[arg(long, value_name = "NAME", value_parser = named(Method::ALL, Method::name), default_value = "riad", hide_possible_values = true)]
    pub(crate) method: Method,
    /// About how long the whole measurement takes
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) time: Duration,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}
