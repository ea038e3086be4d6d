//! Runs beside each other.

use std::{collections::BTreeMap, fs, path::Path};

use crate::support::{demo, stderr, stdout};

fn train(root: &Path, data: &str, out: &str, more: &[&str]) {
    let train = [
        "train",
        data,
        "--method",
        "riad",
        "--size",
        "32",
        "--epochs",
        "1",
        "--calibration",
        "0.5",
    ];
    stdout(root, &[&train[..], &["--out", out, "-q"], more].concat());
}

/// The verdict of each image at the threshold for a rate, as `riad score` gives it.
fn verdicts(root: &Path, run: &str, paths: &[&str]) -> BTreeMap<String, bool> {
    let score = ["score", "--model", run, "--fpr", "0.2", "-q"];
    let lines = stdout(root, &[&score[..], paths].concat());
    let rows = csv::Reader::from_reader(lines.as_bytes()).into_deserialize();
    let rows = rows.map(|row: Result<(String, f32, f64, String), _>| row.unwrap());
    rows.map(|(path, _, _, verdict)| (path, verdict == "defective"))
        .collect()
}

#[test]
fn runs_are_compared_on_the_same_images() {
    let folder = demo();
    let root = folder.path();
    train(root, "data/badge", "a", &[]);
    train(root, "data/badge", "b", &["--seed", "1"]);
    let said = stdout(root, &["compare", "a", "b", "--fpr", "0.2", "-q"]);

    let test = "data/badge/test";
    let [a, b] = ["a", "b"].map(|run| verdicts(root, run, &[test]));
    let count = |is_good: bool, of_a: bool, of_b: bool| {
        let images = a.iter().filter(|(path, _)| path.contains("/good/") == is_good);
        images.filter(|(path, flag)| **flag == of_a && b[*path] == of_b).count()
    };
    let told = |is_good| {
        format!(
            "both {}, only A {}, only B {}, neither {}",
            count(is_good, true, true),
            count(is_good, true, false),
            count(is_good, false, true),
            count(is_good, false, false)
        )
    };
    assert_eq!(
        said,
        format!(
            "A: a\nB: b\nOf 12 defects are found by: {}\nOf 3 good ones are stopped by: {}\n",
            told(false),
            told(true)
        )
    );
    let page = fs::read_to_string(root.join("compare.html")).unwrap();
    for row in ["both", "only A", "only B", "neither"] {
        assert!(page.contains(&format!("<th scope=\"row\">{row}</th>")), "{row}");
    }
    assert_eq!(page.matches("<li class=\"shot\">").count(), 15);
    assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("<script"));
    // Those that the runs disagree on come first.
    let shots: Vec<bool> = page
        .split("<li class=\"shot\">")
        .skip(1)
        .map(|shot| shot.contains("they disagree"))
        .collect();
    let disagreements = a.iter().filter(|(path, flag)| b[*path] != **flag).count();
    assert_eq!(shots.iter().filter(|disagree| **disagree).count(), disagreements);
    assert!(shots.is_sorted_by(|a, b| a >= b), "{shots:?}");
    assert!(page.contains("image AUROC") && page.contains("pixel AP"));

    // A run beside itself has nothing better.
    stdout(
        root,
        &["compare", "a", "a", "b", "--fpr", "0.2", "--out", "three.html", "-q"],
    );
    stdout(root, &["compare", "a", "a", "--fpr", "0.2", "--out", "same.html", "-q"]);
    let page = fs::read_to_string(root.join("same.html")).unwrap();
    assert!(!page.contains("class=\"best-value\""));

    // A model that cannot be opened is told before another is measured.
    fs::write(root.join("b/best.safetensors"), "no model").unwrap();
    let said = stderr(root, &["compare", "a", "b", "--fpr", "0.2", "--out", "half.html"], 1);
    assert!(
        said.contains("best.safetensors") && !said.contains("measuring"),
        "{said}"
    );
}

#[test]
fn runs_on_other_images_are_refused_by_name() {
    let folder = demo();
    let root = folder.path();
    train(root, "data/badge", "a", &[]);
    train(root, "data/fabric", "b", &[]);
    let error = stderr(root, &["compare", "a", "b", "--fpr", "0.2"], 2);
    assert!(error.contains("a and b have different test images: only "), "{error}");
    assert!(stderr(root, &["compare", "a"], 2).contains("2 values required"));

    // Both can be asked about the same pictures.
    let compare = [
        "compare",
        "a",
        "b",
        "--fpr",
        "0.2",
        "--good",
        "data/badge/test/good",
        "--bad",
    ];
    let bad = fs::read_dir(root.join("data/badge/test")).unwrap();
    let bad: Vec<String> = bad
        .map(|entry| entry.unwrap().path().to_str().unwrap().to_owned())
        .filter(|path| !path.ends_with("good"))
        .collect();
    let bad: Vec<&str> = bad.iter().map(String::as_str).collect();
    let said = stdout(root, &[&compare[..], &bad, &["-q"]].concat());
    assert!(
        said.contains("Of 12 defects are found by: both ") && said.contains("Of 3 good ones"),
        "{said}"
    );

    // A plain folder has no test images.
    fs::rename(root.join("data/badge/train/good"), root.join("photos")).unwrap();
    train(root, "photos", "c", &[]);
    let error = stderr(root, &["compare", "c", "a"], 2);
    assert!(
        error.contains("has no test images") && error.contains("--good and --bad"),
        "{error}"
    );
}
