//! Tar archives, compressed with xz or not.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use liblzma::read::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};
use tar::EntryType;

use super::{Kind, MAX_HEADER_BYTES, Rationed, UnpackError, Unpacker};

/// `xz -9` needs 65 MiB to decompress.
const XZ_MEMORY_BYTES: u64 = 512 << 20;

pub(super) fn unpack_xz(stream: impl Read, unpacker: &mut Unpacker<'_>) -> Result<(), UnpackError> {
    let decoder = Stream::new_stream_decoder(XZ_MEMORY_BYTES, CONCATENATED).map_err(|e| unpacker.damaged(e.into()))?;
    unpack(XzDecoder::new_stream(stream, decoder), unpacker)
}

pub(super) fn unpack(stream: impl Read, unpacker: &mut Unpacker<'_>) -> Result<(), UnpackError> {
    let allowance = Rc::new(Cell::new(MAX_HEADER_BYTES));
    let mut tar = tar::Archive::new(Rationed {
        inner: stream,
        left: Rc::clone(&allowance),
    });
    let mut entries = tar.entries().map_err(|e| unpacker.damaged(e))?;
    loop {
        allowance.set(MAX_HEADER_BYTES);
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(|e| unpacker.damaged(e))?;
        if entry.header().entry_type() == EntryType::XGlobalHeader {
            continue; // a comment that some tools write in front; at most a header's allowance can be skipped of it
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = match entry.header().entry_type() {
            EntryType::Regular => Kind::File,
            EntryType::Directory => Kind::Folder,
            other => {
                return Err(unpacker.hostile(&name, format!("is of the kind {other:?}, not a file or folder")));
            }
        };
        let size = entry.size();
        let target = unpacker.admit(&name, kind, size)?;
        allowance.set(size + MAX_HEADER_BYTES);
        match target {
            Some(target) => unpacker.write(kind, &target, &mut entry, size)?,
            None => _ = io::copy(&mut entry, &mut io::sink()).map_err(|e| unpacker.damaged(e))?,
        }
    }
    // xz keeps its last checksums behind the end of the tar, so the archive is whole only if it reads to its end.
    allowance.set(MAX_HEADER_BYTES);
    io::copy(&mut tar.into_inner(), &mut io::sink()).map_err(|e| unpacker.damaged(e))?;
    Ok(())
}
