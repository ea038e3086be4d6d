//! What was meant, where a folder was named whose images lie in folders of it.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    path::{Path, PathBuf},
};

use riad_data::walk_images;

use crate::shell::shell_quoted;

/// What people call folders of good pictures, in lower case.
const GOOD: [&str; 6] = ["good", "ok", "normal", "train", "training", "gut"];

/// What they call those of others.
const OTHER: [&str; 12] = [
    "bad",
    "defect",
    "defects",
    "defective",
    "ground_truth",
    "ko",
    "mask",
    "masks",
    "ng",
    "nok",
    "test",
    "validation",
];

/// The command that trains on the good pictures somewhere in `data`, if it is clear where they are.
pub(crate) fn training(data: &Path) -> Option<String> {
    let good = good_folder(&folders(data), data)?;
    Some(format!(
        "{} has no images of its own and no known layout; good images seem to be in {}: riad train {}",
        shell_quoted(data),
        shell_quoted(&good),
        shell_quoted(&good)
    ))
}

/// The command that measures `model` on the good and the bad pictures somewhere in `data`, if it is clear where they are.
pub(crate) fn measuring(data: &Path, model: Option<&Path>) -> Option<String> {
    let folders = folders(data);
    let good = good_folder(&folders, data)?;
    let Some(model) = model else {
        return training(data);
    };
    // The folder next to the good ones, with the kinds in it.
    let is_other = |name: &OsStr| OTHER.iter().any(|other| name.eq_ignore_ascii_case(other));
    let beside = good.parent()?;
    let bad: BTreeSet<PathBuf> = folders
        .iter()
        .filter_map(|folder| {
            let name = folder.strip_prefix(beside).ok()?.components().next()?.as_os_str();
            is_other(name).then(|| beside.join(name))
        })
        .collect();
    let mut command = format!(
        "riad eval --model {} --good {}",
        shell_quoted(model),
        shell_quoted(&good)
    );
    for bad in &bad {
        command += &format!(" --bad {}", shell_quoted(bad));
    }
    Some(format!(
        "{} has no known layout; name the folders of good and of bad pictures: {command}",
        shell_quoted(data)
    ))
}

/// The folders below `data` that images lie in.
fn folders(data: &Path) -> BTreeSet<PathBuf> {
    let images = walk_images(data).filter_map(Result::ok);
    images
        .filter_map(|image| image.parent().map(Path::to_owned))
        .filter(|folder| folder != data)
        .collect()
}

/// The one that is called good, or that is the only one; none that is called something else.
fn good_folder(folders: &BTreeSet<PathBuf>, data: &Path) -> Option<PathBuf> {
    let names = |folder: &Path, of: &[&str]| {
        let below = folder.strip_prefix(data).unwrap_or(folder);
        below
            .iter()
            .any(|name| of.iter().any(|other| name.eq_ignore_ascii_case(other)))
    };
    let mut candidates: Vec<_> = folders.iter().filter(|folder| !names(folder, &OTHER)).collect();
    if candidates.len() > 1 {
        candidates.retain(|folder| names(folder, &GOOD));
    }
    match candidates.as_slice() {
        [single] => Some((*single).clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(folders: &[&str]) -> Option<PathBuf> {
        let folders = folders.iter().map(|folder| Path::new("photos").join(folder)).collect();
        good_folder(&folders, Path::new("photos"))
    }

    #[test]
    fn the_good_ones_are_told_by_their_name_or_by_being_alone() {
        for (folders, expected) in [
            (&["good"][..], Some("photos/good")),
            (&["good", "bad"], Some("photos/good")),
            (&["OK", "NG"], Some("photos/OK")),
            (&["monday"], Some("photos/monday")),
            (&["monday", "bad"], Some("photos/monday")),
            (&["monday", "tuesday"], None),
            (&["monday/good", "monday/bad/scratch"], Some("photos/monday/good")),
            (&["test/good"], None),
            (&["bad"], None),
            (&[], None),
        ] {
            assert_eq!(good(folders), expected.map(PathBuf::from), "{folders:?}");
        }
    }
}
