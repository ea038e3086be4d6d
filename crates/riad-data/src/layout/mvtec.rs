//! MVTec AD.

use std::path::Path;

use super::{Images, kinds};
use crate::{DataError, Pattern};

pub(super) fn open(root: &Path, pattern: Option<&Pattern>) -> Result<Images, DataError> {
    Ok(Images {
        train: kinds::training_images(&root.join("train").join("good"), pattern)?,
        validation: Vec::new(),
        test: kinds::test_items(
            &root.join("test"),
            "good",
            &root.join("ground_truth"),
            pattern,
            kinds::mask_files,
        )?,
    })
}
