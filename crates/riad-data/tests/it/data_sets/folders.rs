//! Data sets that followed MVTec AD: BTAD, MVTec AD 2, MVTec LOCO AD.

use std::fs;
use std::path::Path;

use riad_data::{Category, Layout};
use tempfile::TempDir;

use super::{names, put, refused, test_items, tree};

pub(super) fn btad() -> TempDir {
    tree(&[
        "01/train/ok/0000.bmp",
        "01/test/ok/0001.bmp",
        "01/test/ko/0000.bmp",
        "01/test/ko/0001.bmp",
        "01/ground_truth/ko/0000.png",
        "01/ground_truth/ko/0001.png",
        "02/train/ok/0000.png",
    ])
}

#[test]
fn btad_has_other_names_than_mvtec() {
    let set = btad();
    assert_eq!(Layout::of(set.path()).unwrap(), Layout::Btad);
    assert_eq!(
        names(set.path(), &Layout::Btad.categories(set.path()).unwrap()),
        ["01", "02"]
    );
    let category = Category::open(&set.path().join("01"), None).unwrap();
    let root = &category.root;
    assert_eq!(category.layout, Layout::Btad);
    assert_eq!(names(root, &category.train), ["train/ok/0000.bmp"]);
    assert_eq!(
        test_items(&category, root),
        [
            "test/ok/0001.bmp",
            "test/ko/0000.bmp (ko: ground_truth/ko/0000.png)",
            "test/ko/0001.bmp (ko: ground_truth/ko/0001.png)",
        ]
    );
}

#[test]
fn btad_that_is_not_whole() {
    let remove = |file: &'static str| move |root: &Path| fs::remove_file(root.join(file)).unwrap();
    let add = |file: &'static str| move |root: &Path| put(root, file, b"");
    refused(
        btad(),
        "01",
        remove("test/ko/0001.bmp"),
        "01/ground_truth/ko/0001.png",
        "belongs to no image",
    );
    refused(
        btad(),
        "01",
        add("ground_truth/ok/0002.png"),
        "01/ground_truth/ok/0002.png",
        "belongs to no image",
    );
    refused(
        btad(),
        "01",
        remove("train/ok/0000.bmp"),
        "01/train/ok",
        "no image in this folder",
    );
    let no_ko = |root: &Path| {
        fs::remove_dir_all(root.join("test/ko")).unwrap();
        fs::create_dir(root.join("test/ko")).unwrap();
    };
    refused(btad(), "01", no_ko, "01/test/ko", "no image in this folder");
}

pub(super) fn mvtec2() -> TempDir {
    tree(&[
        "can/train/good/000_regular.png",
        "can/validation/good/001_regular.png",
        "can/test_public/good/000_regular.png",
        "can/test_public/bad/000_regular.png",
        "can/test_public/bad/001_overexposed.png",
        "can/test_public/ground_truth/bad/000_regular_mask.png",
        "can/test_public/ground_truth/bad/001_overexposed_mask.png",
        "can/test_private/000_regular.png",
        "can/test_private_mixed/000_mixed.png",
    ])
}

#[test]
fn mvtec_ad_2_keeps_its_validation_apart_and_its_private_images_out() {
    let set = mvtec2();
    assert_eq!(Layout::of(set.path()).unwrap(), Layout::Mvtec2);
    let category = Category::open(&set.path().join("can"), None).unwrap();
    let root = &category.root;
    assert_eq!(category.layout, Layout::Mvtec2);
    assert_eq!(names(root, &category.train), ["train/good/000_regular.png"]);
    assert_eq!(names(root, &category.validation), ["validation/good/001_regular.png"]);
    assert_eq!(
        test_items(&category, root),
        [
            "test_public/good/000_regular.png",
            "test_public/bad/000_regular.png (bad: test_public/ground_truth/bad/000_regular_mask.png)",
            "test_public/bad/001_overexposed.png (bad: test_public/ground_truth/bad/001_overexposed_mask.png)",
        ]
    );
}

#[test]
fn mvtec_ad_2_that_is_not_whole() {
    let remove = |file: &'static str| move |root: &Path| fs::remove_file(root.join(file)).unwrap();
    refused(
        mvtec2(),
        "can",
        remove("test_public/bad/000_regular.png"),
        "can/test_public/ground_truth/bad/000_regular_mask.png",
        "belongs to no image",
    );
    refused(
        mvtec2(),
        "can",
        remove("validation/good/001_regular.png"),
        "can/validation/good",
        "no image in this folder",
    );
    refused(
        mvtec2(),
        "can",
        remove("train/good/000_regular.png"),
        "can/train/good",
        "no image in this folder",
    );
}

pub(super) fn loco() -> TempDir {
    tree(&[
        "pushpins/train/good/000.png",
        "pushpins/validation/good/000.png",
        "pushpins/test/good/000.png",
        "pushpins/test/logical_anomalies/000.png",
        "pushpins/test/structural_anomalies/000.png",
        "pushpins/ground_truth/logical_anomalies/000/000.png",
        "pushpins/ground_truth/logical_anomalies/000/001.png",
        "pushpins/ground_truth/structural_anomalies/000/000.png",
        "pushpins/defects_config.json",
    ])
}

#[test]
fn loco_has_several_masks_for_an_image() {
    let set = loco();
    assert_eq!(Layout::of(set.path()).unwrap(), Layout::Loco);
    let category = Category::open(&set.path().join("pushpins"), None).unwrap();
    let root = &category.root;
    assert_eq!(category.layout, Layout::Loco);
    assert_eq!(names(root, &category.validation), ["validation/good/000.png"]);
    let masks = "ground_truth/logical_anomalies/000";
    assert_eq!(
        test_items(&category, root),
        [
            "test/good/000.png".to_owned(),
            format!("test/logical_anomalies/000.png (logical_anomalies: {masks}/000.png {masks}/001.png)"),
            "test/structural_anomalies/000.png (structural_anomalies: ground_truth/structural_anomalies/000/000.png)"
                .to_owned(),
        ]
    );
}

#[test]
fn loco_that_is_not_whole() {
    let remove = |file: &'static str| move |root: &Path| fs::remove_file(root.join(file)).unwrap();
    let add = |file: &'static str| move |root: &Path| put(root, file, b"");
    refused(
        loco(),
        "pushpins",
        add("ground_truth/logical_anomalies/001/000.png"),
        "pushpins/ground_truth/logical_anomalies/001",
        "belong to no image",
    );
    refused(
        loco(),
        "pushpins",
        add("ground_truth/logical_anomalies/000.png"),
        "pushpins/ground_truth/logical_anomalies/000.png",
        "in a folder with their image's name",
    );
    refused(
        loco(),
        "pushpins",
        add("ground_truth/other/000/000.png"),
        "pushpins/ground_truth/other/000",
        "belongs to no image",
    );
    refused(
        loco(),
        "pushpins",
        add("test/logical_anomalies/000.jpg"),
        "pushpins/test/logical_anomalies/000.png",
        "has the same name as",
    );
    refused(
        loco(),
        "pushpins",
        remove("validation/good/000.png"),
        "pushpins/validation/good",
        "no image in this folder",
    );
}
