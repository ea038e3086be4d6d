//! KolektorSDD (2019).

use std::path::Path;

use super::{Images, labels};
use crate::files::{folders_in, images_in};
use crate::{DataError, Pattern};

/// What a label's name has behind its image's.
pub(super) const LABEL: &str = "_label";

/// One item in so many is tested on.
const TESTED: usize = 5;

pub(super) fn open(root: &Path, pattern: Option<&Pattern>) -> Result<Images, DataError> {
    let (mut train, mut good, mut defective) = (Vec::new(), Vec::new(), Vec::new());
    let mut items = 0;
    for folder in folders_in(root)? {
        let images = labels::labelled(images_in(&folder)?, LABEL, pattern)?;
        if images.is_empty() {
            continue;
        }
        let (bad, fine): (Vec<_>, Vec<_>) = images.into_iter().partition(|image| image.is_defective());
        defective.extend(bad);
        if items % TESTED == 0 {
            good.extend(fine);
        } else {
            train.extend(fine.into_iter().map(|image| image.path));
        }
        items += 1;
    }
    if train.is_empty() {
        let reason = format!(
            "there are no training images: of the {items} folders with images and labels every fifth is tested on, from \
             the first on, and the others hold no good image"
        );
        return Err(DataError::layout(root, reason));
    }
    good.extend(defective);
    Ok(Images {
        train,
        validation: Vec::new(),
        test: good,
    })
}
