//! A folder for each kind of defect, and beside them folders of the same names with the masks: MVTec AD and those who
//! followed it.

use std::collections::{BTreeMap, btree_map::Entry};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{TestItem, images, name_of, own_name, some_images};
use crate::files::{folders_in, images_in};
use crate::{DataError, Pattern};

/// The masks of each image.
pub(super) type Masks = BTreeMap<PathBuf, Vec<PathBuf>>;

/// The images in `folder`, which the layout keeps its good images for training in.
pub(super) fn training_images(folder: &Path, pattern: Option<&Pattern>) -> Result<Vec<PathBuf>, DataError> {
    if !folder.is_dir() {
        let good = name_of(folder);
        let reason = format!("there are no training images: this layout keeps the good ones in train/{good}");
        return Err(DataError::layout(folder, reason));
    }
    some_images(folder, pattern)
}

/// The images in `validation/good`; none without a folder `validation`.
pub(super) fn validation_images(root: &Path, pattern: Option<&Pattern>) -> Result<Vec<PathBuf>, DataError> {
    let folder = root.join("validation");
    if folder.is_dir() {
        some_images(&folder.join("good"), pattern)
    } else {
        Ok(Vec::new())
    }
}

/// The images in the folders of `test`: those in `good`, then one kind of defect after the other, with the masks that
/// `pair` finds in the folder of `masks` that has the kind's name.
pub(super) fn test_items(
    test: &Path,
    good: &str,
    masks: &Path,
    pattern: Option<&Pattern>,
    pair: impl Fn(&[PathBuf], &Path, Option<&Pattern>) -> Result<Masks, DataError>,
) -> Result<Vec<TestItem>, DataError> {
    let mut items = Vec::new();
    let mut kinds = Vec::new();
    if test.is_dir() {
        for folder in folders_in(test)? {
            if folder.ends_with(good) {
                items.extend(images(&folder, pattern)?.into_iter().map(TestItem::good));
            } else if folder != masks {
                kinds.push(folder);
            }
        }
    }
    for kind in &kinds {
        let images = some_images(kind, pattern)?;
        let paired = pair(&images, &masks.join(kind.file_name().unwrap_or_default()), pattern)?;
        items.extend(defective(images, &name_of(kind), paired));
    }
    if masks.is_dir() {
        for folder in folders_in(masks)? {
            let belongs = kinds.iter().any(|kind| kind.file_name() == folder.file_name());
            let first = || Ok(images_in(&folder)?.into_iter().chain(folders_in(&folder)?).next());
            if !belongs && let Some(mask) = first()? {
                let images = test.join(folder.file_name().unwrap_or_default());
                let reason = format!(
                    "this mask belongs to no image: {} is not there; add the images or remove the masks",
                    images.display()
                );
                return Err(DataError::layout(&mask, reason));
            }
        }
    }
    Ok(items)
}

/// Images of one kind of defect with their masks; none where the place is not known.
pub(super) fn defective(images: Vec<PathBuf>, defect: &str, mut masks: Masks) -> impl Iterator<Item = TestItem> {
    images.into_iter().map(move |path| TestItem {
        defect: Some(defect.to_owned()),
        masks: masks.remove(&path).unwrap_or_default(),
        path,
    })
}

/// One mask for each image: the file in `folder` that has its own name, with or without `_mask` at the end.
pub(super) fn mask_files(images: &[PathBuf], folder: &Path, pattern: Option<&Pattern>) -> Result<Masks, DataError> {
    let by_stem = by_stem(images, pattern)?;
    let by_mask_stem: BTreeMap<OsString, &PathBuf> =
        by_stem.iter().map(|(stem, image)| (masked(stem), *image)).collect();
    let mut masks = Masks::new();
    let files = if folder.is_dir() {
        images_in(folder)?
    } else {
        Vec::new()
    };
    for mask in files {
        let stem = mask.file_stem().unwrap_or_default().to_owned();
        let Some(&image) = by_stem.get(&stem).or_else(|| by_mask_stem.get(&stem)) else {
            let reason = "this mask belongs to no image: it must be named as its image, with or without _mask at the \
                          end; rename or remove it";
            return Err(DataError::layout(&mask, reason));
        };
        match masks.entry(image.clone()) {
            Entry::Vacant(place) => _ = place.insert(vec![mask]),
            Entry::Occupied(other) => {
                let other = other.get().first().unwrap_or(image).display();
                let reason = format!("is a second mask of {}, besides {other}; remove one", image.display());
                return Err(DataError::layout(&mask, reason));
            }
        }
    }
    if let Some(image) = images.iter().find(|image| !masks.contains_key(*image)) {
        let expected = folder.join(format!("{}.png", masked(&own_name(image, pattern)).display()));
        return Err(no_mask(image, &expected));
    }
    Ok(masks)
}

/// Any number of masks for each image, but at least one: those in the folder within `folder` that has its name.
pub(super) fn mask_folders(images: &[PathBuf], folder: &Path, pattern: Option<&Pattern>) -> Result<Masks, DataError> {
    let by_stem = by_stem(images, pattern)?;
    let mut masks = Masks::new();
    if folder.is_dir() {
        if let Some(mask) = images_in(folder)?.first() {
            let reason = "this mask belongs to no image: masks lie in a folder that is named as their image; move or \
                          remove it";
            return Err(DataError::layout(mask, reason));
        }
        for masks_of_one in folders_in(folder)? {
            let Some(&image) = by_stem.get(masks_of_one.file_name().unwrap_or_default()) else {
                let reason = "these masks belong to no image: their folder must be named as their image, without its \
                              ending; rename or remove it";
                return Err(DataError::layout(&masks_of_one, reason));
            };
            let files = images_in(&masks_of_one)?;
            if !files.is_empty() {
                masks.insert(image.clone(), files);
            }
        }
    }
    if let Some(image) = images.iter().find(|image| !masks.contains_key(*image)) {
        return Err(no_mask(image, &folder.join(own_name(image, pattern)).join("000.png")));
    }
    Ok(masks)
}

fn no_mask(image: &Path, expected: &Path) -> DataError {
    let expected = expected.display();
    let reason = format!("this defect has no mask: {expected} is missing; add it or remove the image");
    DataError::layout(image, reason)
}

/// The images by their own names.
fn by_stem<'a>(images: &'a [PathBuf], pattern: Option<&Pattern>) -> Result<BTreeMap<OsString, &'a PathBuf>, DataError> {
    let mut by_stem = BTreeMap::new();
    for image in images {
        if let Some(other) = by_stem.insert(own_name(image, pattern), image) {
            let other = other.display();
            let reason = format!("has the same name as {other}, so masks cannot tell them apart; rename one");
            return Err(DataError::layout(image, reason));
        }
    }
    Ok(by_stem)
}

/// The name that a mask may have.
fn masked(stem: &OsString) -> OsString {
    let mut masked = stem.clone();
    masked.push("_mask");
    masked
}
