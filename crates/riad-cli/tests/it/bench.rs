//! `riad bench`: what it prints. How fast anything is, no test can say.

use crate::support::{stderr, stdout};
use serde_json::Value;

#[test]
fn a_training_is_estimated_from_what_was_measured() {
    let folder = tempfile::tempdir().unwrap();
    let bench = [
        "bench", "--size", "32", "--batch", "2", "--time", "10ms", "--images", "190", "--epochs", "8",
    ];
    let found = stdout(
        folder.path(),
        &[&bench[..], &["--preset", "tiny", "--json", "-q"]].concat(),
    );
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["scoring_precision"], "f32");
    assert_eq!(found["training_precision"], "f32");
    let [network] = found["networks"].as_array().unwrap().as_slice() else {
        panic!("{found}");
    };
    assert_eq!((&network["preset"], &network["size"]), (&"tiny".into(), &32.into()));
    let speed = |of: &str| {
        assert_eq!(network[of]["estimated"], false);
        network[of]["images_per_second"].as_f64().unwrap()
    };
    // A tenth is held out for validation and a tenth for calibration; the normal map is that of 64 images.
    let [scoring, training] = ["scoring", "training"].map(speed);
    let expected = 8.0 * (152.0 / training + 19.0 / scoring) + (64.0 + 19.0) / scoring;
    let seconds = network["training_seconds"].as_f64().unwrap();
    assert!((seconds / expected - 1.0).abs() < 1e-9, "{seconds} {expected}");

    let table = stdout(folder.path(), &[&bench[..], &["-qq"]].concat());
    let lines: Vec<_> = table.lines().collect();
    assert!(
        lines[0].ends_with("threads, scoring in f32, training in f32"),
        "{table}"
    );
    assert!(lines[2].ends_with("190 images, 8 epochs"), "{table}");
    for (line, preset) in lines[3..].iter().zip(["tiny", "small", "paper"]) {
        assert!(line.starts_with(preset) && line.contains("32x32"), "{table}");
    }
    assert_eq!(lines.len(), 6);

    // 4000 steps of 2 images are 52.6 epochs of 152.
    let restore = ["--method", "restore", "--preset", "tiny", "--json", "-q"];
    let found = stdout(folder.path(), &[&bench[..bench.len() - 2], &restore].concat());
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!((&found["method"], &found["epochs"]), (&"restore".into(), &53.into()));

    let error = stderr(folder.path(), &["bench", "--size", "8"], 2);
    assert!(error.contains("16 to 16384 pixels"), "{error}");
    let error = stderr(folder.path(), &["bench", "--batch", "0"], 2);
    assert!(error.contains("0 is not in 1..=1024"), "{error}");
}
