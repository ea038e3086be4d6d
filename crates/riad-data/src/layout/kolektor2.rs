//! KolektorSDD2 (2021).

use std::path::{Path, PathBuf};

use super::{Images, labels};
use crate::files::images_in;
use crate::{DataError, Pattern};

/// What a label's name has behind its image's.
pub(super) const LABEL: &str = "_GT";

pub(super) fn open(root: &Path, pattern: Option<&Pattern>) -> Result<Images, DataError> {
    let folder = root.join("train");
    let train = labels::labelled(files(&folder)?, LABEL, pattern)?;
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
        labels::labelled(files(&folder)?, LABEL, pattern)?
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
fn files(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut files = images_in(folder)?;
    files.retain(|file| !labels::is_label(file, " (copy)"));
    Ok(files)
}
