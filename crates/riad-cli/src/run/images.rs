//! The images of a run, and whether they are still what they were.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use rayon::prelude::*;
use riad_data::{Category, Pattern};
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

/// The images that a file names, one in a line. Empty lines and those that begin with `#` say nothing.
pub(crate) fn names_in(file: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines
        .map(|line| line.strip_prefix("./").unwrap_or(line).to_owned())
        .collect())
}

/// A category without the good images of these names below its folder, which `file` gave.
///
/// # Errors
/// If a name is that of no such image, or none is left.
pub(crate) fn without(category: &Category, names: &[String], file: Option<&Path>) -> Result<Category> {
    let mut category = category.clone();
    let mut unknown: HashSet<&str> = names.iter().map(String::as_str).collect();
    let left_out: HashSet<&str> = unknown.clone();
    for images in [&mut category.train, &mut category.validation] {
        images.retain(|image| {
            let name = relative(image, &category.root);
            unknown.remove(name.as_str());
            !left_out.contains(name.as_str())
        });
    }
    if let (Some(name), Some(file)) = (unknown.iter().min(), file) {
        bail!(
            "{} names {name}, and there is no good image of that name below {}; correct the line or remove it",
            file.display(),
            category.root.display()
        );
    }
    if category.train.is_empty() {
        bail!("no image is left to learn from below {}", category.root.display());
    }
    Ok(category)
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
