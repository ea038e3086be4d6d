//! The command line of `riad check`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{BandsArgs, CategoryArgs};

/// Look through good images before training, for images that may not be good
#[derive(Debug, Args)]
#[command(after_help = "\
check names copies, pictures that hardly differ, images of another size or brightness, and images
unlike all others. Such an image may show a defective product. check has no model, so it does not
see a small defect. riad train looks again at its end, by the model's scores.

Each line on standard output has a name and the reasons. FILE shows the images. A list with the
same name and the ending .txt is beside it, for riad train --without. check leaves nothing out.
If an image cannot be read, check reports it, and the exit code is 1.

Examples:
  riad check photos/good
  riad check data/mvtec/bottle --out bottle.html
  riad train photos/good --without suspects.txt")]
pub(crate) struct CheckArgs {
    /// Images to look through, in a layout of riad train
    #[arg(value_name = "DATA", value_hint = ValueHint::DirPath)]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) category: CategoryArgs,
    /// HTML page to write
    #[arg(long, value_name = "FILE", default_value = "suspects.html", value_hint = ValueHint::FilePath)]
    pub(crate) out: PathBuf,
    /// Number of channels of the images [default: 3; with --bands one for each file]
    #[arg(long, value_name = "N")]
    pub(crate) channels: Option<usize>,
    /// The sample value that is white in files of integers, as in riad train
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) white_level: Option<u16>,
    #[command(flatten)]
    pub(crate) images: BandsArgs,
}
