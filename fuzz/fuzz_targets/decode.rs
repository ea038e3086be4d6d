//! Any bytes as an image file, of any format: read or refused, within the memory that there is, and without a panic.

#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use riad_data::{DataError, DecodeMemory, Fit, Reader};
use riad_fuzz::folder;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| folder("decode").join("file"));

/// The driver is told to stop at an allocation of more than this.
const MEMORY: u64 = 64 << 20;

fuzz_target!(|bytes: &[u8]| {
    let Ok(()) = fs::write(&*FILE, bytes) else { return };
    // By the length, so that files of the tests can be taken as they are.
    let channels = [3, 1, 4, 2][bytes.len() % 4];
    let white_level = [None, Some(4095)][bytes.len() / 4 % 2];
    let mut reader = Reader::new(channels).with_white_level(white_level);
    reader.limits.memory = DecodeMemory::new(MEMORY);
    let header = reader.header(&FILE);
    match reader.load(&FILE, Fit::Own) {
        Ok(loaded) => {
            let (size, pictures) = header.expect("what is read has a header");
            assert_eq!((loaded.original_size, loaded.found.pictures.max(1)), (size, pictures.max(1)));
            assert!(loaded.image.values().iter().all(|value| (0.0..=1.0).contains(value)));
        }
        Err(error) => assert!(!matches!(error, DataError::DecoderFailed { .. }), "a decoder panics: {error}"),
    }
});
