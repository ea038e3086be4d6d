//! Where a category's images and masks lie.

use std::collections::{BTreeMap, btree_map::Entry};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::DataError;
use crate::files::{folders_in, images_in, no_images};

const NO_CATEGORY: &str = "no category here: neither MVTec AD's folders (train/good, test/good, test/<defect>, \
                           ground_truth/<defect>) nor images to train on";

/// One kind of object or texture: good images to learn from, and images to test on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    /// The folder's name, for people.
    pub name: String,
    /// The folder.
    pub root: PathBuf,
    /// Good images for training and validation, in natural order; never empty.
    pub train: Vec<PathBuf>,
    /// Images to test on: the good ones, then one kind of defect after the other, each in natural order. Empty if the
    /// folder holds training images alone.
    pub test: Vec<TestItem>,
}

/// An image whose label is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestItem {
    /// The image file.
    pub path: PathBuf,
    /// The kind of defect that it shows; `None` if it is good.
    pub defect: Option<String>,
    /// The image that marks the defect's pixels; `None` for good images, and for defects whose place is not known.
    pub mask: Option<PathBuf>,
}

impl TestItem {
    /// Whether the image shows a defect.
    pub fn is_defective(&self) -> bool {
        self.defect.is_some()
    }
}

impl Category {
    /// Opens a folder in MVTec AD's layout, or a plain folder of good images.
    ///
    /// ```text
    /// bottle/train/good/000.png                       good images to learn from
    /// bottle/test/good/000.png                        good images to test on
    /// bottle/test/broken_large/000.png                images of one kind of defect
    /// bottle/ground_truth/broken_large/000_mask.png   their masks
    /// ```
    /// A folder without `train` gives its own images for training and none for testing. `test` may be missing; once a
    /// kind of defect is there, each of its images needs a mask. A mask belongs to the image of the same name, with or
    /// without `_mask` at the end, whatever the two endings are.
    ///
    /// # Errors
    /// [`DataError::Layout`] without training images, for a kind of defect without images, for a defect without its
    /// mask, a mask without its image, and where two images or two masks share a name; [`DataError::Io`] if a folder or
    /// an entry cannot be read.
    pub fn open(root: &Path) -> Result<Self, DataError> {
        let train_folder = root.join("train");
        if !train_folder.is_dir() {
            if images_in(root)?.is_empty() {
                return Err(DataError::layout(root, NO_CATEGORY));
            }
            return Self::from_folders(root, None, None, None);
        }
        let train = training_images(&train_folder.join("good"))?;

        let test_folder = root.join("test");
        let mask_root = root.join("ground_truth");
        let mut test = Vec::new();
        let mut defects = Vec::new();
        if test_folder.is_dir() {
            for folder in folders_in(&test_folder)? {
                if folder.ends_with("good") {
                    test.extend(images_in(&folder)?.into_iter().map(TestItem::good));
                } else {
                    defects.push(folder);
                }
            }
        }
        for folder in &defects {
            let name = name_of(folder);
            let masks = mask_root.join(folder.file_name().unwrap_or_default());
            test.extend(defective(folder, &name, Some(&masks))?);
        }
        if mask_root.is_dir() {
            for masks in folders_in(&mask_root)? {
                let belongs = defects.iter().any(|defect| defect.file_name() == masks.file_name());
                if !belongs && let Some(mask) = images_in(&masks)?.first() {
                    let images = test_folder.join(masks.file_name().unwrap_or_default());
                    let reason = format!(
                        "this mask belongs to no image: {} is not there; add the images or remove the masks",
                        images.display()
                    );
                    return Err(DataError::layout(mask, reason));
                }
            }
        }
        Ok(Self {
            name: name_of(root),
            root: root.to_owned(),
            train,
            test,
        })
    }

    /// Takes images from plain folders, wherever they lie: `good` to learn from, `test_good` and `defects` to test on,
    /// `masks` for the defects. Only images directly in a folder count. The kind of defect is the folder's name.
    ///
    /// Without `masks` the defects have none, and only image-level metrics can be told. With `masks`, the rules of
    /// [`Category::open`] hold.
    ///
    /// # Errors
    /// As [`Category::open`]; and [`DataError::Parameter`] for masks without defects.
    pub fn from_folders(
        good: &Path,
        test_good: Option<&Path>,
        defects: Option<&Path>,
        masks: Option<&Path>,
    ) -> Result<Self, DataError> {
        if let (None, Some(masks)) = (defects, masks) {
            let reason = format!(
                "the masks in {} belong to no image: name the folder of defects too",
                masks.display()
            );
            return Err(DataError::Parameter(reason));
        }
        let train = training_images(good)?;
        let mut test = Vec::new();
        if let Some(folder) = test_good {
            test.extend(some_images(folder)?.into_iter().map(TestItem::good));
        }
        if let Some(folder) = defects {
            test.extend(defective(folder, &name_of(folder), masks)?);
        }
        Ok(Self {
            name: name_of(good),
            root: good.to_owned(),
            train,
            test,
        })
    }
}

impl TestItem {
    fn good(path: PathBuf) -> Self {
        Self {
            path,
            defect: None,
            mask: None,
        }
    }
}

/// Finds the categories under `root`, in natural order: the folders in it that have a `train` folder. A folder that is
/// a category itself, in either layout that [`Category::open`] knows, gives itself.
///
/// # Errors
/// [`DataError::Layout`] if there is none; [`DataError::Io`] if `root` or an entry in it cannot be read.
pub fn find_categories(root: &Path) -> Result<Vec<PathBuf>, DataError> {
    let folders = folders_in(root)?;
    if folders.iter().any(|folder| folder.ends_with("train")) {
        return Ok(vec![root.to_owned()]);
    }
    let categories: Vec<_> = folders
        .into_iter()
        .filter(|folder| folder.join("train").is_dir())
        .collect();
    if !categories.is_empty() {
        return Ok(categories);
    }
    if images_in(root)?.is_empty() {
        return Err(DataError::layout(root, NO_CATEGORY));
    }
    Ok(vec![root.to_owned()])
}

/// A folder's own name; "." and ".." are resolved where the file system allows.
fn name_of(folder: &Path) -> String {
    let resolved = if folder.file_name().is_none() {
        folder.canonicalize().ok()
    } else {
        None
    };
    let folder = resolved.as_deref().unwrap_or(folder);
    folder
        .file_name()
        .unwrap_or(folder.as_os_str())
        .to_string_lossy()
        .into_owned()
}

fn training_images(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    if folder.ends_with("train/good") && !folder.is_dir() {
        let reason = "there are no training images: MVTec's layout keeps the good ones in train/good";
        return Err(DataError::layout(folder, reason));
    }
    some_images(folder)
}

fn some_images(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let images = images_in(folder)?;
    if images.is_empty() {
        return Err(DataError::layout(folder, no_images()));
    }
    Ok(images)
}

/// The images of one kind of defect, with their masks if a folder of masks is given.
fn defective(folder: &Path, defect: &str, masks: Option<&Path>) -> Result<Vec<TestItem>, DataError> {
    let images = some_images(folder)?;
    let mut paired = match masks {
        Some(masks) => pair_masks(&images, masks)?,
        None => BTreeMap::new(),
    };
    let item = |path: PathBuf| TestItem {
        defect: Some(defect.to_owned()),
        mask: paired.remove(&path),
        path,
    };
    Ok(images.into_iter().map(item).collect())
}

/// Finds the mask of each image by its name.
fn pair_masks(images: &[PathBuf], mask_folder: &Path) -> Result<BTreeMap<PathBuf, PathBuf>, DataError> {
    let mut by_stem: BTreeMap<OsString, &PathBuf> = BTreeMap::new();
    let mut by_mask_stem: BTreeMap<OsString, &PathBuf> = BTreeMap::new();
    for image in images {
        let mut mask_stem = stem(image);
        if let Some(other) = by_stem.insert(mask_stem.clone(), image) {
            let reason = format!(
                "has the same name as {}, so masks cannot tell them apart",
                other.display()
            );
            return Err(DataError::layout(image, format!("{reason}; rename one")));
        }
        mask_stem.push("_mask");
        by_mask_stem.insert(mask_stem, image);
    }
    let mut masks = BTreeMap::new();
    for mask in if mask_folder.is_dir() {
        images_in(mask_folder)?
    } else {
        Vec::new()
    } {
        let stem = stem(&mask);
        let image = by_stem.get(&stem).or_else(|| by_mask_stem.get(&stem));
        let Some(&image) = image else {
            let reason = "this mask belongs to no image: it must be named as its image, with or without _mask at the \
                          end; rename or remove it";
            return Err(DataError::layout(&mask, reason));
        };
        match masks.entry(image.clone()) {
            Entry::Vacant(place) => _ = place.insert(mask),
            Entry::Occupied(other) => {
                let reason = format!(
                    "is a second mask of {}, besides {}",
                    image.display(),
                    other.get().display()
                );
                return Err(DataError::layout(&mask, format!("{reason}; remove one")));
            }
        }
    }
    if let Some(image) = images.iter().find(|image| !masks.contains_key(*image)) {
        let expected = mask_folder.join(format!("{}_mask.png", stem(image).display()));
        let reason = format!(
            "this defect has no mask: {} is missing; add it or remove the image",
            expected.display()
        );
        return Err(DataError::layout(image, reason));
    }
    Ok(masks)
}

fn stem(path: &Path) -> OsString {
    path.file_stem().unwrap_or_default().to_owned()
}
