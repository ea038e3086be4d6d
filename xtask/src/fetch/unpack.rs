//! Unpacking an archive that nobody vouches for.
//!
//! Only regular files and folders come out, only below a folder named like a category, with the permissions of a new
//! file and never over an existing one. Any link, device, sparse file, absolute path or `..` refuses the whole archive:
//! MVTec's hold none, so one that does is not theirs. Every regular file below a category is taken, whatever it is
//! called, since the categories carry their licence and read-me along; what lies beside the categories is counted and
//! left out. Sizes are bounded per file, in number and in all.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use indicatif::HumanBytes;
use liblzma::read::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};
use tar::EntryType;

use super::progress::Progress;

const MAX_FILE_BYTES: u64 = 64 << 20; // the images are PNGs of at most 1024 × 1024 pixels
const MAX_ENTRIES: usize = 20_000; // MVTec AD has 6612 images and masks in some 200 folders
const MAX_TOTAL_BYTES: u64 = 16 << 30;
/// What the headers of one entry, long names included, may take: tar reads them into memory.
const MAX_HEADER_BYTES: u64 = 1 << 20;
/// `xz -9` needs 65 MiB to decompress.
const XZ_MEMORY_BYTES: u64 = 512 << 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    #[error("cannot read {}: {source}", .archive.display())]
    Open { archive: PathBuf, source: io::Error },
    #[error("{} is damaged or cut short: {source}", .archive.display())]
    Damaged { archive: PathBuf, source: io::Error },
    #[error("{} is neither a .tar.xz nor a .tar file{hint}", .archive.display())]
    Format { archive: PathBuf, hint: &'static str },
    #[error("{} was refused: {entry:?} {reason}; an archive of MVTec AD holds nothing like it", .archive.display())]
    Hostile {
        archive: PathBuf,
        entry: String,
        reason: String,
    },
    #[error("cannot write {}: {source}", .path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl UnpackError {
    /// Whether another copy of the archive would help.
    pub(crate) fn is_the_archives(&self) -> bool {
        !matches!(self, Self::Open { .. } | Self::Write { .. })
    }
}

/// What an archive held.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Folders at the top whose name `is_category` knows.
    pub(crate) categories: BTreeSet<String>,
    /// Other names at the top.
    pub(crate) others: BTreeSet<String>,
}

/// Unpacks the folders of `archive` (.tar.xz or .tar) whose names `wanted` accepts into the existing, empty folder
/// `into`. `is_category` tells every folder name that belongs there, wanted or not.
///
/// # Errors
/// [`UnpackError`]; `into` then holds a part, to be thrown away.
pub(crate) fn unpack(
    archive: &Path,
    into: &Path,
    is_category: impl Fn(&str) -> bool,
    wanted: impl Fn(&str) -> bool,
) -> Result<Contents, UnpackError> {
    let damaged = |source| UnpackError::Damaged {
        archive: archive.to_owned(),
        source,
    };
    let hostile = |entry: &str, reason: String| UnpackError::Hostile {
        archive: archive.to_owned(),
        entry: entry.to_owned(),
        reason,
    };
    let allowance = Rc::new(Cell::new(MAX_HEADER_BYTES));
    let mut tar = tar::Archive::new(Rationed {
        inner: open(archive)?,
        left: Rc::clone(&allowance),
    });
    let mut contents = Contents::default();
    let (mut count, mut total) = (0_usize, 0_u64);

    let mut entries = tar.entries().map_err(damaged)?;
    loop {
        allowance.set(MAX_HEADER_BYTES);
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(damaged)?;
        if entry.header().entry_type() == EntryType::XGlobalHeader {
            continue; // a comment that some tools write in front; at most a header's allowance can be skipped of it
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let parts = safe_parts(&name).map_err(|reason| hostile(&name, reason.to_owned()))?;
        let is_file = match entry.header().entry_type() {
            EntryType::Regular => true,
            EntryType::Directory => false,
            other => {
                return Err(hostile(
                    &name,
                    format!("is of the kind {other:?}, not a file or folder"),
                ));
            }
        };
        let Some((&top, below)) = parts.split_first() else {
            continue;
        };
        let inside = is_category(top) && !(is_file && below.is_empty());
        if inside {
            &mut contents.categories
        } else {
            &mut contents.others
        }
        .insert(top.to_owned());

        count += 1;
        total = total.saturating_add(entry.size());
        if entry.size() > MAX_FILE_BYTES {
            return Err(hostile(
                &name,
                format!("unpacks to more than {}", HumanBytes(MAX_FILE_BYTES)),
            ));
        }
        if total > MAX_TOTAL_BYTES {
            return Err(hostile(
                &name,
                format!("brings the total to more than {}", HumanBytes(MAX_TOTAL_BYTES)),
            ));
        }
        if count > MAX_ENTRIES {
            return Err(hostile(&name, format!("is one entry more than {MAX_ENTRIES}")));
        }
        allowance.set(entry.size() + MAX_HEADER_BYTES);
        let target = parts.iter().fold(into.to_owned(), |path, part| path.join(part));
        if inside && wanted(top) {
            if is_file {
                write_file(&mut entry, &target, archive)?;
            } else {
                create_dirs(&target)?;
            }
        } else {
            io::copy(&mut entry, &mut io::sink()).map_err(damaged)?;
        }
    }
    // xz keeps its last checksums behind the end of the tar, so the archive is whole only if it reads to its end.
    allowance.set(MAX_HEADER_BYTES);
    io::copy(&mut tar.into_inner(), &mut io::sink()).map_err(damaged)?;
    Ok(contents)
}

/// The components of a path that stays below the folder it is joined to, on every system.
fn safe_parts(name: &str) -> Result<Vec<&str>, &'static str> {
    if name.contains(['\\', ':', '\0', '\u{fffd}']) {
        return Err("has a name that is not portable");
    }
    Path::new(name)
        .components()
        .filter(|component| *component != Component::CurDir)
        .map(|component| match component {
            Component::Normal(part) => part.to_str().ok_or("has a name that is not UTF-8"),
            Component::ParentDir => Err("climbs out of its folder with \"..\""),
            _ => Err("has an absolute path"),
        })
        .collect()
}

fn write_file(entry: &mut impl Read, target: &Path, archive: &Path) -> Result<(), UnpackError> {
    if let Some(parent) = target.parent() {
        create_dirs(parent)?;
    }
    let write_error = |source| UnpackError::Write {
        path: target.to_owned(),
        source,
    };
    let mut file = File::create_new(target).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => UnpackError::Hostile {
            archive: archive.to_owned(),
            entry: target.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            reason: "comes twice".into(),
        },
        _ => write_error(source),
    })?;
    let mut data = Vec::new();
    entry.read_to_end(&mut data).map_err(|source| UnpackError::Damaged {
        archive: archive.to_owned(),
        source,
    })?;
    io::Write::write_all(&mut file, &data).map_err(write_error)
}

fn create_dirs(path: &Path) -> Result<(), UnpackError> {
    fs::create_dir_all(path).map_err(|source| UnpackError::Write {
        path: path.to_owned(),
        source,
    })
}

/// The tar stream within an archive, told from its first bytes and not from its name.
fn open(archive: &Path) -> Result<Box<dyn Read>, UnpackError> {
    let open_error = |source| UnpackError::Open {
        archive: archive.to_owned(),
        source,
    };
    let mut file = File::open(archive).map_err(open_error)?;
    let length = file.metadata().map_err(open_error)?.len();
    let mut head = Vec::new();
    file.by_ref().take(512).read_to_end(&mut head).map_err(open_error)?;
    io::Seek::rewind(&mut file).map_err(open_error)?;
    let label = archive.file_name().unwrap_or_default().to_string_lossy();
    let file = BufReader::new(Metered {
        inner: file,
        read: 0,
        progress: Progress::start(&label, 0, Some(length)),
    });
    if head.starts_with(b"\xFD7zXZ\0") {
        let stream = Stream::new_stream_decoder(XZ_MEMORY_BYTES, CONCATENATED).map_err(|e| UnpackError::Damaged {
            archive: archive.to_owned(),
            source: e.into(),
        })?;
        Ok(Box::new(XzDecoder::new_stream(file, stream)))
    } else if head.get(257..262) == Some(b"ustar") {
        Ok(Box::new(file))
    } else {
        let hint = match &head[..] {
            [] => " (it is empty)",
            head if head.trim_ascii_start().starts_with(b"<") => " but a web page",
            head if head.starts_with(b"PK") => " but a zip file",
            _ => "",
        };
        Err(UnpackError::Format {
            archive: archive.to_owned(),
            hint,
        })
    }
}

/// Shows how far an archive has been read.
struct Metered<R> {
    inner: R,
    read: u64,
    progress: Progress,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.read += n as u64;
        self.progress.set(self.read);
        Ok(n)
    }
}

/// Ends with an error when more is read than was allowed: a few bytes that decompress into gigabytes of header must not
/// end up in memory.
struct Rationed<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Rationed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        let left = self.left.get().checked_sub(n as u64);
        self.left
            .set(left.ok_or_else(|| io::Error::other("a header larger than any real one"))?);
        Ok(n)
    }
}
