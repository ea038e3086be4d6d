//! Data sets in other layouts than MVTec AD's, through the program.

use std::{fs, path::Path};

use crate::support::{run_bytes, stderr, stdout};
use image::{GrayImage, Luma, RgbImage};
use serde_json::Value;
use tempfile::TempDir;

const QUICK: [&str; 7] = ["--size", "32", "--epochs", "1", "--batch", "2", "-q"];

fn save(path: &Path, shade: u32, spot: bool) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let image = RgbImage::from_fn(40, 32, |x, y| {
        let is_spot = spot && (8..20).contains(&x) && (8..20).contains(&y);
        image::Rgb(if is_spot {
            [255; 3]
        } else {
            [(60 + shade * 3 + (x * 7 + y * 11) % 13) as u8; 3]
        })
    });
    image.save(path).unwrap();
}

fn save_mask(path: &Path, value: u8, from: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mask = GrayImage::from_fn(40, 32, |x, y| {
        Luma([if (from..20).contains(&x) && (8..20).contains(&y) {
            value
        } else {
            0
        }])
    });
    mask.save(path).unwrap();
}

/// VisA with one category, whose masks are label values that look black.
fn visa() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("visa");
    let mut rows = "object,split,label,image,mask\n".to_owned();
    for i in 0..10 {
        let image = format!("candle/Data/Images/Normal/{i:04}.png");
        save(&set.join(&image), i, false);
        rows += &format!("candle,{},normal,{image},\n", if i < 7 { "train" } else { "test" });
    }
    for i in 0..3 {
        let [image, mask] = ["Images", "Masks"].map(|kind| format!("candle/Data/{kind}/Anomaly/{i:03}.png"));
        save(&set.join(&image), i, true);
        save_mask(&set.join(&mask), 1 + i as u8, 8);
        rows += &format!("candle,test,anomaly,{image},{mask}\n");
    }
    fs::create_dir(set.join("split_csv")).unwrap();
    fs::write(set.join("split_csv/1cls.csv"), rows).unwrap();
    folder
}

/// MVTec LOCO with one category, two masks for its defect, and images for validation.
fn loco() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("loco/pushpins");
    for i in 0..4 {
        save(&root.join(format!("train/good/{i:03}.png")), i, false);
        save(&root.join(format!("validation/good/{i:03}.png")), 9 + i, false);
        save(&root.join(format!("test/good/{i:03}.png")), i, false);
    }
    save(&root.join("test/logical_anomalies/000.png"), 1, true);
    save_mask(&root.join("ground_truth/logical_anomalies/000/000.png"), 255, 8);
    save_mask(&root.join("ground_truth/logical_anomalies/000/001.png"), 254, 14);
    folder
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn visa_is_trained_and_evaluated_as_its_table_says() {
    let folder = visa();
    let root = folder.path();
    let table = stdout(root, &[&["eval", "visa", "--out", "out"], &QUICK[..]].concat());
    assert!(table.contains("\ncandle "), "{table}");
    let results = json(&root.join("out/results.json"));
    let metrics = &results["categories"]["candle"];
    assert_eq!(metrics["images"], 6);
    for metric in ["image_auroc", "pixel_auroc", "pixel_ap", "aupro", "f1_max"] {
        assert!(metrics[metric].is_f64(), "{metric}: {metrics}");
    }
    let scores = fs::read_to_string(root.join("out/scores.csv")).unwrap();
    let labels: Vec<_> = scores
        .lines()
        .skip(1)
        .map(|line| line.rsplit_once(',').unwrap().0)
        .collect();
    let good = (7..10).map(|i| format!("Data/Images/Normal/{i:04}.png,0"));
    let bad = (0..3).map(|i| format!("Data/Images/Anomaly/{i:03}.png,1"));
    let expected: Vec<_> = good.chain(bad).collect();
    assert_eq!(labels, expected);

    // The run knows how its data is laid out.
    let settings = json(&root.join("out/candle/run/settings.json"));
    assert_eq!(settings["layout"], "visa");
    assert_eq!(settings["images"].as_array().unwrap().len(), 7);
    stdout(root, &["eval", "--model", "out/candle/run", "-q"]);
}

#[test]
fn a_format_is_told_or_given() {
    let folder = visa();
    let root = folder.path();
    let train = ["train", "visa", "--category", "candle"];
    stdout(root, &[&train[..], &QUICK, &["--out", "told"]].concat());
    stdout(
        root,
        &[&train[..], &QUICK, &["--format", "visa", "--out", "given"]].concat(),
    );
    assert_eq!(run_bytes(&root.join("told")), run_bytes(&root.join("given")));

    for (arguments, code, expected) in [
        (
            vec!["train", "visa", "--format", "btad"],
            1,
            "no category here in the layout btad. Looked for, here and in each folder: train/ok. Found: the folders \
             candle, split_csv; 0 images",
        ),
        (
            vec!["train", "visa", "--format", "voc"],
            2,
            "[possible values: auto, mvtec, visa, btad, mvtec2, loco, kolektor, kolektor2, folder]",
        ),
        (
            vec!["train", "--resume", "told", "--format", "mvtec"],
            2,
            "started with another --format",
        ),
        (vec!["eval", "--format", "visa"], 2, "DATA is missing"),
        (vec!["eval", "visa/split_csv"], 1, "no category here. Looked for"),
    ] {
        let error = stderr(root, &arguments, code);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    // Images that have moved are read in the run's own layout.
    fs::rename(root.join("visa"), root.join("moved")).unwrap();
    let said = stderr(root, &["train", "moved/candle", "--resume", "told"], 0);
    assert!(said.contains("has finished"), "{said}");
}

#[test]
fn images_that_a_data_set_keeps_for_validation_are_held_out() {
    let folder = loco();
    let root = folder.path();
    let options = ["--validation", "0.1", "--calibration", "0.1", "--out", "run"];
    stdout(root, &[&["train", "loco/pushpins"], &QUICK[..], &options].concat());
    let settings = json(&root.join("run/settings.json"));
    let images = settings["images"].as_array().unwrap();
    let of = |flag: &str| images.iter().filter(|image| image[flag] == true).count();
    // They choose restoration, whose thresholds also come from the images for validation.
    assert_eq!((images.len(), of("validation"), of("calibration")), (8, 2, 4));
    for image in images {
        let is_held_out = image["validation"] == true || image["calibration"] == true;
        let is_own = image["name"].as_str().unwrap().starts_with("validation/good/");
        assert_eq!(is_held_out, is_own, "{image}");
    }
    stdout(root, &["train", "--resume", "run", "-q"]);
    stdout(root, &["eval", "--model", "run", "-q"]);
    let metrics = &json(&root.join("run/eval/results.json"))["categories"]["pushpins"];
    assert_eq!(metrics["images"], 5);
    assert!(metrics["aupro"].is_f64(), "{metrics}");
}
