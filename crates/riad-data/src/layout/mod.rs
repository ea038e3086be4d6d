//! Layouts of data sets: the places of a category's images and masks.

mod btad;
mod detect;
mod folder;
mod kinds;
mod kolektor;
mod kolektor2;
mod labels;
mod loco;
mod mvtec;
mod mvtec2;
mod sorted;
mod visa;

pub use self::sorted::SortedFolders;

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{self, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::files::{images_in, no_images, unreachable};
use crate::{DataError, Pattern};

/// The layout of a data set's folders, and the names of its masks.
///
/// Its name ([`Display`](fmt::Display), [`FromStr`], serde) is the variant's name in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Layout {
    /// MVTec AD and similar data sets.
    ///
    /// ```text
    /// bottle/train/good/000.png                       good images to learn from
    /// bottle/test/good/000.png                        good images to test on
    /// bottle/test/broken_large/000.png                images of one kind of defect
    /// bottle/ground_truth/broken_large/000_mask.png   their masks
    /// ```
    /// `test` may be missing. So may `train`, if the set is only for testing. A defective image without a mask is used
    /// for image metrics only. A mask belongs to the image of the same name, with or without `_mask` at the end. The
    /// two file types may differ. Good images may also have masks, if these are black.
    Mvtec,
    /// VisA with the folders of its archive and the official split for one class. Files that the split does not name do
    /// not count.
    ///
    /// ```text
    /// split_csv/1cls.csv                    object,split,label,image,mask
    /// candle/Data/Images/Normal/0000.JPG
    /// candle/Data/Images/Anomaly/000.JPG    one kind of defect, "anomaly"
    /// candle/Data/Masks/Anomaly/000.png     small label values, which look black
    /// ```
    Visa,
    /// BTAD: as MVTec AD, with `train/ok`, `test/ok`, `test/ko` and `ground_truth/ko`.
    Btad,
    /// MVTec AD 2. Images in `test_private` and `test_private_mixed` have no labels. They are not part of the category.
    ///
    /// ```text
    /// can/train/good/000_regular.png
    /// can/validation/good/000_regular.png
    /// can/test_public/good/000_regular.png
    /// can/test_public/bad/000_regular.png
    /// can/test_public/ground_truth/bad/000_regular_mask.png
    /// ```
    Mvtec2,
    /// MVTec LOCO AD: as MVTec AD, with images for validation, and a folder of masks for each defective image. All
    /// masks of the folder count.
    ///
    /// ```text
    /// pushpins/train/good/000.png
    /// pushpins/validation/good/000.png
    /// pushpins/test/logical_anomalies/000.png
    /// pushpins/ground_truth/logical_anomalies/000/000.png, 001.png, …
    /// ```
    Loco,
    /// KolektorSDD: one folder for each item, a label beside each image. An image is good if its label is all 0.
    ///
    /// ```text
    /// kos01/Part0.jpg, Part0_label.bmp, …
    /// ```
    /// It has no official split for one class. This crate's split: all images with a defect are for testing, and so are
    /// the good images of every fifth item in natural order (the 1st, 6th, 11th, …). The others are for training. No
    /// item has good images on both sides, because the parts of an item look alike.
    Kolektor,
    /// KolektorSDD2: a label beside each image. An image is good if its label is all 0. The defective images in `train`
    /// are left out, and so are the copies (`10301 (copy).png`) that its archive holds by mistake.
    ///
    /// ```text
    /// train/10000.png, 10000_GT.png, …
    /// test/20000.png, 20000_GT.png, …
    /// ```
    Kolektor2,
    /// A folder of good images to train on. Its subfolders do not count.
    Folder,
}

impl Layout {
    /// All layouts.
    pub const ALL: &[Self] = &[
        Self::Mvtec,
        Self::Visa,
        Self::Btad,
        Self::Mvtec2,
        Self::Loco,
        Self::Kolektor,
        Self::Kolektor2,
        Self::Folder,
    ];

    /// Its name, such as `mvtec`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mvtec => "mvtec",
            Self::Visa => "visa",
            Self::Btad => "btad",
            Self::Mvtec2 => "mvtec2",
            Self::Loco => "loco",
            Self::Kolektor => "kolektor",
            Self::Kolektor2 => "kolektor2",
            Self::Folder => "folder",
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Layout {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        let layout = Self::ALL.iter().copied().find(|layout| layout.name() == name);
        layout.ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|layout| layout.name()).collect();
            DataError::Parameter(format!("there is no layout {name}; there are {}", names.join(", ")))
        })
    }
}

/// One kind of object or texture: good images to train on, and images to test on.
///
/// Training images and test images have separate lists of faults. So a model can be trained even if test images have
/// faults, and measured even if training images have faults.
#[derive(Debug)]
pub struct Category {
    /// The folder's name, for display. If a plain folder is called good, ok or train, it is the name of its parent
    /// folder.
    pub name: String,
    /// The folder.
    pub root: PathBuf,
    /// Its layout.
    pub layout: Layout,
    /// Good images to train on, in natural order. If there are none, `train_faults` says why.
    pub train: Vec<PathBuf>,
    /// Good images that the data set holds out from training, to choose models and thresholds, in natural order. Empty
    /// if the data set has no such images.
    pub validation: Vec<PathBuf>,
    /// Faults of images for training and validation. Each names its file.
    pub train_faults: Vec<DataError>,
    /// Images to test on: the good ones, then each kind of defect, in natural order. Empty if the folder holds only
    /// training images.
    pub test: Vec<TestItem>,
    /// Faults of test images and masks. Each names its file.
    pub test_faults: Vec<DataError>,
}

/// An image whose label is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestItem {
    /// The image file. If several files make an image, the first.
    pub path: PathBuf,
    /// The kind of its defect. `None` if it is good.
    pub defect: Option<String>,
    /// The images that mark the defect's pixels. They are joined ([`load_mask`](crate::load_mask)). Empty if the
    /// position of the defect is not known. The masks of a good image should mark nothing.
    pub masks: Vec<PathBuf>,
}

impl TestItem {
    /// Whether the image shows a defect.
    pub fn is_defective(&self) -> bool {
        self.defect.is_some()
    }

    fn good(path: PathBuf) -> Self {
        Self {
            path,
            defect: None,
            masks: Vec::new(),
        }
    }
}

impl Layout {
    /// The name of the category in the folder `root`, as [`Category::name`] has it. The folder is not opened.
    pub fn name_of(self, root: &Path) -> String {
        match self {
            Self::Folder => product_of(root),
            _ => name_of(root),
        }
    }
}

impl Category {
    /// Opens a category's folder in the layout of [`Layout::of`].
    ///
    /// # Errors
    /// As [`Layout::of`] and [`Category::open_as`].
    pub fn open(root: &Path, pattern: Option<&Pattern>) -> Result<Self, DataError> {
        Self::open_as(root, Layout::of(root)?, pattern)
    }

    /// Opens a category's folder in a layout. With a pattern, an image has several files in its folder. The first of
    /// them names the image. Masks and labels have the image's own name, and each is one file.
    ///
    /// The faults are [`DataError::Layout`] without training images, for a kind of defect without images, a mask
    /// without its image, two images with masks or two masks of one name, and a row of a split that names a file that
    /// is missing or outside of the folder; with a pattern, for an image file that is not named by it, and an image
    /// that lacks a file; [`DataError::Io`] if a folder or an entry cannot be read. If labels decide which images are
    /// good (KolektorSDD), the faults are also those of [`load_mask`](crate::load_mask). A defect without a mask is no
    /// fault: its image has none.
    ///
    /// # Errors
    /// [`DataError::Io`] if `root` cannot be read, and [`DataError::Layout`] if it is a link that leads nowhere;
    /// [`DataError::Parameter`] for a pattern with [`Layout::Visa`], whose split names single files.
    pub fn open_as(root: &Path, layout: Layout, pattern: Option<&Pattern>) -> Result<Self, DataError> {
        fs::read_dir(root).map_err(|cause| unreachable(root, cause))?;
        let images = match layout {
            Layout::Mvtec => mvtec::open(root, pattern),
            Layout::Visa => visa::open(root, pattern)?,
            Layout::Btad => btad::open(root, pattern),
            Layout::Mvtec2 => mvtec2::open(root, pattern),
            Layout::Loco => loco::open(root, pattern),
            Layout::Kolektor => kolektor::open(root, pattern),
            Layout::Kolektor2 => kolektor2::open(root, pattern),
            Layout::Folder => folder::open(root, pattern),
        };
        let Images {
            train,
            validation,
            train_faults,
            test,
            test_faults,
        } = images;
        Ok(Self {
            name: layout.name_of(root),
            root: root.to_owned(),
            layout,
            train,
            validation,
            train_faults,
            test,
            test_faults,
        })
    }
}

/// The images that a layout finds in a category's folder.
#[derive(Default)]
struct Images {
    train: Vec<PathBuf>,
    validation: Vec<PathBuf>,
    train_faults: Vec<DataError>,
    test: Vec<TestItem>,
    test_faults: Vec<DataError>,
}

/// Names of folders that say only that the images in them are good.
const SAYS_GOOD: [&str; 3] = ["good", "ok", "train"];

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

/// The product in the images of a plain folder: the folder's name, or its parent's name if the folder's own name says
/// only that the images are good.
fn product_of(folder: &Path) -> String {
    let real = path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let says_good = |name: &str| SAYS_GOOD.iter().any(|good| name.eq_ignore_ascii_case(good));
    let product = real.ancestors().map(name_of).find(|name| !says_good(name));
    // A folder at the top of a disk has no parent with a name.
    product
        .filter(|name| name.chars().any(char::is_alphanumeric))
        .unwrap_or_else(|| name_of(folder))
}

/// The images directly in a folder, in natural order; possibly none. Faults of other entries are added to `faults`.
fn images(folder: &Path, pattern: Option<&Pattern>, faults: &mut Vec<DataError>) -> Vec<PathBuf> {
    let files = images_in(folder, faults);
    grouped(files, pattern, faults)
}

/// The images of files: one image for each file, or one for several files by the pattern.
fn grouped(files: Vec<PathBuf>, pattern: Option<&Pattern>, faults: &mut Vec<DataError>) -> Vec<PathBuf> {
    match pattern {
        None => files,
        Some(pattern) => pattern.group(&files, faults),
    }
}

/// The images of a folder. It is a fault if there are none.
fn some_images(folder: &Path, pattern: Option<&Pattern>, faults: &mut Vec<DataError>) -> Vec<PathBuf> {
    let before = faults.len();
    let images = images(folder, pattern, faults);
    if images.is_empty() && faults.len() == before {
        faults.push(DataError::layout(folder, no_images()));
    }
    images
}

/// Whether there is such a folder. If its metadata cannot be read, that is a fault.
fn is_there(folder: &Path, faults: &mut Vec<DataError>) -> bool {
    match fs::metadata(folder) {
        Ok(metadata) => metadata.is_dir(),
        Err(cause) => {
            if cause.kind() != io::ErrorKind::NotFound || folder.is_symlink() {
                faults.push(unreachable(folder, cause));
            }
            false
        }
    }
}

/// An image's own name. Its mask or label has the same name.
fn own_name(image: &Path, pattern: Option<&Pattern>) -> OsString {
    match pattern.and_then(|pattern| pattern.name(image)) {
        Some(name) => name.into(),
        None => image.file_stem().unwrap_or_default().to_owned(),
    }
}
