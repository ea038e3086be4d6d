//! Any bytes as a mask: read or refused, within the memory that there is, and without a panic; what is read marks something.

#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use riad_core::Size;
use riad_data::{DataError, DecodeMemory, Limits, load_mask};
use riad_fuzz::folder;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| folder("mask").join("file"));

fuzz_target!(|bytes: &[u8]| {
    let Ok(()) = fs::write(&*FILE, bytes) else { return };
    let limits = Limits {
        max_pixels: 1 << 20,
        memory: DecodeMemory::new(64 << 20),
        ..Limits::default()
    };
    match load_mask(&[&*FILE], None, Size::new(16, 24), &limits) {
        Ok(mask) => assert_eq!(mask.size(), Size::new(16, 24)),
        Err(error) => assert!(!matches!(error, DataError::DecoderFailed { .. }), "a decoder panics: {error}"),
    }
});
