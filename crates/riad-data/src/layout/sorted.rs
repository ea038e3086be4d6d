//! Folders of good and of bad pictures, told by their names.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::walk_images;

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

/// Where good and bad pictures seem to be below a folder that has no known [layout](crate::Layout).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SortedFolders {
    /// The folder of good pictures.
    pub good: PathBuf,
    /// The folders beside it whose names speak of defects. Empty if there are none.
    pub bad: Vec<PathBuf>,
}

impl SortedFolders {
    /// Looks for them below `data`. `None` if it is not clear which folder holds the good pictures: none may, or several.
    pub fn below(data: &Path) -> Option<Self> {
        let folders = folders(data);
        let good = good_folder(&folders, data)?;
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
        Some(Self {
            bad: bad.into_iter().collect(),
            good,
        })
    }
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
    use std::fs;

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

    #[test]
    fn bad_ones_lie_beside_the_good_ones() {
        let data = tempfile::tempdir().unwrap();
        for file in [
            "photos/good/1.png",
            "photos/NG/dent/1.png",
            "photos/NG/2.png",
            "photos/masks/1.png",
            "bad/1.png",
        ] {
            let file = data.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        let found = SortedFolders::below(data.path()).unwrap();
        assert_eq!(found.good, data.path().join("photos/good"));
        assert_eq!(
            found.bad,
            ["NG", "masks"].map(|name| data.path().join("photos").join(name))
        );
    }
}
