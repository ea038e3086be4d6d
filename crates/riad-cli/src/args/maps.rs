//! The maps that scoring writes.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueHint};
use riad::{MapFormat, Maps, render::Scale};

use super::described;
use crate::usage;

/// Where maps go, and as what.
#[derive(Debug, Args)]
pub(crate) struct MapArgs {
    /// Write the anomaly map of each image to this folder. Subfolders are those of the images
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    maps: Option<PathBuf>,
    /// What to write for each image
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "png",
        requires = "maps",
        value_parser = described(MapFormat::ALL, MapFormat::name, MapFormat::about)
    )]
    map_format: MapFormat,
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
        let maps = |folder| Maps::new(folder, self.map_format, scale);
        Ok(self.maps.clone().map(maps))
    }

    /// Where they go.
    pub(crate) fn folder(&self) -> Option<&PathBuf> {
        self.maps.as_ref()
    }
}
