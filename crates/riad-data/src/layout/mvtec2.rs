//! MVTec AD 2 (2025), as far as its labels are public.

use std::path::Path;

use super::{Images, kinds};
use crate::DataError;

pub(super) fn open(root: &Path) -> Result<Images, DataError> {
    let test = root.join("test_public");
    Ok(Images {
        train: kinds::training_images(&root.join("train").join("good"))?,
        validation: kinds::validation_images(root)?,
        test: kinds::test_items(&test, "good", &test.join("ground_truth"), kinds::mask_files)?,
    })
}
