//! Images at their own resolution, by tiles.

use std::fs;

use crate::support::{demo, run_bytes, stderr, stdout};
use image::RgbImage;
use riad_core::Size;
use riad_data::{Fit, Reader};
use riad_model::{Checkpoint, Device, Keep, Precision, Scorer, Tiling};
use serde_json::Value;

const TRAIN: [&str; 9] = [
    "train",
    "data/badge",
    "--tile",
    "48x64",
    "--epochs",
    "2",
    "--calibration",
    "0.2",
    "-q",
];

#[test]
fn images_are_looked_at_in_tiles_from_training_to_pictures() {
    let folder = demo();
    let root = folder.path();
    stdout(root, &TRAIN);
    let info = stdout(root, &["info", "runs/badge"]);
    let info = info.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        info.contains("any, in tiles of 48x64 (height x width) that overlap by 12 pixels or more"),
        "{info}"
    );
    assert!(!info.contains("what is normal"), "{info}");
    let checkpoint = Checkpoint::open(&root.join("runs/badge")).unwrap();
    assert_eq!(checkpoint.normal, None);
    assert_eq!(checkpoint.header.calibration.unwrap().scores().len(), 2);

    // A run that was broken off goes on to the same bytes; where tiles are cut follows from the epoch.
    let broken_off = [&TRAIN[..], &["--out", "run", "--max-time", "0s"]].concat();
    stdout(root, &broken_off);
    let said = stderr(root, &["train", "--resume", "run", "--size", "48x64"], 2);
    assert!(said.contains("another --size"), "{said}");
    let said = stderr(root, &["train", "--resume", "run", "--tile", "64"], 2);
    assert!(said.contains("another --tile"), "{said}");
    stdout(root, &["train", "--resume", "run", "-q"]);
    assert_eq!(run_bytes(&root.join("run")), run_bytes(&root.join("runs/badge")));

    // Masks are compared at the size that images have.
    stdout(root, &["eval", "--model", "run", "--fpr", "0.5", "-q"]);
    let results: Value = serde_json::from_slice(&fs::read(root.join("run/eval/results.json")).unwrap()).unwrap();
    let badge = &results["categories"]["badge"];
    assert!(badge["pixel_auroc"].is_f64(), "{badge}");
    let pixels = ["good_pixels", "defective_pixels"].map(|kind| badge["at_threshold"][kind]["of"].as_u64().unwrap());
    assert_eq!(pixels.iter().sum::<u64>(), 15 * 128 * 128);
    assert!(root.join("run/eval/report.html").exists());
}

#[test]
fn images_of_any_size_are_scored_and_small_ones_named() {
    let folder = demo();
    let root = folder.path();
    stdout(root, &TRAIN);
    fs::create_dir(root.join("photos")).unwrap();
    let picture =
        |width, height| RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, (x * y) as u8]));
    for (name, width, height) in [
        ("exact", 64, 48),
        ("large", 200, 150),
        ("low", 64, 47),
        ("wide", 300, 48),
    ] {
        picture(width, height)
            .save(root.join("photos").join(format!("{name}.png")))
            .unwrap();
    }
    let score = [
        "score",
        "--model",
        "runs/badge",
        "photos",
        "--maps",
        "maps",
        "-q",
        "--threads",
    ];
    let said = stderr(root, &[&score[..], &["1"]].concat(), 1);
    assert!(
        said.contains("low.png: the image has 47x64 pixels (height x width), but a tile 48x64"),
        "{said}"
    );
    for (name, width, height) in [("exact", 64, 48), ("large", 200, 150), ("wide", 300, 48)] {
        let overlay = root.join("maps").join(format!("{name}.overlay.png"));
        assert_eq!(image::image_dimensions(overlay).unwrap(), (width, height));
    }
    fs::remove_file(root.join("photos/low.png")).unwrap();
    let lines = stdout(root, &[&score[..], &["1"]].concat());
    assert_eq!(lines.lines().count(), 4, "{lines}");
    assert_eq!(stdout(root, &[&score[..], &["3"]].concat()), lines);

    // Training says it before it starts.
    picture(300, 30)
        .save(root.join("data/badge/train/good/strip.png"))
        .unwrap();
    let said = stderr(root, &[&TRAIN[..], &["--out", "other"]].concat(), 1);
    assert!(said.contains("strip.png: the image has 30x300 pixels"), "{said}");
    assert!(!root.join("other").exists());
    let said = stderr(
        root,
        &[
            "train",
            "data/badge",
            "--tile",
            "64",
            "--overlap",
            "33",
            "--out",
            "other",
        ],
        2,
    );
    assert!(said.contains("can overlap by at most 32 pixels"), "{said}");
}

/// Beside the image, in 12 bytes a pixel, and for a moment what it is decoded from, in 9, there is but the map, in 4. With
/// the maps of each region size and the reconstruction it would be 44.
#[test]
#[cfg(target_os = "linux")]
fn memory_grows_with_the_image_and_its_map_alone() {
    let folder = demo();
    let root = folder.path();
    stdout(root, &TRAIN);
    let mut checkpoint = Checkpoint::open(&root.join("runs/badge")).unwrap();
    // As many maps as ever, in fewer passes.
    checkpoint.header.scoring.region_sizes = vec![16; 4];
    checkpoint.header.scoring.sets = 1;
    checkpoint.save(&root.join("model.safetensors")).unwrap();
    let peak = |side: u32| {
        let name = format!("{side}.png");
        RgbImage::from_fn(side, side, |x, y| image::Rgb([x as u8, y as u8, (x ^ y) as u8]))
            .save(root.join(&name))
            .unwrap();
        // The system's own record: whoever looks from outside may miss the last moment.
        let script = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); \
                      print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
        let riad = assert_cmd::cargo::cargo_bin("riad");
        let riad = riad.to_str().unwrap();
        let score = ["-c", script, riad, "score", "--model", "model.safetensors", &name, "-q"];
        let kilobytes: u64 = riad_testing::python(root, &score)?.trim().parse().unwrap();
        Some(kilobytes * 1024)
    };
    // Both have more tiles than are scored at once.
    let (Some(small), Some(large)) = (peak(800), peak(1600)) else {
        return;
    };
    let growth = large.saturating_sub(small) as f64 / f64::from(1600 * 1600 - 800 * 800);
    assert!(
        (12.0..40.0).contains(&growth),
        "{growth} bytes a pixel, from {small} to {large}"
    );
}

/// Mean of the values' absolute differences.
fn mean_difference(pairs: impl Iterator<Item = (f32, f32)>) -> f64 {
    let (sum, count) = pairs.fold((0.0, 0.0), |(sum, count), (a, b)| {
        (sum + f64::from((a - b).abs()), count + 1.0)
    });
    sum / count
}

/// Where the tiles lie cannot be seen in a map, and hardly changes it.
#[test]
fn maps_of_real_images_have_no_seams() {
    let Some(data) = riad_testing::data("mvtec_bottle_900/bottle") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let good = data.join("train/good");
    let train = [
        "train",
        good.to_str().unwrap(),
        "--tile",
        "128",
        "--epochs",
        "12",
        "--lr",
        "2e-3",
        "--out",
        "run",
        "-q",
    ];
    stdout(folder.path(), &train);
    let mut checkpoint = Checkpoint::open(&folder.path().join("run")).unwrap();

    let test = fs::read_dir(data.join("test/good"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let whole = Reader::default().load(&test, Fit::Own).unwrap().image;
    const SIDE: usize = 384;
    let part = |left: usize, top: usize| {
        let rows = |plane: &[f32]| {
            let rows = plane.chunks(whole.size().width).skip(top).take(SIDE);
            rows.flat_map(|row| row[left..left + SIDE].to_vec()).collect::<Vec<_>>()
        };
        whole.planes().flat_map(rows).collect::<Vec<_>>()
    };
    const SHIFT: usize = 40;
    const MARGIN: usize = 24;
    let mut measure = |overlap, borders: &[usize]| {
        checkpoint.header.scoring.tiling = Some(Tiling { overlap });
        let scorer = Scorer::new(&checkpoint, &Device::CPU, Precision::F32).unwrap();
        let size = Size::new(SIDE, SIDE);
        let map = |at: usize| {
            scorer
                .score_image(&part(at, at), size, Keep::Map)
                .unwrap()
                .map
                .into_values()
        };
        let (map, shifted) = (map(200), map(200 + SHIFT));
        let mean = map.iter().map(|&v| f64::from(v)).sum::<f64>() / map.len() as f64;
        let inside = SHIFT + MARGIN..SIDE - MARGIN;
        let both = inside.clone().flat_map(|y| inside.clone().map(move |x| (y, x)));
        let moved = mean_difference(both.map(|(y, x)| (map[y * SIDE + x], shifted[(y - SHIFT) * SIDE + x - SHIFT])));
        let steps = |columns: &[usize]| {
            let at = columns.iter().flat_map(|x| (0..SIDE).map(move |y| y * SIDE + x));
            mean_difference(at.map(|i| (map[i], map[i - 1])))
        };
        let everywhere: Vec<usize> = (1..SIDE).collect();
        (moved / mean, steps(borders) / steps(&everywhere))
    };
    // Where tiles begin and end.
    let (moved, seam) = measure(32, &[85, 128, 170, 213, 256, 298]);
    let (moved_without, seam_without) = measure(0, &[128, 256]);
    // In shares of the map's mean, and of the mean step from one pixel to the next.
    assert!(moved < 0.03 && moved < moved_without, "{moved} {moved_without}");
    assert!(seam < 1.3 && seam_without > 2.0, "{seam} {seam_without}");
}
