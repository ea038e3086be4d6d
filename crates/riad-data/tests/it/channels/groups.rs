//! Images of several files.

use std::fs;

use image::{DynamicImage, GrayImage, Luma, Rgb, RgbImage};
use riad_core::Size;
use riad_data::{DataError, DecodeMemory, Fit, Pattern, Reader};
use tempfile::TempDir;

use super::{FITS, load, own, saved};

fn pattern(text: &str) -> Pattern {
    text.parse().unwrap()
}

/// Three images of four lights, as gray pictures; light 2 of each is saved in colours.
fn lights() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for part in 0..3u8 {
        for light in 0..4u8 {
            let value = |x: u32, y: u32| part * 60 + light * 13 + 3 * x as u8 + y as u8;
            let image: DynamicImage = match light {
                2 => RgbImage::from_fn(6, 5, |x, y| Rgb([value(x, y); 3])).into(),
                _ => GrayImage::from_fn(6, 5, |x, y| Luma([value(x, y)])).into(),
            };
            saved(&folder, &format!("part_{part}_light{light}.png"), image);
        }
    }
    folder
}

#[test]
fn files_that_belong_together_are_channels() {
    let folder = lights();
    let lights = pattern("*_light{0..3}.png");
    let reader = Reader::new(4).with_pattern(Some(lights.clone()));
    for part in 0..3 {
        let file = |light: usize| folder.path().join(format!("part_{part}_light{light}.png"));
        // Any of them stands for all.
        for named in 0..4 {
            assert_eq!(lights.files(&file(named)).unwrap(), [0, 1, 2, 3].map(file));
            for fit in FITS {
                let loaded = reader.load(&file(named), fit).unwrap();
                assert_eq!(loaded.original_size, Size::new(5, 6));
                for (plane, light) in loaded.image.planes().zip(0..) {
                    assert_eq!(plane, load(&file(light), 1, fit).unwrap().values());
                }
            }
            assert_eq!(reader.size(&file(named)).unwrap(), Size::new(5, 6));
        }
    }
    // In another order, and in colours: three channels for each light.
    let reader = Reader::new(6).with_pattern(Some(pattern("*_light{3,1}.png")));
    let file = |light: usize| folder.path().join(format!("part_1_light{light}.png"));
    let six = reader.load(&file(3), Fit::Own).unwrap().image;
    let [three, one] = [3, 1].map(|light| own(&file(light), 3).unwrap().into_values());
    assert_eq!(six.values(), [three, one].concat());
}

#[test]
fn files_that_do_not_fit_together_are_refused() {
    let folder = lights();
    let reader = |channels, text: &str| Reader::new(channels).with_pattern(Some(pattern(text)));
    let at = |name: &str| folder.path().join(name);
    let text = |reader: &Reader, name: &str| reader.load(&at(name), Fit::Own).unwrap_err().to_string();

    let four = reader(4, "*_light{0..3}.png");
    let error = text(&four, "overview.png");
    assert!(
        error.contains("overview.png") && error.contains("does not fit the pattern"),
        "{error}"
    );
    let error = text(&reader(5, "*_light{0..3}.png"), "part_0_light0.png");
    assert!(error.contains("5 channels cannot come from 4 files"), "{error}");
    let error = text(&reader(8, "*_light{0..3}.png"), "part_0_light0.png");
    assert!(
        error.contains("part_0_light0.png")
            && error.contains("has 1 channels, but each of the 4 of its image must have 2"),
        "{error}"
    );

    saved(&folder, "part_1_light2.png", GrayImage::new(6, 4));
    let error = text(&four, "part_1_light0.png");
    assert!(
        error.contains("part_1_light2.png") && error.contains("4x6") && error.contains("5x6"),
        "{error}"
    );
    fs::remove_file(at("part_2_light3.png")).unwrap();
    let error = text(&four, "part_2_light0.png");
    assert!(
        error.contains("part_2_light3.png") && error.contains("cannot access"),
        "{error}"
    );
    fs::write(at("part_0_light1.png"), b"").unwrap();
    let error = text(&four, "part_0_light0.png");
    assert!(
        error.contains("part_0_light1.png") && error.contains("empty"),
        "{error}"
    );

    // What is enough for one of its files is not for all four.
    let folder = lights();
    let path = folder.path().join("part_0_light0.png");
    let least = |reader: &dyn Fn() -> Reader| {
        let is_enough = |bytes: &u64| {
            let mut reader = reader();
            reader.limits.memory = DecodeMemory::new(*bytes);
            match reader.load(&path, Fit::Own) {
                Ok(_) => true,
                Err(DataError::LimitExceeded { .. }) => false,
                Err(error) => panic!("{error}"),
            }
        };
        (0..1 << 20).step_by(10).find(is_enough).unwrap()
    };
    let (one, all) = (least(&|| Reader::new(1)), least(&|| reader(4, "*_light{0..3}.png")));
    assert!(all >= one + 3 * 30, "{one} {all}");
}
