//! Finds the images in a folder, and their order.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::{DataError, Pattern};

/// Endings of the formats that a [`Reader`](crate::Reader) reads, in lower case.
const EXTENSIONS: &[&str] = &[
    "png", "apng", "jpg", "jpeg", "jpe", "jfif", "mpo", "bmp", "dib", "tif", "tiff", "webp", "gif", "pbm", "pgm",
    "ppm", "pnm", "pam", "npy",
];

/// Endings of pictures that are not read, in lower case: nobody should take them for inspected. From `raw` on they are those of cameras,
/// whose samples are as the sensor gives them.
const UNREAD: &[&str] = &[
    "heic", "heif", "hif", "avif", "jp2", "j2k", "j2c", "jpx", "jxl", "jxr", "wdp", "hdp", "tga", "psd", "exr", "pfm",
    "qoi", "raw", "dng", "cr2", "cr3", "crw", "nef", "nrw", "arw", "srf", "sr2", "orf", "rw2", "raf", "pef", "srw",
    "x3f", "3fr", "iiq",
];

/// Names of folders that operating systems and storage systems add, in lower case. Hidden ones (`.Trash-1000`,
/// `.ipynb_checkpoints`, `.@__thumb`) need not be named.
const FOREIGN: &[&str] = &[
    "__macosx",
    "@eadir",
    "@recycle",
    "@recently-snapshot",
    "@tmp",
    "#recycle",
    "#snapshot",
    "~snapshot",
    "$recycle.bin",
    "recycler",
    "system volume information",
    "found.000",
    "lost+found",
    "network trash folder",
    "temporary items",
];

/// Pictures of kinds that are not read, by their endings.
#[derive(Default)]
struct Unread {
    files: BTreeMap<String, Vec<PathBuf>>,
}

impl Unread {
    /// Takes note of a file, if it is such a picture.
    fn note(&mut self, path: &Path) {
        let Some(ending) = path.extension().map(OsStr::to_ascii_lowercase) else {
            return;
        };
        if let Some(ending) = UNREAD.iter().find(|known| ending == **known) {
            self.files
                .entry((*ending).to_owned())
                .or_default()
                .push(path.to_owned());
        }
    }

    /// A fault for each ending, and not for each file: a folder of a camera has thousands. A file that lies beside one of the
    /// `images` with its name is none: cameras save their samples beside each JPEG, which is read.
    fn faults<'a>(self, folder: &Path, images: impl Iterator<Item = &'a PathBuf>) -> Vec<DataError> {
        if self.files.is_empty() {
            return Vec::new();
        }
        let read: HashSet<PathBuf> = images.map(|image| image.with_extension("")).collect();
        let fault = |(ending, mut files): (String, Vec<PathBuf>)| {
            files.retain(|file| !read.contains(&file.with_extension("")));
            let first = files.iter().min_by(|a, b| natural_path_order(a, b))?;
            let first = first.strip_prefix(folder).unwrap_or(first).display();
            let what = match files.len() {
                1 => format!("{first} is not read: it ends in .{ending}"),
                many => format!("{many} files that end in .{ending} are not read, such as {first}"),
            };
            let reason =
                format!("{what}; save such pictures as PNG or as an uncompressed TIFF, or move them elsewhere");
            Some(DataError::layout(folder, reason))
        };
        self.files.into_iter().filter_map(fault).collect()
    }
}

/// The images of a path, and the errors that occurred.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Listing {
    /// The images, in natural order.
    pub images: Vec<PathBuf>,
    /// Entries that could not be read or are wrong. The other images are in the list.
    pub faults: Vec<DataError>,
}

/// Lists the images to score at `path`. For a file it is this file, with any name. For a folder it is the images in it
/// and in its subfolders.
///
/// A file is an image if it has the ending of a supported format, in upper or lower case. Pictures of other formats
/// (`.heic`) are a fault, one for each ending, unless an image of the same name lies beside them (`1.cr2` beside
/// `1.jpg`). Everything else (`Thumbs.db`, `notes.txt`) is skipped. So are hidden files and folders, and folders that
/// operating systems add (`__MACOSX`, `@eaDir`, `$RECYCLE.BIN`, `lost+found`). The order is natural (`2.png` before
/// `10.png`) and the same on every machine. Links are followed.
///
/// With a pattern, the first file of an image names the image. Any of its files is listed as the first.
///
/// The faults are [`DataError::Io`] if `path` is missing or an entry cannot be read, and [`DataError::Layout`] for a
/// link that leads nowhere or back to its own folder, for pictures that are not read, and for a folder without an
/// image. With a pattern, also for a file whose name does not fit it, and for an image that lacks a file.
pub fn image_files(path: &Path, pattern: Option<&Pattern>) -> Listing {
    let mut found = Listing::default();
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            match pattern.map(|pattern| pattern.files(path)) {
                None => found.images.push(path.to_owned()),
                Some(Ok(files)) => found.images.extend(files.into_iter().take(1)),
                Some(Err(error)) => found.faults.push(error),
            }
            return found;
        }
        Err(cause) => {
            found.faults.push(unreachable(path, cause));
            return found;
        }
    }
    for entry in walk_images(path) {
        match entry {
            Ok(file) => found.images.push(file),
            Err(error) => found.faults.push(error),
        }
    }
    if found.images.is_empty() && found.faults.is_empty() {
        found.faults.push(DataError::layout(path, no_images()));
    }
    match pattern {
        Some(pattern) => found.images = pattern.group(&found.images, &mut found.faults),
        None => found.images.sort_by(|a, b| natural_path_order(a, b)),
    }
    found
}

/// Walks through `folder` and its subfolders, and returns the image files of [`image_files`] in the order of the file
/// system. Files that belong together by a pattern are separate items, because some may be missing in a folder that is
/// being filled. If an entry cannot be read, the others are still returned. The faults for pictures that are not read come
/// last.
///
/// # Errors
/// In the place of an entry that cannot be read, `folder` itself included: [`DataError::Layout`] for a link that leads
/// nowhere or back to where it lies, [`DataError::Io`] for all else.
pub fn walk_images(folder: &Path) -> impl Iterator<Item = Result<PathBuf, DataError>> {
    let entries = WalkDir::new(folder).follow_links(true).into_iter();
    // The user's own folder is read even if it is hidden.
    let entries = entries.filter_entry(|entry| entry.depth() == 0 || !is_passed_over(entry.file_name()));
    let mut unread = Unread::default();
    let found = entries.filter_map(|entry| match entry {
        Ok(entry) => {
            let is_file = entry.file_type().is_file();
            if is_file {
                unread.note(entry.path());
            }
            let is_image = is_file && has_image_extension(entry.path());
            is_image.then(|| Ok(entry.into_path()))
        }
        Err(error) => {
            let path = error.path().unwrap_or(folder).to_owned();
            if error.depth() > 0 && path.file_name().is_some_and(is_passed_over) {
                return None;
            }
            Some(Err(match error.loop_ancestor() {
                Some(ancestor) => {
                    let ancestor = ancestor.display();
                    DataError::layout(
                        &path,
                        format!("this link leads back to its own folder {ancestor}; remove it"),
                    )
                }
                None => unreachable(&path, error.into()),
            }))
        }
    });
    let mut found: Vec<_> = found.collect();
    let faults = unread.faults(folder, found.iter().filter_map(|found| found.as_ref().ok()));
    found.extend(faults.into_iter().map(Err));
    found.into_iter()
}

/// The image files directly in `folder`, in natural order; possibly none. What cannot be read joins the `faults`.
pub(crate) fn images_in(folder: &Path, faults: &mut Vec<DataError>) -> Vec<PathBuf> {
    let mut unread = Unread::default();
    let images = list(folder, faults, |path, metadata| {
        if metadata.is_some_and(fs::Metadata::is_file) {
            unread.note(path);
        }
        has_image_extension(path) && metadata.is_none_or(fs::Metadata::is_file)
    });
    faults.extend(unread.faults(folder, images.iter()));
    images
}

/// Whether any image file directly in `folder` fits. A folder may have very many files, so their names are looked at first.
pub(crate) fn has_image(folder: &Path, fits: impl Fn(&Path) -> bool) -> bool {
    let Ok(entries) = fs::read_dir(folder) else {
        return false;
    };
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_listed = |path: &Path| !path.file_name().is_some_and(is_passed_over) && has_image_extension(path);
    paths.any(|path| is_listed(&path) && fits(&path) && path.is_file())
}

/// The folders directly in `folder`, in natural order; possibly none. What cannot be read joins the `faults`: what has the
/// ending of an image would be none of the folders.
pub(crate) fn folders_in(folder: &Path, faults: &mut Vec<DataError>) -> Vec<PathBuf> {
    list(folder, faults, |path, metadata| match metadata {
        Some(metadata) => metadata.is_dir(),
        None => !has_image_extension(path),
    })
}

/// The message that a folder holds no image. It says which files count as images.
pub(crate) fn no_images() -> String {
    format!(
        "no image in this folder; an image is a file that ends in one of: {}",
        EXTENSIONS.join(", ")
    )
}

/// Why a path cannot be read. A broken link has a message of its own.
pub(crate) fn unreachable(path: &Path, cause: io::Error) -> DataError {
    if cause.kind() == io::ErrorKind::NotFound
        && let Ok(target) = fs::read_link(path)
    {
        let target = target.display();
        return DataError::layout(
            path,
            format!("this link leads to {target}, which does not exist; correct or remove it"),
        );
    }
    if is_circle(path) {
        let reason = "this link leads back to itself, directly or by other links; correct or remove it";
        return DataError::layout(path, reason);
    }
    DataError::io(path, cause)
}

/// Whether a path is a link to links without end. No system follows so many.
fn is_circle(path: &Path) -> bool {
    let mut at = path.to_owned();
    for _ in 0..256 {
        let Ok(target) = fs::read_link(&at) else { return false };
        at = at.parent().unwrap_or(Path::new("")).join(target);
    }
    true
}

/// The entries of a folder to `keep`, by what they are; with `None`, what is asked is whether an entry would be kept that
/// cannot be read.
fn list(
    folder: &Path,
    faults: &mut Vec<DataError>,
    mut keep: impl FnMut(&Path, Option<&fs::Metadata>) -> bool,
) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(cause) => {
            faults.push(unreachable(folder, cause));
            return paths;
        }
    };
    for entry in entries {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(cause) => {
                faults.push(DataError::io(folder, cause));
                continue;
            }
        };
        if path.file_name().is_some_and(is_passed_over) {
            continue;
        }
        match fs::metadata(&path) {
            Ok(metadata) if keep(&path, Some(&metadata)) => paths.push(path),
            Err(cause) if keep(&path, None) => faults.push(unreachable(&path, cause)),
            Ok(_) | Err(_) => {}
        }
    }
    paths.sort_by(|a, b| natural_path_order(a, b));
    paths
}

/// Whether a name is hidden, or one that operating systems give.
fn is_passed_over(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".") || FOREIGN.iter().any(|foreign| name.eq_ignore_ascii_case(foreign))
}

fn has_image_extension(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| EXTENSIONS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

/// Compares paths part by part, each part by [`natural_order`].
pub(crate) fn natural_path_order(a: &Path, b: &Path) -> Ordering {
    let (mut a, mut b) = (a.components(), b.components());
    loop {
        let order = match (a.next(), b.next()) {
            (Some(x), Some(y)) => natural_order(x.as_os_str().as_encoded_bytes(), y.as_os_str().as_encoded_bytes()),
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Orders names as people do. Runs of digits are compared as numbers of any length, and everything else byte by byte.
/// If names are equal in this order (`1` and `01`), their bytes decide, so the order is total.
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
