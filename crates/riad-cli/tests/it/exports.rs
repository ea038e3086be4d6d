//! What other programs get: maps as numbers, and models in their formats.

use std::{
    fs::{self, File},
    path::Path,
};

use crate::support::{demo, stdout};
use npyz::NpyFile;
use riad_model::Checkpoint;
use riad_testing::python;
use tempfile::TempDir;
use tiff::decoder::{Decoder, DecodingResult};

/// A run `run` at 32×32.
fn trained() -> TempDir {
    let folder = demo();
    let train = [
        "train",
        "data/badge",
        "--size",
        "32",
        "--epochs",
        "1",
        "--out",
        "run",
        "-q",
    ];
    stdout(folder.path(), &train);
    folder
}

/// Scores by path, as `riad score` prints them.
fn scores(root: &Path, arguments: &[&str]) -> Vec<(String, f32)> {
    let lines = stdout(root, &[&["score", "--model", "run", "-q"], arguments].concat());
    csv::Reader::from_reader(lines.as_bytes())
        .deserialize()
        .map(Result::unwrap)
        .collect()
}

#[test]
fn maps_are_written_as_numbers_where_mvtecs_script_looks_for_them() {
    let folder = trained();
    let root = folder.path();
    let test = "data/badge/test";
    let scored = scores(root, &[test, "--maps", "npy", "--map-format", "npy"]);
    scores(root, &[test, "--maps", "maps/badge/test", "--map-format", "tiff"]);
    assert!(!scored.is_empty());
    for (path, score) in &scored {
        let name = path
            .strip_prefix("data/badge/test/")
            .unwrap()
            .strip_suffix(".png")
            .unwrap();
        let npy = NpyFile::new(File::open(root.join(format!("npy/{name}.npy"))).unwrap()).unwrap();
        assert_eq!(npy.shape(), [32, 32]);
        let small: Vec<f32> = npy.into_vec().unwrap();
        let range = |values: &[f32]| {
            let least = values.iter().copied().fold(f32::INFINITY, f32::min);
            (least, values.iter().copied().fold(f32::NEG_INFINITY, f32::max))
        };
        assert_eq!(range(&small).1, *score, "{name}");

        let mut tiff = Decoder::new(File::open(root.join(format!("maps/badge/test/{name}.tiff"))).unwrap()).unwrap();
        let original = image::image_dimensions(root.join(path)).unwrap();
        assert_eq!(tiff.dimensions().unwrap(), original);
        let DecodingResult::F32(large) = tiff.read_image().unwrap() else {
            panic!("{name} is not of 32-bit floats");
        };
        // Interpolated: nothing beyond what there was, and the corners are the corners.
        let ((least, most), (at_least, at_most)) = (range(&large), range(&small));
        assert!(at_least - 1e-6 <= least && most <= at_most + 1e-6, "{name}");
        let ends = |values: &[f32], width: u32| [values[0], values[width as usize - 1], values[values.len() - 1]];
        for (large, small) in ends(&large, original.0).into_iter().zip(ends(&small, 32)) {
            assert!((large - small).abs() < 1e-6, "{name}: {large} {small}");
        }
    }
}

#[test]
fn a_model_is_exported_in_every_format() {
    let folder = trained();
    let root = folder.path();
    for (format, out) in [
        ("onnx", "out/a.onnx"),
        ("onnx-network", "out/b.onnx"),
        ("torch", "out/c.pt"),
    ] {
        stdout(root, &["export", "--model", "run", "--format", format, "--out", out]);
    }
    let weights = |path: &str| Checkpoint::open(&root.join(path)).unwrap().weights;
    assert_eq!(weights("out/c.pt"), weights("run"));
    let size = |path: &str| fs::metadata(root.join(path)).unwrap().len();
    assert!(size("out/a.onnx") > size("out/b.onnx"), "the scorer holds the network");
    assert_eq!(fs::read_dir(root.join("out")).unwrap().count(), 3);
}

/// The example of the README, as it stands there.
#[test]
fn the_python_example_gives_the_scores_of_riad_score() {
    let folder = trained();
    let root = folder.path();
    let readme = include_str!("../../README.md");
    let example = readme.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    fs::write(root.join("example.py"), example).unwrap();
    stdout(
        root,
        &["export", "--model", "run", "--format", "onnx", "--out", "lid.onnx"],
    );
    let scored = scores(root, &["data/badge/test"]);
    let paths = scored.iter().map(|(path, _)| path.as_str());
    let arguments: Vec<&str> = std::iter::once("example.py").chain(paths).collect();
    let Some(lines) = python(root, &arguments) else {
        return;
    };
    assert_eq!(lines.lines().count(), scored.len());
    for (line, (path, score)) in lines.lines().zip(&scored) {
        let rest = line.strip_prefix(path).unwrap();
        let theirs: f32 = rest.split_whitespace().next().unwrap().parse().unwrap();
        assert!((theirs - score).abs() < 1e-4, "{path}: {theirs} {score}");
    }
}
