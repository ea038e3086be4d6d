//! KolektorSDD and KolektorSDD2.

use std::fs;
use std::path::Path;

use riad_data::{Category, DataError, Layout};
use tempfile::TempDir;

use super::{below, label, names, put, refused, test_items};

/// Seven items of two parts; the second part of the first two items has a defect.
pub(super) fn kolektor() -> TempDir {
    let set = tempfile::tempdir().unwrap();
    for item in 1..=7 {
        for part in 0..2 {
            let name = format!("KolektorSDD/kos{item:02}/Part{part}");
            put(set.path(), &format!("{name}.jpg"), b"");
            label(
                set.path(),
                &format!("{name}_label.bmp"),
                u8::from(part == 1 && item <= 2),
            );
        }
    }
    set
}

#[test]
fn kolektor_tests_on_every_fifth_item_and_on_all_defects() {
    let set = kolektor();
    let root = set.path().join("KolektorSDD");
    assert_eq!(Layout::of(&root).unwrap(), Layout::Kolektor);
    assert_eq!(Layout::of(set.path()).unwrap(), Layout::Kolektor);
    for at in [set.path(), &root] {
        assert_eq!(Layout::Kolektor.categories(at).unwrap(), [root.as_path()]);
    }
    let category = Category::open(&root, None).unwrap();
    assert_eq!(
        names(&root, &category.train),
        [
            "kos02/Part0.jpg",
            "kos03/Part0.jpg",
            "kos03/Part1.jpg",
            "kos04/Part0.jpg",
            "kos04/Part1.jpg",
            "kos05/Part0.jpg",
            "kos05/Part1.jpg",
            "kos07/Part0.jpg",
            "kos07/Part1.jpg",
        ]
    );
    assert_eq!(
        test_items(&category, &root),
        [
            "kos01/Part0.jpg",
            "kos06/Part0.jpg",
            "kos06/Part1.jpg",
            "kos01/Part1.jpg (defect: kos01/Part1_label.bmp)",
            "kos02/Part1.jpg (defect: kos02/Part1_label.bmp)",
        ]
    );
}

#[test]
fn kolektor_that_is_not_whole() {
    let name = "KolektorSDD";
    let remove = |file: &'static str| move |root: &Path| fs::remove_file(root.join(file)).unwrap();
    refused(
        kolektor(),
        name,
        remove("kos03/Part1_label.bmp"),
        "KolektorSDD/kos03/Part1.jpg",
        "Part1_label.* is missing",
    );
    refused(
        kolektor(),
        name,
        remove("kos03/Part1.jpg"),
        "KolektorSDD/kos03/Part1_label.bmp",
        "belongs to no image",
    );
    let twice = |root: &Path| label(root, "kos03/Part1_label.png", 0);
    refused(
        kolektor(),
        name,
        twice,
        "KolektorSDD/kos03/Part1_label.png",
        "has the same name as",
    );
    let one_item = |root: &Path| {
        (2..=7).for_each(|item| fs::remove_dir_all(root.join(format!("kos{item:02}"))).unwrap());
    };
    refused(kolektor(), name, one_item, "KolektorSDD", "of the 1 folders");

    // A label that is no image is not taken for one that shows nothing.
    let set = kolektor();
    for part in ["Part0_label.bmp", "Part1_label.bmp"] {
        put(set.path(), &format!("KolektorSDD/kos04/{part}"), b"BM");
    }
    let category = Category::open(&set.path().join(name), None).unwrap();
    let named = category.train_faults.iter().map(|fault| (fault.path().unwrap(), fault));
    let parts: Vec<_> = named
        .map(|(path, fault)| {
            (
                below(&set.path().join(name), path),
                matches!(fault, DataError::Decode { .. }),
            )
        })
        .collect();
    let expected = ["kos04/Part0_label.bmp", "kos04/Part1_label.bmp"].map(|label| (label.to_owned(), true));
    assert_eq!(parts, expected);
    assert!(!category.train.is_empty() && category.test_faults.is_empty());
}

pub(super) fn kolektor2() -> TempDir {
    let set = tempfile::tempdir().unwrap();
    for (name, value) in [
        ("train/10000", 0),
        ("train/10001", 9),
        ("train/10002", 0),
        ("test/20000", 9),
        ("test/20001", 0),
    ] {
        put(set.path(), &format!("KolektorSDD2/{name}.png"), b"");
        label(set.path(), &format!("KolektorSDD2/{name}_GT.png"), value);
    }
    // The published archive holds this pair by mistake.
    put(set.path(), "KolektorSDD2/train/10002 (copy).png", b"");
    label(set.path(), "KolektorSDD2/train/10002_GT (copy).png", 0);
    set
}

#[test]
fn kolektor_2_learns_from_the_good_images_of_its_training_split() {
    let set = kolektor2();
    let root = set.path().join("KolektorSDD2");
    assert_eq!(Layout::of(&root).unwrap(), Layout::Kolektor2);
    let category = Category::open(&root, None).unwrap();
    assert_eq!(names(&root, &category.train), ["train/10000.png", "train/10002.png"]);
    assert_eq!(
        test_items(&category, &root),
        ["test/20001.png", "test/20000.png (defect: test/20000_GT.png)"]
    );
}

#[test]
fn kolektor_2_that_is_not_whole() {
    let name = "KolektorSDD2";
    let remove = |file: &'static str| move |root: &Path| fs::remove_file(root.join(file)).unwrap();
    refused(
        kolektor2(),
        name,
        remove("test/20000_GT.png"),
        "KolektorSDD2/test/20000.png",
        "20000_GT.* is missing",
    );
    refused(
        kolektor2(),
        name,
        remove("train/10001.png"),
        "KolektorSDD2/train/10001_GT.png",
        "belongs to no image",
    );
    let defects_alone = |root: &Path| {
        label(root, "train/10000_GT.png", 1);
        label(root, "train/10002_GT.png", 1);
    };
    refused(
        kolektor2(),
        name,
        defects_alone,
        "KolektorSDD2/train",
        "no label here is all 0",
    );
}
