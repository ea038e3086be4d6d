//! JPEGs of which something is missing, and JPEGs with something behind them (`tests/jpeg/files/make.py`).

use std::fs;
use std::path::{Path, PathBuf};

use riad_core::Size;
use riad_data::{DataError, Fit, Image, Reader};
use tempfile::TempDir;

const NAMES: [&str; 12] = [
    "gray.jpg",
    "gray_progressive.jpg",
    "444.jpg",
    "444_progressive.jpg",
    "422.jpg",
    "422_progressive.jpg",
    "420.jpg",
    "420_progressive.jpg",
    "restarts.jpg",
    "restarts_progressive.jpg",
    "cmyk.jpg",
    "perfect.jpg",
];

fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jpeg/files")
}

fn read_bytes(folder: &TempDir, bytes: &[u8]) -> Result<Image, DataError> {
    let path = folder.path().join("image.jpg");
    // Some file systems write through at once what replaces another file's content.
    let _ = fs::remove_file(&path);
    fs::write(&path, bytes).unwrap();
    Reader::default().load(&path, Fit::Own).map(|loaded| loaded.image)
}

/// The place of every marker that is followed by what `is` wants, behind which the data of a scan may begin.
fn markers(bytes: &[u8], is: impl Fn(u8) -> bool) -> Vec<usize> {
    let pairs = bytes.windows(2).enumerate();
    pairs
        .filter(|(_, pair)| pair[0] == 0xFF && is(pair[1]))
        .map(|(at, _)| at)
        .collect()
}

/// Where the data of each scan begin and end.
fn scans(bytes: &[u8]) -> Vec<(usize, usize)> {
    let begin = |at: usize| at + 2 + usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
    let end = |from: usize| {
        let next = markers(&bytes[from..], |marker| marker != 0 && !(0xD0..=0xD7).contains(&marker));
        from + next[0]
    };
    let begins = markers(bytes, |marker| marker == 0xDA).into_iter().map(begin);
    begins.map(|from| (from, end(from))).collect()
}

#[test]
fn whole_pictures_are_read() {
    for name in NAMES {
        let image = Reader::default().load(&files().join(name), Fit::Own).unwrap().image;
        assert_eq!(image.size(), Size::new(37, 50), "{name}");
    }
}

#[test]
fn what_follows_the_picture_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let other = fs::read(files().join("gray.jpg")).unwrap();
    for name in NAMES {
        let bytes = fs::read(files().join(name)).unwrap();
        let whole = read_bytes(&folder, &bytes).unwrap();
        let appended: [&[u8]; 5] = [
            b"\0\0\0\x18ftypmp42 a video \xFF\xDA that looks \xFF\xD8\xFF like a scan",
            // As in files of several pictures: the second one cut off.
            &other[..other.len() / 2],
            &other,
            &[0; 4096],
            b"\xFF",
        ];
        for tail in appended {
            assert!(
                read_bytes(&folder, &[&bytes, tail].concat()).unwrap() == whole,
                "{name}"
            );
        }
        // And of the picture nothing is missing where only its end is not marked.
        assert!(bytes.ends_with(&[0xFF, 0xD9]));
        assert!(
            read_bytes(&folder, &bytes[..bytes.len() - 2]).unwrap() == whole,
            "{name}"
        );
    }
}

/// Data are taken out of every scan: its second half, its last bytes, all of it with and without its header; or zeros are put in
/// their place, as bad sectors leave them.
#[test]
fn what_is_missing_in_the_middle_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for name in NAMES {
        let bytes = fs::read(files().join(name)).unwrap();
        let headers = markers(&bytes, |marker| marker == 0xDA);
        for (&header, (begin, end)) in headers.iter().zip(scans(&bytes)) {
            let len = end - begin;
            let mut holes = vec![(header, end), (begin, end)];
            if len > 40 {
                holes.extend([
                    (begin + len / 2, end),
                    (begin + len / 3, begin + 2 * len / 3),
                    (end - 20, end),
                ]);
            }
            for (from, to) in holes {
                let rest = [&bytes[..from], &bytes[to..]].concat();
                let error = match read_bytes(&folder, &rest) {
                    Ok(_) => panic!("{name}: {from}..{to} of the scan {begin}..{end} are missed by nobody"),
                    Err(error) => error,
                };
                assert!(matches!(error, DataError::Decode { .. }), "{name}: {error}");
                assert!(error.to_string().contains("image.jpg"), "{error}");
            }
            if len > 120 {
                let mut zeros = bytes.clone();
                zeros[begin + len / 4..end - len / 4].fill(0);
                assert!(read_bytes(&folder, &zeros).is_err(), "{name}: zeros in {begin}..{end}");
            }
        }
    }
}

#[test]
fn a_restart_interval_that_is_missing_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(files().join("restarts.jpg")).unwrap();
    let restarts = markers(&bytes, |marker| (0xD0..=0xD7).contains(&marker));
    assert!(restarts.len() > 4);
    for pair in restarts.windows(2) {
        let rest = [&bytes[..pair[0]], &bytes[pair[1]..]].concat();
        let error = read_bytes(&folder, &rest).unwrap_err().to_string();
        assert!(error.contains("missing in the middle"), "{error}");
    }
}

#[test]
fn every_prefix_is_the_image_or_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["420.jpg", "420_progressive.jpg", "restarts_progressive.jpg"] {
        let bytes = fs::read(files().join(name)).unwrap();
        let whole = read_bytes(&folder, &bytes).unwrap();
        for end in 0..bytes.len() {
            match read_bytes(&folder, &bytes[..end]) {
                Ok(image) => assert!(image == whole, "{name}, {end} of {} bytes", bytes.len()),
                Err(DataError::Decode { .. }) => {}
                Err(error) => panic!("{name}, {end} bytes: {error}"),
            }
        }
    }
}

#[test]
fn kinds_that_are_not_read_are_named_with_the_way_out() {
    for (name, kind) in [
        ("unsupported_12_bits.jpg", "more than 8 bits"),
        ("unsupported_lossless.jpg", "lossless JPEG"),
    ] {
        let error = Reader::default().load(&files().join(name), Fit::Own).unwrap_err();
        assert!(matches!(error, DataError::Unsupported { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains(name) && text.contains(kind) && text.contains("save it as PNG"),
            "{text}"
        );
    }
}

/// An index of pictures (MPO) may name one picture very often. It is looked at once.
#[test]
fn a_picture_that_an_index_names_often_counts_once() {
    let picture = fs::read(files().join("420.jpg")).unwrap();
    for (entries, places, pictures) in [(2, 1, 2), (4090, 1, 2), (3, 2, 3)] {
        // The index is a TIFF: a directory of one tag, whose entries have 16 bytes each.
        let mut index = b"MPF\0II*\0\x08\0\0\0\x01\0\x02\xB0\x07\0".to_vec();
        index.extend((16 * entries as u32).to_le_bytes());
        index.extend(26u32.to_le_bytes());
        index.extend([0; 4]);
        // What lies behind the picture's first two bytes, the marker and length of the index, and the index's own name.
        let behind = picture.len() + index.len() - 4 + 16 * entries - 2;
        for entry in 0..entries {
            let place = if entry == 0 {
                0
            } else {
                behind + (entry - 1) % places * picture.len()
            };
            index.extend([0; 8]);
            index.extend((place as u32).to_le_bytes());
            index.extend([0; 4]);
        }
        let mut file = picture[..2].to_vec();
        file.extend([0xFF, 0xE2]);
        file.extend((index.len() as u16 + 2).to_be_bytes());
        file.extend(index);
        file.extend(&picture[2..]);
        file.extend(picture.repeat(places));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("many.mpo");
        fs::write(&path, file).unwrap();
        assert_eq!(
            Reader::default().header(&path).unwrap().1,
            pictures,
            "{entries} at {places}"
        );
    }
}
