//! Thresholds with a guarantee: calibration, verdicts, and the share of good images that are flagged.

use std::{collections::BTreeSet, fs, path::Path};

use crate::support::{riad, stderr, stdout, trained};
use image::RgbImage;
use riad_data::image_files;
use riad_model::{Checkpoint, Precision};
use serde_json::Value;
use sha2::{Digest, Sha256};

fn calibration(model: &Path) -> Vec<f32> {
    let header = Checkpoint::open(model).unwrap().header;
    header
        .calibration
        .map_or(vec![], |calibration| calibration.scores().to_vec())
}

/// Scores by path, as `riad score` prints them.
fn scores(root: &Path, paths: &[&str]) -> Vec<(String, f32)> {
    let lines = stdout(root, &[&["score", "--model", "run", "-q"], paths].concat());
    csv::Reader::from_reader(lines.as_bytes())
        .deserialize()
        .map(Result::unwrap)
        .collect()
}

/// The images that the run's settings hold out for calibration.
fn held_out(root: &Path) -> Vec<String> {
    let settings: Value = serde_json::from_slice(&fs::read(root.join("run/settings.json")).unwrap()).unwrap();
    let images = settings["images"].as_array().unwrap().iter();
    let held_out = images.filter(|image| image["calibration"] == true);
    let paths = held_out.map(|image| format!("data/badge/{}", image["name"].as_str().unwrap()));
    paths.collect()
}

#[test]
fn training_calibrates_with_images_that_it_has_not_seen() {
    let folder = trained(&["--calibration", "0.25"]);
    let root = folder.path();
    let held_out = held_out(root);
    let mut expected: Vec<f32> = scores(root, &held_out.iter().map(String::as_str).collect::<Vec<_>>())
        .into_iter()
        .map(|(_, score)| score)
        .collect();
    expected.sort_by(f32::total_cmp);
    assert_eq!(expected.len(), 2);
    assert_eq!(calibration(&root.join("run")), expected);

    let info = stdout(root, &["info", "run"]);
    assert!(
        info.contains("2 good images, for false-positive rates from 0.3334 on"),
        "{info}"
    );
    let info: Value = serde_json::from_str(&stdout(root, &["info", "run", "--json"])).unwrap();
    assert_eq!(info["calibration"]["scores"].as_array().unwrap().len(), 2);

    // A rate that takes more is refused before anything is scored, and it is said how many.
    let error = stderr(
        root,
        &["score", "--model", "run", "data/badge/test", "--fpr", "0.01"],
        2,
    );
    for part in [
        "at least 99 good images",
        "there are 2",
        "riad calibrate --model run PATH…",
    ] {
        assert!(error.contains(part), "{error}");
    }
    let error = stderr(root, &["train", "--resume", "run", "--calibration", "0.1"], 2);
    assert!(error.contains("another --calibration"), "{error}");
}

#[test]
fn verdicts_follow_from_the_calibration() {
    let folder = trained(&["--calibration", "0.25"]);
    let root = folder.path();
    stdout(root, &["calibrate", "--model", "run", "data/badge/test/good", "-q"]);
    let good = scores(root, &["data/badge/test/good"]);
    let mut expected: Vec<f32> = good.iter().map(|(_, score)| *score).collect();
    expected.sort_by(f32::total_cmp);
    assert_eq!(calibration(&root.join("run")), expected);

    // Of three scores, the threshold for a half is the middle one; an equal score is not above it.
    let arguments = ["score", "--model", "run", "data/badge/test", "--fpr", "0.5"];
    let output = riad(root).args(arguments).args(["--maps", "maps"]).assert().success();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (lines, said) = (text(&output.get_output().stdout), text(&output.get_output().stderr));
    assert!(lines.starts_with("path,score,p_value,verdict\n"), "{lines}");
    let rows: Vec<(String, f32, f64, String)> = csv::Reader::from_reader(lines.as_bytes())
        .deserialize()
        .map(Result::unwrap)
        .collect();
    let magenta = |path: &str| {
        let overlay = path.replace("data/badge/test/", "").replace(".png", ".overlay.png");
        let overlay = image::open(root.join("maps").join(overlay)).unwrap().into_rgb8();
        overlay.pixels().filter(|pixel| pixel.0 == [255, 0, 200]).count()
    };
    for (path, score, p_value, verdict) in &rows {
        let at_least = expected.iter().filter(|other| *other >= score).count();
        assert_eq!(*p_value, (1 + at_least) as f64 / 4.0, "{path}");
        let is_defective = *score > expected[1];
        assert_eq!(verdict, if is_defective { "defective" } else { "good" }, "{path}");
        assert!(is_defective || magenta(path) == 0, "{path} has a line around nothing");
    }
    let most = rows.iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    assert_eq!(most.3, "defective");
    assert!(magenta(&most.0) > 0, "{} has no line around its defect", most.0);
    let flagged = rows.iter().filter(|row| row.3 == "defective").count();
    assert!(
        said.contains(&format!("{flagged} of {} images are defective", rows.len())),
        "{said}"
    );

    let jsonl = stdout(root, &[&arguments[..], &["--format", "jsonl", "-q"]].concat());
    for (line, (path, _, p_value, verdict)) in jsonl.lines().zip(&rows) {
        let object: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&object["path"], &object["p_value"], &object["verdict"]),
            (&path.as_str().into(), &(*p_value).into(), &verdict.as_str().into())
        );
    }

    // The evaluation counts the same, on pictures that the model does not know: equal ones in other files.
    fs::create_dir(root.join("twins")).unwrap();
    for name in ["000", "001", "002"] {
        let good = image::open(root.join(format!("data/badge/test/good/{name}.png"))).unwrap();
        good.save(root.join(format!("twins/{name}.bmp"))).unwrap();
    }
    stdout(root, &["calibrate", "--model", "run", "twins", "-q"]);
    assert_eq!(calibration(&root.join("run")), expected);
    let table = stdout(root, &["eval", "--model", "run", "--fpr", "0.5", "-q"]);
    assert!(
        table.contains("calibrated for a false-positive rate of 0.5,"),
        "{table}"
    );
    let sentence = format!("Finds {} of 12 defects (", flagged - 1);
    assert!(table.starts_with(&sentence), "{table}");
    assert!(
        table.contains("), stops 1 of 3 good ones (33 %; 95 % range 1 to 91)\n"),
        "{table}"
    );
    let results = fs::read(root.join("run/eval/results.json")).unwrap();
    let results: Value = serde_json::from_slice(&results).unwrap();
    let at = &results["categories"]["badge"]["at_threshold"];
    let good = &at["good_images"];
    assert_eq!((&good["flagged"], &good["of"]), (&1.into(), &3.into()));
    assert_eq!(at["defective_images"]["flagged"], flagged - 1);
    assert_eq!(
        at["good_pixels"]["of"].as_u64().unwrap() + at["defective_pixels"]["of"].as_u64().unwrap(),
        15 * 32 * 32
    );

    // A confidence takes the higher of the thresholds that it allows: of three scores, the highest keeps a rate of 0.5 with
    // 1 - 0.5^3, and the middle one with a half.
    let judged = |confidence: &str| {
        let lines = stdout(root, &[&arguments[..], &["--confidence", confidence, "-q"]].concat());
        lines.matches(",defective").count()
    };
    let above = |score: f32| rows.iter().filter(|row| row.1 > score).count();
    assert_eq!(
        (judged("0.87"), judged("0.5")),
        (above(expected[2]), above(expected[1]))
    );
    let error = stderr(root, &[&arguments[..], &["--confidence", "0.9"]].concat(), 2);
    assert!(error.contains("needs at least 4 good images"), "{error}");
    let table = stdout(
        root,
        &["eval", "--model", "run", "--fpr", "0.5", "--confidence", "0.87", "-q"],
    );
    assert!(
        table.contains("calibrated for a false-positive rate of 0.5 with a confidence of 0.87,"),
        "{table}"
    );
    assert!(table.contains("stops 0 of 3 good ones (0 %"), "{table}");

    // What cannot be promised is no reason to measure nothing.
    let table = stdout(root, &["eval", "--model", "run", "--fpr", "0.05", "-q"]);
    assert!(table.contains("at least 19 good images"), "{table}");
}

/// The digits of an image's SHA-256 that a checkpoint keeps.
fn digits(file: &Path) -> String {
    let sum = Sha256::digest(fs::read(file).unwrap());
    sum[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn images_that_set_the_threshold_do_not_show_how_many_good_ones_are_stopped() {
    let folder = trained(&["--calibration", "0.25"]);
    let root = folder.path();
    let kept = |model: &str| Checkpoint::open(&root.join(model)).unwrap().header.calibration_images;
    let of = |files: &[String]| -> BTreeSet<String> { files.iter().map(|file| digits(&root.join(file))).collect() };
    assert_eq!(kept("run"), of(&held_out(root)).into_iter().collect::<Vec<_>>());

    let eval = |model: &str, more: &[&str]| {
        stdout(
            root,
            &[&["eval", "--model", model, "--fpr", "0.5", "-q"], more].concat(),
        )
    };
    let some = ["--good", "data/badge/train/good", "data/badge/test/good"];
    let said = eval("run", &some);
    let [known, seen] = [
        "2 of the 11 good images set the threshold, data/badge/train/good/",
        "6 of the good pictures were used in training or validation",
    ];
    assert!(
        said.contains(" of 9 good ones (") && said.contains(known) && said.contains(seen),
        "{said}"
    );

    // A model without its run knows them, too, and those of a later calibration in their place.
    fs::copy(root.join("run/best.safetensors"), root.join("alone.safetensors")).unwrap();
    let said = eval("alone.safetensors", &[&some[..], &["--out", "out"]].concat());
    assert!(
        said.contains(" of 9 good ones (") && said.contains(known) && !said.contains(seen),
        "{said}"
    );
    let good = ["000", "001", "002"].map(|name| format!("data/badge/test/good/{name}.png"));
    stdout(root, &["calibrate", "--model", "run", "data/badge/test/good", "-q"]);
    assert_eq!(kept("run"), of(&good).into_iter().collect::<Vec<_>>());
    let alone = "The good images set the threshold. So they cannot show";
    for more in [&["--good", "data/badge/test/good"][..], &["data/badge"]] {
        let said = eval("run", more);
        assert!(!said.contains("tops ") && said.contains(alone), "{said}");
    }
    let said = eval("run", &["--good", "data/badge/train/good"]);
    assert!(
        said.contains(" of 8 good ones (") && !said.contains("set the threshold"),
        "{said}"
    );

    // Given as bad ones they still count, and what they have done is said.
    for (bad, caution) in [
        (
            "data/badge/test/good",
            "3 of the 3 bad images set the threshold as good ones, data/badge/test/good/000.png first. So the threshold is too high.",
        ),
        (
            "data/badge/train/good",
            "6 of the bad pictures were used in training or validation as good ones, data/badge/train/good/",
        ),
    ] {
        let said = eval("run", &["--bad", bad]);
        assert!(said.starts_with("Finds ") && said.contains(caution), "{said}");
    }
}

#[test]
fn images_that_would_spoil_the_guarantee_are_refused() {
    let folder = trained(&["--calibration", "0.25"]);
    let root = folder.path();
    let before = fs::read(root.join("run/best.safetensors")).unwrap();
    let calibrate = |paths: &[&str], code| stderr(root, &[&["calibrate", "--model", "run"], paths].concat(), code);

    let error = calibrate(&["data/badge/train/good"], 2);
    assert!(
        error.contains("6 of the images were used in training or validation"),
        "{error}"
    );
    let error = calibrate(&["absent.png"], 1);
    // What is wrong with the only one is the whole answer.
    assert_eq!(error.matches("absent.png").count(), 1, "{error}");
    assert_eq!(fs::read(root.join("run/best.safetensors")).unwrap(), before);

    // A checkpoint elsewhere is left as it is.
    fs::copy(root.join("run/best.safetensors"), root.join("model.safetensors")).unwrap();
    stdout(
        root,
        &[
            "calibrate",
            "--model",
            "model.safetensors",
            "data/badge/test/good",
            "--out",
            "b.safetensors",
            "-q",
        ],
    );
    assert_eq!(fs::read(root.join("model.safetensors")).unwrap(), before);
    assert_eq!(calibration(&root.join("b.safetensors")).len(), 3);
    assert!(!root.join("lock").exists());

    // What comes twice counts once.
    fs::copy(root.join("data/badge/test/good/000.png"), root.join("again.png")).unwrap();
    let said = calibrate(&["data/badge/test/good", "again.png"], 0);
    assert!(
        said.contains("again.png is the same picture as data/badge/test/good/000.png; it counts once"),
        "{said}"
    );
    assert_eq!(calibration(&root.join("run/best.safetensors")).len(), 3);

    // What cannot be read is named, and has no score when the threshold is used, either.
    fs::write(root.join("broken.png"), "no image").unwrap();
    let said = calibrate(&["data/badge/test/good", "broken.png"], 1);
    assert!(
        said.contains("broken.png") && said.contains("is calibrated with 3 good images"),
        "{said}"
    );
}

/// Of 80 fresh good images, calibrates on a random half of 39 and judges the other 41, in 20 ways. The number flagged at
/// a rate of 0.05 is then a sum of 20 beta-binomial numbers with n = 41, a = l, b = 40 - l, l = ⌊40 · 0.05⌋. Its bounds,
/// exceeded once in a thousand times on either side, from scipy 1.17:
///
/// ```python
/// import numpy as np
/// from scipy.stats import betabinom
/// pmf = betabinom.pmf(np.arange(42), 41, 2, 38)
/// total = np.array([1.0])
/// for _ in range(20):
///     total = np.convolve(total, pmf)
/// cdf = total.cumsum()
/// print(np.searchsorted(cdf, 0.001), np.searchsorted(cdf, 0.999))
/// ```
#[test]
#[ignore = "takes a minute: 20 calibrations"]
fn of_fresh_good_images_the_share_asked_for_is_flagged() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    stdout(root, &["demo-data", "data", "-q"]);
    stdout(
        root,
        &[
            "train",
            "data/badge",
            "--size",
            "64",
            "--epochs",
            "2",
            "--out",
            "run",
            "-q",
        ],
    );
    // Another seed draws other images of the same product.
    stdout(root, &["demo-data", "fresh", "--seed", "1", "-q"]);
    let mut images: Vec<String> = ["train", "test"]
        .iter()
        .flat_map(|part| fs::read_dir(root.join("fresh/badge").join(part).join("good")).unwrap())
        .map(|entry| entry.unwrap().path().to_str().unwrap().to_owned())
        .collect();
    images.sort();
    let mut flagged = 0;
    for seed in 0..20 {
        let order = riad_data::shuffled(images.len(), seed);
        let paths: Vec<&str> = order.iter().map(|&index| images[index].as_str()).collect();
        let (calibration, fresh) = paths.split_at(39);
        assert_eq!(fresh.len(), 41);
        stdout(root, &[&["calibrate", "--model", "run", "-q"], calibration].concat());
        let score = ["score", "--model", "run", "--fpr", "0.05", "-q"];
        let lines = stdout(root, &[&score[..], fresh].concat());
        flagged += lines.lines().filter(|line| line.ends_with(",defective")).count();
    }
    assert!((18..=72).contains(&flagged), "{flagged} of 820");
}

#[test]
fn every_rate_below_one_answers_and_the_precision_of_a_calibration_is_kept() {
    let folder = trained(&["--calibration", "0.25"]);
    let root = folder.path();
    stdout(root, &["calibrate", "--model", "run", "data/badge/test/good", "-q"]);
    let good = "data/badge/test/good/000.png";
    for rate in ["0.99", "0.999999", "0.99999999999999", "0.9999999999999999"] {
        stdout(root, &["score", "--model", "run", good, "--fpr", rate, "-q"]);
    }
    let best = root.join("run/best.safetensors");
    let mut checkpoint = Checkpoint::open(&best).unwrap();
    assert_eq!(checkpoint.header.calibration_precision, Some(Precision::F32));
    checkpoint.header.calibration_precision = Some(Precision::Bf16);
    checkpoint.save(&best).unwrap();
    let said = stderr(root, &["score", "--model", "run", good, "--fpr", "0.5"], 0);
    assert!(said.contains("was calibrated in bf16 and scores in f32"), "{said}");
}

#[test]
fn a_cancelled_calibration_leaves_the_model_as_it_was() {
    let folder = trained(&["--calibration", "0.25"]);
    let run = folder.path().join("run");
    let before = fs::read(run.join("best.safetensors")).unwrap();
    let cancel = riad::Cancel::new();
    cancel.cancel();
    let calibration = riad::Recalibration::of(&run).pictures(folder.path().join("data/badge/test/good"));
    let calibrated = calibration.cancel(cancel).start(&());
    assert!(matches!(calibrated, Err(riad::Error::Cancelled)), "{calibrated:?}");
    assert!(fs::read(run.join("best.safetensors")).unwrap() == before);
}

#[test]
fn what_is_not_the_product_never_passes() {
    let folder = trained(&[]);
    let root = folder.path();
    stdout(root, &["calibrate", "--model", "run", "data/badge/test/good", "-q"]);
    fs::create_dir(root.join("inbox")).unwrap();
    let good = "data/badge/train/good";
    let first = image_files(&root.join(good), None).images.swap_remove(0);
    fs::copy(first, root.join("inbox/good.png")).unwrap();
    // Dark, and at this rate below the threshold: without a look at the whole picture it would be good.
    let black = RgbImage::new(128, 128);
    black.save(root.join("inbox/black.png")).unwrap();
    let lines = stdout(
        root,
        &[
            "score", "--model", "run", "inbox", "--fpr", "0.25", "--format", "jsonl", "-q",
        ],
    );
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["verdict"], "not_this_product", "{lines:?}");
    let reason = lines[0]["reason"].as_str().unwrap();
    assert!(reason.contains("too dark"), "{reason}");
    assert_ne!(lines[1]["verdict"], "not_this_product", "{lines:?}");
    assert_eq!(lines[1].get("reason"), None);
    assert!(lines[0]["score"].as_f64() < lines[1]["score"].as_f64(), "{lines:?}");

    let said = stderr(root, &["score", "--model", "run", "inbox", "--fpr", "0.25"], 0);
    assert!(said.contains("and 1 is not this product"), "{said}");

    let watch = [
        "watch", "--model", "run", "inbox", "--fpr", "0.25", "--once", "--settle", "100ms",
    ];
    let said = stderr(
        root,
        &[&watch[..], &["--defects", "rejects", "--by", "move"]].concat(),
        0,
    );
    assert!(
        said.contains("black.png is not this product: ") && said.contains("too dark"),
        "{said}"
    );
    assert!(root.join("rejects/black.png").is_file() && !root.join("inbox/black.png").exists());
    let rows = fs::read_to_string(root.join("results.csv")).unwrap();
    assert!(
        rows.lines()
            .any(|row| row.starts_with("black.png,") && row.contains(",not_this_product,")),
        "{rows}"
    );
    // The next start takes what it wrote.
    stdout(root, &watch);
}
