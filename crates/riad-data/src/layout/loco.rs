//! MVTec LOCO AD (2022).

use std::path::Path;

use super::{Images, kinds};
use crate::DataError;

pub(super) fn open(root: &Path) -> Result<Images, DataError> {
    Ok(Images {
        train: kinds::training_images(&root.join("train").join("good"))?,
        validation: kinds::validation_images(root)?,
        test: kinds::test_items(
            &root.join("test"),
            "good",
            &root.join("ground_truth"),
            kinds::mask_folders,
        )?,
    })
}
