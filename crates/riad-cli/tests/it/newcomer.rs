//! The path of someone with a folder of good pictures, from training to other programs. The last step, in Python, is a test
//! of the exports.

use std::fs;

use crate::support::{demo, stdout};

#[test]
fn from_a_folder_of_good_pictures_to_verdicts_and_other_programs() {
    let folder = demo();
    let root = folder.path();
    fs::rename(root.join("data/badge/train/good"), root.join("photos")).unwrap();
    fs::rename(root.join("data/badge/test"), root.join("today")).unwrap();

    let train = [
        "train",
        "photos",
        "--size",
        "32",
        "--epochs",
        "2",
        "--calibration",
        "0.5",
        "-q",
    ];
    stdout(root, &[&train[..], &["--out", "run"]].concat());

    // Without test images the report shows those held out, and the thresholds to choose from.
    stdout(root, &["report", "run", "-q"]);
    let report = fs::read_to_string(root.join("run/report.html")).unwrap();
    assert!(report.contains("There are no test images"), "no caution");
    assert!(report.contains("Calibrated with 5 good images"), "no calibration");

    let lines = stdout(
        root,
        &[
            "score", "--model", "run", "today", "--fpr", "0.2", "--maps", "maps", "-q",
        ],
    );
    let scored: Vec<(String, f32, f64, String)> = csv::Reader::from_reader(lines.as_bytes())
        .deserialize()
        .map(Result::unwrap)
        .collect();
    assert!(scored.len() > 10, "{lines}");
    for (path, _, p_value, verdict) in &scored {
        let expected = if *p_value <= 0.2 { "defective" } else { "good" };
        assert_eq!(verdict, expected, "{path}");
        let below = path.strip_prefix("today/").unwrap().strip_suffix(".png").unwrap();
        assert!(root.join(format!("maps/{below}.overlay.png")).is_file(), "{path}");
    }

    stdout(
        root,
        &[
            "export",
            "--model",
            "run",
            "--format",
            "onnx",
            "--out",
            "badge.onnx",
            "-q",
        ],
    );
    let onnx = fs::read(root.join("badge.onnx")).unwrap();
    assert!(
        onnx.windows(15).any(|bytes| bytes == b"riad.thresholds"),
        "no thresholds inside"
    );
}
