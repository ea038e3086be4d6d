//! Maps, the regions in them, and the columns that tell lines of different starts apart.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use image::{GrayImage, Luma};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use riad_testing::python;

use crate::support::riad;

use super::{once, rows, scattered, start, stderr, stdout, trained, wait_until};

/// All files below a folder, with what they hold.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(tree(&path));
        } else {
            files.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    files
}

/// The same, by their paths below it.
fn below(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = tree(folder).into_iter();
    let name = |path: PathBuf| path.strip_prefix(folder).unwrap().to_owned();
    files.map(|(path, bytes)| (name(path), bytes)).collect()
}

/// Some of the pictures in two folders, with two names that differ in their endings alone.
fn fill_inbox(root: &Path) -> usize {
    let count = 8;
    for number in 0..count {
        let side = root.join("inbox").join(["left", "right/deep"][number % 2]);
        fs::create_dir_all(&side).unwrap();
        fs::copy(
            root.join(format!("pictures/{number}.png")),
            side.join(format!("{number}.png")),
        )
        .unwrap();
    }
    let same = image::open(root.join("inbox/left/0.png")).unwrap().into_rgb8();
    same.save(root.join("inbox/left/0.bmp")).unwrap();
    count + 1
}

#[test]
fn maps_are_those_of_score_and_whole_before_their_line_whenever_it_is_killed() {
    let folder = trained();
    let root = folder.path();
    let count = fill_inbox(root);
    for format in ["tiff", "npy", "png"] {
        let maps = [
            "--fpr",
            "0.5",
            "--maps",
            "expected",
            "--map-format",
            format,
            "--map-scale",
            "0.3",
        ];
        stdout(root, &[&["score", "inbox", "--model", "run", "-q"], &maps[..]].concat());
        // A watch does not know which files come later, so its maps always have the image's ending.
        let expected: BTreeMap<_, _> = below(&root.join("expected"))
            .into_iter()
            .map(|(path, bytes)| {
                let (image, kind) = path.to_str().unwrap().split_once('.').unwrap();
                let has_ending = kind.starts_with("png.") || kind.starts_with("bmp.");
                let ending = if has_ending { "" } else { "png." };
                (PathBuf::from(format!("{image}.{ending}{kind}")), bytes)
            })
            .collect();
        fs::remove_dir_all(root.join("expected")).unwrap();
        let ending = if format == "png" {
            "left/0.bmp.overlay.png"
        } else {
            "left/0.bmp."
        };
        assert!(
            expected.keys().any(|path| path.to_str().unwrap().starts_with(ending)),
            "{:?}",
            expected.keys()
        );

        let more = [
            "--fpr",
            "0.5",
            "--maps",
            "maps",
            "--map-format",
            format,
            "--map-scale",
            "0.3",
        ];
        let out = format!("{format}.csv");
        let kills = if format == "png" { 8 } else { 0 };
        for attempt in 1..=kills {
            let mut child = start(root, &out, &more);
            thread::sleep(Duration::from_millis(600).mul_f64(scattered(attempt)));
            child.kill().unwrap();
            child.wait().unwrap();
            let found = below(&root.join("maps"));
            for (path, bytes) in found
                .iter()
                .filter(|(path, _)| path.extension().is_some_and(|end| end != "part"))
            {
                assert_eq!(bytes, &expected[path], "{}", path.display());
            }
            for row in rows(&root.join(&out)) {
                let maps = found.keys().filter(|path| {
                    let name = path.to_str().unwrap();
                    name.starts_with(&format!("{}.", row.path)) && !name.ends_with(".part")
                });
                assert!(maps.count() >= 2, "{} has its line, but no maps", row.path);
            }
        }
        let (code, said) = once(root, &out, &more);
        assert_eq!((code, rows(&root.join(&out)).len()), (0, count), "{said}");
        assert_eq!(below(&root.join("maps")), expected);
        fs::remove_dir_all(root.join("maps")).unwrap();
    }
}

#[test]
fn a_map_that_cannot_be_written_is_told_once_and_its_image_has_a_line() {
    let folder = trained();
    let root = folder.path();
    let count = fill_inbox(root);
    fs::create_dir(root.join("maps")).unwrap();
    fs::write(root.join("maps/left"), "in the way").unwrap();
    let (code, said) = once(root, "out.csv", &["--maps", "maps"]);
    assert_eq!((code, rows(&root.join("out.csv")).len()), (1, count), "{said}");
    assert_eq!(said.matches("no map of inbox/left/").count(), 5, "{said}");
    assert_eq!(said.matches("no map of").count(), 5, "{said}");
    assert!(root.join("maps/right/deep/1.png.heat.png").exists());
}

#[test]
fn maps_among_images_or_defects_are_refused() {
    let folder = trained();
    let root = folder.path();
    fs::create_dir(root.join("inbox")).unwrap();
    let watch = ["watch", "inbox", "--model", "run", "--fpr", "0.5"];
    for more in [
        &["--maps", "inbox"][..],
        &["--maps", "inbox/maps"],
        &["--maps", "."],
        &["--defects", "aside", "--maps", "aside/maps"],
        &["--defects", "aside/defects", "--maps", "aside"],
    ] {
        let error = stderr(root, &[&watch[..], more].concat(), 2);
        assert!(
            error.contains("must lie outside of each other") && error.contains("--maps"),
            "{error}"
        );
    }
    assert!(!root.join("aside").exists() && !root.join("inbox/maps").exists());
    assert!(stderr(root, &[&watch[..], &["--maps", "maps", "--map-scale", "0"]].concat(), 2).contains("--map-scale"));
}

/// Where the spot is in the picture that has one: x, y, width and height, of 96 x 64 pixels.
const SPOT: [usize; 4] = [36, 20, 24, 20];

/// A calibrated model of 32 x 32 pixels, and `inbox` with a good picture and one with a spot of 96 x 64.
fn trained_on_stripes() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let save = |path: &str, base: u32, shift: u32, has_spot: bool| {
        let [x, y, width, height] = SPOT.map(|length| length as u32);
        let picture = GrayImage::from_fn(96, 64, |at, row| {
            let is_spot = has_spot && (x..x + width).contains(&at) && (y..y + height).contains(&row);
            Luma([if is_spot {
                250
            } else {
                (base + (at + row * 2 + shift) % 32) as u8
            }])
        });
        picture.save(root.join(path)).unwrap();
    };
    for place in ["train", "good", "more", "inbox"] {
        fs::create_dir(root.join(place)).unwrap();
    }
    for number in 0..12 {
        save(&format!("train/{number}.png"), 60, number, false);
        save(&format!("good/{number}.png"), 61, number, false);
        save(&format!("more/{number}.png"), 64, number, false);
    }
    save("inbox/spot.png", 61, 5, true);
    save("inbox/good.png", 61, 1, false);
    let train = "train train --method riad --size 32 --epochs 3 --out run -q";
    stdout(root, &train.split(' ').collect::<Vec<_>>());
    stdout(root, &["calibrate", "--model", "run", "good", "-q"]);
    folder
}

/// Expected values are those of `tests/reference/regions.py`.
#[test]
fn regions_are_the_parts_of_the_map_above_the_threshold_in_pixels_of_the_file() {
    let folder = trained_on_stripes();
    let root = folder.path();
    let more = ["--fpr", "0.1", "--maps", "maps", "--map-format", "npy"];
    for out in ["out.csv", "out.jsonl"] {
        let (code, said) = once(root, out, &more);
        assert_eq!(code, 0, "{said}");
    }
    let rows = rows(&root.join("out.csv"));
    let of = |path: &str| rows.iter().find(|row| row.path == path).unwrap();
    assert_eq!(
        (of("good.png").verdict.as_str(), of("good.png").regions.as_str()),
        ("good", "[]")
    );
    let spot = of("spot.png");
    let regions: Vec<Value> = serde_json::from_str(&spot.regions).unwrap();
    let number = |region: &Value, name: &str| region[name].as_u64().unwrap() as usize;
    let first = &regions[0];
    assert_eq!(first["peak"].as_f64().unwrap() as f32, spot.score.unwrap());
    let (x, y) = (number(first, "x"), number(first, "y"));
    let meets = |from: usize, length: usize, at: usize, of: usize| from < at + of && at < from + length;
    assert!(meets(x, number(first, "width"), SPOT[0], SPOT[2]), "{first}");
    assert!(meets(y, number(first, "height"), SPOT[1], SPOT[3]), "{first}");

    // The same in lines of JSON, and from riad score.
    let lines = fs::read_to_string(root.join("out.jsonl")).unwrap();
    let scored = riad(root)
        .args(["score", "--model", "run", "inbox", "--fpr", "0.1", "--format", "jsonl"])
        .output();
    let scored = String::from_utf8(scored.unwrap().stdout).unwrap();
    for (text, path) in [(&lines, "spot.png"), (&scored, "inbox/spot.png")] {
        let mut values = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let line = values.find(|line| line["path"] == path).unwrap();
        let theirs = line["regions"].as_array().unwrap();
        assert!(same(theirs, &regions), "{line}");
    }

    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/regions.py");
    let threshold = spot.threshold.unwrap().to_string();
    let Some(expected) = python(root, &[script, "maps/spot.png.npy", &threshold, "64", "96"]) else {
        return;
    };
    let expected: Vec<Value> = serde_json::from_str(&expected).unwrap();
    assert!(same(&regions, &expected), "{regions:?}\n{expected:?}");
}

/// Whether regions are the same, their peaks as 32-bit floats.
fn same(a: &[Value], b: &[Value]) -> bool {
    let rounded = |region: &Value| {
        let lengths = ["x", "y", "width", "height", "area"].map(|name| region[name].as_u64().unwrap());
        (lengths, region["peak"].as_f64().unwrap() as f32)
    };
    a.iter().map(rounded).eq(b.iter().map(rounded))
}

#[test]
fn columns_tell_which_model_and_rate_a_line_is_of() {
    let folder = trained_on_stripes();
    let root = folder.path();
    let digits = || -> String {
        let sum = Sha256::digest(fs::read(root.join("run/best.safetensors")).unwrap());
        sum.iter().map(|byte| format!("{byte:02x}")).take(6).collect()
    };
    let (first, picture) = (digits(), fs::read(root.join("inbox/good.png")).unwrap());
    let more = |name: &str| fs::write(root.join("inbox").join(name), &picture).unwrap();
    assert_eq!(once(root, "out.csv", &["--fpr", "0.1"]).0, 0);
    more("b.png");
    assert_eq!(once(root, "out.csv", &["--fpr", "0.5"]).0, 0);
    more("c.png");
    stdout(root, &["calibrate", "--model", "run", "more", "-q"]);
    let second = digits();
    assert_ne!(first, second);
    assert_eq!(once(root, "out.csv", &["--fpr", "0.5"]).0, 0);
    more("d.png");
    let child = start(root, "out.csv", &[]);
    wait_until("the last line", || rows(&root.join("out.csv")).len() == 5);
    super::end(child);

    let rows = rows(&root.join("out.csv"));
    let rates: Vec<_> = rows.iter().map(|row| row.rate).collect();
    assert_eq!(rates, [Some(0.1), Some(0.1), Some(0.5), Some(0.5), None]);
    let models: Vec<_> = rows.iter().map(|row| row.model.as_str()).collect();
    assert_eq!(models, [&first, &first, &first, &second, &second]);
    assert!(rows.iter().all(|row| row.riad_version == env!("CARGO_PKG_VERSION")));
    let thresholds: Vec<_> = rows.iter().map(|row| row.threshold).collect();
    assert_eq!(thresholds[0], thresholds[1]);
    assert!(
        thresholds[0] > thresholds[2] && thresholds[2] != thresholds[3],
        "{thresholds:?}"
    );
    assert_eq!((thresholds[4], rows[4].regions.as_str()), (None, ""));

    // What an older version began is not gone on with.
    fs::write(root.join("old.csv"), "path,size,modified,score,p_value,verdict,error\n").unwrap();
    let (code, said) = once(root, "old.csv", &[]);
    assert!(code == 2 && said.contains("does not hold results"), "{said}");
}
