//! Images of several files.

use clap::Args;
use riad_data::Pattern;

/// Which files make one image together.
#[derive(Debug, Args)]
pub(crate) struct BandsArgs {
    /// Files that make one image together, such as '*_light{0..3}.png': * is the image's name, and the braces list what tells
    /// its files apart, in the order of their channels [default: that of the run, else each file is an image of its own]
    #[arg(long, value_name = "PATTERN")]
    pub(crate) bands: Option<Pattern>,
}
