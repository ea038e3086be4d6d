//! VisA.

use std::fs;
use std::path::{Path, PathBuf};

use riad_core::Size;
use riad_data::{Category, Layout, Limits, load_mask};
use tempfile::TempDir;

use super::{label, names, put, refused, test_items, tree};

pub(super) const ROWS: &str = "object,split,label,image,mask
candle,test,anomaly,candle/Data/Images/Anomaly/10.JPG,candle/Data/Masks/Anomaly/10.png
candle,train,normal,candle/Data/Images/Normal/10.JPG,
candle,train,normal,candle/Data/Images/Normal/9.JPG,
candle,test,normal,candle/Data/Images/Normal/2.JPG,
candle,test,anomaly,candle/Data/Images/Anomaly/9.JPG,candle/Data/Masks/Anomaly/9.png
pcb1,train,normal,pcb1/Data/Images/Normal/1.JPG,
";

pub(super) fn visa(rows: &str) -> TempDir {
    let set = tree(&[
        "candle/Data/Images/Normal/2.JPG",
        "candle/Data/Images/Normal/3.JPG",
        "candle/Data/Images/Normal/9.JPG",
        "candle/Data/Images/Normal/10.JPG",
        "candle/Data/Images/Anomaly/9.JPG",
        "candle/Data/Images/Anomaly/10.JPG",
        "candle/Data/Masks/Anomaly/9.png",
        "candle/Data/Masks/Anomaly/10.png",
        "candle/image_anno.csv",
        "pcb1/Data/Images/Normal/1.JPG",
    ]);
    put(set.path(), "split_csv/1cls.csv", rows.as_bytes());
    set
}

#[test]
fn visa_is_split_as_its_table_says() {
    for rows in [ROWS.to_owned(), ROWS.replace('\n', "\r\n")] {
        let set = visa(&rows);
        let root = set.path();
        assert_eq!(Layout::of(root).unwrap(), Layout::Visa);
        assert_eq!(names(root, &Layout::Visa.categories(root).unwrap()), ["candle", "pcb1"]);
        let category = Category::open(&root.join("candle"), None).unwrap();
        assert_eq!((category.name.as_str(), category.layout), ("candle", Layout::Visa));
        let root = &category.root;
        // In natural order, and without the image that the table does not name.
        assert_eq!(
            names(root, &category.train),
            ["Data/Images/Normal/9.JPG", "Data/Images/Normal/10.JPG"]
        );
        assert_eq!(
            test_items(&category, root),
            [
                "Data/Images/Normal/2.JPG",
                "Data/Images/Anomaly/9.JPG (anomaly: Data/Masks/Anomaly/9.png)",
                "Data/Images/Anomaly/10.JPG (anomaly: Data/Masks/Anomaly/10.png)",
            ]
        );
        assert_eq!(category.validation, [] as [PathBuf; 0]);
    }
}

#[test]
fn masks_of_visa_are_small_label_values() {
    let set = visa(ROWS);
    label(set.path(), "candle/Data/Masks/Anomaly/9.png", 1);
    label(set.path(), "candle/Data/Masks/Anomaly/10.png", 3);
    let category = Category::open(&set.path().join("candle"), None).unwrap();
    for item in category.test.iter().filter(|item| item.is_defective()) {
        let mask = load_mask(&item.masks, Some(Size::new(2, 4)), Size::new(2, 4), &Limits::default()).unwrap();
        assert_eq!(mask.values(), [false, false, false, false, false, false, false, true]);
    }
}

#[test]
fn a_table_of_visa_that_cannot_be_meant() {
    let anomaly = "candle,test,anomaly,candle/Data/Images/Anomaly/9.JPG";
    let normal = "candle,train,normal,candle/Data/Images/Normal/9.JPG";
    let row = |from: &str, to: &str| {
        assert!(ROWS.contains(from), "{from}");
        ROWS.replace(from, to)
    };
    for (rows, message) in [
        (
            row("Normal/9.JPG", "Normal/8.JPG"),
            "line 4: candle/Data/Images/Normal/8.JPG does not exist",
        ),
        (
            row("Masks/Anomaly/9.png", "Masks/Anomaly/8.png"),
            "line 6: candle/Data/Masks/Anomaly/8.png does not exist",
        ),
        (
            row(
                "candle/Data/Images/Normal/9.JPG",
                "candle/../candle/Data/Images/Normal/9.JPG",
            ),
            "is not below candle",
        ),
        (
            row("candle/Data/Images/Normal/9.JPG", "/etc/passwd"),
            "/etc/passwd is not below candle",
        ),
        (
            row("candle/Data/Images/Normal/9.JPG", "pcb1/Data/Images/Normal/1.JPG"),
            "is not below candle",
        ),
        (
            row("candle/Data/Images/Normal/9.JPG", "candle/Data/Images"),
            "is not a file",
        ),
        (row("candle/Data/Images/Normal/9.JPG", ""), "is not below candle"),
        (
            row(anomaly, "candle,test,anomaly,candle/Data/Images/Anomaly/10.JPG"),
            "Anomaly/10.JPG comes a second time",
        ),
        (
            row(anomaly, &anomaly.replace("test", "train")),
            "so it cannot be a training image",
        ),
        (
            row(normal, &normal.replace("train", "validation")),
            "not validation and normal",
        ),
        (row(anomaly, &anomaly.replace("anomaly", "bad")), "not test and bad"),
        (row("train", "test"), "no row has the object candle and the split train"),
        (row("label,image,mask", "label,image"), "6 fields"),
        (row("image,mask\n", "image,defect\n"), "missing field `mask`"),
        (String::new(), "no row has the object candle"),
    ] {
        // A row that is too long is named before what is wrong with the header.
        let message = if message == "6 fields" {
            "5 fields where the first line has 4"
        } else {
            message
        };
        refused(visa(&rows), "candle", |_| (), "split_csv/1cls.csv", message);
    }
    let without = |category: &Path| fs::remove_dir_all(category.with_file_name("split_csv")).unwrap();
    refused(
        visa(ROWS),
        "candle",
        without,
        "split_csv/1cls.csv",
        "VisA's split is missing",
    );
    let set = visa("");
    put(
        set.path(),
        "split_csv/1cls.csv",
        b"object,split,label,image,mask\ncandle,\xFF,,,\n",
    );
    refused(set, "candle", |_| (), "split_csv/1cls.csv", "line 2: not UTF-8");
}
