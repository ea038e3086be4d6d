//! Experiments with the method: an autoencoder to compare with, other losses, masks and maps.

use std::fs;

use crate::support::{demo, riad, stderr, stdout};
use serde_json::Value;

const SMALL: [&str; 10] = [
    "--preset", "tiny", "--size", "32", "--epochs", "1", "--batch", "4", "--seed", "3",
];

fn info(folder: &std::path::Path, run: &str) -> Value {
    serde_json::from_str(&stdout(folder, &["info", run, "--json"])).unwrap()
}

#[test]
fn an_autoencoder_is_trained_and_scored_as_riad_is() {
    let folder = demo();
    let data = ["data/badge", "--method", "autoencoder", "--loss", "l1+ssim"];
    stdout(
        folder.path(),
        &[&["train"], &data[..], &SMALL, &["--out", "plain"]].concat(),
    );
    let header = info(folder.path(), "plain");
    assert_eq!(header["architecture"]["skip_connections"], false);
    assert_eq!(header["passes_per_image"], 1);
    assert_eq!(header["training"]["loss"]["l1"], 1.0);
    assert_eq!(header["training"]["loss"]["l2"], 0.0);
    let table = stdout(folder.path(), &["eval", "data/badge", "--model", "plain"]);
    assert!(table.contains("badge"), "{table}");
    let scores = stdout(folder.path(), &["score", "--model", "plain", "data/badge/test/good"]);
    assert!(scores.lines().count() > 1, "{scores}");

    // Another method is another run.
    let error = stderr(folder.path(), &["train", "--resume", "plain", "--method", "riad"], 2);
    assert!(error.contains("another --method"), "{error}");
    let error = stderr(folder.path(), &["train", "--resume", "plain", "--loss", "l1"], 2);
    assert!(error.contains("another --loss"), "{error}");
    riad(folder.path())
        .args([
            "train",
            "--resume",
            "plain",
            "--method",
            "autoencoder",
            "--loss",
            "ssim+l1",
        ])
        .assert()
        .success();
}

/// Trained, resumed, scored, drawn and exported as the others are, and its checkpoint says what it is.
#[test]
fn images_are_restored_from_their_edges() {
    let folder = demo();
    let options = ["data/badge", "--method", "restore", "--epochs", "2"];
    let small = &SMALL[..4];
    let seeded = ["--batch", "4", "--seed", "3"];
    let train = |options: &[&str], out: &str| {
        stdout(
            folder.path(),
            &[&["train"], options, small, &seeded, &["--out", out]].concat(),
        );
    };
    train(&options, "whole");
    let header = info(folder.path(), "whole");
    let scoring = &header["scoring"];
    assert_eq!(
        (&scoring["method"], &scoring["input"]),
        (&"restore".into(), &"edges-colour".into())
    );
    // As many as the image has channels.
    assert!(header["architecture"]["inputs"].is_null());
    assert_eq!(header["passes_per_image"], 1);
    assert_eq!(scoring["chroma"], 50.0);

    // As often as it is broken off, and whatever the number of threads, the weights are the same.
    let stopped = riad(folder.path())
        .args(
            [
                &["train"],
                &options[..],
                small,
                &seeded,
                &["--out", "again", "--max-time", "0s"],
            ]
            .concat(),
        )
        .assert()
        .success();
    let said = String::from_utf8(stopped.get_output().stderr.clone()).unwrap();
    assert!(said.contains("only 0 of 2 epochs are trained"), "{said}");
    let error = stderr(folder.path(), &["train", "--resume", "again", "--patience", "20"], 2);
    assert!(error.contains("another --patience"), "{error}");
    riad(folder.path())
        .args(["train", "--resume", "again"])
        .env("RAYON_NUM_THREADS", "1")
        .assert()
        .success();
    let [whole, again] =
        ["whole", "again"].map(|run| fs::read(folder.path().join(run).join("best.safetensors")).unwrap());
    assert!(whole == again);

    let table = stdout(
        folder.path(),
        &["eval", "data/badge", "--model", "whole", "--out", "evaluated"],
    );
    assert!(table.contains("badge"), "{table}");
    let report = fs::read_to_string(folder.path().join("evaluated").join("report.html")).unwrap();
    assert!(
        report.contains("edges of each channel"),
        "the report does not say what the network sees"
    );
    stdout(
        folder.path(),
        &["export", "--model", "whole", "--format", "onnx", "--out", "whole.onnx"],
    );
    let scores = stdout(folder.path(), &["score", "--model", "whole", "data/badge/test/good"]);
    assert!(scores.lines().count() > 1, "{scores}");

    for (input, channels) in [("edges-colour", 3), ("high-pass", 1), ("none", 3)] {
        train(
            &[&options[..3], &["--input", input, "--chroma", "0", "--epochs", "1"]].concat(),
            input,
        );
        let header = info(folder.path(), input);
        assert_eq!(header["architecture"]["inputs"].as_u64().unwrap_or(3), channels);
    }
    let error = stderr(folder.path(), &["train", "--resume", "whole", "--input", "none"], 2);
    assert!(error.contains("another --input"), "{error}");
}

/// A badge lies at the same place in every image, a fabric's threads do not. Options that belong to a method choose it.
#[test]
fn the_method_suits_the_images() {
    let folder = demo();
    for (data, options, expected) in [
        ("data/badge", &[][..], "restore"),
        ("data/fabric", &[], "riad"),
        ("data/badge", &["--regions", "4"], "riad"),
        ("data/badge", &["--sets", "2"], "riad"),
        ("data/badge", &["--patience", "3"], "riad"),
        ("data/badge", &["--protocol", "paper"], "riad"),
        ("data/fabric", &["--input", "edges-colour"], "restore"),
        ("data/badge", &["--method", "riad"], "riad"),
    ] {
        let out = tempfile::tempdir_in(folder.path()).unwrap();
        let out = out.path().file_name().unwrap().to_str().unwrap();
        let small = [&["train", data, "--out", out], &SMALL[..]].concat();
        let said = riad(folder.path()).args(small).args(options).assert().success();
        let header = info(folder.path(), out);
        assert_eq!(header["scoring"]["method"], expected, "{data} {options:?}");
        let said = String::from_utf8_lossy(&said.get_output().stderr).into_owned();
        assert_eq!(said.contains("alignment"), options.is_empty(), "{said}");
    }
    // Images of no channels have no edges, and are refused before they are read.
    let error = stderr(folder.path(), &["train", "data/badge", "--channels", "0"], 2);
    assert!(error.contains("images have 1 to 256 channels, not 0"), "{error}");
    // One set of options for both, each with the method that suits it; and what was chosen is kept.
    let both = [&["eval", "data", "--out", "both"], &SMALL[..]].concat();
    riad(folder.path()).args(both).assert().success();
    for (category, method) in [("badge", "restore"), ("fabric", "riad")] {
        let run = format!("both/{category}/run");
        assert_eq!(info(folder.path(), &run)["scoring"]["method"], method);
        stdout(folder.path(), &["train", "--resume", &run, "-q"]);
    }
}

#[test]
fn parts_of_the_method_can_be_changed() {
    let folder = demo();
    let options = [
        "--regions",
        "4,8",
        "--sets",
        "2",
        "--similarity",
        "ssim",
        "--smoothing",
        "5",
        "--scales",
        "2",
    ];
    stdout(
        folder.path(),
        &[&["train", "data/fabric"], &SMALL[..], &options, &["--out", "run"]].concat(),
    );
    let scoring = &info(folder.path(), "run")["scoring"];
    assert_eq!(scoring["region_sizes"], serde_json::json!([4, 8]));
    assert_eq!(scoring["sets"], 2);
    assert_eq!(scoring["similarity"], "ssim");
    assert_eq!(scoring["smoothing"], 5);
    assert_eq!(scoring["scales"], 2);
}

#[test]
fn what_cannot_be_is_refused_before_a_run_is_made() {
    let folder = demo();
    for (options, expected, code) in [
        (
            vec!["--method", "autoencoder", "--sets", "2"],
            "the method autoencoder hides nothing",
            2,
        ),
        (
            vec!["--method", "restore", "--regions", "4"],
            "the method restore hides nothing",
            2,
        ),
        (vec!["--input", "sobel"], "none, edges-grey, edges-colour, high-pass", 2),
        (vec!["--chroma=-1"], "must be within 0 to 10000", 2),
        (vec!["--loss", "l2+mse"], "not a term of the loss", 2),
        (vec!["--similarity", "cosine"], "gms-colour, gms-grey, ssim, l2", 2),
        (vec!["--regions", "4,x"], "invalid digit", 2),
        (vec!["--smoothing", "4"], "odd", 2),
        (vec!["--scales", "5"], "1 to 4 scales", 2),
        (vec!["--regions", "0"], "region", 2),
        (vec!["--sets", "0"], "set", 2),
    ] {
        let error = stderr(
            folder.path(),
            &[&["train", "data/badge", "--out", "run"], options.as_slice()].concat(),
            code,
        );
        assert!(error.contains(expected), "{options:?}: {error}");
        assert!(!fs::exists(folder.path().join("run")).unwrap(), "{options:?}");
    }
}
