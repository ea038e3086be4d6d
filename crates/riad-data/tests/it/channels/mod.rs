//! Images of other numbers of channels than three: TIFFs of several pages or samples, arrays, and several files, against
//! what NumPy holds of them (`tests/channels/files/make.py`); and one channel against three.

mod groups;
mod hostile;

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use image::{DynamicImage, GrayImage, Luma, Rgb, RgbImage};
use npyz::WriterBuilder;
use proptest::prelude::*;
use riad_core::Size;
use riad_data::{Crops, DataError, Dataset, DecodeMemory, Fit, Image, Limits, LoadedImage, Reader, load_ahead};
use serde::Deserialize;
use tempfile::TempDir;

#[derive(Deserialize)]
struct Expected {
    shape: [usize; 3],
    every_5th_value: Vec<f32>,
}

fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/channels/files")
}

fn expected() -> BTreeMap<String, Expected> {
    serde_json::from_str(&fs::read_to_string(files().join("expected.json")).unwrap()).unwrap()
}

fn load(path: &Path, channels: usize, fit: Fit) -> Result<Image, DataError> {
    Reader::new(channels).load(path, fit).map(|loaded| loaded.image)
}

fn own(path: &Path, channels: usize) -> Result<Image, DataError> {
    load(path, channels, Fit::Own)
}

/// Values are equal but for the rounding of `value / white`.
#[track_caller]
fn assert_close<'a>(found: impl IntoIterator<Item = &'a f32>, wanted: impl IntoIterator<Item = &'a f32>, name: &str) {
    let (found, wanted): (Vec<f32>, Vec<f32>) = (
        found.into_iter().copied().collect(),
        wanted.into_iter().copied().collect(),
    );
    assert_eq!(found.len(), wanted.len(), "{name}");
    for (index, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
        assert!(
            (found - wanted).abs() < 1e-6,
            "{name}: value {index} is {found}, not {wanted}"
        );
    }
}

#[test]
fn values_are_what_numpy_holds() {
    for (name, expected) in expected() {
        let path = files().join(&name);
        let [channels, height, width] = expected.shape;
        let image = own(&path, channels).unwrap();
        assert_eq!(
            (image.channels(), image.size()),
            (channels, Size::new(height, width)),
            "{name}"
        );
        assert_eq!(Reader::new(channels).size(&path).unwrap(), image.size(), "{name}");
        assert_close(image.values().iter().step_by(5), &expected.every_5th_value, &name);
    }
}

#[test]
fn other_numbers_of_channels_are_refused_with_both_numbers() {
    for (name, Expected { shape: [found, ..], .. }) in expected() {
        let path = files().join(&name);
        // Not the image's height or width, as which the axes of an array could be taken for channels.
        for wanted in [2, 4, 6, 9].into_iter().filter(|&wanted| wanted != found) {
            for error in [
                own(&path, wanted).unwrap_err(),
                Reader::new(wanted).size(&path).unwrap_err(),
            ] {
                let text = error.to_string();
                assert!(
                    matches!(&error, DataError::Channels { path: named, found: f, wanted: w }
                        if (named, *f, *w) == (&path, found, wanted)),
                    "{text}"
                );
                let both = format!("{} has {found} channels, not {wanted}", path.display());
                assert!(
                    text.contains(&both) && text.contains(&format!("with {found} channels")),
                    "{text}"
                );
            }
        }
    }
    for wanted in [1, 3] {
        let error = own(&files().join("samples_u16.tif"), wanted).unwrap_err();
        assert!(matches!(error, DataError::Channels { found: 4, .. }), "{error}");
    }
    let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files/rgba.png");
    let error = own(&picture, 4).unwrap_err();
    assert!(
        matches!(
            error,
            DataError::Channels {
                found: 3,
                wanted: 4,
                ..
            }
        ),
        "the transparency of a picture is no channel: {error}"
    );
}

#[test]
fn what_cannot_be_read_says_why_and_what_to_do() {
    for (name, words) in [
        ("refused_sizes.tif", "page 1 has 5x7 pixels and page 4 has 5x6"),
        ("refused_unknown_sample.tif", "MINISBLACK"),
        ("refused_float.tif", "save them as a .npy array"),
        ("refused_signed.tif", "convert it to 8 or 16 bits"),
        ("refused_u32.tif", "convert it to gray or RGB of 8 or 16 bits"),
        ("refused_int64.npy", "type <i8; save uint8, uint16, float32"),
        ("refused_float16.npy", "type <f2"),
        ("refused_complex.npy", "type <c8"),
        ("refused_structure.npy", "a structure"),
        ("refused_range.npy", "must be in [0, 1], where 1 is white; divide them"),
        ("refused_nan.npy", "some are NaN"),
        ("refused_ambiguous.npy", "channels first or last; save it as a TIFF"),
        ("refused_4d.npy", "save one image as [height, width]"),
        ("refused_1d.npy", "its shape is [140]"),
        ("refused_empty.npy", "no values"),
    ] {
        let path = files().join(name);
        let text = own(&path, 4).unwrap_err().to_string();
        assert!(text.contains(words) && text.contains(name), "{text}");
    }
    let range = own(&files().join("refused_range.npy"), 4).unwrap_err().to_string();
    assert!(range.contains("[0.0116731515, 255]"), "{range}");
}

#[test]
fn no_channels_are_no_image() {
    for path in ["pages_u8.tif", "hw_u8.npy"] {
        assert!(matches!(own(&files().join(path), 0), Err(DataError::Parameter(_))));
    }
}

/// Writes a picture and gives its path.
fn saved(folder: &TempDir, name: &str, image: impl Into<DynamicImage>) -> PathBuf {
    let path = folder.path().join(name);
    image.into().save(&path).unwrap();
    path
}

/// Writes an array and gives its path.
fn array<T: npyz::AutoSerialize + Copy>(folder: &TempDir, name: &str, shape: &[u64], values: &[T]) -> PathBuf {
    let mut file = Vec::new();
    let options = npyz::WriteOptions::new().default_dtype().shape(shape);
    let mut writer = options.writer(&mut file).begin_nd().unwrap();
    writer.extend(values.iter().copied()).unwrap();
    writer.finish().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, file).unwrap();
    path
}

const FITS: [Fit; 3] = [Fit::Own, Fit::Resized(Size::new(5, 6)), Fit::Resized(Size::new(40, 23))];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However a gray image is saved: with one channel it is a plane of what it is with three, to the bit.
    #[test]
    fn one_channel_of_gray_is_a_plane_of_three(
        (height, width) in (1u32..20, 1u32..20),
        samples in prop::collection::vec(any::<u16>(), 400),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let at = |x, y| samples[(y * 20 + x) as usize];
        let shape = [u64::from(height), u64::from(width)];
        let row_by_row: Vec<u16> = (0..height).flat_map(|y| (0..width).map(move |x| at(x, y))).collect();
        let floats: Vec<f32> = row_by_row.iter().map(|&value| f32::from(value) / 65_535.0).collect();
        let bytes: Vec<u8> = row_by_row.iter().map(|&value| value as u8).collect();
        let files = [
            saved(&folder, "8.png", GrayImage::from_fn(width, height, |x, y| Luma([at(x, y) as u8]))),
            saved(&folder, "16.png", DynamicImage::from(image::ImageBuffer::from_fn(width, height, |x, y| Luma([at(x, y)])))),
            saved(&folder, "rgb8.png", RgbImage::from_fn(width, height, |x, y| Rgb([at(x, y) as u8; 3]))),
            saved(&folder, "rgb16.tif", DynamicImage::from(image::ImageBuffer::from_fn(width, height, |x, y| Rgb([at(x, y); 3])))),
            array(&folder, "8.npy", &shape, &bytes),
            array(&folder, "16.npy", &shape, &row_by_row),
            array(&folder, "float.npy", &shape, &floats),
        ];
        for fit in FITS {
            let one: Vec<Image> = files.iter().map(|path| load(path, 1, fit).unwrap()).collect();
            for (path, one) in files.iter().zip(&one) {
                let three = load(path, 3, fit).unwrap();
                prop_assert_eq!(one.size(), three.size());
                prop_assert_eq!(three.values().to_vec(), one.values().repeat(3), "{:?} of {:?}", fit, path);
            }
            // And one image is the same in every format that holds it.
            for (a, b) in [(0, 2), (0, 4), (1, 3), (1, 5)] {
                prop_assert_eq!(&one[a], &one[b], "{:?} and {:?}", files[a], files[b]);
            }
            prop_assert_eq!(one[5].values(), one[6].values(), "16-bit values survive as floats");
        }
    }

    /// An array of the samples of a picture in colours is that picture, with three channels as with one.
    #[test]
    fn colours_are_the_same_from_an_array(
        (height, width) in (1u32..12, 4u32..12),
        samples in prop::collection::vec(any::<u8>(), 12 * 12 * 3),
    ) {
        // With a width or height of 3 or 1 the channels could be anywhere.
        prop_assume!(height != 3 && height != 1);
        let folder = tempfile::tempdir().unwrap();
        let samples = &samples[..(height * width * 3) as usize];
        let picture = saved(&folder, "a.png", RgbImage::from_raw(width, height, samples.to_vec()).unwrap());
        let last = array(&folder, "last.npy", &[height.into(), width.into(), 3], samples);
        let planes: Vec<u8> = (0..3).flat_map(|channel| samples.iter().skip(channel).step_by(3).copied()).collect();
        let first = array(&folder, "first.npy", &[3, height.into(), width.into()], &planes);
        for channels in [1, 3] {
            for fit in FITS {
                let image = load(&picture, channels, fit).unwrap();
                prop_assert_eq!(&load(&last, channels, fit).unwrap(), &image);
                prop_assert_eq!(&load(&first, channels, fit).unwrap(), &image);
            }
        }
    }

    /// Channels are resized and cropped each by itself: as one of several a plane is what it is alone.
    #[test]
    fn planes_do_not_know_of_each_other(
        (height, width) in (5u64..12, 6u64..12),
        samples in prop::collection::vec(any::<u16>(), 12 * 12 * 5),
        seed: u64,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let pixels = (height * width) as usize;
        let samples = &samples[..5 * pixels];
        let floats: Vec<f32> = samples.iter().map(|&value| f32::from(value) / 65_535.0).collect();
        prop_assume!(width != 5 && height != 5);
        let integers = array(&folder, "integers.npy", &[5, height, width], samples);
        let of_floats = array(&folder, "floats.npy", &[5, height, width], &floats);
        let alone: Vec<PathBuf> = (0..5)
            .map(|channel| array(&folder, &format!("{channel}.npy"), &[height, width], &samples[channel * pixels..][..pixels]))
            .collect();
        let tile = Size::new(4, 5);
        let crop = |paths: &[PathBuf], channels| {
            Crops::new(paths.to_vec(), Reader::new(channels), tile, usize::MAX).get(0, seed).unwrap()
        };
        for several in [integers, of_floats] {
            for fit in FITS {
                let whole = load(&several, 5, fit).unwrap();
                prop_assert_eq!(whole.planes().len(), 5);
                for (plane, alone) in whole.planes().zip(&alone) {
                    let alone = load(alone, 1, fit).unwrap();
                    prop_assert_eq!(plane, alone.values());
                }
            }
            let whole = crop(&[several], 5);
            for (plane, alone) in whole.planes().zip(&alone) {
                let alone = crop(std::slice::from_ref(alone), 1);
                prop_assert_eq!(plane, alone.values());
            }
        }
    }

    #[test]
    fn luma_is_rec_601(rgb in any::<[u8; 3]>()) {
        let folder = tempfile::tempdir().unwrap();
        let path = saved(&folder, "a.png", RgbImage::from_pixel(2, 2, Rgb(rgb)));
        let [r, g, b] = rgb.map(|value| f64::from(value) / 255.0);
        let luma = 0.299 * r + 0.587 * g + 0.114 * b;
        let found = f64::from(own(&path, 1).unwrap().values()[0]);
        prop_assert!((found - luma).abs() < 1.0 / 65_535.0, "{} is not {}", found, luma);
    }
}

#[test]
fn batches_hold_all_channels() {
    let path = files().join("pages_u8.tif");
    let size = Size::new(4, 6);
    let image = load(&path, 4, Fit::Resized(size)).unwrap();
    let images = Dataset::new(vec![path.clone(); 3], Reader::new(4), size, usize::MAX);
    let batch = images
        .batches(vec![0, 2], NonZeroUsize::MIN.saturating_add(1))
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(batch.images, image.values().repeat(2));
    let ahead = load_ahead(vec![path], Reader::new(4), Fit::Resized(size))
        .next()
        .unwrap()
        .1
        .unwrap();
    let original_size = Size::new(5, 7);
    assert_eq!(
        ahead,
        LoadedImage {
            image,
            original_size,
            ..ahead.clone()
        }
    );
}

/// A picture in a TIFF is read with three channels as it always was; further pages do not change it.
#[test]
fn pages_of_a_picture_beyond_the_first_do_not_count() {
    let path = files().join("two_rgb_pages.tif");
    let six = own(&path, 6).unwrap();
    let first: Vec<f32> = six.values()[..3 * 35].to_vec();
    assert_eq!(own(&path, 3).unwrap().values(), first);
    let gray = own(&files().join("pages_u8.tif"), 1).unwrap();
    assert_eq!(
        gray.values(),
        &own(&files().join("pages_u8.tif"), 4).unwrap().values()[..35]
    );
    // A picture with transparency is laid over black, but as four channels it is data.
    let rgba = files().join("rgba_u8.tif");
    let data = own(&rgba, 4).unwrap();
    let shown: Vec<f32> = (0..3 * 35)
        .map(|i| data.values()[i] * data.values()[3 * 35 + i % 35])
        .collect();
    assert_close(own(&rgba, 3).unwrap().values(), &rounded(&shown), "rgba_u8.tif");
}

/// As 16-bit samples hold it.
fn rounded(values: &[f32]) -> Vec<f32> {
    values
        .iter()
        .map(|value| (value * 65_535.0).round() / 65_535.0)
        .collect()
}

#[test]
fn limits_hold_for_all_channels_together() {
    let limited = |limits: Limits| {
        let mut reader = Reader::new(4);
        reader.limits = limits;
        reader
    };
    for name in [
        "pages_u8.tif",
        "samples_u16.tif",
        "samples_planar_u16.tif",
        "hwc_u8.npy",
        "chw_f32.npy",
    ] {
        let path = files().join(name);
        let file = fs::metadata(&path).unwrap().len();
        let enough = Limits {
            max_side: 7,
            max_pixels: 35,
            memory: DecodeMemory::new(file + 16 * 1024),
        };
        assert!(limited(enough.clone()).load(&path, Fit::Own).is_ok(), "{name}");
        for limits in [
            Limits {
                max_side: 6,
                ..enough.clone()
            },
            Limits {
                max_pixels: 34,
                ..enough.clone()
            },
            Limits {
                memory: DecodeMemory::new(file - 1),
                ..enough.clone()
            },
        ] {
            for error in [
                limited(limits.clone()).load(&path, Fit::Own).unwrap_err(),
                limited(limits.clone()).size(&path).unwrap_err(),
            ] {
                let is_of_size = limits.memory == enough.memory;
                assert_eq!(
                    matches!(error, DataError::TooLarge { .. }),
                    is_of_size,
                    "{name}: {error}"
                );
                assert_eq!(
                    matches!(error, DataError::LimitExceeded { .. }),
                    !is_of_size,
                    "{name}: {error}"
                );
            }
        }
    }
    // Four pages of zeros, deflated, are smaller than their pixels; each alone would be within the limit.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flat.tif");
    let mut file = std::io::Cursor::new(Vec::new());
    let mut encoder = tiff::encoder::TiffEncoder::new(&mut file)
        .unwrap()
        .with_compression(tiff::encoder::Compression::Deflate(tiff::encoder::DeflateLevel::Best));
    for _ in 0..4 {
        encoder
            .write_image::<tiff::encoder::colortype::Gray8>(64, 64, &[0; 64 * 64])
            .unwrap();
    }
    fs::write(&path, file.into_inner()).unwrap();
    let reader = |bytes| {
        limited(Limits {
            memory: DecodeMemory::new(bytes),
            ..Limits::default()
        })
    };
    assert!(reader(32 * 64 * 64).load(&path, Fit::Own).is_ok());
    let error = reader(4 * 64 * 64 - 1).load(&path, Fit::Own).unwrap_err();
    assert!(matches!(error, DataError::LimitExceeded { .. }), "{error}");
}
