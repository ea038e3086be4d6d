//! Folders of pictures, as the tasks that make data sets read and write them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use image::{DynamicImage, ImageDecoder, ImageReader, RgbImage};

/// The pictures in a folder, in the order of their names.
pub(crate) fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = || format!("cannot list {}", folder.display());
    let mut images = Vec::new();
    for entry in fs::read_dir(folder).with_context(list)? {
        let path = entry.with_context(list)?.path();
        if image::ImageFormat::from_path(&path).is_ok() {
            images.push(path);
        }
    }
    // The order of a folder is the file system's.
    images.sort();
    Ok(images)
}

pub(crate) fn make_folder(out: &Path, names: &[&str]) -> Result<PathBuf> {
    let folder = out.join(names.iter().collect::<PathBuf>());
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// An image upright, in 8 bits a channel.
pub(crate) fn read(path: &Path) -> Result<RgbImage> {
    let decode = || {
        let mut decoder = ImageReader::open(path)?.with_guessed_format()?.into_decoder()?;
        let orientation = decoder.orientation()?;
        let mut image = DynamicImage::from_decoder(decoder)?;
        image.apply_orientation(orientation);
        image::ImageResult::Ok(image.into_rgb8())
    };
    decode().with_context(|| format!("cannot read {}", path.display()))
}

pub(crate) fn save(saved: image::ImageResult<()>, folder: &Path) -> Result<()> {
    saved.with_context(|| format!("cannot write to {}", folder.display()))
}
