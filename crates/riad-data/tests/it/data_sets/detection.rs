//! Layouts are told by what is there.

use std::path::Path;

use riad_data::{Category, DataError, Layout};
use tempfile::TempDir;

use super::folders::{btad, loco, mvtec2};
use super::kolektor::{kolektor, kolektor2};
use super::visa::{ROWS, visa};
use super::{layout_error, names, tree};

#[test]
fn every_layout_is_told_by_what_is_there() {
    let mvtec = tree(&["bottle/train/good/0.png", "bottle/validation/good/0.png", "readme.png"]);
    let plain = tree(&["photos/a.png", "photos/sub/b.png"]);
    let sets: [(TempDir, &str, Layout); 8] = [
        (mvtec, "bottle", Layout::Mvtec),
        (visa(ROWS), "candle", Layout::Visa),
        (btad(), "02", Layout::Btad),
        (mvtec2(), "can", Layout::Mvtec2),
        (loco(), "pushpins", Layout::Loco),
        (kolektor(), "KolektorSDD", Layout::Kolektor),
        (kolektor2(), "KolektorSDD2", Layout::Kolektor2),
        (plain, "photos", Layout::Folder),
    ];
    for (set, name, layout) in sets {
        let category = set.path().join(name);
        assert_eq!(Layout::of(&category).unwrap(), layout);
        assert_eq!(Category::open(&category, None).unwrap().layout, layout);
        assert_eq!(layout.to_string().parse::<Layout>().unwrap(), layout);
        assert_eq!(
            serde_json::to_string(&layout).unwrap(),
            format!("\"{layout}\""),
            "one name everywhere"
        );
        if layout != Layout::Folder {
            assert_eq!(Layout::of(set.path()).unwrap(), layout, "{layout}");
            assert!(layout.categories(set.path()).unwrap().contains(&category));
        }
        // In another layout there is nothing to read, or something is missing; never a category without training images.
        for &other in Layout::ALL {
            if let Ok(category) = Category::open_as(&category, other, None) {
                let is_told = !category.train_faults.is_empty();
                assert!(is_told || !category.train.is_empty(), "{layout} as {other}");
            }
        }
    }
    assert!(matches!("voc".parse::<Layout>(), Err(DataError::Parameter(text)) if text.contains("mvtec, visa")));
}

/// The text of the error that more than one layout fits a folder.
#[track_caller]
fn several_fit(root: &Path) -> String {
    match Layout::of(root) {
        Err(DataError::Layouts { path, reason }) if path == root => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_fits_no_layout_or_several_is_an_error() {
    let both = tree(&["a/train/good/0.png", "a/train/ok/0.png"]);
    for root in [both.path().to_owned(), both.path().join("a")] {
        let reason = several_fit(&root);
        for part in ["mvtec (train/good in", "btad (train/ok in", "name the one"] {
            assert!(reason.contains(part), "{reason}");
        }
    }
    // Named, it can be read.
    let category = Category::open_as(&both.path().join("a"), Layout::Btad, None).unwrap();
    assert_eq!(names(both.path(), &category.train), ["a/train/ok/0.png"]);

    let mixed = tree(&["a/train/good/0.png", "b/train/ok/0.png"]);
    let reason = several_fit(mixed.path());
    assert!(reason.contains("more than one layout fits"), "{reason}");

    let unknown = tree(&["left/0.png", "right/0.png", "list.txt"]);
    let reason = layout_error(Layout::of(unknown.path()), unknown.path());
    for part in [
        "no category here",
        "train/good (mvtec)",
        "Data/Images beside split_csv/1cls.csv (visa)",
        "train/ok (btad)",
        "images (folder)",
        "Found: the folders left, right; 0 images",
    ] {
        assert!(reason.contains(part), "{reason}");
    }
    let reason = layout_error(Layout::Btad.categories(unknown.path()), unknown.path());
    assert!(
        reason.contains("in the layout btad") && reason.contains("train/ok"),
        "{reason}"
    );
    let many: Vec<_> = (0..20).map(|i| format!("{i}/a.txt")).collect();
    let many = tree(&many.iter().map(String::as_str).collect::<Vec<_>>());
    let reason = layout_error(Layout::of(many.path()), many.path());
    assert!(
        reason.contains("the folders 0, 1, 2, 3, 4, 5, 6, 7 and 12 more"),
        "{reason}"
    );
}

/// What is only to be measured needs nothing to learn from.
#[test]
fn images_to_test_on_are_enough_to_tell_a_layout() {
    for (layout, file) in [
        (Layout::Mvtec, "a/test/good/0.png"),
        (Layout::Btad, "a/test/ok/0.png"),
        (Layout::Mvtec2, "a/test_public/good/0.png"),
    ] {
        let set = tree(&[file]);
        let root = set.path().join("a");
        assert_eq!(Layout::of(set.path()).unwrap(), layout);
        assert_eq!(layout.categories(set.path()).unwrap(), [root.as_path()]);
        let category = Category::open(&root, None).unwrap();
        assert_eq!((category.test.len(), category.test_faults.len()), (1, 0));
        assert_eq!((category.train.len(), category.train_faults.len()), (0, 1));
    }
}
