//! The images of a run, and whether they are still what they were.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use rayon::prelude::*;
use riad_data::Pattern;
use serde::{Deserialize, Serialize};

use crate::files::{relative, sha256};

/// An image that a run was started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ImageRecord {
    /// Path below the category's folder; of several files that make an image that of the first. A name that is not UTF-8 is
    /// approximated: it serves to compare.
    pub(super) name: String,
    /// Of [`image_sha256`].
    pub(super) sha256: String,
    /// Whether it is held out for validation.
    pub(super) validation: bool,
    /// Whether it is held out for calibration, and so not for validation.
    #[serde(default)]
    pub(super) calibration: bool,
}

/// What `images` below `root` are now; none is held out.
pub(super) fn records(images: &[PathBuf], root: &Path, bands: Option<&Pattern>) -> Result<Vec<ImageRecord>> {
    let record = |path: &PathBuf| {
        Ok(ImageRecord {
            name: relative(path, root),
            sha256: image_sha256(path, bands)?,
            validation: false,
            calibration: false,
        })
    };
    images.par_iter().map(record).collect()
}

/// The SHA-256 of an image's file, or of all its files one after the other.
pub(crate) fn image_sha256(image: &Path, bands: Option<&Pattern>) -> Result<String> {
    match bands {
        None => sha256(&[image]),
        Some(bands) => sha256(&bands.files(image)?),
    }
}

/// Checks that the images in `root` are what they were when the run was started.
///
/// # Errors
/// Names the first that is missing, was added, or has changed.
pub(super) fn check_same(then: &[ImageRecord], now: &[ImageRecord], root: &Path) -> Result<()> {
    let way_out = "a run goes on only with the images that it was started with: bring them back, or start another \
                   run in another folder with --out";
    let root = root.display();
    let missing = then.iter().find(|old| !now.iter().any(|new| new.name == old.name));
    if let Some(ImageRecord { name, .. }) = missing {
        bail!("{root}: the training image {name} is missing; {way_out}");
    }
    let added = now.iter().find(|new| !then.iter().any(|old| old.name == new.name));
    if let Some(ImageRecord { name, .. }) = added {
        bail!("{root}: the training image {name} was not there when the run was started; {way_out}");
    }
    let mut pairs = then.iter().zip(now);
    let changed = pairs.find(|(old, new)| (&old.name, &old.sha256) != (&new.name, &new.sha256));
    if let Some((ImageRecord { name, .. }, _)) = changed {
        bail!("{root}: the training image {name} has changed since the run was started; {way_out}");
    }
    Ok(())
}
