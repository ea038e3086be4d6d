//! A label beside each image. Its content says whether the image is good: the KolektorSDD data sets.

use std::collections::{BTreeMap, btree_map::Entry};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{TestItem, grouped, own_name};
use crate::mask::shows_defect;
use crate::{DataError, Limits, Pattern};

/// Whether a file is a label, by the end of its name before the ending.
pub(super) fn is_label(file: &Path, suffix: &str) -> bool {
    file.file_stem()
        .is_some_and(|stem| stem.as_encoded_bytes().ends_with(suffix.as_bytes()))
}

/// Separates the images from their labels among the `files` of one folder, pairs them by name, and reads each label.
/// Returns the images whose labels can be read, in the order of `files`.
pub(super) fn labelled(
    files: Vec<PathBuf>,
    suffix: &str,
    pattern: Option<&Pattern>,
    faults: &mut Vec<DataError>,
) -> Vec<TestItem> {
    let (labels, images): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| is_label(file, suffix));
    let images = grouped(images, pattern, faults);
    let mut by_stem: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for label in labels {
        let stem = label.file_stem().unwrap_or_default().to_owned();
        match by_stem.entry(stem) {
            Entry::Vacant(place) => _ = place.insert(label),
            Entry::Occupied(other) => {
                let reason = format!("has the same name as {}; remove one", other.get().display());
                faults.push(DataError::layout(&label, reason));
            }
        }
    }
    let mut pairs = Vec::with_capacity(images.len());
    for image in images {
        let mut stem = own_name(&image, pattern);
        stem.push(suffix);
        match by_stem.remove(&stem) {
            Some(label) => pairs.push((image, label)),
            None => {
                let reason = format!(
                    "this image has no label of its own: {}.* is missing; add it or remove the image",
                    image.with_file_name(&stem).display()
                );
                faults.push(DataError::layout(&image, reason));
            }
        }
    }
    for label in by_stem.into_values() {
        let reason = format!(
            "this label belongs to no image: it must have its image's name, with {suffix} at the end; rename or \
             remove it"
        );
        faults.push(DataError::layout(&label, reason));
    }
    let item = |(path, label): (PathBuf, PathBuf)| {
        Ok(if shows_defect(&label, &Limits::default())? {
            TestItem {
                path,
                defect: Some("defect".to_owned()),
                masks: vec![label],
            }
        } else {
            TestItem::good(path)
        })
    };
    let items: Vec<Result<TestItem, DataError>> = pairs.into_par_iter().map(item).collect();
    let mut readable = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Ok(item) => readable.push(item),
            Err(error) => faults.push(error),
        }
    }
    readable
}
