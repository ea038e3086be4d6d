//! The maps that scoring writes.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum, ValueHint};
use riad::{MapFormat, Maps, render::Scale};

use crate::usage;

/// Where maps go, and as what.
#[derive(Debug, Args)]
pub(crate) struct MapArgs {
    /// Write the anomaly map of each image to this folder. Subfolders are those of the images
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    maps: Option<PathBuf>,
    /// What to write for each image
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = MapFormatName::Png, requires = "maps")]
    map_format: MapFormatName,
    /// Map value at the hot end of the colour scale. All images have the same scale
    #[arg(long, value_name = "VALUE", default_value_t = 0.5, requires = "maps")]
    map_scale: f32,
}

impl MapArgs {
    /// The maps that were asked for, if any.
    ///
    /// # Errors
    /// A usage error if the scale is not above 0.
    pub(crate) fn maps(&self) -> Result<Option<Maps>> {
        let scale = Scale::up_to(self.map_scale).ok_or_else(|| usage("--map-scale must be above 0"))?;
        let format = match self.map_format {
            MapFormatName::Png => MapFormat::Png,
            MapFormatName::Tiff => MapFormat::Tiff,
            MapFormatName::Npy => MapFormat::Npy,
        };
        Ok(self.maps.clone().map(|folder| Maps::new(folder, format, scale)))
    }

    /// Where they go.
    pub(crate) fn folder(&self) -> Option<&PathBuf> {
        self.maps.as_ref()
    }
}

/// What is written of a map, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MapFormatName {
    /// <name>.heat.png and <name>.overlay.png. With --fpr the overlay has a line around the parts above the threshold
    Png,
    /// <name>.tiff, 32-bit floats at the image's own size
    Tiff,
    /// <name>.npy, 32-bit floats at the network's size. Their maximum is the score
    Npy,
}
