//! Damaged files, and headers with any numbers in them.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use riad_data::{DataError, DecodeMemory, Fit, Image, Reader};

use super::{expected, files};

/// Bytes as a file, read as four channels; must return, whatever they are.
fn read_bytes(folder: &Path, bytes: &[u8]) -> Result<Image, DataError> {
    let path = folder.join("image");
    // Some file systems write through at once what replaces another file's content.
    let _ = fs::remove_file(&path);
    fs::write(&path, bytes).unwrap();
    let mut reader = Reader::new(4);
    reader.limits.memory = DecodeMemory::new(1 << 20);
    reader.load(&path, Fit::Own).map(|loaded| loaded.image)
}

#[test]
fn every_prefix_is_the_image_or_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for (name, _) in expected().into_iter().filter(|(_, expected)| expected.shape[0] == 4) {
        let bytes = fs::read(files().join(&name)).unwrap();
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
                // The chain of pages can end early.
                Err(DataError::Channels { .. }) if name.ends_with(".tif") => {}
                Err(error) => panic!("{name}, {end} bytes: {error}"),
            }
        }
    }
}

/// A number as a hostile header may have it.
fn side() -> impl Strategy<Value = u64> {
    prop_oneof![
        0u64..9,
        any::<u64>(),
        any::<u64>().prop_map(|side| side >> (side % 64)),
        Just(1 << 62),
        Just(u64::MAX)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

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

    /// Headers of arrays with any numbers in them: read where the data are as many as the shape says, and else an error.
    #[test]
    fn headers_with_any_numbers_are_read_or_refused(
        shape in prop::collection::vec(side(), 0..5),
        kind in prop_oneof!["[|]u1", "<u2", ">f4", "<f8", "[|]b1", "[<>|][a-z][0-9]{1,20}"],
        is_fortran: bool,
        bytes in 0usize..200,
    ) {
        let sides: Vec<String> = shape.iter().map(u64::to_string).collect();
        let order = if is_fortran { "True" } else { "False" };
        let text = format!("{{'descr': '{kind}', 'fortran_order': {order}, 'shape': ({},), }}\n", sides.join(", "));
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((text.len() as u16).to_le_bytes());
        file.extend(text.as_bytes());
        file.extend(std::iter::repeat_n(0, bytes));
        let folder = tempfile::tempdir().unwrap();
        let read = read_bytes(folder.path(), &file);
        prop_assert!(!matches!(read, Err(DataError::DecoderFailed { .. })), "{read:?}");
        if let Ok(image) = read {
            let count: u128 = shape.iter().map(|&side| u128::from(side)).product();
            prop_assert_eq!(image.values().len() as u128, count);
            prop_assert!(shape.contains(&4));
        }
    }

    /// Any text for a header, however long it claims to be or deep it nests.
    #[test]
    fn any_header_is_read_or_refused(version in 0u8..6, len: u32, text in "[{}()\\[\\]',:0-9a-zTF_ ]{0,300}") {
        let mut file = b"\x93NUMPY".to_vec();
        file.extend([version, 0]);
        if version < 2 {
            file.extend((text.len() as u16).to_le_bytes());
        } else {
            file.extend(if len % 2 == 0 { len } else { text.len() as u32 }.to_le_bytes());
        }
        file.extend(text.as_bytes());
        let folder = tempfile::tempdir().unwrap();
        let read = read_bytes(folder.path(), &file);
        prop_assert!(matches!(read, Err(DataError::Decode { .. } | DataError::Unsupported { .. } | DataError::Channels { .. })), "{read:?}");
        let deep = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {}", "(".repeat(60_000));
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((deep.len() as u16).to_le_bytes());
        file.extend(deep.as_bytes());
        let read = read_bytes(folder.path(), &file);
        prop_assert!(matches!(read, Err(DataError::Decode { .. })), "{read:?}");
    }
}
