//! One bad entry keeps no other from being used, and what is not needed for a job does not stand in its way.

use std::{fs, os::unix::fs::symlink, path::Path};

use crate::support::{demo, riad, stderr, stdout, trained};
use image::{GrayImage, Luma};
use serde_json::Value;

/// Exit code, standard output and standard error.
fn ran(root: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = riad(root).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn results(root: &Path, out: &str) -> Value {
    serde_json::from_slice(&fs::read(root.join(out).join("results.json")).unwrap()).unwrap()
}

#[test]
fn pictures_that_are_not_read_are_named_by_score_and_watch() {
    let folder = trained(&[]);
    let root = folder.path();
    fs::create_dir(root.join("in")).unwrap();
    fs::copy(root.join("data/badge/test/good/000.png"), root.join("in/1.png")).unwrap();
    fs::write(root.join("in/1.CR2"), "").unwrap();
    let score = ["score", "--model", "run", "in", "-q"];
    let (code, one, _) = ran(root, &score);
    assert_eq!((code, one.matches("in/1.png").count()), (0, 1), "{one}");
    fs::write(root.join("in/2.heic"), "").unwrap();
    fs::write(root.join("in/3.heic"), "").unwrap();
    let told = "2 files that end in .heic are not read, such as 2.heic; save such pictures as PNG";
    let (code, lines, said) = ran(root, &score);
    assert_eq!((code, lines), (1, one));
    assert_eq!(said.matches(told).count(), 1, "{said}");
    let watch = "watch --model run in --once --settle 0s --out w.csv -q";
    let (code, _, said) = ran(root, &watch.split(' ').collect::<Vec<_>>());
    assert_eq!(code, 1, "{said}");
    assert_eq!(said.matches(told).count(), 1, "{said}");
    assert_eq!(
        fs::read_to_string(root.join("w.csv")).unwrap().matches("1.png").count(),
        1
    );
}

#[test]
fn an_image_of_too_many_pixels_is_not_said_to_need_memory() {
    let folder = trained(&[]);
    let root = folder.path();
    GrayImage::new(70_000, 2).save(root.join("long.png")).unwrap();
    let (code, _, said) = ran(root, &["score", "--model", "run", "long.png", "-q"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("a longer side than 65535 pixels"), "{said}");
    assert!(!said.contains("--decode-memory"), "{said}");
}

#[test]
fn links_and_system_folders_keep_no_image_from_its_score() {
    let folder = trained(&[]);
    let root = folder.path();
    let good = stdout(root, &["score", "--model", "run", "data/badge/test/good", "-q"]);
    let photos = root.join("data/badge/test/good");
    fs::create_dir_all(photos.join("__MACOSX")).unwrap();
    fs::copy(photos.join("000.png"), photos.join("__MACOSX/000.png")).unwrap();
    assert_eq!(
        stdout(root, &["score", "--model", "run", "data/badge/test/good", "-q"]),
        good
    );
    symlink("nowhere", photos.join("000b.png")).unwrap();
    symlink(".", photos.join("up")).unwrap();
    let (code, lines, said) = ran(root, &["score", "--model", "run", "data/badge/test/good", "-q"]);
    assert_eq!(code, 1);
    assert_eq!(lines, good);
    assert!(said.contains("000b.png: this link leads to nowhere"), "{said}");
    assert!(said.contains("good/up: this link leads back to "), "{said}");

    // A model is calibrated with the others.
    fs::remove_file(photos.join("up")).unwrap();
    fs::write(photos.join("999.png"), "no image").unwrap();
    let (code, _, said) = ran(root, &["calibrate", "--model", "run", "data/badge/test/good"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("000b.png") && said.contains("999.png"), "{said}");
    assert!(said.contains("is calibrated with 3 good images"), "{said}");
}

#[test]
fn maps_that_cannot_be_written_keep_no_image_from_its_score() {
    let folder = trained(&[]);
    let root = folder.path();
    fs::create_dir(root.join("in")).unwrap();
    let image = root.join("data/badge/test/good/000.png");
    let long = format!("{}.png", "b".repeat(244));
    for name in ["a.png", &long, "z.png"] {
        fs::copy(&image, root.join("in").join(name)).unwrap();
    }
    let (code, lines, said) = ran(root, &["score", "--model", "run", "in", "--maps", "maps", "-q"]);
    assert_eq!((code, lines.lines().count()), (1, 4), "{said}");
    assert_eq!(said.matches("error: ").count(), 1, "{said}");
    assert!(said.contains(&format!("no map of in/{long}")), "{said}");
    assert!(root.join("maps/z.overlay.png").exists());
}

#[test]
fn what_is_written_is_never_read_as_an_image() {
    let folder = trained(&[]);
    let root = folder.path();
    for maps in [
        "data/badge/maps",
        "data/badge",
        "data/badge/test/good",
        "./data/../data/badge/new/maps",
    ] {
        let (code, lines, said) = ran(root, &["score", "--model", "run", "data/badge", "--maps", maps, "-q"]);
        assert_eq!((code, lines.as_str()), (2, ""), "{said}");
        assert!(said.contains("--maps"), "{said}");
    }
    symlink("data/badge", root.join("link")).unwrap();
    stderr(
        root,
        &["score", "--model", "run", "data/badge", "--maps", "link/maps", "-q"],
        2,
    );
    assert!(!root.join("data/badge/maps").exists() && !root.join("data/badge/new").exists());
    // Beside a file that is named, a map as TIFF could take the file's own place, and `*.png` would find maps as pictures.
    let one = [
        "score",
        "--model",
        "run",
        "data/badge/test/good/000.png",
        "--maps",
        "data/badge/test/good",
        "-q",
    ];
    assert!(stderr(root, &one, 2).contains("would score them"));

    for arguments in [
        &["eval", "data/badge", "--model", "run", "--out", "data/badge/test/out"][..],
        &["eval", "data", "--out", "data/out"],
        &["eval", "--model", "run", "--out", "data/badge/out"],
        &["train", "data/badge", "--out", "data/badge/run"],
    ] {
        let said = stderr(root, arguments, 2);
        assert!(said.contains("choose a folder beside it with --out"), "{said}");
    }
}

#[test]
fn a_category_that_is_not_in_order_keeps_no_other_from_being_measured() {
    let folder = trained(&[]);
    let root = folder.path();
    symlink("nowhere", root.join("data/cable")).unwrap();
    let broken = root.join("data/dish");
    fs::create_dir_all(broken.join("test/cut")).unwrap();
    fs::create_dir_all(broken.join("train/good")).unwrap();
    let (code, table, said) = ran(root, &["eval", "data", "--model", "run", "--out", "out"]);
    assert_eq!(code, 1, "{said}");
    for (category, reason) in [("cable", "leads to nowhere"), ("dish", "has no test images")] {
        assert!(
            said.contains(&format!("error: {category} cannot be measured")),
            "{said}"
        );
        assert!(
            table.contains(&format!("\n{category}: not measured: ")) && table.contains(reason),
            "{table}"
        );
    }
    assert!(said.contains("data/dish/test/cut: no image in this folder"), "{said}");
    // It is told before anything is measured.
    assert!(
        said.find("dish cannot be measured") < said.find("measuring badge"),
        "{said}"
    );
    let results = results(root, "out");
    let measured: Vec<_> = results["categories"].as_object().unwrap().keys().collect();
    assert_eq!(measured, ["badge", "fabric"]);
    assert_eq!(results["unmeasured"][0]["name"], "cable");
    assert_eq!(results["unmeasured"].as_array().unwrap().len(), 2);

    // One that cannot be trained is told before the others are.
    let train = [
        "eval", "data", "--method", "riad", "--size", "32", "--epochs", "1", "--out", "new",
    ];
    let (code, _, said) = ran(root, &train);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.find("dish cannot be measured") < said.find("training tiny"),
        "{said}"
    );
    assert!(root.join("new/badge/run/best.safetensors").exists() && root.join("new/fabric/run").exists());
    assert!(!root.join("new/dish").exists());
}

#[test]
fn faults_are_told_once_even_if_no_category_can_be_measured() {
    let folder = trained(&[]);
    let root = folder.path();
    for category in ["badge", "fabric"] {
        fs::write(root.join("data").join(category).join("train/good/000.png"), "no image").unwrap();
    }
    let (code, _, said) = ran(root, &["eval", "data", "--size", "32", "--out", "out"]);
    assert_eq!(code, 1, "{said}");
    for category in ["badge", "fabric"] {
        assert_eq!(
            said.matches(&format!("{category}/train/good/000.png")).count(),
            1,
            "{said}"
        );
    }
    let last = said.lines().last();
    assert_eq!(
        last,
        Some("error: none of the 2 categories could be measured"),
        "{said}"
    );
}

#[test]
fn runs_that_cannot_be_shown_keep_no_other_from_the_report() {
    let folder = trained(&[]);
    let root = folder.path();
    let (code, _, said) = ran(root, &["report", "nothing", "run", "--out", "report.html"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("error: nothing cannot be shown"), "{said}");
    assert!(fs::read_to_string(root.join("report.html")).unwrap().contains("badge"));
}

#[test]
fn test_images_that_cannot_be_read_are_left_out_and_named() {
    let folder = trained(&[]);
    let root = folder.path();
    let test = root.join("data/badge/test");
    fs::write(test.join("good/001.png"), "no image").unwrap();
    fs::write(test.join("scratch/000.png"), "no image").unwrap();
    fs::create_dir(test.join("empty")).unwrap();
    let (code, table, said) = ran(root, &["eval", "data/badge", "--model", "run", "--out", "out"]);
    assert_eq!(code, 1, "{said}");
    for part in ["good/001.png", "scratch/000.png", "test/empty: no image in this folder"] {
        assert!(said.contains(part) && table.contains(part), "{said}{table}");
    }
    let results = results(root, "out");
    let badge = &results["categories"]["badge"];
    assert_eq!(badge["faults"].as_array().unwrap().len(), 3);
    let scores = fs::read_to_string(root.join("out/scores.csv")).unwrap();
    assert_eq!(badge["images"].as_u64().unwrap() as usize, scores.lines().count() - 1);
    assert!(
        badge["image_auroc"].is_number() && badge["aupro"].is_number(),
        "{badge}"
    );
}

#[test]
fn masks_are_needed_for_nothing_but_pixels() {
    let folder = trained(&[]);
    let root = folder.path();
    let measure = |out: &str| {
        let table = stdout(root, &["eval", "data/badge", "--model", "run", "--out", out, "-q"]);
        (table, results(root, out)["categories"]["badge"].clone())
    };
    let (_, whole) = measure("whole");
    assert_eq!(whole["without_mask"], Value::Null);

    // Masks of good images that mark nothing change nothing.
    let truth = root.join("data/badge/ground_truth");
    let good = root.join("data/badge/test/good/000.png");
    let size = image::image_dimensions(&good).unwrap();
    fs::create_dir(truth.join("good")).unwrap();
    GrayImage::new(size.0, size.1)
        .save(truth.join("good/000_mask.png"))
        .unwrap();
    assert_eq!(measure("black").1, whole);
    // One that marks something contradicts its image's folder.
    GrayImage::from_pixel(size.0, size.1, Luma([255]))
        .save(truth.join("good/000_mask.png"))
        .unwrap();
    let (code, _, said) = ran(root, &["eval", "data/badge", "--model", "run", "--out", "out", "-q"]);
    assert!(
        code == 1 && said.contains("good/000_mask.png: this mask marks a defect"),
        "{said}"
    );
    fs::remove_dir_all(truth.join("good")).unwrap();

    // A mask that marks more than half of its image is named once, and counts.
    let mask = truth.join("scratch/000_mask.png");
    let right = fs::read(&mask).unwrap();
    let mut inverted = image::open(&mask).unwrap();
    inverted.invert();
    inverted.save(&mask).unwrap();
    let (code, _, said) = ran(root, &["eval", "data/badge", "--model", "run", "--out", "out", "-q"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(said.matches("000_mask.png: this mask marks ").count(), 1, "{said}");
    assert!(said.contains("if it is inverted"), "{said}");
    assert_ne!(results(root, "out")["pixel_auroc"], whole["pixel_auroc"]);
    fs::write(&mask, right).unwrap();

    // Without one of the masks: the images' metrics are the same, and the pixels' are those of the other images.
    fs::remove_file(truth.join("scratch/000_mask.png")).unwrap();
    let (table, some) = measure("some");
    assert_eq!(some["image_auroc"], whole["image_auroc"]);
    assert_eq!(some["without_mask"], serde_json::json!(["test/scratch/000.png"]));
    assert!(table.contains("1 have no usable mask: test/scratch/000.png"), "{table}");
    fs::rename(root.join("data/badge/test/scratch/000.png"), root.join("aside.png")).unwrap();
    let (_, without) = measure("without");
    for metric in ["pixel_auroc", "pixel_ap", "aupro"] {
        assert!(some[metric].is_number());
        assert_eq!(some[metric], without[metric], "{metric}");
    }
    fs::rename(root.join("aside.png"), root.join("data/badge/test/scratch/000.png")).unwrap();

    // Without any.
    fs::remove_dir_all(&truth).unwrap();
    let (table, none) = measure("none");
    assert_eq!(none["image_auroc"], whole["image_auroc"]);
    assert_eq!(none["aupro"], Value::Null);
    assert!(
        table.contains("undefined, because no defect has a usable mask"),
        "{table}"
    );
    let report = fs::read_to_string(root.join("none/report.html")).unwrap();
    assert!(report.contains("no defect has a usable mask"));
}

#[test]
fn training_needs_nothing_but_the_images_to_learn_from() {
    let folder = demo();
    let root = folder.path();
    let test = root.join("data/badge/test");
    fs::remove_dir_all(root.join("data/badge/ground_truth")).unwrap();
    fs::write(test.join("good/001.png"), "no image").unwrap();
    symlink("nowhere", test.join("tear")).unwrap();
    fs::create_dir(test.join("empty")).unwrap();
    let train = |out: &str| {
        let options = ["--method", "riad", "--size", "32", "--epochs", "1", "--out", out, "-q"];
        ran(root, &[&["train", "data/badge"], &options[..]].concat())
    };
    let (code, _, said) = train("run");
    assert_eq!((code, said.as_str()), (0, ""));

    // What it does need is named at once, all of it.
    let good = root.join("data/badge/train/good");
    let image = fs::read(good.join("001.png")).unwrap();
    // Its header is whole.
    fs::write(good.join("001.png"), &image[..image.len() / 2]).unwrap();
    fs::write(good.join("002.png"), "no image").unwrap();
    let (code, _, said) = train("other");
    assert_eq!(code, 1);
    assert!(
        said.contains("001.png") && said.contains("002.png") && said.contains("2 faults"),
        "{said}"
    );
    assert!(!root.join("other/last.safetensors").exists());

    // And what is only to be measured needs none of it.
    fs::remove_dir_all(root.join("data/badge/train")).unwrap();
    let (code, _, said) = ran(root, &["eval", "data/badge", "--model", "run", "--out", "out"]);
    assert_eq!(code, 1, "{said}");
    assert!(!said.contains("training images"), "{said}");
    assert!(results(root, "out")["categories"]["badge"]["image_auroc"].is_number());
}
