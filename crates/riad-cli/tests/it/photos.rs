//! How good a model is on a person's own pictures: without masks, without a layout, and without any defect at hand.

use std::{fs, path::Path};

use crate::support::{demo, riad, stderr, stdout};
use serde_json::Value;
use tempfile::TempDir;

/// A run `run` of 8 images, of which 4 are for calibration, and pictures: `good`, and `bad` with kinds in it.
fn trained() -> TempDir {
    let folder = demo();
    let root = folder.path();
    let train = [
        "train",
        "data/badge",
        "--method",
        "riad",
        "--size",
        "32",
        "--epochs",
        "1",
    ];
    stdout(
        root,
        &[&train[..], &["--calibration", "0.5", "--out", "run", "-q"]].concat(),
    );
    fs::create_dir(root.join("bad")).unwrap();
    for entry in fs::read_dir(root.join("data/badge/test")).unwrap() {
        let entry = entry.unwrap();
        let to = if entry.file_name() == "good" { "good" } else { "bad" };
        let to = if to == "bad" {
            root.join(to).join(entry.file_name())
        } else {
            root.join(to)
        };
        fs::rename(entry.path(), to).unwrap();
    }
    fs::remove_dir_all(root.join("data/badge/ground_truth")).unwrap();
    folder
}

fn results(root: &Path, out: &str) -> Value {
    serde_json::from_slice(&fs::read(root.join(out).join("results.json")).unwrap()).unwrap()
}

fn report(root: &Path, out: &str) -> String {
    fs::read_to_string(root.join(out).join("report.html")).unwrap()
}

/// What stands between `start` and the next `end`, each time.
fn between<'a>(text: &'a str, start: &str, end: &str) -> Vec<&'a str> {
    let parts = text.split(start).skip(1);
    parts.map(|part| part.split_once(end).unwrap().0).collect()
}

#[test]
fn the_first_line_says_how_good_it_is() {
    let folder = trained();
    let root = folder.path();
    let eval = [
        "eval", "--model", "run", "--good", "good", "--bad", "bad", "--fpr", "0.2",
    ];
    let said = stdout(root, &[&eval[..], &["-q"]].concat());

    // Counted again from the scores.
    let results = results(root, "run/eval");
    let at = &results["categories"]["badge"]["at_threshold"];
    let threshold = at["threshold"].as_f64().unwrap() as f32;
    let scores = fs::read_to_string(root.join("run/eval/scores.csv")).unwrap();
    let scores: Vec<(String, u8, f32)> = csv::Reader::from_reader(scores.as_bytes())
        .deserialize()
        .map(Result::unwrap)
        .collect();
    let count = |label| {
        scores
            .iter()
            .filter(|(_, l, score)| *l == label && *score > threshold)
            .count()
    };
    let of = |label| scores.iter().filter(|(_, l, _)| *l == label).count();
    let (found, stopped) = (count(1), count(0));
    assert_eq!((of(0), of(1)), (3, 12));
    let line = said.lines().next().unwrap();
    assert!(
        line.starts_with(&format!("Finds {found} of 12 defects ("))
            && line.contains(&format!(", stops {stopped} of 3 good ones ("))
            && line.contains("; 95 % range "),
        "{said}"
    );
    for (key, flagged, of) in [("defective_images", found, 12), ("good_images", stopped, 3)] {
        assert_eq!((&at[key]["flagged"], &at[key]["of"]), (&flagged.into(), &of.into()));
        let [low, high] = [0, 1].map(|end| at[key]["range_95"][end].as_f64().unwrap());
        let share = flagged as f64 / f64::from(of);
        assert!(low <= share && share <= high && low < high, "{at}");
    }

    // The misses are named, the worst first, and the report leads to their pictures.
    let mut missed: Vec<_> = scores
        .iter()
        .filter(|(_, label, score)| *label == 1 && *score <= threshold)
        .collect();
    missed.sort_by(|a, b| a.2.total_cmp(&b.2));
    let named: Vec<_> = said
        .lines()
        .filter_map(|line| line.strip_prefix("  missed: "))
        .collect();
    assert_eq!(named.len(), missed.len().min(5));
    let html = report(root, "run/eval");
    let top = html.split_once("<section class=\"category\"").unwrap().0;
    assert!(top.contains(&format!("<p class=\"answer\">{line}.</p>")), "{top}");
    let links = between(top, "<a href=\"#image-", "</a>");
    assert_eq!(links.len(), named.len());
    for ((name, link), (path, _, score)) in named.iter().zip(links).zip(&missed) {
        assert_eq!(*name, format!("{path}, score {score:.4}"));
        let (id, shown) = link.split_once("\">").unwrap();
        assert_eq!(shown, path);
        let shot = between(&html, &format!("id=\"image-{id}\""), "</li>")[0];
        assert!(
            shot.contains(&format!("data-path=\"{path}\"")) && shot.contains("nothing found"),
            "{shot}"
        );
    }
    assert_eq!(at["missed"].as_array().unwrap().len(), missed.len());

    // Without masks there is nothing to say of pixels, and that is said once. Kinds are the folders' names.
    assert_eq!(said.matches("pixel metrics").count(), 1, "{said}");
    let metrics = &results["categories"]["badge"];
    assert!(metrics["image_auroc"].is_number() && metrics["pixel_auroc"].is_null() && metrics["aupro"].is_null());
    assert!(scores.iter().any(|(path, ..)| path == "good/000.png"));
    for kind in fs::read_dir(root.join("bad")).unwrap() {
        let kind = kind.unwrap().file_name();
        assert!(
            html.contains(&format!("<option value=\"{}\">", kind.to_str().unwrap())),
            "{kind:?}"
        );
    }
}

#[test]
fn files_and_folders_may_be_named_several_times_and_what_cannot_be_read_stops_nothing() {
    let folder = trained();
    let root = folder.path();
    fs::write(root.join("good/broken.png"), "no image").unwrap();
    fs::copy(root.join("good/000.png"), root.join("good/again.png")).unwrap();
    let output = riad(root)
        .args([
            "eval",
            "--model",
            "run",
            "--good",
            "good/000.png",
            "good/001.png",
            "--good",
            "good",
        ])
        .args(["--bad", "bad", "absent", "--fpr", "0.2", "--out", "out"])
        .assert()
        .code(1);
    let said = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    for named in ["broken.png", "absent", "again.png is the same picture"] {
        assert!(said.contains(named), "{named}: {said}");
    }
    let results = results(root, "out");
    let at = &results["categories"]["badge"]["at_threshold"];
    assert_eq!(
        (&at["good_images"]["of"], &at["defective_images"]["of"]),
        (&3.into(), &12.into())
    );
    let faults = results["categories"]["badge"]["faults"].as_array().unwrap();
    assert!(
        faults
            .iter()
            .any(|fault| fault.as_str().unwrap().contains("broken.png")),
        "{faults:?}"
    );

    fs::copy(root.join("good/000.png"), root.join("bad/good-one.png")).unwrap();
    let eval = ["eval", "--model", "run", "--good", "good", "--bad", "bad"];
    let error = stderr(root, &eval, 2);
    assert!(
        error.contains("000.png") && error.contains("good-one.png") && error.contains("are the same picture"),
        "{error}"
    );
    let error = stderr(root, &["eval", "--model", "run", "--good", "absent"], 2);
    assert!(error.contains("no good picture can be read"), "{error}");

    // What was trained with tells less, and that is said.
    let seen = stdout(
        root,
        &[
            "eval",
            "--model",
            "run",
            "--good",
            "data/badge/train/good",
            "--fpr",
            "0.2",
            "-q",
        ],
    );
    assert!(
        seen.contains("of the good pictures were used in training or validation"),
        "{seen}"
    );
}

#[test]
fn good_pictures_alone_do_not_open_with_dashes() {
    let folder = trained();
    let root = folder.path();
    let said = stdout(
        root,
        &["eval", "--model", "run", "--good", "good", "--fpr", "0.2", "-q"],
    );
    let line = said.lines().next().unwrap();
    assert!(
        line.starts_with("Stops ") && line.contains(" of 3 good ones ("),
        "{said}"
    );
    assert!(said.contains("Scores are from ") && !said.contains("AUROC"), "{said}");
    let html = report(root, "run/eval");
    let top = html.split_once("<section class=\"category\"").unwrap().0;
    assert!(top.contains(&format!("<p class=\"answer\">{line}.</p>")), "{top}");
    assert!(
        !top.contains("<table") && !html.contains("There are none without both"),
        "{top}"
    );
    assert!(html.contains("Histogram of scores"));

    // A rate that the calibration does not allow is said to take more.
    let said = stdout(root, &["eval", "--model", "run", "--good", "good", "-q"]);
    assert!(
        said.starts_with("There is no threshold") && said.contains("needs at least 19 good images"),
        "{said}"
    );
}

#[test]
fn made_up_defects_tell_from_which_size_on_they_are_found() {
    let folder = trained();
    let root = folder.path();
    let eval = |more: &[&str], out: &str| {
        let eval = [
            "eval",
            "--model",
            "run",
            "--synthetic",
            "--fpr",
            "0.2",
            "--out",
            out,
            "-q",
        ];
        stdout(root, &[&eval[..], more].concat())
    };
    let said = eval(&["--good", "good"], "out");
    let line = said.lines().next().unwrap();
    assert!(line.starts_with("Made-up defects: "), "{said}");
    assert!(
        line.contains("; stops ") && line.contains(" of 3 good ones ("),
        "{said}"
    );
    assert!(
        said.contains("no real one was measured") && said.contains("found by length"),
        "{said}"
    );
    assert!(
        said.lines()
            .any(|line| line.starts_with("scratches") && line.contains(" of ")),
        "{said}"
    );

    let found = results(root, "out");
    let category = &found["categories"]["badge (synthetic)"];
    let synthetic = &category["synthetic"];
    assert!(synthetic["note"].as_str().unwrap().contains("no real one was measured"));
    let cells = synthetic["found"].as_array().unwrap();
    let lengths = |kind: &str| {
        let of_kind = cells.iter().filter(|cell| cell["kind"] == kind);
        of_kind.map(|cell| cell["length"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert!(lengths("scratch").is_sorted_by(|a, b| a < b) && lengths("scratch").len() > 2);
    // The score rows are labelled, and count to the same.
    let scores = fs::read_to_string(root.join("out/scores.csv")).unwrap();
    let threshold = category["at_threshold"]["threshold"].as_f64().unwrap() as f32;
    for cell in cells {
        let name = format!(
            "(made-up {}, {} px, seed ",
            cell["kind"].as_str().unwrap(),
            cell["length"]
        );
        let rows = scores.lines().filter(|line| line.contains(&name));
        let rows: Vec<f32> = rows
            .map(|line| line.rsplit(',').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(cell["of"], rows.len());
        assert_eq!(cell["flagged"], rows.iter().filter(|score| **score > threshold).count());
    }
    let html = report(root, "out");
    assert!(html.contains("<h1>RIAD: badge (synthetic)</h1>") && html.contains("no real one was measured"));
    assert!(html.contains("Made-up defects that are found"));

    // The seed alone decides.
    eval(&["--good", "good", "--seed", "0"], "again");
    eval(&["--good", "good", "--seed", "1"], "other");
    let csv = |out: &str| fs::read_to_string(root.join(out).join("scores.csv")).unwrap();
    assert_eq!(csv("again"), scores);
    assert_ne!(csv("other"), scores);

    // Without --good they are made on those held out, which cannot tell how many good ones are stopped.
    let said = eval(&[], "held-out");
    let line = said.lines().next().unwrap();
    assert!(
        line.starts_with("Made-up defects: ") && !line.contains("stops"),
        "{said}"
    );
    assert!(
        said.contains("They are on the 4 good images that training held out"),
        "{said}"
    );
    assert!(results(root, "held-out")["categories"]["badge (synthetic)"]["at_threshold"]["good_images"].is_null());
}

#[test]
fn what_cannot_be_measured_so_is_refused() {
    let folder = trained();
    let root = folder.path();
    fs::copy(root.join("run/best.safetensors"), root.join("alone.safetensors")).unwrap();
    for (arguments, expected) in [
        (&["eval", "--good", "good"][..], "--model is missing"),
        (&["eval", "--synthetic"], "--model"),
        (
            &["eval", "data", "--model", "run", "--good", "good"],
            "cannot be used with",
        ),
        (
            &["eval", "--model", "run", "--good", "good", "--format", "mvtec"],
            "cannot be used with",
        ),
        (
            &["eval", "--model", "run", "--good", "good", "--epochs", "3"],
            "cannot be used with",
        ),
        (
            &["eval", "--model", "run", "--synthetic", "--bad", "bad"],
            "cannot be used with",
        ),
        (
            &["eval", "--model", "run", "--good", "good", "--seed", "3"],
            "--synthetic",
        ),
        (&["eval", "--model", "run", "--seed", "3"], "--synthetic"),
        // Four images are not enough for the usual rate.
        (
            &["eval", "--model", "run", "--synthetic"],
            "needs at least 19 good images",
        ),
        (
            &["eval", "--model", "alone.safetensors", "--synthetic", "--fpr", "0.2"],
            "name good pictures with --good",
        ),
    ] {
        let error = stderr(root, arguments, 2);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}

/// A natural mistake is answered with the command that was meant.
#[test]
fn a_folder_of_folders_is_answered_with_the_right_command() {
    let folder = trained();
    let root = folder.path();
    fs::create_dir(root.join("photos")).unwrap();
    for kind in ["good", "bad"] {
        fs::rename(root.join(kind), root.join("photos").join(kind)).unwrap();
    }
    let error = stderr(root, &["train", "photos"], 2);
    assert!(error.contains("riad train photos/good"), "{error}");
    let error = stderr(root, &["eval", "photos", "--model", "run"], 2);
    assert!(
        error.contains("riad eval --model run --good photos/good --bad photos/bad"),
        "{error}"
    );
}
