//! Zip archives.

use std::cell::Cell;
use std::io::{self, Read, Seek};
use std::rc::Rc;

use zip::ZipArchive;

use super::{Kind, MAX_HEADER_BYTES, Rationed, UnpackError, Unpacker};

/// What the directory at a zip file's end may take: it is read into memory. That of 20,000 files takes some 3 MB.
const MAX_DIRECTORY_BYTES: u64 = 16 << 20;

/// The bits of a Unix mode that tell the kind of a file, and two of the kinds.
const KIND_BITS: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;

pub(super) fn unpack(file: impl Read + Seek, unpacker: &mut Unpacker<'_>) -> Result<(), UnpackError> {
    let allowance = Rc::new(Cell::new(MAX_DIRECTORY_BYTES));
    let file = Rationed {
        inner: file,
        left: Rc::clone(&allowance),
    };
    let mut zip = ZipArchive::new(file).map_err(|e| unpacker.damaged(io::Error::other(e)))?;
    for index in 0..zip.len() {
        allowance.set(MAX_HEADER_BYTES);
        let mut entry = zip.by_index(index).map_err(|e| unpacker.damaged(io::Error::other(e)))?;
        let name = entry
            .name()
            .map_err(|e| unpacker.damaged(io::Error::other(e)))?
            .into_owned();
        // Archives from systems without such modes have none.
        let kind = match entry.unix_mode().unwrap_or(0) & KIND_BITS {
            _ if entry.is_dir() => Kind::Folder,
            FOLDER => Kind::Folder,
            0 | REGULAR => Kind::File,
            other => {
                return Err(unpacker.hostile(&name, format!("is of the kind {other:o}, not a file or folder")));
            }
        };
        let size = entry.size();
        if let Some(target) = unpacker.admit(&name, kind, size)? {
            allowance.set(entry.compressed_size().saturating_add(MAX_HEADER_BYTES));
            unpacker.write(kind, &target, &mut entry, size)?;
        }
    }
    Ok(())
}
