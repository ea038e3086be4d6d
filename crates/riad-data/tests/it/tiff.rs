//! Every kind of TIFF against what NumPy holds of it (`tests/tiff/files/make.py`), and what is not read.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use riad_core::Size;
use riad_data::{DataError, DecodeMemory, Fit, Image, LoadedImage, Reader};
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    height: usize,
    width: usize,
    /// In steps of 1/255.
    tolerance: f32,
    every_13th_pixel: Vec<u16>,
}

fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tiff/files")
}

fn expected() -> BTreeMap<String, Expected> {
    serde_json::from_str(&fs::read_to_string(files().join("expected.json")).unwrap()).unwrap()
}

fn load(name: &str) -> Result<LoadedImage, DataError> {
    Reader::default().load(&files().join(name), Fit::Own)
}

#[test]
fn values_are_what_the_samples_mean() {
    let mut wrong = Vec::new();
    for (name, expected) in expected() {
        let image = match load(&name) {
            Ok(loaded) => loaded.image,
            Err(error) => {
                wrong.push(error.to_string());
                continue;
            }
        };
        assert_eq!(image.size(), Size::new(expected.height, expected.width), "{name}");
        assert_eq!(Reader::default().size(&files().join(&name)).unwrap(), image.size());
        let plane = image.size().pixels();
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
fn what_is_not_read_is_named_with_the_way_out() {
    for (name, kind, way_out) in [
        (
            "refused_zstd.tif",
            "Zstandard",
            "save it as PNG or as an uncompressed TIFF",
        ),
        ("refused_webp.tif", "WebP", "save it as PNG or as an uncompressed TIFF"),
        ("refused_lzma.tif", "LZMA", "save it as PNG or as an uncompressed TIFF"),
        ("refused_lab.tif", "L*a*b*", "save it as PNG or as an uncompressed TIFF"),
        (
            "refused_ycbcr.tif",
            "YCbCr",
            "save it as PNG or as an uncompressed TIFF",
        ),
        ("refused_cfa.tif", "colour filter", "convert it to RGB"),
        (
            "refused_within_thumbnail.tif",
            "the picture behind its thumbnail",
            "convert it to RGB",
        ),
        (
            "refused_png.tif",
            "PNG within the TIFF",
            "save it as PNG or as an uncompressed TIFF",
        ),
        (
            "refused_run_lengths.tif",
            "CCITT modified Huffman",
            "save it as PNG or as an uncompressed TIFF",
        ),
        ("refused_u32.tif", "32 bits", "8 or 16 bits"),
        ("refused_i16.tif", "not unsigned integers", "8 or 16 bits"),
        ("refused_f32.tif", "floating-point", "16-bit integers"),
        ("refused_different_bits.tif", "(5 and 6)", "8 or 16 bits"),
        ("refused_transparent.tif", "transparent everywhere", "without alpha"),
    ] {
        let error = load(name).unwrap_err();
        assert!(matches!(error, DataError::Unsupported { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains(name) && text.contains(kind) && text.contains(way_out),
            "{text}"
        );
    }
}

#[test]
fn pictures_that_are_not_read_are_counted() {
    assert_eq!(load("two_of_three_pages.tif").unwrap().found.pictures, 2);
    assert_eq!(load("strips.tif").unwrap().found.pictures, 1);
    assert_eq!(load("within_thumbnail.tif").unwrap().found.pictures, 1);
    // Nothing says that its first page is none.
    assert_eq!(load("within_unmarked.tif").unwrap().found.pictures, 2);
    let (_, pictures) = Reader::default()
        .header(&files().join("two_of_three_pages.tif"))
        .unwrap();
    assert_eq!(pictures, 2);
}

/// Bytes as a file; must return, whatever they are.
fn read_bytes(folder: &Path, bytes: &[u8]) -> Result<Image, DataError> {
    let path = folder.join("image");
    // Some file systems write through at once what replaces another file's content.
    let _ = fs::remove_file(&path);
    fs::write(&path, bytes).unwrap();
    let mut reader = Reader::default();
    reader.limits.memory = DecodeMemory::new(1 << 20);
    reader.load(&path, Fit::Own).map(|loaded| loaded.image)
}

#[test]
fn every_prefix_is_the_image_or_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "bigtiff.tif",
        "gray12.tif",
        "palette8.tif",
        "jpeg_ycbcr.tif",
        "jpeg_old.tif",
        "tiles.tif",
        "strips.tif",
        "packbits.tif",
        "packbits_filled.tif",
        "lzw_noise.tif",
        "group3.tif",
        "group4.tif",
        "planar_cut_tiles.tif",
    ] {
        let bytes = fs::read(files().join(name)).unwrap();
        let whole = read_bytes(folder.path(), &bytes).unwrap();
        for end in 0..bytes.len() {
            match read_bytes(folder.path(), &bytes[..end]) {
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

/// What `deflate.tif` unpacks to with a hole is in most places too long, and in some too short.
#[test]
fn a_hole_in_deflated_data_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["deflate.tif", "deflate_filled.tif"] {
        let whole = fs::read(files().join(name)).unwrap();
        let expected = read_bytes(folder.path(), &whole).unwrap();
        let begin = whole.windows(2).position(|bytes| bytes == [0x78, 0x9C]).unwrap();
        // No tag is behind the data of the one; behind those of the other are its tags.
        let end = if name == "deflate.tif" {
            whole.len()
        } else {
            whole.len() - 200
        };
        for at in (begin..end).step_by(3) {
            for len in [1, 4, 40] {
                let mut bytes = whole.clone();
                bytes[at..(at + len).min(end)].fill(0);
                match read_bytes(folder.path(), &bytes) {
                    // What follows the last strip's rows is looked at, too.
                    Ok(image) => assert!(bytes == whole || image == expected, "{name}, {len} bytes at {at}"),
                    Err(error) => assert!(matches!(error, DataError::Decode { .. }), "{error}"),
                }
            }
        }
    }
}

/// Where the data of each strip are, and where in the file their lengths are written.
/// A little-endian TIFF of one page, with these entries besides its size and the place of one strip: tag, and numbers of 2 bytes.
fn with_tags(tags: &[(u16, &[u16])]) -> Vec<u8> {
    let mut all: Vec<(u16, &[u16])> = vec![(256, &[2]), (257, &[1]), (273, &[8]), (279, &[2])];
    all.extend_from_slice(tags);
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    let mut values = Vec::new();
    let behind = 8 + 2 + 12 * all.len() + 4;
    file.extend((all.len() as u16).to_le_bytes());
    for (tag, numbers) in all {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        file.extend(tag.to_le_bytes());
        file.extend(3u16.to_le_bytes());
        file.extend((numbers.len() as u32).to_le_bytes());
        if bytes.len() <= 4 {
            file.extend(bytes.iter().chain(&[0; 4]).take(4));
        } else {
            file.extend(((behind + values.len()) as u32).to_le_bytes());
            values.extend(bytes);
        }
    }
    file.extend([0; 4]);
    file.extend(values);
    file
}

#[test]
fn messages_name_two_numbers_of_many() {
    let folder = tempfile::tempdir().unwrap();
    let bits: Vec<u16> = (0..3000).map(|index| 8 + index % 2).collect();
    let error = read_bytes(folder.path(), &with_tags(&[(258, &bits), (277, &[3000])])).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("(8 and 9)") && text.len() < 300, "{text}");
}

/// What a tag has beyond the one value, or the values of the samples, is no fault.
#[test]
fn tags_of_more_values_than_there_are_samples_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let tags: [(u16, &[u16]); 4] = [(258, &[8, 16, 5]), (262, &[1]), (277, &[1]), (339, &[1, 3, 3])];
    let image = read_bytes(folder.path(), &with_tags(&tags)).unwrap();
    assert_eq!(image.size(), Size::new(1, 2));
}

/// Directories that lie upon each other, `count` of 60,000 tags each, in a file of less than a megabyte. The places of the directories.
fn overlapping(count: usize) -> (Vec<u8>, Vec<u32>) {
    const TAGS: usize = 60_000;
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    let place = |index: usize| 8 + 12 * index;
    file.resize(place(TAGS + count) + 6, 0);
    for entry in 0..TAGS + count {
        let at = place(entry) + 2;
        // Any tag, and one byte.
        file[at..at + 8].copy_from_slice(&[entry as u8, (entry >> 8) as u8, 1, 0, 1, 0, 0, 0]);
    }
    for index in 0..count {
        // The count of tags is the end of another directory's entry, and the next directory's place the beginning of one without values.
        file[place(index)..][..2].copy_from_slice(&(TAGS as u16).to_le_bytes());
        let next = if index + 1 < count { place(index + 1) as u32 } else { 0 };
        let at = place(index + TAGS) + 2;
        file[at..at + 8].fill(0);
        file[at..at + 4].copy_from_slice(&next.to_le_bytes());
    }
    (file, (0..count).map(|index| place(index) as u32).collect())
}

#[test]
fn the_tags_of_all_pages_have_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tif");
    let refused = |file: &[u8], words: &str| {
        fs::write(&path, file).unwrap();
        for error in [
            Reader::default().size(&path).unwrap_err(),
            Reader::default().load(&path, Fit::Own).unwrap_err(),
            Reader::new(4).load(&path, Fit::Own).unwrap_err(),
        ] {
            let text = error.to_string();
            assert!(text.contains(words), "{text}");
        }
    };
    let (mut file, places) = overlapping(5);
    refused(&file, "more than 262144 tags");
    // Less is walked through. Its size is one of the tags, and 0.
    refused(&overlapping(4).0, "the image has no pixels");

    // The same directories within a page that is marked as a thumbnail.
    let first = file.len() as u32;
    file[4..8].copy_from_slice(&first.to_le_bytes());
    file.extend([2, 0]);
    file.extend([254, 0, 4, 0, 1, 0, 0, 0, 1, 0, 0, 0]);
    file.extend([74, 1, 4, 0, 5, 0, 0, 0]);
    file.extend((first + 2 + 24 + 4).to_le_bytes());
    file.extend([0; 4]);
    file.extend(places.iter().flat_map(|place| place.to_le_bytes()));
    fs::write(&path, &file).unwrap();
    for error in [
        Reader::default().size(&path).unwrap_err(),
        Reader::default().load(&path, Fit::Own).unwrap_err(),
    ] {
        assert!(error.to_string().contains("more than 262144 tags"), "{error}");
    }
}

/// The size of a JPEG's own header is looked at before anything is decoded.
#[test]
fn a_jpeg_higher_than_its_strip_is_refused_by_its_header() {
    let folder = tempfile::tempdir().unwrap();
    let mut changed = 0;
    for name in ["jpeg_ycbcr.tif", "jpeg_old.tif"] {
        let whole = fs::read(files().join(name)).unwrap();
        let starts: Vec<usize> = (0..whole.len() - 8)
            .filter(|&at| whole[at..at + 2] == [0xFF, 0xC0] && whole[at + 4] == 8)
            .collect();
        for at in starts {
            let side = |at: usize| u16::from_be_bytes([whole[at], whole[at + 1]]);
            for (place, by) in [(at + 5, 3), (at + 7, 2)] {
                let mut bytes = whole.clone();
                bytes[place..place + 2].copy_from_slice(&(side(place) * by).to_be_bytes());
                let text = read_bytes(folder.path(), &bytes).unwrap_err().to_string();
                assert!(text.contains("another size than its tags say"), "{name}: {text}");
                changed += 1;
            }
        }
    }
    assert!(changed >= 4, "{changed}");
}

fn strips(bytes: &[u8]) -> Vec<(std::ops::Range<usize>, usize)> {
    let mut decoder = tiff::decoder::Decoder::new(std::io::Cursor::new(bytes)).unwrap();
    let mut numbers = |tag| decoder.get_tag_u32_vec(tag).unwrap();
    let offsets = numbers(tiff::tags::Tag::StripOffsets);
    let lens = numbers(tiff::tags::Tag::StripByteCounts);
    let wide: Vec<u8> = lens.iter().flat_map(|len| len.to_le_bytes()).collect();
    let narrow: Vec<u8> = lens.iter().flat_map(|len| (*len as u16).to_le_bytes()).collect();
    let place = |pattern: &[u8]| bytes.windows(pattern.len()).position(|found| found == pattern);
    // One length alone is found in its entry: tag, kind, count.
    let of_one = |kind: u16| [&279_u16.to_le_bytes()[..], &kind.to_le_bytes(), &1_u32.to_le_bytes()].concat();
    let (at, size) = match lens.as_slice() {
        [_] if place(&of_one(3)).is_some() => (place(&of_one(3)).unwrap() + 8, 2),
        [_] => (place(&of_one(4)).unwrap() + 8, 4),
        _ => place(&wide).map_or_else(|| (place(&narrow).unwrap(), 2), |at| (at, 4)),
    };
    let ranges = offsets
        .iter()
        .zip(&lens)
        .map(|(&at, &len)| at as usize..(at + len) as usize);
    ranges
        .enumerate()
        .map(|(index, range)| (range, at + index * size))
        .collect()
}

const WITHOUT_SUM: [&str; 7] = [
    "lzw_flat.tif",
    "lzw_noise.tif",
    "lzw_filled.tif",
    "strips.tif",
    "packbits.tif",
    "packbits_noise.tif",
    "packbits_filled.tif",
];

/// LZW and PackBits have no check sum. What is missing shows by the length of what they unpack to, but for what by chance has the same.
#[test]
fn missing_bytes_of_lzw_and_packbits_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (mut cases, mut unseen) = (0, 0);
    for name in WITHOUT_SUM {
        let whole = fs::read(files().join(name)).unwrap();
        let expected = read_bytes(folder.path(), &whole).unwrap();
        for (strip, count) in strips(&whole) {
            for at in strip.clone().step_by(4) {
                for len in [1, 5, 40, strip.len()] {
                    let end = (at + len).min(strip.end);
                    let mut bytes = whole.clone();
                    bytes.copy_within(end..strip.end, at);
                    let left = (strip.len() - (end - at)) as u16;
                    bytes[count..count + 2].copy_from_slice(&left.to_le_bytes());
                    cases += 1;
                    match read_bytes(folder.path(), &bytes) {
                        Ok(image) => {
                            // Data that only end early never have the right length.
                            assert!(image == expected || end < strip.end, "{name}: {at}..{end} of {strip:?}");
                            unseen += usize::from(image != expected);
                        }
                        Err(DataError::Decode { path, reason }) => {
                            assert!(
                                path.ends_with("image") && reason.contains("cut off or damaged"),
                                "{reason}"
                            );
                        }
                        Err(error) => panic!("{name}: {error}"),
                    }
                }
            }
        }
    }
    assert!(cases > 2000 && unseen * 500 <= cases, "{unseen} of {cases}");
}

/// Few zeros can be pixels like others. More than a run of PackBits or the repetitions of LZW make the data too long or too short. LZW of
/// pixels that never repeat has nothing that tells: its codes are the pixels.
#[test]
fn zeros_in_lzw_and_packbits_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "lzw_flat.tif",
        "packbits.tif",
        "packbits_noise.tif",
        "packbits_filled.tif",
    ] {
        let whole = fs::read(files().join(name)).unwrap();
        for (strip, _) in strips(&whole) {
            for at in strip.clone() {
                for len in [130, strip.len()] {
                    let mut bytes = whole.clone();
                    let end = (at + len).min(strip.end);
                    bytes[at..end].fill(0);
                    if end - at >= 64 {
                        let read = read_bytes(folder.path(), &bytes);
                        assert!(
                            matches!(read, Err(DataError::Decode { .. })),
                            "{name}: {at}..{end} of {strip:?}"
                        );
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_do_not_panic(
        file: prop::sample::Index,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let names: Vec<String> = expected().into_keys().collect();
        let mut bytes = fs::read(files().join(file.get(&names))).unwrap();
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        let folder = tempfile::tempdir().unwrap();
        let read = read_bytes(folder.path(), &bytes);
        prop_assert!(!matches!(read, Err(DataError::DecoderFailed { .. })), "{read:?}");
    }
}
