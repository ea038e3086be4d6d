//! Regions of interest.

use std::{fs, path::Path};

use crate::support::{demo, run_bytes, stderr, stdout};
use image::{GrayImage, Luma};
use riad_core::Size;
use riad_model::{Checkpoint, Roi};
use serde_json::Value;

/// Writes a mask whose left half is marked.
fn mask(path: &Path, width: u32, height: u32) {
    let half = |x: u32, _| Luma([if x < width / 2 { 1 } else { 0 }]);
    GrayImage::from_fn(width, height, half).save(path).unwrap();
}

fn roi(model: &Path) -> Option<Roi> {
    Checkpoint::open(model).unwrap().roi
}

#[test]
fn defects_are_looked_for_inside_only() {
    let folder = demo();
    let root = folder.path();
    mask(&root.join("left.png"), 64, 64);
    // What is normal takes eight images, and three in ten are for calibration.
    let good = root.join("data/badge/train/good");
    for image in 0..8 {
        fs::copy(
            good.join(format!("{image:03}.png")),
            good.join(format!("copy{image}.png")),
        )
        .unwrap();
    }
    let train = [
        "train",
        "data/badge",
        "--size",
        "32",
        "--epochs",
        "1",
        "--calibration",
        "0.3",
        "-q",
    ];
    stdout(root, &[&train[..], &["--roi", "left.png"]].concat());
    let left = roi(&root.join("runs/badge")).unwrap();
    assert_eq!((left.size(), left.share()), (Size::new(32, 32), 0.5));
    let info = stdout(root, &["info", "runs/badge"]);
    assert!(
        info.contains("looked at        50.0 % of the image, the region of interest"),
        "{info}"
    );
    // What is normal is known outside too, in case one looks there later.
    let checkpoint = Checkpoint::open(&root.join("runs/badge")).unwrap();
    let normal = checkpoint.normal.unwrap();
    assert!(normal.mean().values().iter().all(|value| *value > 0.0));

    // The mask is kept with the run, which goes on without the file.
    stdout(
        root,
        &[&train[..], &["--roi", "left.png", "--out", "run", "--max-time", "0s"]].concat(),
    );
    let said = stderr(
        root,
        &["train", "--resume", "run", "--roi", "data/badge/test/good/000.png"],
        2,
    );
    assert!(said.contains("another --roi"), "{said}");
    fs::remove_file(root.join("left.png")).unwrap();
    stdout(root, &["train", "--resume", "run", "-q"]);
    assert_eq!(run_bytes(&root.join("run")), run_bytes(&root.join("runs/badge")));

    let table = stdout(root, &["eval", "--model", "run", "--fpr", "0.5", "-q"]);
    assert!(
        table.contains(
            "badge: pixel metrics count only the region of interest, 50.0 % of the image; images keep their labels"
        ),
        "{table}"
    );
    let results: Value = serde_json::from_slice(&fs::read(root.join("run/eval/results.json")).unwrap()).unwrap();
    assert_eq!(results["settings"]["models"]["badge"]["roi_share"], 0.5);
    let at_threshold = &results["categories"]["badge"]["at_threshold"];
    let pixels = ["good_pixels", "defective_pixels"].map(|kind| at_threshold[kind]["of"].as_u64().unwrap());
    assert_eq!(pixels.iter().sum::<u64>(), 15 * 32 * 32 / 2);
    let images = ["good_images", "defective_images"].map(|kind| at_threshold[kind]["of"].as_u64().unwrap());
    assert_eq!(images, [3, 12]);

    // Nothing is drawn outside, and something inside.
    let score = [
        "score",
        "--model",
        "run",
        "data/badge/test/good/000.png",
        "--maps",
        "maps",
        "-q",
    ];
    stdout(root, &[&score[..], &["--map-scale", "0.0001"]].concat());
    let overlay = image::open(root.join("maps/000.overlay.png")).unwrap().into_rgb8();
    let is_grey = |x: u32| (0..128).all(|y| overlay.get_pixel(x, y).0.windows(2).all(|pair| pair[0] == pair[1]));
    assert!((68..128).all(is_grey) && !(0..60).all(is_grey));

    // Another region for a model that is there: its scores and its calibration are made anew.
    let before = Checkpoint::open(&root.join("run")).unwrap().header.calibration;
    let all = GrayImage::from_pixel(128, 128, Luma([255]));
    all.save(root.join("all.png")).unwrap();
    let calibrate = ["calibrate", "--model", "run", "data/badge/test/good", "-q", "--roi"];
    stdout(root, &[&calibrate[..], &["all.png"]].concat());
    assert_eq!(roi(&root.join("run")).unwrap().share(), 1.0);
    assert_ne!(Checkpoint::open(&root.join("run")).unwrap().header.calibration, before);

    let bytes = fs::read(root.join("run/best.safetensors")).unwrap();
    GrayImage::new(128, 128).save(root.join("black.png")).unwrap();
    mask(&root.join("wide.png"), 128, 64);
    for (file, expected) in [
        ("black.png", "black.png: the region of interest is empty"),
        ("wide.png", "because it must have their proportions"),
    ] {
        let said = stderr(root, &[&calibrate[..], &[file]].concat(), 2);
        assert!(said.contains(expected), "{said}");
        let said = stderr(root, &[&train[..], &["--out", "other", "--roi", file]].concat(), 2);
        assert!(said.contains(expected) && !root.join("other").exists(), "{said}");
    }
    assert!(fs::read(root.join("run/best.safetensors")).unwrap() == bytes);
}

#[test]
fn with_tiles_images_have_the_size_of_the_region() {
    let folder = demo();
    let root = folder.path();
    mask(&root.join("half.png"), 64, 64);
    mask(&root.join("left.png"), 128, 128);
    let train = [
        "train",
        "data/badge",
        "--tile",
        "48",
        "--epochs",
        "1",
        "--out",
        "run",
        "-q",
        "--roi",
    ];
    let said = stderr(root, &[&train[..], &["half.png"]].concat(), 2);
    assert!(said.contains("it must have their size"), "{said}");
    stdout(root, &[&train[..], &["left.png"]].concat());
    assert_eq!(roi(&root.join("run")).unwrap().size(), Size::new(128, 128));
    stdout(root, &["eval", "--model", "run", "-q"]);
    GrayImage::new(129, 128).save(root.join("other.png")).unwrap();
    let said = stderr(root, &["score", "--model", "run", "other.png"], 1);
    assert!(
        said.contains("other.png: the image has 128x129 pixels (height x width), but the region of interest 128x128"),
        "{said}"
    );
}
