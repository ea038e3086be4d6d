//! The categories that a command is about.

use std::path::{Path, PathBuf};

use anyhow::Result;
use riad_data::{Category, DataError, Layout, Pattern};

use crate::{mistake, usage};

/// The category in `data`: the one named, or the only one.
pub(super) fn one_category(
    data: &Path,
    name: Option<&str>,
    layout: Option<Layout>,
    bands: Option<&Pattern>,
) -> Result<Category> {
    let found = categories(data, name, layout);
    let meant = || mistake::training(data).filter(|_| name.is_none() && layout.is_none());
    let (layout, folders) = found.map_err(|error| or_meant(error, meant))?;
    match folders.as_slice() {
        [folder] => Ok(Category::open_as(folder, layout, bands)?),
        folders => {
            let names: Vec<_> = folders
                .iter()
                .filter_map(|folder| folder.file_name())
                .map(|n| n.to_string_lossy())
                .collect();
            Err(usage(format!(
                "{} holds {} categories; choose one with --category: {}",
                data.display(),
                names.len(),
                names.join(", ")
            )))
        }
    }
}

/// The error, or where no layout fits what was `meant`, if that is clear.
pub(super) fn or_meant(error: anyhow::Error, meant: impl FnOnce() -> Option<String>) -> anyhow::Error {
    match error.downcast_ref() {
        Some(DataError::Layout { .. }) => meant().map_or(error, usage),
        _ => error,
    }
}

/// The folders of the categories in `data`, the one named or all, and their layout: the one given, or what is there.
pub(super) fn categories(data: &Path, name: Option<&str>, layout: Option<Layout>) -> Result<(Layout, Vec<PathBuf>)> {
    let root = name.map_or_else(|| data.to_owned(), |name| data.join(name));
    let layout = match layout {
        Some(layout) => layout,
        None => Layout::of(&root)?,
    };
    let folders = match name {
        Some(_) => vec![root],
        None => layout.categories(&root)?,
    };
    Ok((layout, folders))
}
