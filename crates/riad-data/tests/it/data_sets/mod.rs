//! Each data set that is known, as a small made-up tree in its layout, and every way in which it can be wrong.

mod detection;
mod folders;
mod kolektor;
mod visa;

use std::fs;
use std::path::{Path, PathBuf};

use image::{GrayImage, Luma};
use riad_data::{Category, DataError};
use tempfile::TempDir;

/// Writes a file, with its folders. Images that are only found, not looked into, stay empty.
fn put(root: &Path, file: &str, bytes: &[u8]) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn tree(files: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        put(folder.path(), file, b"");
    }
    folder
}

/// A label of 4 × 2 pixels with one pixel of `value`.
fn label(root: &Path, file: &str, value: u8) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut image = GrayImage::new(4, 2);
    image.put_pixel(3, 1, Luma([value]));
    image.save(path).unwrap();
}

fn below(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/")
}

fn names(root: &Path, paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| below(root, path)).collect()
}

/// Each test item as `path`, or `path (kind: masks)`.
fn test_items(category: &Category, root: &Path) -> Vec<String> {
    let item = |item: &riad_data::TestItem| match &item.defect {
        None => below(root, &item.path),
        Some(kind) => format!(
            "{} ({kind}: {})",
            below(root, &item.path),
            names(root, &item.masks).join(" ")
        ),
    };
    category.test.iter().map(item).collect()
}

/// The text of a layout error that names `file`.
#[track_caller]
fn layout_error<T: std::fmt::Debug>(result: Result<T, DataError>, file: &Path) -> String {
    match result {
        Err(DataError::Layout { path, reason }) => {
            assert_eq!(path, file, "{reason}");
            reason
        }
        other => panic!("{other:?}"),
    }
}

/// Opens the category `name`, changed by `change`: it must fail, or find its fault, at `file` with `message`.
#[track_caller]
fn refused(set: TempDir, name: &str, change: impl Fn(&Path), file: &str, message: &str) {
    change(&set.path().join(name));
    let faults = match Category::open(&set.path().join(name), None) {
        Ok(category) => [category.train_faults, category.test_faults]
            .into_iter()
            .flatten()
            .collect(),
        Err(error) => vec![error],
    };
    let file = set.path().join(file);
    let named: Vec<_> = faults.iter().filter(|fault| fault.path() == Some(&file)).collect();
    let [DataError::Layout { reason, .. }] = named.as_slice() else {
        panic!("{faults:?}")
    };
    assert!(reason.contains(message), "{reason}");
}
