//! KolektorSDD2 (2021).

use std::path::Path;

use super::{Images, TestItem, is_there, labels};
use crate::files::images_in;
use crate::{DataError, Pattern};

/// The end of a label's name, after the image's name.
pub(super) const LABEL: &str = "_GT";

pub(super) fn open(root: &Path, pattern: Option<&Pattern>) -> Images {
    let mut found = Images::default();
    let folder = root.join("train");
    let train = labelled(&folder, pattern, &mut found.train_faults);
    let good = train.into_iter().filter(|image| !image.is_defective());
    found.train = good.map(|image| image.path).collect();
    if found.train.is_empty() {
        let reason = "there are no training images: no label here is all 0";
        found.train_faults.push(DataError::layout(&folder, reason));
    }
    let folder = root.join("test");
    if is_there(&folder, &mut found.test_faults) {
        found.test = labelled(&folder, pattern, &mut found.test_faults);
        // Stable: both parts stay in natural order.
        found.test.sort_by_key(|image| image.is_defective());
    }
    found
}

/// The images of a folder with their labels, without the copies that the published archive contains.
fn labelled(folder: &Path, pattern: Option<&Pattern>, faults: &mut Vec<DataError>) -> Vec<TestItem> {
    let mut files = images_in(folder, faults);
    files.retain(|file| !labels::is_label(file, " (copy)"));
    labels::labelled(files, LABEL, pattern, faults)
}
