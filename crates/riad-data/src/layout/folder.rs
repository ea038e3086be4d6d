//! Plain folders.

use std::path::Path;

use super::kinds::{self, Masks};
use super::{Category, Images, Layout, TestItem, name_of, some_images};
use crate::{DataError, Pattern};

pub(super) fn open(root: &Path, pattern: Option<&Pattern>) -> Images {
    let mut images = Images::default();
    images.train = some_images(root, pattern, &mut images.train_faults);
    images
}

impl Category {
    /// Takes images from any plain folders: `good` to train on, `test_good` and `defects` to test on, `masks` for the
    /// defects. Images in subfolders do not count. The kind of defect is the folder's name.
    ///
    /// With a `pattern` the rules of [`Category::open_as`] hold. Without `masks` there are only image metrics. With
    /// `masks`, the rules of [`Layout::Mvtec`] hold.
    ///
    /// # Errors
    /// As [`Category::open_as`]; and [`DataError::Parameter`] for masks without defects.
    pub fn from_folders(
        good: &Path,
        test_good: Option<&Path>,
        defects: Option<&Path>,
        masks: Option<&Path>,
        pattern: Option<&Pattern>,
    ) -> Result<Self, DataError> {
        if let (None, Some(masks)) = (defects, masks) {
            let reason = format!(
                "the masks in {} belong to no image; name the folder of defects, too",
                masks.display()
            );
            return Err(DataError::Parameter(reason));
        }
        let mut category = Self::open_as(good, Layout::Folder, pattern)?;
        let faults = &mut category.test_faults;
        if let Some(folder) = test_good {
            let images = some_images(folder, pattern, faults);
            category.test.extend(images.into_iter().map(TestItem::good));
        }
        if let Some(folder) = defects {
            let images = some_images(folder, pattern, faults);
            let mut paired = match masks {
                Some(masks) => kinds::mask_files(&images, masks, pattern, faults),
                None => Masks::new(),
            };
            let defect = name_of(folder);
            category.test.extend(images.into_iter().map(|path| TestItem {
                defect: Some(defect.clone()),
                masks: paired.remove(&path).unwrap_or_default(),
                path,
            }));
        }
        Ok(category)
    }
}
