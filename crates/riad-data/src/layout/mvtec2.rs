//! MVTec AD 2 (2025), the part with public labels.

use std::path::Path;

use super::{Images, kinds};
use crate::Pattern;

pub(super) fn open(root: &Path, pattern: Option<&Pattern>) -> Images {
    let mut images = Images::default();
    kinds::training_images(&mut images, &root.join("train").join("good"), pattern);
    kinds::validation_images(&mut images, root, pattern);
    let test = root.join("test_public");
    let masks = test.join("ground_truth");
    kinds::test_items(&mut images, (&test, "good"), &masks, pattern, kinds::mask_files);
    images
}
