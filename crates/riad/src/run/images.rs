//! The images of a run, and whether they have changed.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use rayon::prelude::*;
use riad_data::{Pattern, Shares, in_part, read_text};

use crate::{
    Error, Result, TrainingOptions,
    files::image_sha256,
    held_out::{divide, groups},
    names::relative,
    settings::ImageRecord,
};

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

/// Chooses the images to hold out, and marks them. The run may learn from the first `learn` of them. Returns the indices of the images to
/// train on.
///
/// # Errors
/// If a share is out of range, or a name has no group.
pub(super) fn hold_out(
    images: &mut [ImageRecord],
    learn: usize,
    shares: Shares,
    options: &TrainingOptions,
) -> Result<Vec<usize>> {
    let names = options.group_by.as_ref().map(|grouping| {
        let names = images.iter().map(|image| grouping.group(&image.name));
        names.collect::<std::result::Result<Vec<_>, _>>()
    });
    let sums: Vec<_> = images.iter().map(|image| image.sha256.as_str()).collect();
    let groups = groups(names.transpose()?.as_deref(), &sums);
    let parts = divide(learn, &groups, shares, options.seed.unwrap_or(0))?;
    for &held_out in &parts.validation {
        images[held_out].validation = true;
    }
    for &held_out in &parts.calibration {
        images[held_out].calibration = true;
    }
    Ok(parts.train)
}

/// The images that a file names, one in a line. Empty lines and those that begin with `#` say nothing.
///
/// # Errors
/// If the file cannot be read.
pub(crate) fn names_in(file: &Path) -> Result<Vec<String>> {
    let text = read_text(file).map_err(Error::file("read", file))?;
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines
        .map(|line| line.strip_prefix("./").unwrap_or(line).to_owned())
        .collect())
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
    let differs = |reason: String| {
        Err(Error::OtherImages {
            root: root.to_owned(),
            reason,
        })
    };
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
            [name] => return differs(format!("the training image {name} {}", what[0])),
            several => return differs(format!("the training images {} {}", in_part(several, ", "), what[1])),
        }
    }
    if !then.iter().map(|old| &old.name).eq(now.iter().map(|new| &new.name)) {
        return differs("the images are in another order than in the run: its settings were changed".into());
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
