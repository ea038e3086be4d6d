//! MVTec AD.

use std::path::Path;

use super::{Images, kinds};
use crate::DataError;

pub(super) fn open(root: &Path) -> Result<Images, DataError> {
    Ok(Images {
        train: kinds::training_images(&root.join("train").join("good"))?,
        validation: Vec::new(),
        test: kinds::test_items(
            &root.join("test"),
            "good",
            &root.join("ground_truth"),
            kinds::mask_files,
        )?,
    })
}
