//! Any bytes as weights that PyTorch saved: imported or refused by the file's name, within the memory that there is, and without a
//! panic; what is imported comes back equal when it is saved.
//!
//! An input that begins as PyTorch's files do is one. Of others the first byte says what the rest is: a pickle in an archive that is
//! whole, or bytes to change in a file of the tests.

#![no_main]

use std::fs;
use std::io::{Cursor, Write};
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use riad_fuzz::{folder, seed};
use riad_model::Checkpoint;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A state dict of the public code, nested.
const WHOLE: &[u8] = include_bytes!("../../crates/riad-model/tests/reference/nested.pth");

/// `{"down1.conv1.weight": …}` of 4 values.
const PICKLE: &[u8] =
    b"\x80\x02}X\x12\0\0\0down1.conv1.weightctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\n\
    FloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQK\0(K\x02K\x02t(K\x02K\x01t\x89}tRs.";

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| folder("pytorch"));

/// An archive of PyTorch with this pickle, and two files of values.
fn archive(pickle: &[u8]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in [("data.pkl", pickle), ("data/0", &[0; 16]), ("data/1", &[0; 64])] {
        zip.start_file(format!("archive/{name}"), options)
            .expect("a file in memory");
        zip.write_all(bytes).expect("memory");
    }
    zip.finish().expect("an archive in memory").into_inner()
}

/// The file of the tests with some of its bytes replaced: three bytes tell which, and one by what.
fn damaged(changes: &[u8]) -> Vec<u8> {
    let mut bytes = WHOLE.to_vec();
    for &[low, middle, high, value] in changes.as_chunks::<4>().0 {
        let place = u32::from_le_bytes([low, middle, high, 0]) as usize;
        bytes[place % WHOLE.len()] = value;
    }
    bytes
}

fuzz_target!(
    init: seed(&[[b"\0", PICKLE].concat(), b"\x01\0\0\0P".to_vec()]),
    |bytes: &[u8]| {
        let Some((choice, rest)) = bytes.split_first() else { return };
        let content = match choice {
            b'P' | 0x80 => bytes.to_vec(),
            choice if choice % 2 == 0 => archive(rest),
            _ => damaged(rest),
        };
        let (file, copy) = (FOLDER.join("model.pth"), FOLDER.join("copy.safetensors"));
        fs::write(&file, content).expect("a file that can be written");
        match Checkpoint::open(&file) {
            Ok(checkpoint) => {
                checkpoint.save(&copy).expect("what was imported can be saved");
                let again = Checkpoint::open(&copy).expect("what was saved can be opened");
                assert!(again == checkpoint, "another comes back");
            }
            Err(error) => assert!(error.to_string().contains("model.pth"), "{error}"),
        }
    }
);
