//! Images of other numbers of channels than three: gray ones, and ones of several lights, in all the files they come in.

use std::{
    fs::{self, File},
    path::Path,
};

use crate::support::{riad, run_bytes, stderr, stdout};
use image::{GrayImage, Luma, RgbImage};
use npyz::WriterBuilder;
use riad_core::Size;
use riad_data::{Fit, Reader};
use riad_model::{Checkpoint, Device, Keep, Precision, Scorer};
use serde_json::Value;
use tiff::encoder::{TiffEncoder, colortype::Gray8};

/// Neither is a multiple of 16, nor are they equal.
const SIZE: (u32, u32) = (40, 36);

const LIGHTS: usize = 4;

const PATTERN: &str = "*_light{0..3}.png";

/// One of four lights of a made-up part: a bar, brighter in each, somewhere else in each image. A defect shows in the third
/// light alone.
fn light(number: u32, light: usize, is_defective: bool) -> GrayImage {
    GrayImage::from_fn(SIZE.0, SIZE.1, |x, y| {
        let texture = (x * 7 + y * 13 + number * 29) % 23;
        let on_bar = (14 + number % 5..24 + number % 5).contains(&x);
        let is_defect = is_defective && light == 2 && (8..16).contains(&x) && (10..18).contains(&y);
        let value = 30 + 25 * light as u32 + texture + if on_bar { 60 } else { 0 };
        Luma([if is_defect { 250 } else { value as u8 }])
    })
}

fn lights(number: u32, is_defective: bool) -> Vec<GrayImage> {
    (0..LIGHTS).map(|index| light(number, index, is_defective)).collect()
}

/// In what files images lie.
type Save = fn(&Path, &str, &[GrayImage]);

/// One array, channels last as cameras' libraries have them.
fn array(folder: &Path, name: &str, lights: &[GrayImage]) {
    let file = File::create(folder.join(format!("{name}.npy"))).unwrap();
    let shape = [SIZE.1.into(), SIZE.0.into(), lights.len() as u64];
    let mut writer = npyz::WriteOptions::new()
        .default_dtype()
        .shape(&shape)
        .writer(file)
        .begin_nd()
        .unwrap();
    for at in 0..(SIZE.0 * SIZE.1) as usize {
        writer.extend(lights.iter().map(|light| light.as_raw()[at])).unwrap();
    }
    writer.finish().unwrap();
}

/// A TIFF with a page for each.
fn pages(folder: &Path, name: &str, lights: &[GrayImage]) {
    let file = File::create(folder.join(format!("{name}.tif"))).unwrap();
    let mut tiff = TiffEncoder::new(file).unwrap();
    for light in lights {
        tiff.write_image::<Gray8>(SIZE.0, SIZE.1, light.as_raw()).unwrap();
    }
}

/// A PNG for each.
fn files(folder: &Path, name: &str, lights: &[GrayImage]) {
    for (index, light) in lights.iter().enumerate() {
        light.save(folder.join(format!("{name}_light{index}.png"))).unwrap();
    }
}

/// One PNG in gray.
fn gray(folder: &Path, name: &str, lights: &[GrayImage]) {
    lights[2].save(folder.join(format!("{name}.png"))).unwrap();
}

/// The same as RGB.
fn gray_as_rgb(folder: &Path, name: &str, lights: &[GrayImage]) {
    let rgb = RgbImage::from_fn(SIZE.0, SIZE.1, |x, y| image::Rgb([lights[2].get_pixel(x, y).0[0]; 3]));
    rgb.save(folder.join(format!("{name}.png"))).unwrap();
}

/// A data set in MVTec AD's layout.
fn make_set(root: &Path, save: Save) {
    for kind in ["train/good", "test/good", "test/spot", "ground_truth/spot"] {
        fs::create_dir_all(root.join(kind)).unwrap();
    }
    for number in 0..8 {
        save(
            &root.join("train/good"),
            &format!("{number:03}"),
            &lights(number, false),
        );
    }
    for number in 8..11 {
        let name = format!("{number:03}");
        save(&root.join("test/good"), &name, &lights(number, false));
        save(&root.join("test/spot"), &name, &lights(number, true));
        let is_defect = |x: u32, y: u32| (8..16).contains(&x) && (10..18).contains(&y);
        GrayImage::from_fn(SIZE.0, SIZE.1, |x, y| Luma([255 * u8::from(is_defect(x, y))]))
            .save(root.join(format!("ground_truth/spot/{name}_mask.png")))
            .unwrap();
    }
}

const TRAIN: [&str; 10] = [
    "--size",
    "32",
    "--epochs",
    "2",
    "--batch",
    "4",
    "--calibration",
    "0.2",
    "--seed",
    "1",
];

fn scores(root: &Path, model: &str, folder: &str) -> Vec<(String, f32)> {
    let lines = stdout(root, &["score", "--model", model, folder, "-q"]);
    let rows = csv::Reader::from_reader(lines.as_bytes()).into_deserialize();
    rows.map(Result::unwrap).collect()
}

/// What a run leaves that depends on the images alone: the same pixels have other digests in other files.
fn learned(run: &Path) -> Vec<Vec<u8>> {
    let best = run.join("best.safetensors");
    let mut checkpoint = Checkpoint::open(&best).unwrap();
    checkpoint.header.calibration_images.clear();
    checkpoint.save(&best).unwrap();
    run_bytes(run)
}

/// Everything that is done with a run does with its images as they are, without being told again.
#[test]
fn four_lights_are_the_same_whatever_files_they_lie_in() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let forms: [(&str, Save, &[&str]); 3] = [
        ("array", array, &["--channels", "4"]),
        ("pages", pages, &["--channels", "4"]),
        ("files", files, &["--bands", PATTERN]),
    ];
    for (form, save, options) in forms {
        make_set(&root.join(form), save);
        let run = format!("run-{form}");
        // Broken off, and taken up.
        let stopped = [&["train", form, "--out", &run, "--max-time", "0s"], options, &TRAIN].concat();
        stdout(root, &stopped);
        stdout(root, &["train", "--resume", &run, "-q"]);
    }
    let run = learned(&root.join("run-array"));
    let of_arrays: Vec<f32> = scores(root, "run-array", "array/test")
        .into_iter()
        .map(|row| row.1)
        .collect();
    assert_eq!(of_arrays.len(), 6);
    for (form, ..) in forms {
        let named = format!("run-{form}");
        assert!(learned(&root.join(&named)) == run, "{form}");
        let scored = scores(root, &named, &format!("{form}/test"));
        assert_eq!(scored.iter().map(|row| row.1).collect::<Vec<_>>(), of_arrays, "{form}");

        stdout(root, &["eval", "--model", &named, "--fpr", "0.5", "-q"]);
        let results = fs::read_to_string(root.join(&named).join("eval/results.json")).unwrap();
        let results: Value = serde_json::from_str(&results).unwrap();
        assert_eq!(results["categories"][form]["images"], 6);
        assert!(results["categories"][form]["pixel_auroc"].is_f64());
        stdout(root, &["report", &named, "-q"]);
        let report = fs::read_to_string(root.join(&named).join("report.html")).unwrap();
        assert!(report.contains("4, lights or bands"), "{form}");

        stdout(
            root,
            &[
                "score",
                "--model",
                &named,
                &format!("{form}/test"),
                "--maps",
                "maps",
                "-q",
            ],
        );
        stdout(
            root,
            &["calibrate", "--model", &named, &format!("{form}/test/good"), "-q"],
        );
    }
    assert_eq!(
        image::image_dimensions(root.join("maps/spot/008_light0.overlay.png")).unwrap(),
        SIZE
    );

    let info: Value = serde_json::from_str(&stdout(root, &["info", "run-files", "--json"])).unwrap();
    assert_eq!(
        (&info["channels"], &info["architecture"]["channels"]),
        (&4.into(), &4.into())
    );
    for (format, out) in [("onnx", "a.onnx"), ("onnx-network", "b.onnx"), ("torch", "c.pt")] {
        stdout(
            root,
            &["export", "--model", "run-files", "--format", format, "--out", out],
        );
    }
    let weights = |path: &str| Checkpoint::open(&root.join(path)).unwrap().weights;
    assert_eq!(weights("c.pt"), weights("run-files"));

    // A checkpoint that lies elsewhere is told how files belong together.
    fs::copy(root.join("run-files/best.safetensors"), root.join("model.safetensors")).unwrap();
    let error = stderr(root, &["score", "--model", "model.safetensors", "files/test"], 1);
    assert!(error.contains("1 channels, not 4"), "{error}");
    let told = [
        "score",
        "--model",
        "model.safetensors",
        "files/test",
        "-q",
        "--bands",
        PATTERN,
    ];
    assert_eq!(
        stdout(root, &told),
        stdout(root, &["score", "--model", "run-files", "files/test", "-q"])
    );
}

#[test]
fn a_run_keeps_its_channels_and_its_bands() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    make_set(&root.join("array"), array);
    make_set(&root.join("files"), files);
    let train = |arguments: &[&str]| {
        stdout(
            root,
            &[&["train", "-q", "--max-time", "0s"], arguments, &TRAIN].concat(),
        )
    };
    train(&["array", "--channels", "4", "--out", "run"]);
    train(&["files", "--bands", PATTERN, "--out", "bands"]);
    for (run, option, value) in [
        ("run", "--channels", "3"),
        ("run", "--bands", PATTERN),
        ("bands", "--bands", "*_light{3,2,1,0}.png"),
    ] {
        let error = stderr(root, &["train", "--resume", run, option, value], 2);
        assert!(error.contains(&format!("another {option}")), "{run}: {error}");
    }
    stdout(
        root,
        &["train", "--resume", "run", "--channels", "4", "--max-time", "0s", "-q"],
    );
    // A change in any of an image's files is noticed.
    files(&root.join("files/train/good"), "003", &lights(99, false)[..2]);
    fs::copy(
        root.join("files/train/good/004_light3.png"),
        root.join("files/train/good/003_light3.png"),
    )
    .unwrap();
    let error = stderr(root, &["train", "--resume", "bands"], 1);
    assert!(error.contains("003_light0.png has changed"), "{error}");

    // What eval trained it uses again, and knows how.
    let eval = ["eval", "files", "--out", "ev", "-q"];
    stdout(root, &[&eval[..], &["--bands", PATTERN], &TRAIN].concat());
    stdout(root, &eval);
}

/// Once, and not of every image.
#[test]
fn a_pattern_whose_files_cannot_share_a_models_channels_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    make_set(&root.join("files"), files);
    let train = ["train", "-q", "--max-time", "0s", "files", "--bands", PATTERN];
    stdout(root, &[&train[..], &["--out", "run"], &TRAIN].concat());
    let images = "files/test/spot";
    for command in [vec!["score", images], vec!["watch", images, "--out", "lines.csv"]] {
        let model = ["--model", "run/last.safetensors", "--bands", "*_light{0..2}.png"];
        let error = stderr(root, &[&command[..], &model].concat(), 2);
        let count = error.matches("4 channels cannot come from 3 files").count();
        assert_eq!(count, 1, "{command:?}: {error}");
    }
}

/// No run is begun with images that cannot be what was asked for.
#[test]
fn other_numbers_of_channels_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    make_set(&root.join("array"), array);
    make_set(&root.join("files"), files);
    for (arguments, expected, code) in [
        (vec!["array"], vec!["array/train/good/000.npy has 4 channels, not 3"], 1),
        (vec!["array", "--channels", "5"], vec!["000.npy", "4", "5"], 1),
        (vec!["array", "--channels", "0"], vec!["1 to 256 channels, not 0"], 2),
        (
            vec!["array", "--channels", "257"],
            vec!["1 to 256 channels, not 257"],
            2,
        ),
        (vec!["files", "--bands", "light"], vec!["--bands", "pair of braces"], 2),
        (
            vec!["files", "--bands", PATTERN, "--channels", "6"],
            vec!["6 channels cannot come from 4 files"],
            2,
        ),
        (
            vec!["files", "--bands", "*_lamp{0..3}.png"],
            vec!["000_light0.png", "*_lamp{0..3}.png"],
            1,
        ),
    ] {
        let error = stderr(root, &[&["train"], &arguments[..], &["--out", "run"]].concat(), code);
        for expected in expected {
            assert!(error.contains(expected), "{arguments:?}: {error}");
        }
        assert!(!root.join("run").exists(), "{arguments:?}");
    }
    fs::remove_file(root.join("files/train/good/005_light1.png")).unwrap();
    let error = stderr(root, &["train", "files", "--bands", PATTERN, "--out", "run"], 1);
    assert!(error.contains("005_light1.png") && error.contains("missing"), "{error}");
}

/// Files that are not as the model wants them are told, and keep no other from being scored.
#[test]
fn images_that_lack_something_keep_no_other_from_being_scored() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    make_set(&root.join("files"), files);
    let train = ["train", "files", "--bands", PATTERN, "--out", "run", "-q"];
    stdout(root, &[&train[..], &TRAIN].concat());
    fs::create_dir(root.join("today")).unwrap();
    for number in 0..4 {
        files(&root.join("today"), &format!("{number}"), &lights(number, false));
    }
    fs::remove_file(root.join("today/1_light2.png")).unwrap();
    // Two channels where each file has one; what a file is called does not matter.
    array(&root.join("today"), "3_light1", &lights(3, false)[..2]);
    fs::rename(root.join("today/3_light1.npy"), root.join("today/3_light1.png")).unwrap();
    fs::write(root.join("today/thumbnail.png"), "").unwrap();

    let output = riad(root)
        .args([
            "score", "--model", "run", "today", "--format", "jsonl", "--fpr", "0.5", "-q",
        ])
        .assert()
        .code(1);
    let lines = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |path: &str| {
        let line = lines.iter().find(|line| line["path"] == path);
        line.unwrap_or_else(|| panic!("{path} has no line: {lines:?}"))
    };
    assert_eq!(lines.len(), 5);
    for scored in ["today/0_light0.png", "today/2_light0.png"] {
        assert!(of(scored)["score"].is_f64());
    }
    for (path, expected) in [
        ("today/1_light0.png", "today/1_light2.png"),
        ("today/3_light0.png", "3_light1.png"),
        ("today/thumbnail.png", "does not fit the pattern"),
    ] {
        let error = of(path)["error"].as_str().unwrap();
        assert!(error.contains(expected), "{path}: {error}");
    }
    // Whichever of an image's files is named, and however many.
    let named = [
        "score",
        "--model",
        "run",
        "today/2_light3.png",
        "today/2_light1.png",
        "-q",
    ];
    let lines = stdout(root, &named);
    assert_eq!(
        lines.lines().nth(1).unwrap().split(',').next(),
        Some("today/2_light0.png")
    );
    assert_eq!(lines.lines().count(), 2);
}

/// One of another number of channels is named, with both numbers.
#[test]
fn images_of_other_channels_keep_no_other_from_being_scored() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    make_set(&root.join("array"), array);
    stdout(
        root,
        &[&["train", "array", "--channels", "4", "--out", "run", "-q"], &TRAIN[..]].concat(),
    );
    fs::create_dir(root.join("today")).unwrap();
    let today = root.join("today");
    array(&today, "a", &lights(1, false));
    gray_as_rgb(&today, "b", &lights(1, false));
    pages(&today, "c", &lights(1, false)[..2]);
    pages(&today, "d", &lights(1, false));
    let score = ["score", "--model", "run", "today", "-q"];
    let output = riad(root).args(score).assert().code(1);
    let [lines, said] = [&output.get_output().stdout, &output.get_output().stderr]
        .map(|bytes| String::from_utf8(bytes.clone()).unwrap());
    let scored: Vec<_> = lines
        .lines()
        .skip(1)
        .map(|line| line.split_once(',').unwrap())
        .collect();
    assert_eq!([scored[0].0, scored[1].0], ["today/a.npy", "today/d.tif"]);
    assert_eq!(scored[0].1, scored[1].1);
    assert_eq!(scored.len(), 2);
    for expected in ["today/b.png has 3 channels, not 4", "today/c.tif has 2 channels, not 4"] {
        assert!(said.contains(expected), "{said}");
    }
}

/// A gray image is the same in gray and as RGB, and scores as by the library.
#[test]
fn one_channel_is_gray() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    make_set(&root.join("gray"), gray);
    make_set(&root.join("rgb"), gray_as_rgb);
    for set in ["gray", "rgb"] {
        let train = ["train", set, "--channels", "1", "--out", &format!("run-{set}"), "-q"];
        stdout(root, &[&train[..], &TRAIN].concat());
    }
    assert!(learned(&root.join("run-gray")) == learned(&root.join("run-rgb")));

    let checkpoint = Checkpoint::open(&root.join("run-gray")).unwrap();
    let scorer = Scorer::new(&checkpoint, &Device::CPU, Precision::F32).unwrap();
    let reader = Reader::new(1);
    let scored = scores(root, "run-gray", "rgb/test");
    assert_eq!(scored.len(), 6);
    for (path, score) in scored {
        let fit = Fit::Resized(Size::new(32, 32));
        let image = reader.load(&root.join(&path), fit).unwrap().image;
        assert_eq!(image.channels(), 1);
        let expected = scorer.score(image.values(), Keep::Map).unwrap()[0].score;
        assert_eq!(score, expected, "{path}");
    }

    stdout(root, &["eval", "--model", "run-gray", "-q"]);
    assert!(root.join("run-gray/eval/report.html").exists());
    assert!(stdout(root, &["info", "run-gray"]).contains("channels         1, grey\n"));
    let score = ["score", "--model", "run-gray", "gray/test", "--maps", "maps", "-q"];
    stdout(root, &score);
    let overlay = image::open(root.join("maps/good/008.overlay.png")).unwrap().into_rgb8();
    assert_eq!(overlay.dimensions(), SIZE);
}

/// In tiles, and with a region of interest.
#[test]
fn lights_are_looked_at_in_tiles_and_regions() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    make_set(&root.join("files"), files);
    GrayImage::from_fn(SIZE.0, SIZE.1, |x, _| Luma([255 * u8::from(x < 20)]))
        .save(root.join("roi.png"))
        .unwrap();
    let options = [
        "--bands", PATTERN, "--roi", "roi.png", "--tile", "32", "--epochs", "1", "--out", "run", "-q",
    ];
    stdout(root, &[&["train", "files"], &options[..]].concat());
    stdout(root, &["eval", "--model", "run", "-q"]);
    assert!(root.join("run/eval/report.html").exists());
}
