//! MVTec LOCO AD (2022).

use std::path::Path;

use super::{Images, kinds};
use crate::Pattern;

pub(super) fn open(root: &Path, pattern: Option<&Pattern>) -> Images {
    let mut images = Images::default();
    kinds::training_images(&mut images, &root.join("train").join("good"), pattern);
    kinds::validation_images(&mut images, root, pattern);
    let masks = root.join("ground_truth");
    kinds::test_items(
        &mut images,
        (&root.join("test"), "good"),
        &masks,
        pattern,
        kinds::mask_folders,
    );
    images
}
