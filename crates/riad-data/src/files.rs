//! Which files of a folder are images, and in which order.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::{DataError, Pattern};

/// Endings of the formats that a [`Reader`](crate::Reader) reads, in lower case.
const EXTENSIONS: &[&str] = &[
    "png", "jpg", "jpeg", "jpe", "jfif", "bmp", "tif", "tiff", "webp", "gif", "pgm", "ppm", "pnm", "npy",
];

/// Lists the images to score at `path`: a file gives itself, whatever its name; a folder gives the images in it and in
/// its subfolders.
///
/// An image is what has the ending of a supported format, in any case; hidden files and folders and everything else
/// (`Thumbs.db`, `notes.txt`) are passed over. The order is natural (`2.png` before `10.png`) and the same on every
/// machine. Links are followed.
///
/// With a pattern an image is named by the first of its files, which also stands for any other of them.
///
/// # Errors
/// [`DataError::Io`] if `path` is absent or an entry cannot be read (a broken link, a loop of links);
/// [`DataError::Layout`] if a folder holds no image, and with a pattern for a file that is not named by it or an image that
/// lacks a file.
pub fn image_files(path: &Path, pattern: Option<&Pattern>) -> Result<Vec<PathBuf>, DataError> {
    let metadata = fs::metadata(path).map_err(|e| DataError::io(path, e))?;
    if !metadata.is_dir() {
        return match pattern {
            None => Ok(vec![path.to_owned()]),
            Some(pattern) => Ok(pattern.files(path)?.into_iter().take(1).collect()),
        };
    }
    let mut files = walk_images(path).collect::<Result<Vec<_>, _>>()?;
    if files.is_empty() {
        return Err(DataError::layout(path, no_images()));
    }
    if let Some(pattern) = pattern {
        return pattern.group(&files);
    }
    files.sort_by(|a, b| natural_path_order(a, b));
    Ok(files)
}

/// Walks through `folder` and its subfolders for the files that [`image_files`] takes for images, in the order of the file
/// system. Files that belong together by a pattern come one by one: in a folder that is being filled, some may be missing.
/// An entry that cannot be read does not keep the others from being found.
///
/// # Errors
/// [`DataError::Io`] in the place of an entry that cannot be read, `folder` itself included.
pub fn walk_images(folder: &Path) -> impl Iterator<Item = Result<PathBuf, DataError>> {
    let entries = WalkDir::new(folder).follow_links(true).into_iter();
    // The folder that the user named is taken even if it is hidden itself.
    let entries = entries.filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry.file_name()));
    entries.filter_map(move |entry| match entry {
        Ok(entry) => {
            let is_image = entry.file_type().is_file() && has_image_extension(entry.path());
            is_image.then(|| Ok(entry.into_path()))
        }
        Err(error) => {
            let path = error.path().unwrap_or(folder).to_owned();
            let cause = error.into();
            Some(Err(DataError::Io { path, cause }))
        }
    })
}

/// The image files directly in `folder`, in natural order; possibly none.
pub(crate) fn images_in(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    list(folder, |path, metadata| metadata.is_file() && has_image_extension(path))
}

/// The folders directly in `folder`, in natural order; possibly none.
pub(crate) fn folders_in(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    list(folder, |_, metadata| metadata.is_dir())
}

/// The text that tells that a folder holds no image and what would count as one.
pub(crate) fn no_images() -> String {
    format!(
        "no image in this folder; an image is a file that ends in one of: {}",
        EXTENSIONS.join(", ")
    )
}

fn list(folder: &Path, keep: impl Fn(&Path, &fs::Metadata) -> bool) -> Result<Vec<PathBuf>, DataError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| DataError::io(folder, e))? {
        let path = entry.map_err(|e| DataError::io(folder, e))?.path();
        if path.file_name().is_some_and(is_hidden) {
            continue;
        }
        let metadata = fs::metadata(&path).map_err(|e| DataError::io(&path, e))?;
        if keep(&path, &metadata) {
            paths.push(path);
        }
    }
    paths.sort_by(|a, b| natural_path_order(a, b));
    Ok(paths)
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

fn has_image_extension(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| EXTENSIONS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

/// Compares paths part by part, each part by [`natural_order`].
pub(crate) fn natural_path_order(a: &Path, b: &Path) -> Ordering {
    let parts = |path: &Path| path.components().map(|c| c.as_os_str().to_owned()).collect::<Vec<_>>();
    let (a, b) = (parts(a), parts(b));
    a.iter()
        .zip(&b)
        .map(|(x, y)| natural_order(x.as_encoded_bytes(), y.as_encoded_bytes()))
        .find(|order| order.is_ne())
        .unwrap_or(a.len().cmp(&b.len()))
}

/// Orders names as people do: runs of digits compare as numbers of any length, all else byte by byte. Names that are
/// equal so (`1` and `01`) are told apart by their bytes, so the order is total.
fn natural_order(a: &[u8], b: &[u8]) -> Ordering {
    let (mut x, mut y) = (a, b);
    while let (Some(&p), Some(&q)) = (x.first(), y.first()) {
        let order = if p.is_ascii_digit() && q.is_ascii_digit() {
            let (m, n) = (take_number(&mut x), take_number(&mut y));
            m.len().cmp(&n.len()).then(m.cmp(n))
        } else {
            (x, y) = (&x[1..], &y[1..]);
            p.cmp(&q)
        };
        if order.is_ne() {
            return order;
        }
    }
    x.len().cmp(&y.len()).then(a.cmp(b))
}

/// Splits the leading digits off `text` and returns them without leading zeros.
fn take_number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text.iter().position(|c| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    let zeros = digits.iter().take_while(|&&c| c == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_compare_by_value() {
        let mut names = [
            "b1",
            "10",
            "a",
            "9",
            "010",
            "b01",
            "b1a",
            "99999999999999999999999",
            "",
            "2",
        ];
        names.sort_by(|a, b| natural_order(a.as_bytes(), b.as_bytes()));
        assert_eq!(
            names,
            [
                "",
                "2",
                "9",
                "010",
                "10",
                "99999999999999999999999",
                "a",
                "b01",
                "b1",
                "b1a"
            ]
        );
    }

    proptest! {
        // `sort_by` may panic on an order that is not total, and file names come from outside.
        #[test]
        fn natural_order_is_total(a in "[0-2a.]{0,5}", b in "[0-2a.]{0,5}", c in "[0-2a.]{0,5}") {
            let order = |x: &str, y: &str| natural_order(x.as_bytes(), y.as_bytes());
            prop_assert_eq!(order(&a, &b), order(&b, &a).reverse());
            prop_assert_eq!(order(&a, &b).is_eq(), a == b);
            if order(&a, &b).is_le() && order(&b, &c).is_le() {
                prop_assert!(order(&a, &c).is_le());
            }
        }
    }
}
