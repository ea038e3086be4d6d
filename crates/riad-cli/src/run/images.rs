//! The images of a run, and whether they are still what they were.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use rayon::prelude::*;
use riad_data::{Category, Pattern};
use serde::{Deserialize, Serialize};

use crate::{files::sha256, names::relative};

/// Images that an error names; more are only counted.
const NAMED: usize = 8;

/// An image that a run was started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ImageRecord {
    /// Path below the category's folder, as [`relative`] writes it; of several files that make an image that of the first.
    pub(super) name: String,
    /// Of [`image_sha256`].
    pub(super) sha256: String,
    /// Whether it is held out for validation.
    pub(super) validation: bool,
    /// Whether it is held out for calibration, and so not for validation.
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

/// What there is to learn from in a category, without the good images of these names below its folder, which `file` gave.
///
/// # Errors
/// If a name is that of no such image, or none is left.
pub(crate) fn without(category: &Category, names: &[String], file: Option<&Path>) -> Result<Category> {
    let mut category = Category {
        name: category.name.clone(),
        root: category.root.clone(),
        layout: category.layout,
        train: category.train.clone(),
        validation: category.validation.clone(),
        train_faults: Vec::new(),
        test: Vec::new(),
        test_faults: Vec::new(),
    };
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
/// Names those that are missing, were added, or have changed.
pub(super) fn check_same(then: &[ImageRecord], now: &[ImageRecord], root: &Path) -> Result<()> {
    let (before, after) = (sums(then), sums(now));
    let missing = named(then, |old| !after.contains_key(old.name.as_str()));
    let added = named(now, |new| !before.contains_key(new.name.as_str()));
    let changed = named(then, |old| {
        after.get(old.name.as_str()).is_some_and(|sum| *sum != old.sha256)
    });
    let way_out = "a run goes on only with the images that it was started with: bring them back, or start another \
                   run in another folder with --out";
    let root = root.display();
    for (names, what) in [
        (missing, ["is missing", "are missing"]),
        (
            added,
            [
                "was not there when the run was started",
                "were not there when the run was started",
            ],
        ),
        (
            changed,
            [
                "has changed since the run was started",
                "have changed since the run was started",
            ],
        ),
    ] {
        match names.as_slice() {
            [] => {}
            [name] => bail!("{root}: the training image {name} {}; {way_out}", what[0]),
            several => {
                let (shown, more) = several.split_at(several.len().min(NAMED));
                let more = match more.len() {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                let shown = shown.join(", ");
                bail!("{root}: the training images {shown}{more} {}; {way_out}", what[1])
            }
        }
    }
    if !then.iter().map(|old| &old.name).eq(now.iter().map(|new| &new.name)) {
        bail!(
            "{root}: the images are not in the order in which the run has them: its settings were changed; {way_out}"
        );
    }
    Ok(())
}

/// What each image holds, by its name.
fn sums(records: &[ImageRecord]) -> HashMap<&str, &str> {
    let sums = records
        .iter()
        .map(|record| (record.name.as_str(), record.sha256.as_str()));
    sums.collect()
}

/// The names of those of the records that are `chosen`.
fn named(records: &[ImageRecord], chosen: impl Fn(&ImageRecord) -> bool) -> Vec<&str> {
    let chosen = records.iter().filter(|record| chosen(record));
    chosen.map(|record| record.name.as_str()).collect()
}
