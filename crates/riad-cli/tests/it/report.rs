//! `report.html`: whole in itself, safe from what names hold, and the same whoever makes it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::support::{demo, stderr, stdout};
use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};

fn train(root: &Path, data: &str, run: &str) {
    let options = ["--size", "32", "--epochs", "1", "--calibration", "0.25", "-q"];
    stdout(
        root,
        &[&["train", data, "--method", "riad", "--out", run], &options[..]].concat(),
    );
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands between `start` and the next `end`, each time.
fn between<'a>(text: &'a str, start: &str, end: &str) -> Vec<&'a str> {
    let parts = text.split(start).skip(1);
    parts.map(|part| part.split_once(end).unwrap().0).collect()
}

#[test]
fn a_report_is_whole_in_itself_and_the_same_at_any_time() {
    let folder = demo();
    let root = folder.path();
    train(root, "data/badge", "run");
    stdout(root, &["eval", "--model", "run", "-q"]);
    let report = read(root.join("run/eval/report.html"));
    stdout(root, &["report", "run", "-q"]);
    assert_eq!(read(root.join("run/report.html")), report);

    // Nothing is loaded from anywhere, and nothing but this style and script would be let in.
    assert!(!report.contains("http:") && !report.contains("https:") && !report.contains("url("));
    for attribute in ["src=\"", "href=\""] {
        for target in between(&report, attribute, "\"") {
            assert!(target.starts_with("data:") || target.starts_with('#'), "{target}");
        }
    }
    let policy = between(&report, "Content-Security-Policy\" content=\"", "\"")[0].replace("&#39;", "'");
    assert!(policy.starts_with("default-src 'none'; img-src data:;"), "{policy}");
    for element in ["style", "script"] {
        let texts = between(&report, &format!("<{element}>"), &format!("</{element}>"));
        assert_eq!(texts.len(), 1);
        let hash = BASE64_STANDARD.encode(Sha256::digest(texts[0]));
        assert!(policy.contains(&format!("{element}-src 'sha256-{hash}'")), "{policy}");
    }

    // Each image with its score, and pictures that can be decoded.
    let shots = between(&report, "<li class=\"shot\"", "</li>");
    let scores = read(root.join("run/eval/scores.csv"));
    assert_eq!(shots.len(), 15);
    for line in scores.lines().skip(1) {
        let (path, label_and_score) = line.split_once(',').unwrap();
        let (label, score) = label_and_score.split_once(',').unwrap();
        let shot = shots
            .iter()
            .find(|shot| shot.contains(&format!("data-path=\"{path}\"")))
            .unwrap();
        let score: f32 = score.parse().unwrap();
        assert!(shot.contains(&format!("score <b>{score:.4}</b>")), "{path}");
        let pictures = between(shot, "<img src=\"data:image/", "\"");
        assert_eq!(pictures.len(), 8 + usize::from(label == "1"), "{path}");
        for picture in &pictures {
            let bytes = BASE64_STANDARD
                .decode(picture.split_once("base64,").unwrap().1)
                .unwrap();
            let decoded = image::load_from_memory(&bytes).unwrap();
            assert_eq!((decoded.width(), decoded.height()), (32, 32));
        }
        // With the bound on the pictures, 1,000 images take less than 30 MB.
        let around = shot.len() - pictures.iter().map(|picture| picture.len()).sum::<usize>();
        assert!(around < 2300, "{around} bytes around the pictures of {path}");
    }
    for part in [
        "Image ROC",
        "Pixel PRO",
        "Histogram of scores",
        "MSGMS term",
        "region sizes K",
    ] {
        assert!(report.contains(part), "{part}");
    }
}

#[test]
#[ignore = "needs chromium in the PATH"]
fn a_browser_runs_the_script_and_has_nothing_to_complain_of() {
    let folder = demo();
    let root = folder.path();
    train(root, "data/badge", "run");
    stdout(root, &["report", "run", "-q"]);
    let output = std::process::Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--enable-logging=stderr",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .arg(format!("--user-data-dir={}", root.join("profile").display()))
        .arg("--dump-dom")
        .arg(format!("file://{}", root.join("run/report.html").display()))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("CONSOLE"), "{errors}");
    let page = String::from_utf8_lossy(&output.stdout);
    assert_eq!(between(&page, "<output aria-live=\"polite\">", "<"), ["15 of 15 shown"]);
}

#[test]
fn the_worst_mistakes_come_first() {
    let folder = demo();
    let root = folder.path();
    train(root, "data/badge", "run");
    let report = |fpr: &str| {
        stdout(root, &["report", "run", "--fpr", fpr, "-q"]);
        read(root.join("run/report.html"))
    };
    let text = report("0.4");
    assert!(text.contains("calibrated for a false-positive rate of 0.4"), "{text}");
    let threshold: f32 = between(&text, "those of the threshold ", ",")[0].parse().unwrap();
    let mut badness = Vec::new();
    for shot in between(&text, "<li class=\"shot\"", "</li>") {
        let value = |name: &str| between(shot, &format!("{name}=\""), "\"")[0];
        let (score, is_good) = (
            value("data-score").parse::<f32>().unwrap(),
            value("data-kind") == "good",
        );
        let verdict = match (is_good, score > threshold) {
            (true, true) => "false-alarm",
            (true, false) => "passed",
            (false, true) => "found",
            (false, false) => "missed",
        };
        // Scores are printed with four digits.
        if (score - threshold).abs() > 1e-4 {
            assert_eq!(value("data-verdict"), verdict, "{score} at {threshold}");
        }
        badness.push(if is_good { score - threshold } else { threshold - score });
    }
    assert!(badness.windows(2).all(|pair| pair[0] >= pair[1] - 1e-6), "{badness:?}");

    // What was asked for and cannot be had is said; the labels' own threshold stands in.
    let text = report("0.01");
    assert!(
        text.contains("at least 99 good images") && text.contains("those of the best F1"),
        "{text}"
    );
}

#[test]
#[cfg(unix)]
fn names_cannot_smuggle_markup_in() {
    let folder = demo();
    let root = folder.path();
    let category = root.join("<script>alert(1)");
    fs::rename(root.join("data/badge"), &category).unwrap();
    for kind in ["test", "ground_truth"] {
        let first = fs::read_dir(category.join(kind))
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let defect = first.filter(|path| !path.ends_with("good")).min().unwrap();
        fs::rename(&defect, category.join(kind).join("\"><script>alert(2)")).unwrap();
    }
    let good = category.join("test/good");
    fs::rename(
        good.join("000.png"),
        good.join("'><img src=x onerror=alert(3)>&lt;.png"),
    )
    .unwrap();
    train(root, "<script>alert(1)", "run");
    stdout(root, &["report", "run", "-q"]);
    let report = read(root.join("run/report.html"));
    assert_eq!(report.matches("<script").count(), 1);
    assert!(!report.contains("<img src=x"));
    assert!(report.contains("<h2 id=\"title-1\">&#60;script&#62;alert(1)</h2>"));
    assert!(report.contains("<h4>test/<wbr>&#34;&#62;&#60;script&#62;alert(2)/<wbr>"));
    assert!(
        report.contains("<h4>test/<wbr>good/<wbr>&#39;&#62;&#60;img src=x onerror=alert(3)&#62;&#38;lt%3B.png</h4>")
    );
}

#[test]
fn without_test_images_those_held_out_are_shown() {
    let folder = demo();
    let root = folder.path();
    fs::rename(root.join("data/badge/train/good"), root.join("photos")).unwrap();
    train(root, "photos", "run");
    stdout(root, &["report", "run", "-q"]);
    let report = read(root.join("run/report.html"));
    assert!(
        report.contains("the 2 good images that training held out for calibration"),
        "{report}"
    );
    assert_eq!(report.matches("<li class=\"shot\"").count(), 2);
    assert!(report.contains("MSGMS term") && !report.contains("Image ROC"));

    let options = [
        "--size",
        "32",
        "--epochs",
        "1",
        "--validation",
        "0",
        "--calibration",
        "0",
        "-q",
    ];
    stdout(root, &[&["train", "photos", "--out", "bare"], &options[..]].concat());
    let error = stderr(root, &["report", "bare"], 2);
    assert!(
        error.contains("held out no images") && error.contains("riad eval DATA --model bare"),
        "{error}"
    );
}

#[test]
fn several_runs_come_into_one_report() {
    let folder = demo();
    let root = folder.path();
    for category in ["badge", "fabric"] {
        train(root, &format!("data/{category}"), category);
    }
    let error = stderr(root, &["report", "badge", "fabric"], 2);
    assert!(error.contains("--out"), "{error}");
    stdout(root, &["report", "badge", "fabric", "--out", "both.html", "-q"]);
    let report = read(root.join("both.html"));
    assert!(report.contains("<title>RIAD: 2 categories</title>"));
    assert!(report.contains("<h2 id=\"title-1\">badge</h2>") && report.contains("<h2 id=\"title-2\">fabric</h2>"));
    assert!(report.contains("<tr class=\"mean\">"));

    // Its name alone does not make it the paper's.
    fs::rename(root.join("data/badge"), root.join("bottle")).unwrap();
    stdout(root, &["eval", "bottle", "--model", "badge", "--out", "out", "-q"]);
    let report = read(root.join("out/report.html"));
    let row = between(&report, "<th scope=\"row\">bottle", "</tr>")[0];
    assert!(!row.contains("99.9") && !report.contains("Zavrtanik, Kristan"), "{row}");

    fs::remove_dir_all(root.join("data")).unwrap();
    let error = stderr(root, &["report", "fabric"], 1);
    assert!(error.contains("riad eval DATA --model fabric"), "{error}");
}

#[test]
fn a_damaged_history_is_told_and_left_out() {
    let folder = demo();
    let root = folder.path();
    train(root, "data/badge", "run");
    stdout(root, &["report", "run", "-q"]);
    let whole = read(root.join("run/report.html"));
    let table = read(root.join("run/history.csv"));
    let header = table.lines().next().unwrap();
    for epoch in ["70000", "18446744073709551615"] {
        fs::write(
            root.join("run/history.csv"),
            format!("{header}\n{epoch},0.001,1,0,0,0,1,,,,,\n"),
        )
        .unwrap();
        let said = stderr(root, &["report", "run"], 0);
        assert!(
            said.contains("history.csv is damaged") && said.contains(epoch),
            "{said}"
        );
        assert!(read(root.join("run/report.html")).len() < whole.len());
    }
}
