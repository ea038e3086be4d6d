//! What the samples of files mean: white levels, pictures beyond the first, and what decoding may take.

use std::{
    fs::{self, File},
    path::Path,
};

use crate::support::{riad, stderr, stdout};
use image::{DynamicImage, GrayImage, ImageBuffer, Luma};
use tempfile::TempDir;
use tiff::encoder::{TiffEncoder, colortype::Gray8};

const TRAIN: [&str; 9] = [
    "--size",
    "32",
    "--epochs",
    "2",
    "--batch",
    "4",
    "--calibration",
    "0.2",
    "--channels=1",
];

/// A made-up part: a bar somewhere else in each image.
fn part(number: u32) -> GrayImage {
    GrayImage::from_fn(40, 36, |x, y| {
        let texture = (x * 7 + y * 13 + number * 29) % 23;
        let on_bar = (14 + number % 5..24 + number % 5).contains(&x);
        Luma([(30 + texture + if on_bar { 160 } else { 0 }) as u8])
    })
}

/// The same parts of 8 bits in `8`, and in `12` as a camera of 12 bits has them, unshifted in files of 16: a sample of 4080 where 8
/// bits have 255.
fn sets() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for set in ["8", "12"] {
        fs::create_dir(folder.path().join(set)).unwrap();
        for number in 0..10 {
            let part = part(number);
            let image: DynamicImage = match set {
                "8" => part.into(),
                _ => ImageBuffer::from_fn(40, 36, |x, y| Luma([u16::from(part.get_pixel(x, y).0[0]) * 16])).into(),
            };
            image
                .save(folder.path().join(set).join(format!("{number}.png")))
                .unwrap();
        }
    }
    folder
}

fn train(root: &Path, arguments: &[&str]) -> String {
    stderr(root, &[&["train"], arguments, &TRAIN].concat(), 0)
}

#[test]
fn with_a_white_level_a_run_is_that_of_the_same_pictures() {
    let folder = sets();
    let root = folder.path();
    train(root, &["8", "--out", "of_8", "-q"]);
    fs::write(root.join("camera.toml"), "white-level = 4080\n").unwrap();
    let said = train(root, &["12", "--out", "of_12", "--config", "camera.toml", "-q"]);
    assert!(!said.contains("--white-level"), "{said}");
    // Every number of both is the same.
    let history = |run: &str| fs::read_to_string(root.join(run).join("history.csv")).unwrap();
    let without_time = |history: String| -> Vec<String> {
        let columns = history
            .lines()
            .next()
            .unwrap()
            .split(',')
            .map(str::to_owned)
            .collect::<Vec<_>>();
        let keep = |line: &str| {
            let fields = line
                .split(',')
                .zip(&columns)
                .filter(|(_, column)| !column.contains("seconds"));
            fields.map(|(field, _)| field).collect::<Vec<_>>().join(",")
        };
        history.lines().map(keep).collect()
    };
    assert_eq!(without_time(history("of_8")), without_time(history("of_12")));
    let scores = |run: &str, set: &str| -> Vec<String> {
        let lines = stdout(root, &["score", "--model", run, set, "-q"]);
        lines
            .lines()
            .map(|line| line.split(',').nth(1).unwrap().to_owned())
            .collect()
    };
    assert_eq!(scores("of_8", "8"), scores("of_12", "12"));

    // The model keeps it, says it, and hands it on.
    let info = stdout(root, &["info", "of_12"]);
    assert!(info.contains("4080"), "{info}");
    stdout(
        root,
        &[
            "export", "--model", "of_12", "--format", "onnx", "--out", "a.onnx", "-q",
        ],
    );
    let onnx = fs::read(root.join("a.onnx")).unwrap();
    let holds = |words: &str| onnx.windows(words.len()).any(|bytes| bytes == words.as_bytes());
    assert!(holds("\"white_level\":4080") && holds("divided by 4080"));
    // A state dict has no place for it.
    let export = ["export", "--model", "of_12", "--format", "torch", "--out", "a.pt", "-q"];
    let said = stderr(root, &export, 0);
    assert!(
        said.contains("not the white level") && said.contains("by 4080"),
        "{said}"
    );
    // A look before the training sees what is trained.
    let check = ["check", "--channels", "1"];
    let looked = stdout(root, &[&check[..], &["12", "--white-level", "4080"]].concat());
    assert_eq!(looked, stdout(root, &[&check[..], &["8"]].concat()));
    let error = stderr(root, &[&check[..], &["12", "--white-level", "255"]].concat(), 1);
    assert!(error.contains("0.png") && error.contains("255"), "{error}");
    let error = stderr(root, &["train", "--resume", "of_12", "--white-level", "4095"], 2);
    assert!(error.contains("another --white-level"), "{error}");

    // A file that contradicts it is named, and the others are scored.
    let bright = ImageBuffer::from_pixel(40, 36, Luma([5000u16]));
    DynamicImage::from(bright).save(root.join("12/bright.png")).unwrap();
    let output = riad(root)
        .args(["score", "--model", "of_12", "12", "8/0.png", "-q"])
        .assert()
        .code(1);
    let error = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(
        error.contains("bright.png") && error.contains("5000") && error.contains("4080"),
        "{error}"
    );
    assert!(error.contains("8/0.png") && error.contains("255"), "{error}");
    assert_eq!(
        output.get_output().stdout.iter().filter(|&&byte| byte == b'\n').count(),
        11
    );
    let error = stderr(
        root,
        &[&["train", "12", "--white-level", "4080", "--out", "new"], &TRAIN[..]].concat(),
        1,
    );
    assert!(
        error.contains("bright.png") && error.contains("(--white-level sets"),
        "{error}"
    );
}

#[test]
fn dark_images_of_16_bits_are_told_of_with_the_option() {
    let folder = sets();
    let root = folder.path();
    for method in [&[][..], &["--method", "riad"]] {
        let said = train(
            root,
            &[&["12", "--out", method.last().unwrap_or(&"run"), "-q"], method].concat(),
        );
        assert!(
            said.contains("--white-level 4095") && said.contains("12 bits"),
            "{said}"
        );
    }
    fs::create_dir(root.join("more")).unwrap();
    for number in 20..23 {
        let part = part(number);
        let image = ImageBuffer::from_fn(40, 36, |x, y| Luma([u16::from(part.get_pixel(x, y).0[0]) * 4]));
        DynamicImage::from(image)
            .save(root.join(format!("more/{number}.png")))
            .unwrap();
    }
    let said = stderr(root, &["calibrate", "--model", "run", "more", "-q"], 0);
    assert!(said.contains("--white-level 1023"), "{said}");
    // 8 bits are no camera of fewer.
    assert!(!train(root, &["8", "--out", "of_8", "-q"]).contains("--white-level"));
}

#[test]
fn pictures_beyond_the_first_are_told_of_once_and_counted() {
    let folder = sets();
    let root = folder.path();
    for name in ["a.tif", "b.tif"] {
        let mut tiff = TiffEncoder::new(File::create(root.join("8").join(name)).unwrap()).unwrap();
        for number in 0..2 {
            tiff.write_image::<Gray8>(40, 36, part(number).as_raw()).unwrap();
        }
    }
    let said = train(root, &["8", "--out", "run", "-q"]);
    let told = |said: &str| {
        for name in ["a.tif", "b.tif"] {
            let line = format!("{name}: the file has 2 pictures, and only one is read");
            assert_eq!(said.matches(&line).count(), 1, "{said}");
        }
        assert_eq!(
            said.matches("2 files have several pictures; only one picture of each is read")
                .count(),
            1,
            "{said}"
        );
    };
    told(&said);
    told(&stderr(root, &["score", "--model", "run", "8", "-q"], 0));
    let watch = ["watch", "8", "--model", "run", "--out", "out.csv", "--once", "-q"];
    let said = stderr(root, &watch, 0);
    for name in ["a.tif", "b.tif"] {
        let line = format!("{name}: the file has 2 pictures, and only one is read");
        assert_eq!(said.matches(&line).count(), 1, "{said}");
    }
}

#[test]
fn an_image_beyond_the_memory_of_decoding_is_refused_and_the_others_go_on() {
    let folder = sets();
    let root = folder.path();
    train(root, &["8", "--out", "run", "-q"]);
    GrayImage::new(2000, 2000).save(root.join("8/large.png")).unwrap();
    let score = ["score", "--model", "run", "8", "-q"];
    let output = riad(root)
        .args([&score[..], &["--decode-memory", "4MiB"]].concat())
        .assert()
        .code(1);
    let error = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(
        error.contains("large.png") && error.contains("--decode-memory"),
        "{error}"
    );
    assert_eq!(
        output.get_output().stdout.iter().filter(|&&byte| byte == b'\n').count(),
        11
    );
    assert_eq!(stdout(root, &score).lines().count(), 12);
    let error = stderr(root, &[&score[..], &["--decode-memory", "much"]].concat(), 2);
    assert!(error.contains("512MiB"), "{error}");
}
