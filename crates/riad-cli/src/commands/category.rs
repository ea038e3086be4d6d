//! The categories that a command is about.

use std::path::Path;

use anyhow::Result;
use riad_data::{Category, DataError, Layout, Pattern, SortedFolders};

use crate::{shell::shell_quoted, usage};

/// The category in `data`: the one named, or the only one.
pub(super) fn one_category(
    data: &Path,
    name: Option<&str>,
    layout: Option<Layout>,
    bands: Option<&Pattern>,
) -> Result<Category> {
    let is_free = name.is_none() && layout.is_none();
    let found = Layout::find(data, name, layout);
    let (layout, folders) = found.map_err(|error| or_meant(error, data, None, is_free))?;
    match folders.as_slice() {
        [folder] => Ok(Category::open_as(folder, layout, bands)?),
        folders => {
            let names = folders.iter().filter_map(|folder| folder.file_name());
            let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
            Err(usage(format!(
                "{} holds {} categories; choose one with --category: {}",
                data.display(),
                names.len(),
                names.join(", ")
            )))
        }
    }
}

/// The error of looking for categories in `data`. If no layout fits, and the command line `is_free` of one: which command was
/// probably meant, if that is clear. With a model it measures, without one it trains.
pub(super) fn or_meant(error: DataError, data: &Path, model: Option<&Path>, is_free: bool) -> anyhow::Error {
    let is_lost = is_free && matches!(error, DataError::Layout { .. });
    let Some(SortedFolders { good, bad, .. }) = is_lost.then(|| SortedFolders::below(data)).flatten() else {
        return error.into();
    };
    let (data, good) = (shell_quoted(data), shell_quoted(&good));
    let Some(model) = model else {
        return usage(format!(
            "{data} has no images of its own and no known layout; good images seem to be in {good}: riad train {good}"
        ));
    };
    let bad: String = bad.iter().map(|bad| format!(" --bad {}", shell_quoted(bad))).collect();
    usage(format!(
        "{data} has no known layout; name the folders of good and of bad pictures: riad eval --model {} --good {good}{bad}",
        shell_quoted(model)
    ))
}
