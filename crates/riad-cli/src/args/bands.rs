//! Images that consist of several files.

use clap::Args;
use riad_data::Pattern;

/// Which files make one image together.
#[derive(Debug, Args)]
pub(crate) struct BandsArgs {
    /// Pattern of the files that make one image together, such as '*_light{0..3}.png'. * is the image's name. The braces list
    /// the parts in which its files differ, in the order of the channels [default: the run's pattern; without one, each file
    /// is an image]
    #[arg(long, value_name = "PATTERN")]
    pub(crate) bands: Option<Pattern>,
}
