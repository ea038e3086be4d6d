//! BTAD (beanTech, 2021): MVTec AD's folders under other names.

use std::path::Path;

use super::{Images, kinds};
use crate::Pattern;

pub(super) fn open(root: &Path, pattern: Option<&Pattern>) -> Images {
    let mut images = Images::default();
    kinds::training_images(&mut images, &root.join("train").join("ok"), pattern);
    let masks = root.join("ground_truth");
    kinds::test_items(
        &mut images,
        (&root.join("test"), "ok"),
        &masks,
        pattern,
        kinds::mask_files,
    );
    images
}
