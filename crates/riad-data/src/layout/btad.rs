//! BTAD (beanTech, 2021): MVTec AD's folders under other names.

use std::path::Path;

use super::{Images, kinds};
use crate::{DataError, Pattern};

pub(super) fn open(root: &Path, pattern: Option<&Pattern>) -> Result<Images, DataError> {
    Ok(Images {
        train: kinds::training_images(&root.join("train").join("ok"), pattern)?,
        validation: Vec::new(),
        test: kinds::test_items(
            &root.join("test"),
            "ok",
            &root.join("ground_truth"),
            pattern,
            kinds::mask_files,
        )?,
    })
}
