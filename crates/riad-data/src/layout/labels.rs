//! A label beside each image, which tells by its content whether the image is good: the KolektorSDD data sets.

use std::collections::BTreeMap;
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

/// Tells the images from their labels among the `files` of one folder, pairs them by name, and looks at each label.
/// Gives the images in the order of `files`.
pub(super) fn labelled(
    files: Vec<PathBuf>,
    suffix: &str,
    pattern: Option<&Pattern>,
) -> Result<Vec<TestItem>, DataError> {
    let (labels, images): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| is_label(file, suffix));
    let images = grouped(images, pattern)?;
    let mut by_stem: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for label in labels {
        let stem = label.file_stem().unwrap_or_default().to_owned();
        if let Some(other) = by_stem.insert(stem, label.clone()) {
            let reason = format!("has the same name as {}; remove one", other.display());
            return Err(DataError::layout(&label, reason));
        }
    }
    let mut pairs = Vec::with_capacity(images.len());
    for image in images {
        let mut stem = own_name(&image, pattern);
        stem.push(suffix);
        let Some(label) = by_stem.remove(&stem) else {
            let reason = format!(
                "this image has no label of its own: {}.* is missing; add it or remove the image",
                image.with_file_name(&stem).display()
            );
            return Err(DataError::layout(&image, reason));
        };
        pairs.push((image, label));
    }
    if let Some(label) = by_stem.into_values().next() {
        let reason = format!(
            "this label belongs to no image: it must be named as its image, with {suffix} at the end; rename or remove it"
        );
        return Err(DataError::layout(&label, reason));
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
    // Collected twice, so that of several labels that cannot be read it is always the first that is named.
    let items: Vec<_> = pairs.into_par_iter().map(item).collect();
    items.into_iter().collect()
}
