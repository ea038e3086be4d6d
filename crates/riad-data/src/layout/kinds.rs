//! A folder for each kind of defect, and folders of the same names with the masks: MVTec AD and similar data sets.

use std::collections::{BTreeMap, btree_map::Entry};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Images, TestItem, images, is_there, name_of, own_name, some_images};
use crate::files::{folders_in, images_in};
use crate::{DataError, Pattern};

/// The masks of each image.
pub(super) type Masks = BTreeMap<PathBuf, Vec<PathBuf>>;

/// Finds the images in `folder`, the layout's folder of good images for training.
pub(super) fn training_images(found: &mut Images, folder: &Path, pattern: Option<&Pattern>) {
    let faults = &mut found.train_faults;
    let before = faults.len();
    if is_there(folder, faults) {
        found.train = some_images(folder, pattern, faults);
    } else if faults.len() == before {
        let good = name_of(folder);
        let reason = format!("there are no training images: in this layout, good images are in train/{good}");
        faults.push(DataError::layout(folder, reason));
    }
}

/// Finds the images in `validation/good`; none without a folder `validation`.
pub(super) fn validation_images(found: &mut Images, root: &Path, pattern: Option<&Pattern>) {
    let folder = root.join("validation");
    if is_there(&folder, &mut found.train_faults) {
        found.validation = some_images(&folder.join("good"), pattern, &mut found.train_faults);
    }
}

/// Finds the images in the folders of `test`: those in `good`, then one kind of defect after the other, with the masks
/// that `pair` finds in the folder of `masks` that has the kind's name.
pub(super) fn test_items(
    found: &mut Images,
    (test, good): (&Path, &str),
    masks: &Path,
    pattern: Option<&Pattern>,
    pair: impl Fn(&[PathBuf], &Path, Option<&Pattern>, &mut Vec<DataError>) -> Masks,
) {
    let (items, faults) = (&mut found.test, &mut found.test_faults);
    let mut kinds = Vec::new();
    if is_there(test, faults) {
        kinds = folders_in(test, faults);
        kinds.retain(|kind| kind != masks);
        // The good ones first; the kinds of defects stay in their order.
        kinds.sort_by_key(|kind| !kind.ends_with(good));
    }
    let has_masks = is_there(masks, faults);
    for kind in &kinds {
        let defect = (!kind.ends_with(good)).then(|| name_of(kind));
        let images = match defect {
            None => images(kind, pattern, faults),
            Some(_) => some_images(kind, pattern, faults),
        };
        let folder = masks.join(kind.file_name().unwrap_or_default());
        let mut paired = if has_masks && is_there(&folder, faults) {
            pair(&images, &folder, pattern, faults)
        } else {
            Masks::new()
        };
        items.extend(images.into_iter().map(|path| TestItem {
            defect: defect.clone(),
            masks: paired.remove(&path).unwrap_or_default(),
            path,
        }));
    }
    if has_masks {
        for folder in folders_in(masks, faults) {
            if kinds.iter().any(|kind| kind.file_name() == folder.file_name()) {
                continue;
            }
            let files = images_in(&folder, faults).into_iter();
            if let Some(mask) = files.chain(folders_in(&folder, &mut Vec::new())).next() {
                let images = test.join(folder.file_name().unwrap_or_default());
                let reason = format!(
                    "this mask belongs to no image: {} does not exist; add the images or remove the masks",
                    images.display()
                );
                faults.push(DataError::layout(&mask, reason));
            }
        }
    }
}

/// The masks of images, at most one for each: the file in `folder` with the image's name, with or without `_mask` at
/// the end.
pub(super) fn mask_files(
    images: &[PathBuf],
    folder: &Path,
    pattern: Option<&Pattern>,
    faults: &mut Vec<DataError>,
) -> Masks {
    let mut masks = Masks::new();
    let files = images_in(folder, faults);
    if files.is_empty() {
        return masks;
    }
    let by_stem = by_stem(images, pattern, faults);
    let by_mask_stem: BTreeMap<OsString, Option<&PathBuf>> =
        by_stem.iter().map(|(stem, image)| (masked(stem), *image)).collect();
    for mask in files {
        let stem = mask.file_stem().unwrap_or_default().to_owned();
        match by_stem.get(&stem).or_else(|| by_mask_stem.get(&stem)) {
            Some(&Some(image)) => match masks.entry(image.clone()) {
                Entry::Vacant(place) => _ = place.insert(vec![mask]),
                Entry::Occupied(other) => {
                    let other = other.get().first().unwrap_or(image).display();
                    let reason = format!("is a second mask of {}, beside {other}; remove one", image.display());
                    faults.push(DataError::layout(&mask, reason));
                }
            },
            // It is told that it could belong to several.
            Some(None) => {}
            None => {
                let reason = "this mask belongs to no image: it must have its image's name, with or without _mask at \
                    the end; rename or remove it";
                faults.push(DataError::layout(&mask, reason));
            }
        }
    }
    masks
}

/// The masks of images, any number for each: those in the subfolder of `folder` with the image's name.
pub(super) fn mask_folders(
    images: &[PathBuf],
    folder: &Path,
    pattern: Option<&Pattern>,
    faults: &mut Vec<DataError>,
) -> Masks {
    let mut masks = Masks::new();
    for mask in images_in(folder, faults) {
        let reason =
            "this mask belongs to no image: masks must be in a folder with their image's name; move or remove it";
        faults.push(DataError::layout(&mask, reason));
    }
    let folders = folders_in(folder, faults);
    if folders.is_empty() {
        return masks;
    }
    let by_stem = by_stem(images, pattern, faults);
    for masks_of_one in folders {
        match by_stem.get(masks_of_one.file_name().unwrap_or_default()) {
            Some(&Some(image)) => {
                let files = images_in(&masks_of_one, faults);
                if !files.is_empty() {
                    masks.insert(image.clone(), files);
                }
            }
            // It is told that they could belong to several.
            Some(None) => {}
            None => {
                let reason = "these masks belong to no image: their folder must have their image's name, without its \
                    ending; rename or remove it";
                faults.push(DataError::layout(&masks_of_one, reason));
            }
        }
    }
    masks
}

/// The images by their own names. `None` for a name that several images have. If there are masks, this is a fault.
fn by_stem<'a>(
    images: &'a [PathBuf],
    pattern: Option<&Pattern>,
    faults: &mut Vec<DataError>,
) -> BTreeMap<OsString, Option<&'a PathBuf>> {
    let mut by_stem = BTreeMap::new();
    let mut first: BTreeMap<OsString, &PathBuf> = BTreeMap::new();
    for image in images {
        let name = own_name(image, pattern);
        if let Some(other) = first.get(&name) {
            let other = other.display();
            let reason = format!("has the same name as {other}, so a mask could belong to both; rename one");
            faults.push(DataError::layout(image, reason));
            by_stem.insert(name, None);
        } else {
            first.insert(name.clone(), image);
            by_stem.insert(name, Some(image));
        }
    }
    by_stem
}

/// The name that a mask may have.
fn masked(stem: &OsString) -> OsString {
    let mut masked = stem.clone();
    masked.push("_mask");
    masked
}
