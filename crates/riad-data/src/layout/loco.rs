//! MVTec LOCO AD (2022).

use std::path::Path;

use super::{Images, kinds};
use crate::{DataError, Pattern};

pub(super) fn open(root: &Path, pattern: Option<&Pattern>) -> Result<Images, DataError> {
    Ok(Images {
        train: kinds::training_images(&root.join("train").join("good"), pattern)?,
        validation: kinds::validation_images(root, pattern)?,
        test: kinds::test_items(
            &root.join("test"),
            "good",
            &root.join("ground_truth"),
            pattern,
            kinds::mask_folders,
        )?,
    })
}
