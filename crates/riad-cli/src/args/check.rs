//! The command line of `riad check`.

#![allow(
    rustdoc::invalid_html_tags,
    reason = "clap prints these comments, and <NAME> is what people know from help"
)]

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{BandsArgs, DataFormat, format_parser};

/// Look through good images before training, for those that are not what they should be
#[derive(Debug, Args)]
#[command(after_help = "\
Names copies, pictures that hardly differ, and images of another size, another brightness, or unlike all others, as a
defective product among good ones may be. A small defect is not seen without a model; riad train looks again at its end,
by the model's scores.

Each line on standard output has a name and the reasons. FILE shows the images; the list beside it, of the same name with
the ending .txt, is for riad train --without. Nothing is left out by itself. An image that cannot be read is reported, and
the exit code is 1 then.

Examples:
  riad check photos/good
  riad check data/mvtec/bottle --out bottle.html
  riad train photos/good --without suspects.txt")]
pub(crate) struct CheckArgs {
    /// Images to look through, as riad train takes them
    #[arg(value_name = "DATA", value_hint = ValueHint::DirPath)]
    pub(crate) data: PathBuf,
    /// Which category of DATA, where it holds several
    #[arg(long, value_name = "NAME")]
    pub(crate) category: Option<String>,
    /// How DATA is laid out; auto tells it by what is there
    #[arg(long, value_name = "NAME", default_value = "auto", value_parser = format_parser())]
    pub(crate) format: DataFormat,
    /// Page to write
    #[arg(long, value_name = "FILE", default_value = "suspects.html", value_hint = ValueHint::FilePath)]
    pub(crate) out: PathBuf,
    /// Channels of the images [default: 3; with --bands one for each file]
    #[arg(long, value_name = "N")]
    pub(crate) channels: Option<usize>,
    /// The sample that is white in files of integers, as for riad train
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) white_level: Option<u16>,
    #[command(flatten)]
    pub(crate) images: BandsArgs,
}
