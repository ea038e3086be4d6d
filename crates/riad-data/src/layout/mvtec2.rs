//! MVTec AD 2 (2025), as far as its labels are public.

use std::path::Path;

use super::{Images, kinds};
use crate::{DataError, Pattern};

pub(super) fn open(root: &Path, pattern: Option<&Pattern>) -> Result<Images, DataError> {
    let test = root.join("test_public");
    Ok(Images {
        train: kinds::training_images(&root.join("train").join("good"), pattern)?,
        validation: kinds::validation_images(root, pattern)?,
        test: kinds::test_items(&test, "good", &test.join("ground_truth"), pattern, kinds::mask_files)?,
    })
}
