//! Every kind of image file against what Pillow sees in it (`tests/files/make.py`), and damaged files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proptest::prelude::*;
use riad_core::Size;
use riad_data::{DataError, DecodeMemory, Fit, Image, Limits, Reader};
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    height: usize,
    width: usize,
    /// In steps of 1/255.
    tolerance: f32,
    every_13th_pixel: Vec<u16>,
}

fn within(limits: Limits) -> Reader {
    let mut reader = Reader::default();
    reader.limits = limits;
    reader
}

/// At its own size.
fn decode(path: &Path, reader: &Reader) -> Result<Image, DataError> {
    reader.load(path, Fit::Own).map(|loaded| loaded.image)
}

fn resized(path: &Path, height: usize, width: usize) -> Image {
    let fit = Fit::Resized(Size::new(height, width));
    Reader::default().load(path, fit).unwrap().image
}

fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files")
}

fn expected() -> BTreeMap<String, Expected> {
    serde_json::from_str(&fs::read_to_string(files().join("expected.json")).unwrap()).unwrap()
}

/// The content of every file that can be read.
static IMAGES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    expected()
        .into_keys()
        .map(|name| fs::read(files().join(name)).unwrap())
        .collect()
});

#[test]
fn pixels_are_what_pillow_sees() {
    let mut wrong = Vec::new();
    for (name, expected) in expected() {
        let path = files().join(&name);
        let size = Reader::default().size(&path).unwrap();
        assert_eq!(size, Size::new(expected.height, expected.width), "{name}");
        let image = decode(&path, &Reader::default()).unwrap();
        assert_eq!((image.channels(), image.size()), (3, size));
        let plane = size.pixels();
        let seen = (0..plane)
            .step_by(13)
            .flat_map(|i| [0, 1, 2].map(|c| image.values()[c * plane + i]));
        let wanted = expected.every_13th_pixel.iter().map(|&v| f32::from(v) / 65_535.0);
        let worst = seen.zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) * 255.0;
        if worst > expected.tolerance {
            wrong.push(format!("{name}: off by {worst}/255"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn sixteen_bits_survive_resizing() {
    // A ramp from 1000 to 1003, all one value in 8 bits, keeps its slope when halved.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ramp.png");
    image::ImageBuffer::from_fn(8, 8, |x, _| image::Luma([1000 + x as u16 / 2]))
        .save(&path)
        .unwrap();
    let image = resized(&path, 4, 4);
    let row = &image.values()[..4];
    assert!(row.is_sorted_by(|a, b| a < b), "{row:?}");
}

#[test]
fn the_content_counts_not_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("really_a_png.jpg");
    fs::copy(files().join("rgb8.png"), &path).unwrap();
    assert_eq!(resized(&path, 12, 20), resized(&files().join("rgb8.png"), 12, 20));
}

#[test]
fn one_pixel_fills_the_image() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1x1.bmp");
    image::RgbImage::from_pixel(1, 1, image::Rgb([255, 51, 0]))
        .save(&path)
        .unwrap();
    let image = resized(&path, 4, 4);
    assert_eq!(image.values(), [[1.0; 16], [0.2; 16], [0.0; 16]].concat());
}

#[test]
fn floating_point_is_refused() {
    for name in ["refused_float.tif", "refused_float_rgb.tif"] {
        let error = decode(&files().join(name), &Reader::default()).unwrap_err();
        assert!(matches!(error, DataError::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn what_is_no_image_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let cases = [
        (file("empty.png", b""), "empty"),
        (file("text.png", b"no image at all"), "not an image"),
        (folder.path().to_owned(), "is a folder"),
        (folder.path().join("absent.png"), "cannot access"),
    ];
    for (path, words) in cases {
        for error in [
            decode(&path, &Reader::default()).unwrap_err(),
            Reader::default().size(&path).unwrap_err(),
        ] {
            let text = error.to_string();
            assert!(text.contains(words) && text.contains(path.to_str().unwrap()), "{text}");
        }
    }
}

#[test]
fn limits_hold() {
    let path = files().join("rgb8.png"); // 20 x 12
    let file_size = fs::metadata(&path).unwrap().len();
    let with_memory = |bytes| Limits {
        memory: DecodeMemory::new(bytes),
        ..Limits::default()
    };
    let is_enough = |bytes: &u64| decode(&path, &within(with_memory(*bytes))).is_ok();
    let enough = (0..1 << 20).find(is_enough).unwrap();
    // The file, its bytes, and the values; no more than a few times as much.
    assert!(
        (file_size + 720 + 4 * 720..file_size + 8 * 720).contains(&enough),
        "{enough}"
    );
    let just_enough = Limits {
        max_side: 20,
        max_pixels: 240,
        memory: DecodeMemory::new(enough),
    };
    assert!(decode(&path, &within(just_enough.clone())).is_ok());
    for limits in [
        Limits {
            max_side: 19,
            ..just_enough.clone()
        },
        Limits {
            max_pixels: 239,
            ..just_enough.clone()
        },
        with_memory(file_size - 1),
        with_memory(file_size + 719),
    ] {
        for error in [
            decode(&path, &within(limits.clone())).unwrap_err(),
            within(limits.clone()).size(&path).unwrap_err(),
        ] {
            // No more memory helps against the limits of the size.
            let is_of_size = limits.memory == just_enough.memory;
            assert_eq!(
                matches!(error, DataError::TooLarge { .. }),
                is_of_size,
                "{limits:?}: {error}"
            );
            assert_eq!(
                matches!(error, DataError::LimitExceeded { .. }),
                !is_of_size,
                "{limits:?}: {error}"
            );
            assert!(error.to_string().contains("rgb8.png"), "{error}");
        }
    }
}

#[test]
fn sides_that_are_too_long_are_said_to_be_so() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["long.png", "long.bmp", "long.webp", "long.gif", "long.ppm", "long.jpg"] {
        let path = folder.path().join(name);
        // No format but PNG and PNM has more than 65,535 pixels in a row.
        image::RgbImage::new(300, 2).save(&path).unwrap();
        let mut reader = Reader::default();
        reader.limits.max_side = 299;
        let error = decode(&path, &reader).unwrap_err();
        assert!(matches!(error, DataError::TooLarge { .. }), "{error}");
        assert!(error.to_string().contains("a longer side than 299 pixels"), "{error}");
        assert!(error.to_string().contains("cut it into parts"), "{error}");
    }
}

#[test]
fn a_header_cannot_claim_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.bmp");
    let mut bytes = fs::read(files().join("rgb.bmp")).unwrap();
    bytes[18..22].copy_from_slice(&60_000u32.to_le_bytes());
    bytes[22..26].copy_from_slice(&60_000u32.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let error = decode(&path, &Reader::default()).unwrap_err();
    assert!(matches!(error, DataError::TooLarge { .. }), "{error}");
    // With 13 MB claimed, within the limits, the data is found missing.
    let mut bytes = fs::read(files().join("rgb.bmp")).unwrap();
    bytes[22..26].copy_from_slice(&200_000i32.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let error = decode(
        &path,
        &within(Limits {
            max_side: 200_000,
            ..Limits::default()
        }),
    )
    .unwrap_err();
    assert!(matches!(error, DataError::Decode { .. }), "{error}");
}

/// Decodes bytes as a file; must return, whatever they are.
fn decode_bytes(folder: &Path, bytes: &[u8]) -> Result<Image, DataError> {
    let path = folder.join("image");
    // Some file systems write through at once what replaces another file's content.
    let _ = fs::remove_file(&path);
    fs::write(&path, bytes).unwrap();
    // Damaged headers may claim large sizes; what they can make us allocate is bounded here to keep the test fast.
    decode(
        &path,
        &within(Limits {
            memory: DecodeMemory::new(1 << 20),
            ..Limits::default()
        }),
    )
}

#[test]
fn every_prefix_decodes_or_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    // One of each decoder's kinds.
    let names = [
        "palette.png",
        "rgb16.png",
        "rgb.jpg",
        "progressive.jpg",
        "ycck.jpg",
        "orientation6.tif",
        "rgb.tif",
    ];
    let names = names.into_iter().chain([
        "palette.bmp",
        "lossless.webp",
        "lossy.webp",
        "first_frame.gif",
        "binary.ppm",
    ]);
    for name in names {
        let bytes = fs::read(files().join(name)).unwrap();
        let whole = decode_bytes(folder.path(), &bytes).unwrap();
        for end in 0..bytes.len() {
            match decode_bytes(folder.path(), &bytes[..end]) {
                // What comes after the pixels may be missing, but no pixel.
                Ok(image) => assert!(image == whole, "{name}, {end} of {} bytes", bytes.len()),
                Err(
                    DataError::Decode { .. }
                    | DataError::Unsupported { .. }
                    | DataError::LimitExceeded { .. }
                    | DataError::TooLarge { .. },
                ) => {}
                Err(error) => panic!("{name}, {end} bytes: {error}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn damaged_files_do_not_panic(
        file: prop::sample::Index,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = file.get(&IMAGES).clone();
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        let folder = tempfile::tempdir().unwrap();
        let read = decode_bytes(folder.path(), &bytes);
        prop_assert!(!matches!(read, Err(DataError::DecoderFailed { .. })), "{read:?}");
    }
}

/// Fuzzing found a PNG of one pixel with 49 bytes of palette, at which its decoder panics. The pixels are what Python's `zlib.compress` makes of two
/// zeros.
#[test]
fn a_palette_that_ends_within_a_colour_is_refused_in_our_words() {
    let chunk = |name: &[u8; 4], body: &[u8]| {
        let mut crc = 0xFFFF_FFFF_u32;
        for byte in name.iter().chain(body) {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
            }
        }
        [
            &(body.len() as u32).to_be_bytes()[..],
            name,
            body,
            &(!crc).to_be_bytes(),
        ]
        .concat()
    };
    let pixels = [0x78, 0x9C, 0x63, 0x60, 0x00, 0x00, 0x00, 0x02, 0x00, 0x01];
    let png = |palette: usize| {
        [
            b"\x89PNG\r\n\x1a\n".to_vec(),
            chunk(b"IHDR", &[0, 0, 0, 1, 0, 0, 0, 1, 8, 3, 0, 0, 0]),
            chunk(b"PLTE", &vec![0; palette]),
            chunk(b"IDAT", &pixels),
            chunk(b"IEND", &[]),
        ]
        .concat()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let read = |bytes: Vec<u8>| {
        std::fs::write(&path, bytes).unwrap();
        Reader::default().load(&path, Fit::Own)
    };
    assert!(read(png(48)).is_ok());
    let error = read(png(49)).unwrap_err().to_string();
    assert!(error.contains("its palette has an incomplete colour"), "{error}");
}

#[test]
fn bytes_in_memory_give_what_their_file_gives() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let folders =
        ["files", "tiff/files", "jpeg/files", "channels/files"].map(|folder| fs::read_dir(tests.join(folder)));
    let mut read = 0;
    for path in folders
        .into_iter()
        .flat_map(|folder| folder.unwrap().map(|entry| entry.unwrap().path()))
    {
        if path.is_dir() {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        for (channels, fit) in [
            (3, Fit::Own),
            (1, Fit::Resized(Size::new(7, 5))),
            (4, Fit::AtLeast(Size::new(2, 2))),
        ] {
            let reader = Reader::new(channels);
            let of_file = reader.load(&path, fit).map_err(|error| error.to_string());
            let of_bytes = reader.load_bytes(&path, &bytes, fit).map_err(|error| error.to_string());
            assert_eq!(of_file, of_bytes, "{}", path.display());
            read += usize::from(of_file.is_ok());
        }
    }
    assert!(read > 100, "{read}");
}
