//! Telling a layout by the folders that are there.

use std::path::{Path, PathBuf};

use super::{Layout, kolektor, kolektor2, labels, visa};
use crate::DataError;
use crate::files::{folders_in, images_in};

/// Names that a message tells of what a folder holds.
const NAMED: usize = 8;

impl Layout {
    /// Tells the layout of a category's folder, or of a folder of categories, by what is there.
    ///
    /// A folder that no other layout fits is [`Layout::Folder`] if images lie in it.
    ///
    /// # Errors
    /// [`DataError::Layout`] if no layout fits, with what was looked for and what was found, or if several do;
    /// [`DataError::Io`] if `root` or an entry in it cannot be read.
    pub fn of(root: &Path) -> Result<Self, DataError> {
        let folders = folders_in(root)?;
        let mut found = Vec::new();
        if visa::split_file(root).is_file() {
            found.push((Self::Visa, root));
        }
        for &layout in Self::ALL {
            if layout.fits(root)? {
                found.push((layout, root));
            }
        }
        if found.is_empty() {
            for folder in &folders {
                for &layout in Self::ALL {
                    if layout.fits(folder)? {
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
                         to read (riad takes it by --format)",
                        layout.sign(),
                        other.sign()
                    );
                    Err(DataError::layout(root, reason))
                }
            };
        }
        if !images_in(root)?.is_empty() && !folders.iter().any(|folder| folder.ends_with("train")) {
            return Ok(Self::Folder);
        }
        let signs: Vec<_> = Self::ALL
            .iter()
            .map(|layout| format!("{} ({layout})", layout.sign()))
            .collect();
        let reason = format!(
            "no category here. Looked for, here and in each folder: {}. {}",
            signs.join("; "),
            holds(root)?
        );
        Err(DataError::layout(root, reason))
    }

    /// The folders of the categories at `root`, in natural order: `root` itself if it is one, else the folders in it that
    /// are.
    ///
    /// # Errors
    /// [`DataError::Layout`] if there is none; [`DataError::Io`] if `root` or an entry in it cannot be read.
    pub fn categories(self, root: &Path) -> Result<Vec<PathBuf>, DataError> {
        let folders = folders_in(root)?;
        if self.is_meant(root)? {
            return Ok(vec![root.to_owned()]);
        }
        let mut categories = Vec::new();
        for folder in folders {
            if self.is_meant(&folder)? {
                categories.push(folder);
            }
        }
        if categories.is_empty() {
            let reason = format!(
                "no category here in the layout {self}. Looked for, here and in each folder: {}. {}",
                self.sign(),
                holds(root)?
            );
            return Err(DataError::layout(root, reason));
        }
        Ok(categories)
    }

    /// What tells the layout, in words.
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

    /// Whether a category's folder shows the sign; [`Layout::Folder`] has none that others do not have, too.
    fn fits(self, folder: &Path) -> Result<bool, DataError> {
        let has = |path: &str| folder.join(path).is_dir();
        Ok(match self {
            Self::Mvtec => has("train/good") && !Self::Mvtec2.fits(folder)? && !Self::Loco.fits(folder)?,
            Self::Visa => has("Data/Images"),
            Self::Btad => has("train/ok"),
            Self::Mvtec2 => has("train/good") && has("test_public"),
            Self::Loco => has("train/good") && (has("test/logical_anomalies") || has("test/structural_anomalies")),
            Self::Kolektor => {
                for item in folders_in(folder)? {
                    if has_label(&item, kolektor::LABEL)? {
                        return Ok(true);
                    }
                }
                false
            }
            Self::Kolektor2 => has("train") && has_label(&folder.join("train"), kolektor2::LABEL)?,
            Self::Folder => false,
        })
    }

    /// Whether a folder is to be read as a category, be it that something is missing there: then to open it tells what,
    /// and it is not passed over among others.
    fn is_meant(self, folder: &Path) -> Result<bool, DataError> {
        match self {
            Self::Mvtec | Self::Btad | Self::Mvtec2 | Self::Loco | Self::Kolektor2 => Ok(folder.join("train").is_dir()),
            Self::Visa => Ok(folder.join("Data").is_dir()),
            Self::Kolektor => self.fits(folder),
            Self::Folder => Ok(!images_in(folder)?.is_empty()),
        }
    }
}

fn has_label(folder: &Path, suffix: &str) -> Result<bool, DataError> {
    Ok(images_in(folder)?.iter().any(|file| labels::is_label(file, suffix)))
}

/// What a folder holds, in words.
fn holds(root: &Path) -> Result<String, DataError> {
    let folders = folders_in(root)?;
    let names: Vec<_> = folders
        .iter()
        .take(NAMED)
        .filter_map(|folder| folder.file_name())
        .map(|name| name.to_string_lossy())
        .collect();
    let more = folders.len().saturating_sub(NAMED);
    let folders = match (names.is_empty(), more) {
        (true, _) => "no folders".to_owned(),
        (false, 0) => format!("the folders {}", names.join(", ")),
        (false, more) => format!("the folders {} and {more} more", names.join(", ")),
    };
    Ok(format!("Found: {folders}; {} images", images_in(root)?.len()))
}
