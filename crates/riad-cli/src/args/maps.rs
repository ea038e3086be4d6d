//! The maps that scoring writes.

#![allow(
    rustdoc::invalid_html_tags,
    reason = "clap prints these comments, and <NAME> is what people know from help"
)]

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

/// Where maps go, and as what.
#[derive(Debug, Args)]
pub(crate) struct MapArgs {
    /// Write where each image is anomalous, in the folders that the images have
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) maps: Option<PathBuf>,
    /// What to write for each image
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = MapFormat::Png, requires = "maps")]
    pub(crate) map_format: MapFormat,
    /// Value of the anomaly map at the hot end of the pictures' colour scale, the same for all images
    #[arg(long, value_name = "VALUE", default_value_t = 0.5, requires = "maps")]
    pub(crate) map_scale: f32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MapFormat {
    /// <name>.heat.png and <name>.overlay.png; with --fpr the overlay has a line around what is above the threshold
    Png,
    /// <name>.tiff, 32-bit floats at the image's own size
    Tiff,
    /// <name>.npy, 32-bit floats at the network's size, of which the score is the maximum
    Npy,
}
