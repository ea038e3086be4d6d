//! KolektorSDD (2019).

use std::path::Path;

use super::{Images, labels};
use crate::files::{folders_in, images_in};
use crate::{DataError, Pattern};

/// The end of a label's name, after the image's name.
pub(super) const LABEL: &str = "_label";

/// One in this number of items is for testing.
const TESTED: usize = 5;

pub(super) fn open(root: &Path, pattern: Option<&Pattern>) -> Images {
    let mut found = Images::default();
    let mut defective = Vec::new();
    let mut items = 0;
    for folder in folders_in(root, &mut found.train_faults) {
        let is_tested = items % TESTED == 0;
        let faults = if is_tested {
            &mut found.test_faults
        } else {
            &mut found.train_faults
        };
        let before = faults.len();
        let files = images_in(&folder, faults);
        let images = labels::labelled(files, LABEL, pattern, faults);
        if images.is_empty() && faults.len() == before {
            continue;
        }
        let (bad, fine): (Vec<_>, Vec<_>) = images.into_iter().partition(|image| image.is_defective());
        defective.extend(bad);
        if is_tested {
            found.test.extend(fine);
        } else {
            found.train.extend(fine.into_iter().map(|image| image.path));
        }
        items += 1;
    }
    if found.train.is_empty() {
        let reason = format!(
            "there are no training images: of the {items} folders with images and labels, every fifth is for tests, \
             from the first on, and the others have no good image"
        );
        found.train_faults.push(DataError::layout(root, reason));
    }
    found.test.extend(defective);
    found
}
