//! KolektorSDD2 (2021).

use std::path::{Path, PathBuf};

use super::{Images, labels};
use crate::DataError;
use crate::files::images_in;

/// What a label's name has behind its image's.
pub(super) const LABEL: &str = "_GT";

pub(super) fn open(root: &Path) -> Result<Images, DataError> {
    let folder = root.join("train");
    let train = labels::labelled(images(&folder)?, LABEL)?;
    let train: Vec<PathBuf> = train
        .into_iter()
        .filter(|image| !image.is_defective())
        .map(|image| image.path)
        .collect();
    if train.is_empty() {
        return Err(DataError::layout(
            &folder,
            "there are no training images: no label here is all 0",
        ));
    }
    let folder = root.join("test");
    let mut test = if folder.is_dir() {
        labels::labelled(images(&folder)?, LABEL)?
    } else {
        Vec::new()
    };
    // Stable: both parts stay in natural order.
    test.sort_by_key(|image| image.is_defective());
    Ok(Images {
        train,
        validation: Vec::new(),
        test,
    })
}

/// The images and labels of a folder, without those that the published archive holds twice.
fn images(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut images = images_in(folder)?;
    images.retain(|file| !labels::is_label(file, " (copy)"));
    Ok(images)
}
