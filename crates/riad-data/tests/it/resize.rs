//! Resizing against Pillow's `BILINEAR`; the numbers are printed by `tests/resize.py`.

use image::{DynamicImage, Rgb, RgbImage};
use riad_core::Size;
use riad_data::{DataError, Fit, Image, Reader};

const SHRUNK: [u8; 70] = [
    6, 9, 160, 114, 38, 56, 146, 87, 41, 35, 72, 197, 105, 148, 102, 131, 133, 87, 85, 165, 138, 114, 17, 170, 149,
    172, 153, 155, 64, 76, 107, 71, 108, 129, 136, 193, 155, 181, 176, 130, 157, 114, 105, 127, 55, 95, 108, 53, 81,
    98, 158, 118, 140, 193, 147, 84, 184, 111, 156, 142, 128, 151, 107, 117, 104, 92, 160, 94, 59, 165,
];

const MIXED: [u8; 63] = [
    2, 7, 1, 17, 25, 9, 44, 47, 25, 84, 73, 50, 137, 101, 85, 201, 133, 127, 113, 168, 179, 114, 206, 201, 156, 202,
    51, 85, 35, 129, 142, 81, 198, 98, 131, 54, 124, 183, 157, 118, 239, 96, 103, 42, 134, 158, 104, 75, 148, 168, 146,
    146, 237, 76, 161, 51, 173, 110, 123, 92, 107, 130, 36,
];

const ENLARGED: [u8; 66] = [
    0, 76, 14, 113, 58, 15, 61, 207, 155, 16, 102, 136, 158, 91, 57, 138, 204, 116, 40, 154, 47, 123, 150, 117, 219,
    60, 95, 68, 230, 174, 94, 150, 193, 52, 154, 90, 102, 78, 90, 155, 91, 31, 145, 55, 102, 142, 207, 24, 52, 143,
    141, 243, 163, 131, 187, 106, 183, 210, 51, 42, 92, 80, 0, 237, 53, 188,
];

const BOTTLE: [u8; 66] = [
    255, 255, 255, 255, 255, 74, 60, 59, 237, 255, 255, 255, 255, 71, 94, 65, 39, 53, 66, 107, 114, 255, 255, 112, 127,
    37, 45, 38, 37, 50, 69, 69, 255, 223, 86, 76, 34, 38, 49, 38, 72, 74, 82, 255, 255, 65, 70, 95, 74, 93, 84, 127,
    46, 255, 255, 255, 255, 73, 39, 52, 38, 207, 255, 255, 255, 255,
];

/// The made-up image of `tests/resize.py`.
fn made_up() -> DynamicImage {
    let value = |v: u32| (v % 256) as u8;
    RgbImage::from_fn(50, 37, |x, y| {
        Rgb([value(x * x + 3 * y), value(7 * x + y * y / 2), value(x * y)])
    })
    .into()
}

/// What a reader makes of an image in a file.
fn resized(image: &DynamicImage, fit: Fit) -> Result<Image, DataError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.png");
    image.save(&path).unwrap();
    Ok(Reader::default().load(&path, fit)?.image)
}

/// The largest difference from Pillow's interleaved samples, of which every `step`th is given, in steps of 1/255.
fn difference(image: &Image, pillow: &[u8], step: usize) -> f32 {
    let plane = image.size().pixels();
    assert_eq!(image.values().len(), 3 * plane);
    let seen = (0..3 * plane)
        .step_by(step)
        .map(|i| image.values()[i % 3 * plane + i / 3] * 255.0);
    assert_eq!(seen.len(), pillow.len());
    seen.zip(pillow)
        .map(|(a, &b)| (a - f32::from(b)).abs())
        .fold(0.0, f32::max)
}

#[test]
fn agrees_with_pillow() {
    for (height, width, pillow, step) in [
        (16, 16, &SHRUNK[..], 11),
        (64, 20, &MIXED[..], 61),
        (80, 90, &ENLARGED[..], 331),
    ] {
        let fit = Fit::Resized(Size::new(height, width));
        let off = difference(&resized(&made_up(), fit).unwrap(), pillow, step);
        assert!(off <= 1.0, "{height}x{width}: {off}/255");
    }
}

#[test]
fn agrees_with_pillow_on_a_real_image() {
    let Some(path) = riad_testing::data("mvtec_bottle_900/bottle/test/broken_large/000.png") else {
        return;
    };
    let fit = Fit::Resized(Size::new(256, 256));
    let off = difference(&Reader::default().load(&path, fit).unwrap().image, &BOTTLE, 3001);
    assert!(off <= 1.0, "{off}/255");
}

#[test]
fn the_wanted_size_leaves_pixels_untouched() {
    let image = made_up();
    let size = Size::new(37, 50);
    let samples = image.to_rgb8().into_raw();
    for fit in [Fit::Own, Fit::Resized(size), Fit::AtLeast(size), Fit::Exactly(size)] {
        let same = resized(&image, fit).unwrap();
        for (i, &sample) in samples.iter().enumerate() {
            assert_eq!(same.values()[i % 3 * size.pixels() + i / 3], f32::from(sample) / 255.0);
        }
    }
}

#[test]
fn gray_is_three_equal_planes_as_from_rgb() {
    let gray = DynamicImage::from(made_up().into_luma8());
    let colour = DynamicImage::from(gray.to_rgb8());
    let fit = Fit::Resized(Size::new(11, 70));
    assert_eq!(resized(&gray, fit).unwrap(), resized(&colour, fit).unwrap());
}

#[test]
fn sizes_without_pixels_or_measure() {
    for size in [(0, 5), (5, 0), (usize::MAX, 1), (1 << 62, 1 << 62), (1 << 20, 1 << 20)] {
        let fit = Fit::Resized(Size::new(size.0, size.1));
        let error = resized(&made_up(), fit).unwrap_err();
        assert!(matches!(error, DataError::Parameter(_)), "{size:?}: {error}");
    }
}
