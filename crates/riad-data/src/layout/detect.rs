//! Finds a layout by folders and files.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Layout, kolektor, kolektor2, labels, visa};
use crate::DataError;
use crate::files::{folders_in, has_image, images_in, natural_path_order, unreachable};
use crate::words::in_part;

impl Layout {
    /// Finds the layout of a category's folder, or of a folder of categories, by its folders and files.
    ///
    /// If no other layout fits and there are images in the folder, it is [`Layout::Folder`].
    ///
    /// # Errors
    /// [`DataError::Layout`] if no layout fits, with the names that are expected and those that are there, or if
    /// several fit; [`DataError::Io`] if `root` or an entry in it cannot be read.
    pub fn of(root: &Path) -> Result<Self, DataError> {
        fs::read_dir(root).map_err(|cause| unreachable(root, cause))?;
        // An entry that cannot be read is no sign of a layout.
        let folders = folders_in(root, &mut Vec::new());
        let mut found = Vec::new();
        if visa::split_file(root).is_file() {
            found.push((Self::Visa, root));
        }
        for &layout in Self::ALL {
            if layout.fits(root) {
                found.push((layout, root));
            }
        }
        if found.is_empty() {
            for folder in &folders {
                for &layout in Self::ALL {
                    if layout.fits(folder) {
                        found.push((layout, folder.as_path()));
                    }
                }
            }
        }
        if let Some(&(layout, folder)) = found.first() {
            return match found.iter().find(|(other, _)| *other != layout) {
                None => Ok(layout),
                Some(&(other, elsewhere)) => {
                    let (folder, elsewhere) = (folder.display(), elsewhere.display());
                    let reason = format!(
                        "more than one layout fits: {layout} ({} in {folder}) and {other} ({} in {elsewhere}); name the one \
                         to read",
                        layout.sign(),
                        other.sign()
                    );
                    Err(DataError::Layouts {
                        path: root.to_owned(),
                        reason,
                    })
                }
            };
        }
        if has_images(root) && !folders.iter().any(|folder| folder.ends_with("train")) {
            return Ok(Self::Folder);
        }
        let signs: Vec<_> = Self::ALL
            .iter()
            .map(|layout| format!("{} ({layout})", layout.sign()))
            .collect();
        let reason = format!(
            "no category here. Looked for, here and in each folder: {}. {}",
            signs.join("; "),
            holds(root)
        );
        Err(DataError::layout(root, reason))
    }

    /// The folders of the categories at `root`, in natural order: `root` itself if it is a category, otherwise the
    /// categories in it. An entry that cannot be read (a link that leads nowhere, a folder without permission) is in
    /// the list. Opening it gives the error.
    ///
    /// # Errors
    /// [`DataError::Layout`] if there is none; [`DataError::Io`] if `root` cannot be read.
    pub fn categories(self, root: &Path) -> Result<Vec<PathBuf>, DataError> {
        fs::read_dir(root).map_err(|cause| unreachable(root, cause))?;
        if self.is_meant(root) {
            return Ok(vec![root.to_owned()]);
        }
        let mut faults = Vec::new();
        let mut categories = folders_in(root, &mut faults);
        categories.retain(|folder| self.is_meant(folder));
        if !categories.is_empty() {
            let unreadable = folders_in(root, &mut Vec::new());
            categories.extend(unreadable.into_iter().filter(|folder| fs::read_dir(folder).is_err()));
            categories.extend(faults.iter().filter_map(DataError::path).map(Path::to_owned));
            categories.sort_by(|a, b| natural_path_order(a, b));
            categories.dedup();
        }
        if categories.is_empty() {
            let reason = format!(
                "no category here in the layout {self}. Looked for, here and in each folder: {}. {}",
                self.sign(),
                holds(root)
            );
            return Err(DataError::layout(root, reason));
        }
        Ok(categories)
    }

    /// The folders of the categories in `data`, the one of this `name` or all, and their layout: `layout`, or that of [`Self::of`].
    ///
    /// # Errors
    /// As [`Self::of`] and [`Self::categories`]. That the folder of a `name` is a category is not checked if the layout is given.
    pub fn find(data: &Path, name: Option<&str>, layout: Option<Self>) -> Result<(Self, Vec<PathBuf>), DataError> {
        let root = name.map_or_else(|| data.to_owned(), |name| data.join(name));
        let layout = match layout {
            Some(layout) => layout,
            None => Self::of(&root)?,
        };
        let folders = match name {
            Some(_) => vec![root],
            None => layout.categories(&root)?,
        };
        Ok((layout, folders))
    }

    /// The sign of the layout, in words.
    fn sign(self) -> &'static str {
        match self {
            Self::Mvtec => "train/good",
            Self::Visa => "Data/Images beside split_csv/1cls.csv",
            Self::Btad => "train/ok",
            Self::Mvtec2 => "train/good with test_public",
            Self::Loco => "train/good with test/logical_anomalies or test/structural_anomalies",
            Self::Kolektor => "folders with images and *_label.*",
            Self::Kolektor2 => "train/*_GT.*",
            Self::Folder => "images",
        }
    }

    /// Whether a category's folder shows the sign; [`Layout::Folder`] has none that others do not have, too. If there
    /// is no folder `train`, as in a set with test images only, the folders of test images are the sign.
    fn fits(self, folder: &Path) -> bool {
        let has = |path: &str| folder.join(path).is_dir();
        let learns_from = |train: &str, test: &str| has(train) || (!has("train") && has(test));
        match self {
            Self::Mvtec => {
                learns_from("train/good", "test/good") && !Self::Mvtec2.fits(folder) && !Self::Loco.fits(folder)
            }
            Self::Visa => has("Data/Images"),
            Self::Btad => learns_from("train/ok", "test/ok"),
            Self::Mvtec2 => has("test_public") && learns_from("train/good", "test_public/good"),
            Self::Loco => {
                (has("test/logical_anomalies") || has("test/structural_anomalies"))
                    && learns_from("train/good", "test/good")
            }
            Self::Kolektor => {
                let mut items = folders_in(folder, &mut Vec::new()).into_iter();
                items.any(|item| has_label(&item, kolektor::LABEL))
            }
            Self::Kolektor2 => has_label(&folder.join("train"), kolektor2::LABEL),
            Self::Folder => false,
        }
    }

    /// Whether a folder is read as a category, even if something is missing in it. Opening it then reports what is
    /// missing, and it is not skipped among other folders.
    fn is_meant(self, folder: &Path) -> bool {
        let has = |path: &str| folder.join(path).is_dir();
        match self {
            Self::Mvtec | Self::Btad | Self::Loco | Self::Kolektor2 => has("train") || has("test"),
            Self::Mvtec2 => has("train") || has("test_public"),
            Self::Visa => has("Data"),
            Self::Kolektor => self.fits(folder),
            Self::Folder => has_images(folder),
        }
    }
}

fn has_label(folder: &Path, suffix: &str) -> bool {
    has_image(folder, |file| labels::is_label(file, suffix))
}

fn has_images(folder: &Path) -> bool {
    has_image(folder, |_| true)
}

/// The content of a folder, in words.
fn holds(root: &Path) -> String {
    let folders = folders_in(root, &mut Vec::new());
    let names: Vec<_> = folders
        .iter()
        .filter_map(|folder| folder.file_name())
        .map(|name| name.to_string_lossy())
        .collect();
    let folders = if names.is_empty() {
        "no folders".to_owned()
    } else {
        format!("the folders {}", in_part(&names, ", "))
    };
    let mut faults = Vec::new();
    let images = images_in(root, &mut faults).len();
    let faults: String = faults.iter().map(|fault| format!(". {fault}")).collect();
    format!("Found: {folders}; {images} images{faults}")
}
