//! The whole path: demo images, training, evaluation, scoring; on images so small that it takes seconds.

use std::fs;
#[cfg(unix)]
use std::process::Stdio;

use crate::support::{demo, riad, run_bytes, stderr, stdout};
use serde_json::Value;

const TRAIN: [&str; 9] = [
    "train",
    "data/badge",
    "--method",
    "riad",
    "--size",
    "32",
    "--epochs",
    "1",
    "-q",
];

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn trained() -> tempfile::TempDir {
    let folder = demo();
    stdout(folder.path(), &TRAIN);
    folder
}

/// An image that is not square once made the overlay read outside its map.
#[test]
fn maps_have_the_size_of_their_image() {
    let folder = trained();
    let root = folder.path();
    for (name, width, height) in [("wide.png", 50, 20), ("tall.png", 7, 33), ("dot.png", 1, 1)] {
        image::RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8 * 5, y as u8 * 5, 90]))
            .save(root.join(name))
            .unwrap();
        let arguments = ["score", "--model", "runs/badge", name, "--maps", "maps", "-q"];
        stdout(root, &arguments);
        for kind in ["heat", "overlay"] {
            let map = root.join("maps").join(name.replace("png", kind) + ".png");
            assert_eq!(image::image_dimensions(map).unwrap(), (width, height), "{name}");
        }
    }
}

/// Neither square nor multiples of 16: padded for the network alone.
#[test]
fn images_have_any_size() {
    let folder = demo();
    let root = folder.path();
    let train = ["train", "data/badge", "--epochs", "1", "-q", "--size"];
    stdout(root, &[&train[..], &["37x50"]].concat());
    assert!(stdout(root, &["info", "runs/badge"]).contains("image size       37x50 (height x width)"));
    let said = stderr(root, &["train", "--resume", "runs/badge", "--size", "50x37"], 2);
    assert!(said.contains("another --size"), "{said}");
    stdout(root, &["eval", "--model", "runs/badge", "-q"]);
    assert!(root.join("runs/badge/eval/report.html").exists());

    let error = stderr(root, &[&train[..], &["15", "--out", "small"]].concat(), 2);
    assert!(error.contains("16 to 16384 pixels, not 15x15"), "{error}");
    assert!(!root.join("small").exists());
    let error = stderr(root, &[&train[..], &["8k", "--out", "wrong"]].concat(), 2);
    assert!(error.contains("height x width, such as 150x400"), "{error}");
}

/// The area under the ROC curve by its definition, counting pairs.
fn auroc(scores: &[(bool, f64)]) -> f64 {
    let of = |label: bool| scores.iter().filter(move |(l, _)| *l == label).map(|(_, score)| *score);
    let wins = of(true).flat_map(|bad| {
        of(false).map(move |good| {
            if bad > good {
                1.0
            } else if bad == good {
                0.5
            } else {
                0.0
            }
        })
    });
    let (sum, count) = wins.fold((0.0, 0.0), |(sum, count), win| (sum + win, count + 1.0));
    sum / count
}

#[test]
fn from_demo_images_to_results() {
    let folder = trained();
    let root = folder.path();

    let info = json(&stdout(root, &["info", "runs/badge", "--json"]));
    assert_eq!(
        (&info["preset"], &info["parameters"]),
        (&"tiny".into(), &1_803_923.into())
    );
    assert_eq!(
        (&info["scoring"]["height"], &info["progress"]["best_epoch"]),
        (&32.into(), &1.into())
    );
    assert!(stdout(root, &["info", "runs/badge/best.safetensors"]).contains("region sizes K   2, 4, 8, 16"));

    // Without DATA it is measured on the data of its run.
    let table = stdout(root, &["eval", "--model", "runs/badge", "-q"]);
    assert!(
        table.starts_with("There is no threshold, so nothing is found or stopped: runs/badge is not calibrated"),
        "{table}"
    );
    assert!(
        table.contains("\ncategory   AUROC   AUROC      AP   AUPRO  F1-max  images\nbadge "),
        "{table}"
    );
    let out = root.join("runs/badge/eval");
    let results = json(&fs::read_to_string(out.join("results.json")).unwrap());
    let metrics = &results["categories"]["badge"];
    for metric in ["image_auroc", "pixel_auroc", "pixel_ap", "aupro", "f1_max"] {
        let value = metrics[metric].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&value), "{metric}: {value}");
    }
    assert_eq!(metrics["images"], 15);
    assert_eq!(results["settings"]["aupro_limit"], 0.3);
    assert_eq!(results["settings"]["models"]["badge"]["scoring"]["width"], 32);
    assert_eq!(results["versions"]["riad"], env!("CARGO_PKG_VERSION"));

    let mut csv = csv::Reader::from_path(out.join("scores.csv")).unwrap();
    assert_eq!(csv.headers().unwrap(), vec!["path", "label", "score"]);
    let rows: Vec<(String, u8, f64)> = csv.deserialize().map(Result::unwrap).collect();
    assert!(
        rows.iter()
            .all(|(path, label, _)| path.starts_with("test/good/") == (*label == 0)),
        "{rows:?}"
    );
    let scores: Vec<_> = rows.iter().map(|(_, label, score)| (*label == 1, *score)).collect();
    let printed = metrics["image_auroc"].as_f64().unwrap();
    assert!((auroc(&scores) - printed).abs() < 1e-12, "{printed}");

    // The scores of `score` are those of `eval`.
    let lines = stdout(root, &["score", "--model", "runs/badge", "data/badge/test/good", "-q"]);
    let expected: String = rows
        .iter()
        .filter(|(path, ..)| path.starts_with("test/good/"))
        .map(|(path, _, score)| format!("data/badge/{path},{}\n", *score as f32))
        .collect();
    assert_eq!(lines, format!("path,score\n{expected}"));
}

#[test]
fn a_bad_image_is_reported_and_the_rest_is_scored() {
    let folder = trained();
    let root = folder.path();
    fs::create_dir_all(root.join("photos/sub")).unwrap();
    fs::copy(
        root.join("data/badge/test/good/000.png"),
        root.join("photos/a, \"b\".png"),
    )
    .unwrap();
    fs::copy(root.join("data/badge/test/good/001.png"), root.join("photos/sub/1.png")).unwrap();
    fs::write(root.join("photos/broken.png"), b"no image").unwrap();

    let score = ["score", "--model", "runs/badge", "photos", "absent.png", "-q"];
    let output = riad(root).args(score).assert().code(1);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (lines, errors) = (text(&output.get_output().stdout), text(&output.get_output().stderr));
    assert_eq!(lines.lines().count(), 3, "{lines}");
    assert!(
        lines
            .lines()
            .nth(1)
            .unwrap()
            .starts_with("\"photos/a, \"\"b\"\".png\",0."),
        "{lines}"
    );
    assert!(
        errors.contains("photos/broken.png") && errors.contains("absent.png"),
        "{errors}"
    );

    let output = riad(root)
        .args(score)
        .args(["--format", "jsonl", "--maps", "maps"])
        .assert()
        .code(1);
    let lines: Vec<Value> = text(&output.get_output().stdout).lines().map(json).collect();
    let outcome = |line: &Value| {
        (
            line["path"].as_str().unwrap().to_owned(),
            line["score"].is_f64(),
            line["error"].is_string(),
        )
    };
    assert_eq!(
        lines.iter().map(outcome).collect::<Vec<_>>(),
        [
            ("absent.png".into(), false, true),
            ("photos/a, \"b\".png".into(), true, false),
            ("photos/broken.png".into(), false, true),
            ("photos/sub/1.png".into(), true, false),
        ]
    );
    for picture in [
        "a, \"b\".heat.png",
        "a, \"b\".overlay.png",
        "sub/1.heat.png",
        "sub/1.overlay.png",
    ] {
        let picture = image::open(root.join("maps").join(picture)).unwrap();
        assert_eq!((picture.width(), picture.height()), (128, 128));
    }

    fs::create_dir(root.join("empty")).unwrap();
    let error = stderr(root, &["score", "--model", "runs/badge", "empty"], 1);
    assert!(error.contains("there are no images to score"), "{error}");
}

#[test]
#[cfg(target_os = "linux")]
fn names_that_are_not_utf_8_are_as_good_as_others() {
    use std::os::unix::ffi::OsStrExt;

    let folder = trained();
    let root = folder.path();
    let name = std::ffi::OsStr::from_bytes(b"lid\xe9.png");
    fs::create_dir(root.join("photos")).unwrap();
    fs::copy(
        root.join("data/badge/test/good/000.png"),
        root.join("photos").join(name),
    )
    .unwrap();
    let output = riad(root)
        .args(["score", "--model", "runs/badge", "photos", "--maps", "maps", "-q"])
        .assert()
        .success();
    let line = output.get_output().stdout.split(|&byte| byte == b'\n').nth(1).unwrap();
    assert!(line.starts_with(b"photos/lid%E9.png,0."), "{line:?}");
    assert!(
        root.join("maps")
            .join(std::ffi::OsStr::from_bytes(b"lid\xe9.heat.png"))
            .exists()
    );

    // Such names train too.
    fs::copy(root.join("data/badge/test/good/001.png"), root.join("photos/b.png")).unwrap();
    stdout(root, &["train", "photos", "--size", "32", "--epochs", "1", "-q"]);
    stdout(root, &["train", "--resume", "runs/photos", "-q"]);
}

#[test]
#[cfg(unix)]
fn a_reader_that_has_enough_is_no_error() {
    let folder = trained();
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("riad"))
        .current_dir(folder.path())
        .args(["score", "--model", "runs/badge", "data/badge", "-q"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The pipe is closed before a line was read.
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
}

#[test]
#[cfg(unix)]
fn maps_are_written_even_if_nobody_reads_the_scores() {
    let folder = trained();
    let root = folder.path();
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("riad"))
        .current_dir(root)
        .args([
            "score",
            "--model",
            "runs/badge",
            "data/badge/test/good",
            "--maps",
            "maps",
            "-q",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    let images = fs::read_dir(root.join("data/badge/test/good")).unwrap().count();
    assert!(images > 1);
    // A heat map and an overlay each.
    assert_eq!(fs::read_dir(root.join("maps")).unwrap().count(), 2 * images);
}

#[test]
fn runs_are_taken_up_and_never_overwritten() {
    let folder = trained();
    let root = folder.path();
    let before = run_bytes(&root.join("runs/badge"));
    let error = stderr(root, &TRAIN, 2);
    assert!(
        error.contains("--resume runs/badge") && error.contains("--out"),
        "{error}"
    );
    let said = stderr(root, &["train", "--resume", "runs/badge"], 0);
    assert!(said.contains("has finished"), "{said}");
    let error = stderr(root, &["train", "--resume", "runs/badge", "--epochs", "2"], 2);
    assert!(error.contains("another --epochs"), "{error}");
    assert_eq!(run_bytes(&root.join("runs/badge")), before);
}

#[test]
fn a_stopped_run_goes_on_only_with_its_images() {
    let folder = demo();
    let root = folder.path();
    let said = stderr(root, &[&TRAIN[..8], &["--out", "run", "--max-time", "0s"]].concat(), 0);
    assert!(said.contains("go on with: riad train --resume run"), "{said}");

    let image = root.join("data/badge/train/good/003.png");
    let bytes = fs::read(&image).unwrap();
    let changes: [(&dyn Fn(), &str); 3] = [
        (&|| fs::remove_file(&image).unwrap(), "003.png is missing"),
        (
            &|| _ = fs::copy(root.join("data/badge/train/good/004.png"), &image).unwrap(),
            "003.png has changed",
        ),
        (
            &|| _ = fs::copy(&image, root.join("data/badge/train/good/new.png")).unwrap(),
            "new.png was not there",
        ),
    ];
    for (change, expected) in changes {
        change();
        let error = stderr(root, &["train", "--resume", "run", "-q"], 1);
        assert!(error.contains(expected), "{error}");
        fs::write(&image, &bytes).unwrap();
    }
    fs::remove_file(root.join("data/badge/train/good/new.png")).unwrap();

    // Images that have moved are found where they are said to be, and the run remembers.
    fs::rename(root.join("data"), root.join("moved")).unwrap();
    let error = stderr(root, &["train", "--resume", "run", "-q"], 1);
    assert!(error.contains("if they have moved"), "{error}");
    stdout(root, &["train", "moved/badge", "--resume", "run", "-q"]);
    stdout(root, &["eval", "--model", "run", "-q"]);

    fs::rename(root.join("moved"), root.join("data")).unwrap();
    stdout(root, &[&TRAIN[..], &["--out", "whole"]].concat());
    assert_eq!(run_bytes(&root.join("run")), run_bytes(&root.join("whole")));
}

#[test]
fn a_root_trains_one_category_and_evaluates_all() {
    let folder = demo();
    let root = folder.path();
    let error = stderr(root, &["train", "data"], 2);
    assert!(error.contains("choose one with --category: badge, fabric"), "{error}");
    let options = ["--size", "32", "--epochs", "1", "-q"];
    stdout(
        root,
        &[&["train", "data", "--category", "fabric"], &options[..]].concat(),
    );
    assert!(root.join("runs/fabric/best.safetensors").exists());

    let table = stdout(root, &[&["eval", "data", "--out", "out"], &options[..]].concat());
    // The first lines are of each category's threshold; no line of a table has more than 80 columns.
    assert!(table.starts_with("badge: There is no threshold"), "{table}");
    let lines = table.lines().skip_while(|line| !line.starts_with("category"));
    assert!(lines.clone().all(|line| line.chars().count() <= 80), "{table}");
    let names: Vec<_> = lines.take(4).map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["category", "badge", "fabric", "mean"]);
    let scores = fs::read_to_string(root.join("out/scores.csv")).unwrap();
    assert!(scores.contains("\nbadge/test/good/000.png,0,") && scores.contains("\nfabric/test/good/000.png,0,"));

    // The second time the runs are there.
    let before = run_bytes(&root.join("out/badge/run"));
    let said = stderr(root, &["eval", "data", "--out", "out"], 0);
    assert!(said.contains("using the run in out/badge/run again"), "{said}");
    assert_eq!(run_bytes(&root.join("out/badge/run")), before);
    assert_eq!(fs::read_to_string(root.join("out/scores.csv")).unwrap(), scores);
    let error = stderr(root, &["eval", "data", "--out", "out", "--epochs", "2"], 2);
    assert!(error.contains("another --epochs"), "{error}");
}

#[test]
fn one_class_has_no_auroc() {
    let folder = trained();
    let root = folder.path();
    for folder in ["data/badge/test", "data/badge/ground_truth"] {
        for kind in fs::read_dir(root.join(folder)).unwrap() {
            let kind = kind.unwrap().path();
            if !kind.ends_with("good") {
                fs::remove_dir_all(kind).unwrap();
            }
        }
    }
    let table = stdout(
        root,
        &["eval", "data/badge", "--model", "runs/badge", "--out", "out", "-q"],
    );
    assert!(table.contains("all 3 samples are good"), "{table}");
    let results = json(&fs::read_to_string(root.join("out/results.json")).unwrap());
    let metrics = &results["categories"]["badge"];
    assert!(metrics["image_auroc"].is_null() && metrics["aupro"].is_null() && metrics["f1_max"].is_null());
    assert!(metrics["undefined"][0].as_str().unwrap().contains("image level"));
}

#[test]
fn a_plain_folder_trains_and_its_options_may_come_from_a_file() {
    let folder = demo();
    let root = folder.path();
    fs::rename(root.join("data/badge/train/good"), root.join("photos")).unwrap();
    fs::write(
        root.join("riad.toml"),
        "size = 32\nepochs = 5\nlr = 0.002\nout = \"a\"\n",
    )
    .unwrap();
    stdout(
        root,
        &["train", "photos", "--config", "riad.toml", "--epochs", "1", "-q"],
    );
    let info = json(&stdout(root, &["info", "a", "--json"]));
    let training = &info["training"];
    assert_eq!(
        (&training["epochs"], &training["learning_rate"]),
        (&1.into(), &0.002.into())
    );
    let error = stderr(root, &["eval", "photos", "--model", "a"], 2);
    assert!(error.contains("photos has no test images"), "{error}");
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let folder = demo();
    let root = folder.path();
    for threads in ["1", "3"] {
        stdout(root, &[&TRAIN[..], &["--threads", threads, "--out", threads]].concat());
    }
    assert_eq!(run_bytes(&root.join("1")), run_bytes(&root.join("3")));
    let score = |threads| {
        stdout(
            root,
            &["score", "--model", "1", "data/badge/test", "--threads", threads, "-q"],
        )
    };
    assert_eq!(score("1"), score("3"));
}

/// Nobody gets bf16 unasked, or f32 who asked for bf16.
#[test]
fn bf16_is_refused_or_near_f32() {
    let folder = trained();
    let root = folder.path();
    let plain = ["score", "--model", "runs/badge", "data/badge/test", "-q"];
    let bf16 = [&plain[..], &["--precision", "bf16"]].concat();
    let refused = riad(root)
        .args(&bf16)
        .env("RIAD_CONV_SIMD", "portable")
        .assert()
        .code(2);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(said.contains("AMX") && said.contains("use f32"), "{said}");
    if riad_model::Precision::Bf16
        .check_scoring(&riad_model::Device::CPU)
        .is_err()
    {
        assert_eq!(stderr(root, &bf16, 2), said);
        return;
    }
    let scores = |arguments: &[&str]| -> Vec<f64> {
        let text = stdout(root, arguments);
        let scores = text.lines().skip(1).map(|line| line.rsplit(',').next().unwrap());
        scores.map(|score| score.parse().unwrap()).collect()
    };
    let (f32, bf16) = (scores(&plain), scores(&bf16));
    assert!(f32.len() == bf16.len() && f32 != bf16);
    for (f32, bf16) in f32.iter().zip(&bf16) {
        assert!((f32 - bf16).abs() < 0.02, "{f32} {bf16}");
    }
}

#[test]
#[ignore = "takes minutes: the demo at its full size"]
fn the_demo_finds_defects_and_says_what_it_uses_again() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    stdout(root, &["eval"]);
    let results = json(&fs::read_to_string(root.join("riad-demo/results.json")).unwrap());
    for category in ["badge", "fabric"] {
        let metrics = &results["categories"][category];
        for metric in ["image_auroc", "pixel_auroc"] {
            assert!(metrics[metric].as_f64().unwrap() >= 0.95, "{category}: {metrics}");
        }
        let mean_image = metrics["mean_image"]["image_auroc"].as_f64().unwrap();
        assert!(
            mean_image < metrics["image_auroc"].as_f64().unwrap(),
            "{category}: {metrics}"
        );
    }
    assert!(root.join("riad-demo/report.html").exists());
    let said = stderr(root, &["eval"], 0);
    assert!(said.contains("using the demo set in riad-demo/data again"), "{said}");
    assert!(said.contains("using the run in riad-demo/badge/run again"), "{said}");
}
