//! Pictures that lie on this machine come into the store.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    path::Path,
    sync::Arc,
};

use tempfile::TempPath;
use tokio::sync::Semaphore;

use super::{Line, Picture};
use crate::{Error, Result, store::Store};

/// How much is read at once.
const PIECE: usize = 256 << 10;

/// Copies a picture into the store. If the disk is full, the picture is held in memory, to be judged all the same. `None` if there is no
/// room for it there now.
///
/// # Errors
/// If it cannot be read or written, or has more than `most_bytes` ([`Error::Request`]).
pub(crate) fn copied(
    line: &Line,
    source: &Path,
    most_bytes: u64,
    (store, held): (&Store, &Arc<Semaphore>),
) -> Result<Option<Picture>> {
    let could_not_store = || line.live().could_not_store();
    copied_to(store.pictures().incoming(), source, most_bytes, held, could_not_store)
}

fn copied_to(
    target: Result<TempPath>,
    source: &Path,
    most_bytes: u64,
    held: &Arc<Semaphore>,
    could_not_store: impl FnOnce(),
) -> Result<Option<Picture>> {
    let mut file = File::open(source).map_err(Error::file("read", source))?;
    let written = match target {
        Ok(target) => copy((&file, source), &target, most_bytes)?.map(|()| target),
        Err(error) => Err(error),
    };
    let error = match written {
        Ok(target) => return Ok(Some(Picture::File(target))),
        Err(error) => error,
    };
    could_not_store();
    if !error.is_full() {
        return Err(error);
    }
    let Ok(room) = held.clone().try_acquire_owned() else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.rewind()
        .and_then(|()| file.take(most_bytes.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(Error::file("read", source))?;
    if bytes.len() as u64 > most_bytes {
        return Err(too_large(source, most_bytes));
    }
    Ok(Some(Picture::Memory { bytes, _room: room }))
}

/// Copies a file. The outer result is about what is read, the inner one about what is written.
fn copy((mut file, source): (&File, &Path), target: &Path, most_bytes: u64) -> Result<Result<()>> {
    let mut copy = match File::options().write(true).open(target) {
        Ok(copy) => copy,
        Err(cause) => return Ok(Err(Error::file("write", target)(cause))),
    };
    let mut piece = vec![0; PIECE];
    let mut bytes = 0;
    loop {
        let read = match file.read(&mut piece) {
            Ok(0) => return Ok(Ok(())),
            Ok(read) => read,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
            Err(cause) => return Err(Error::file("read", source)(cause)),
        };
        bytes += read as u64;
        if bytes > most_bytes {
            return Err(too_large(source, most_bytes));
        }
        if let Err(cause) = copy.write_all(&piece[..read]) {
            return Ok(Err(Error::file("write", target)(cause)));
        }
    }
}

fn too_large(source: &Path, most_bytes: u64) -> Error {
    let file = source.display();
    Error::Request(format!(
        "{file} has more than {most_bytes} bytes, and a picture has no more here"
    ))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    /// Copies a picture of 600,000 bytes; what becomes of it, and whether it could not be stored.
    fn copied_into(target: PathBuf, source: &Path, most_bytes: u64, held: usize) -> (Result<Option<Picture>>, bool) {
        let target = TempPath::try_from_path(target).unwrap();
        let mut told = false;
        let held = Arc::new(Semaphore::new(held));
        let copied = copied_to(Ok(target), source, most_bytes, &held, || told = true);
        (copied, told)
    }

    #[test]
    fn a_picture_that_is_read_and_written_lies_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let (source, target) = (folder.path().join("source"), folder.path().join("target"));
        let bytes: Vec<u8> = (0..600_000u32).map(|number| (number % 251) as u8).collect();
        fs::write(&source, &bytes).unwrap();
        let new = || {
            fs::write(&target, "").unwrap();
            target.clone()
        };
        let (copied, told) = copied_into(new(), &source, 600_000, 1);
        let Ok(Some(Picture::File(path))) = copied else {
            panic!("{copied:?}");
        };
        assert!(!told && fs::read(&path).unwrap() == bytes);
        let (refused, told) = copied_into(new(), &source, 599_999, 1);
        assert!(!told && matches!(refused, Err(Error::Request(_))), "{refused:?}");
        // What cannot be read says nothing of the disk.
        let (missing, told) = copied_into(new(), &folder.path().join("missing"), 600_000, 1);
        assert!(
            !told && matches!(missing, Err(Error::File { doing: "read", .. })),
            "{missing:?}"
        );
        // Nor is it full if it cannot be written.
        let (unwritten, told) = copied_into(folder.path().join("no/target"), &source, 600_000, 1);
        assert!(
            told && matches!(unwritten, Err(Error::File { doing: "write", .. })),
            "{unwritten:?}"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_picture_that_a_full_disk_does_not_take_is_held_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let (source, full) = (folder.path().join("source"), folder.path().join("full"));
        let bytes: Vec<u8> = (0..600_000u32).map(|number| (number % 251) as u8).collect();
        fs::write(&source, &bytes).unwrap();
        // The link is removed with its path, and not what it leads to.
        let new = || {
            std::os::unix::fs::symlink("/dev/full", &full).unwrap();
            full.clone()
        };
        let (held, told) = copied_into(new(), &source, 600_000, 1);
        let Ok(Some(Picture::Memory { bytes: kept, .. })) = held else {
            panic!("{held:?}");
        };
        assert!(told && kept == bytes);
        let (none, told) = copied_into(new(), &source, 600_000, 0);
        assert!(told && matches!(none, Ok(None)), "{none:?}");
    }
}
