//! Masks keep every defect.

use image::{GrayImage, ImageBuffer, Luma};
use npyz::WriterBuilder;
use proptest::prelude::*;
use riad_core::{Components, Map, Size, components};
use riad_data::{DataError, Limits, load_mask, resize_mask};

fn mask(rows: &[&str]) -> Map<bool> {
    let pixels = rows.concat().bytes().map(|c| c == b'#').collect();
    Map::new(Size::new(rows.len(), rows[0].len()), pixels).unwrap()
}

fn resized(rows: &[&str], height: usize, width: usize) -> Vec<String> {
    let new = resize_mask(mask(rows), Size::new(height, width)).unwrap();
    new.values()
        .chunks(width)
        .map(|line| line.iter().map(|&d| if d { '#' } else { '.' }).collect())
        .collect()
}

#[test]
fn half_a_pixel_is_enough() {
    assert_eq!(resized(&["##..", "....", "#...", "...."], 2, 2), ["#.", "#."]);
    // The lower left quarter is covered by a fourth, but its region is kept elsewhere.
    assert_eq!(resized(&["##..", "##..", "#...", "...."], 2, 2), ["#.", ".."]);
}

/// ```python
/// import numpy as np
/// y, x = np.mgrid[:7, :9]
/// m = ((y - 2.6) ** 2 + (x - 3.2) ** 2 < 8) | (x > 6)
/// big = np.kron(m, np.ones((4, 5)))               # 28 x 45: both 7 x 9 and 4 x 5 divide it
/// share = big.reshape(4, 7, 5, 9).mean((1, 3))
/// print(["".join(".#"[int(v)] for v in row) for row in m], ["".join(".#"[int(v)] for v in row) for row in share >= .5])
/// ```
#[test]
fn areas_are_exact_where_sizes_do_not_divide() {
    let rows = [
        "...##..##",
        ".#####.##",
        ".#####.##",
        ".########",
        ".#####.##",
        "..###..##",
        ".......##",
    ];
    assert_eq!(resized(&rows, 4, 5), [".##.#", ".####", ".####", "....#"]);
}

#[test]
fn a_fine_scratch_stays_a_line_and_a_speck_a_pixel() {
    let rows = [
        "................",
        "................",
        "................",
        "################",
    ];
    assert_eq!(resized(&rows, 1, 4), ["####"]);
    assert_eq!(resized(&["#.......", "........", "........", "......#."], 1, 2), ["##"]);
    // Where it counts as more than a sliver: the speck lies in two pixels, three parts to one.
    assert_eq!(resized(&["...#...."], 1, 3), [".#."]);
}

#[test]
fn enlarging_repeats_pixels() {
    assert_eq!(resized(&["#.", ".#"], 4, 4), ["##..", "##..", "..##", "..##"]);
    assert_eq!(resized(&["#"], 2, 3), ["###", "###"]);
    assert_eq!(resized(&["."], 1, 2), [".."]);
}

proptest! {
    #[test]
    fn every_region_keeps_a_pixel(
        (height, width) in (1usize..24, 1usize..24),
        (new_height, new_width) in (1usize..16, 1usize..16),
        density in 0.0..0.3f64,
        seed: u64,
    ) {
        let order = riad_data::shuffled(height * width, seed);
        let defects = (density * (height * width) as f64).ceil() as usize;
        let mut mask = vec![false; height * width];
        order[..defects].iter().for_each(|&i| mask[i] = true);
        let new = resize_mask(Map::new(Size::new(height, width), mask.clone()).unwrap(), Size::new(new_height, new_width)).unwrap();
        prop_assert_eq!(new.size(), Size::new(new_height, new_width));
        let new = new.into_values();

        let Components { labels, count } = components(&Map::new(Size::new(height, width), mask.clone()).unwrap()).unwrap();
        // Whether the old pixel and the new one share an area.
        let meet = |y: usize, x: usize, ny: usize, nx: usize| {
            y * new_height < (ny + 1) * height && ny * height < (y + 1) * new_height
                && x * new_width < (nx + 1) * width && nx * width < (x + 1) * new_width
        };
        let marked: Vec<_> = (0..new.len()).filter(|&i| new[i]).map(|i| (i / new_width, i % new_width)).collect();
        for region in 1..=count {
            let pixels: Vec<_> = (0..labels.len()).filter(|&i| labels[i] == region).collect();
            let is_kept = marked.iter().any(|&(ny, nx)| pixels.iter().any(|&i| meet(i / width, i % width, ny, nx)));
            prop_assert!(is_kept, "region {region}");
        }
        // And nothing is marked where no defect is.
        for &(ny, nx) in &marked {
            prop_assert!((0..mask.len()).any(|i| mask[i] && meet(i / width, i % width, ny, nx)));
        }
    }
}

#[test]
fn any_value_but_0_is_a_defect() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("label.png");
    GrayImage::from_fn(3, 2, |x, y| Luma([(x + 3 * y) as u8]))
        .save(&path)
        .unwrap();
    let size = Size::new(2, 3);
    let expected = Map::new(size, vec![false, true, true, true, true, true]).unwrap();
    let load = |image_size| load_mask(&[&path], image_size, size, &Limits::default()).unwrap();
    assert_eq!(load(Some(size)), expected);
    // 16-bit labels would be 0 in 8 bits.
    ImageBuffer::from_fn(3, 2, |x, y| Luma([(x + 3 * y) as u16]))
        .save(&path)
        .unwrap();
    assert_eq!(load(None), expected);
}

#[test]
fn a_mask_of_another_size_is_an_error_with_both_sizes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("label.png");
    GrayImage::new(3, 2).save(&path).unwrap();
    let error = load_mask(&[&path], Some(Size::new(3, 2)), Size::new(8, 8), &Limits::default()).unwrap_err();
    assert!(matches!(error, DataError::Mask { .. }));
    let text = error.to_string();
    assert!(
        text.contains("3x2") && text.contains("2x3") && text.contains("label.png"),
        "{text}"
    );
}

#[test]
fn several_files_count_together_before_they_are_resized() {
    let folder = tempfile::tempdir().unwrap();
    let save = |name: &str, rows: &[&str]| {
        let path = folder.path().join(name);
        let mask = mask(rows);
        let Size { height, width } = mask.size();
        // A value for each kind of defect, as in MVTec LOCO.
        let value = if name == "0.png" { 255 } else { 2 };
        GrayImage::from_fn(width as u32, height as u32, |x, y| {
            Luma([u8::from(mask.values()[y as usize * width + x as usize]) * value])
        })
        .save(&path)
        .unwrap();
        path
    };
    let files = [
        save("0.png", &["#...", "....", "....", "...."]),
        save("1.png", &["....", ".#..", "....", "...#"]),
    ];
    // Each covers a fourth of the upper left pixel, both together half of it; the speck in the corner is kept.
    let half = Size::new(2, 2);
    let loaded = load_mask(&files, Some(Size::new(4, 4)), half, &Limits::default()).unwrap();
    assert_eq!(loaded.values(), [true, false, false, true]);
    let odd = save("2.png", &["#"]);
    for (files, message) in [
        (vec![files[0].clone(), odd], "2.png"),
        (Vec::new(), "at least one file"),
    ] {
        let error = load_mask(&files, None, half, &Limits::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn masks_are_arrays_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.npy");
    let size = Size::new(2, 3);
    let expected = Map::new(size, vec![false, true, false, false, false, true]).unwrap();
    let bytes: Vec<u8> = expected
        .values()
        .iter()
        .map(|&is_defect| 7 * u8::from(is_defect))
        .collect();
    let mut file = Vec::new();
    let options = npyz::WriteOptions::new().default_dtype().shape(&[2, 3]);
    let mut writer = options.writer(&mut file).begin_nd().unwrap();
    writer.extend(bytes).unwrap();
    writer.finish().unwrap();
    std::fs::write(&path, file).unwrap();
    assert_eq!(
        load_mask(&[&path], Some(size), size, &Limits::default()).unwrap(),
        expected
    );
}

#[test]
fn masks_without_pixels_or_measure_are_refused() {
    let [empty, mask] = [Size::new(0, 3), Size::new(2, 3)].map(|size| Map::filled(size, true));
    for (mask, size) in [
        (&empty, Size::new(2, 2)),
        (&mask, Size::new(0, 2)),
        (&mask, Size::new(1 << 62, 16)),
        (&mask, Size::new(1 << 20, 1 << 20)),
    ] {
        let error = resize_mask(mask.clone(), size).unwrap_err();
        assert!(matches!(error, DataError::Parameter(_)), "{size}: {error}");
    }
}

/// Draws a disc and a bar, and saves them in a few ways.
fn shapes() -> GrayImage {
    GrayImage::from_fn(96, 64, |x, y| {
        let is_disc = (x as i32 - 30).pow(2) + (y as i32 - 30).pow(2) < 220;
        let is_bar = (60..80).contains(&x) && (20..26).contains(&y);
        Luma([if is_disc || is_bar { 255 } else { 0 }])
    })
}

fn load(path: &std::path::Path) -> Result<Map<bool>, DataError> {
    let size = Size::new(64, 96);
    load_mask(&[path], Some(size), size, &Limits::default())
}

#[test]
fn compression_adds_no_defects() {
    let folder = tempfile::tempdir().unwrap();
    let drawn = shapes();
    let expected: Vec<bool> = drawn.pixels().map(|pixel| pixel.0[0] > 0).collect();
    for quality in [30, 50, 75, 90, 100] {
        let jpeg = folder.path().join("mask.jpg");
        let file = std::fs::File::create(&jpeg).unwrap();
        let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(file, quality);
        encoder.encode_image(&drawn).unwrap();
        // And saved losslessly after that.
        let png = folder.path().join("mask.png");
        image::open(&jpeg).unwrap().save(&png).unwrap();
        let rgb = folder.path().join("rgb.png");
        image::open(&jpeg).unwrap().into_rgb8().save(&rgb).unwrap();
        for path in [&jpeg, &png, &rgb] {
            let found = load(path).unwrap();
            let wrong = found.values().iter().zip(&expected).filter(|(a, b)| a != b).count();
            assert!(wrong <= 8, "{path:?} at {quality}: {wrong} pixels");
        }
    }
}

#[test]
fn soft_edges_are_cut_at_mid_grey() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("soft.png");
    // An edge of three grays beside each shape.
    let drawn = shapes();
    let soft = blurred(&drawn);
    soft.save(&path).unwrap();
    let expected: Vec<bool> = soft.pixels().map(|pixel| pixel.0[0] >= 128).collect();
    assert_eq!(load(&path).unwrap().values(), expected);
}

/// The mean of 3 by 3 pixels.
fn blurred(image: &GrayImage) -> GrayImage {
    GrayImage::from_fn(image.width(), image.height(), |x, y| {
        let mut sum = 0u32;
        for dy in 0..3 {
            for dx in 0..3 {
                let at = |place: u32, step: u32, side: u32| (place + step).saturating_sub(1).min(side - 1);
                let pixel = image.get_pixel(at(x, dx, image.width()), at(y, dy, image.height()));
                sum += u32::from(pixel.0[0]);
            }
        }
        Luma([(sum / 9) as u8])
    })
}

#[test]
fn labels_count_however_dark_or_bright() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.png");
    for labels in [[1, 2], [7, 60], [100, 200], [254, 255], [130, 255]] {
        let drawn = GrayImage::from_fn(96, 64, |x, y| {
            Luma([match (x, y) {
                (10..30, 10..30) => labels[0],
                (50..70, 10..30) => labels[1],
                _ => 0,
            }])
        });
        drawn.save(&path).unwrap();
        assert_eq!(
            load(&path).unwrap().values().iter().filter(|&&marked| marked).count(),
            800,
            "{labels:?}"
        );
    }
}

#[test]
fn what_is_no_mask_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let photo = image::RgbImage::from_fn(96, 64, |x, y| {
        image::Rgb([2 * x as u8, 3 * y as u8, (x * y % 251) as u8])
    });
    photo.save(path("photo.png")).unwrap();
    photo.save(path("photo.jpg")).unwrap();
    GrayImage::from_fn(96, 64, |x, _| Luma([2 * x as u8]))
        .save(path("ramp.png"))
        .unwrap();
    // A label so dark that compression could have left it, beside one that is bright.
    GrayImage::from_fn(96, 64, |x, _| {
        Luma([if x < 20 {
            3
        } else if x < 40 {
            255
        } else {
            0
        }])
    })
    .save(path("either.png"))
    .unwrap();
    GrayImage::new(96, 64).save(path("nothing.png")).unwrap();
    GrayImage::new(96, 64).save(path("nothing.jpg")).unwrap();
    let in_alpha = image::RgbaImage::from_fn(96, 64, |x, _| image::Rgba([0, 0, 0, if x < 20 { 255 } else { 0 }]));
    in_alpha.save(path("alpha.png")).unwrap();
    for (name, words) in [
        ("photo.png", "is not a mask"),
        ("photo.jpg", "is not a mask"),
        ("ramp.png", "is not a mask"),
        ("either.png", "is not a mask"),
        ("alpha.png", "alpha channel"),
    ] {
        let error = load(&path(name)).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, DataError::Mask { .. }), "{text}");
        assert!(text.contains(words) && text.contains(name), "{text}");
    }
    for name in ["nothing.png", "nothing.jpg"] {
        assert!(!load(&path(name)).unwrap().values().contains(&true), "{name}");
    }
}

#[test]
fn colours_mark_as_well_as_white() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("red.png");
    for colour in [[255, 0, 0], [0, 0, 1], [0, 128, 0]] {
        let drawn = image::RgbImage::from_fn(96, 64, |x, _| image::Rgb(if x < 20 { colour } else { [0; 3] }));
        drawn.save(&path).unwrap();
        assert_eq!(
            load(&path).unwrap().values().iter().filter(|&&marked| marked).count(),
            20 * 64,
            "{colour:?}"
        );
    }
}
