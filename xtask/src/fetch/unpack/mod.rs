//! Unpacking an archive that nobody vouches for.
//!
//! Only regular files and folders come out, only below a folder named like a part of the data set, with the permissions
//! of a new file and never over an existing one. Any link, device, sparse file, absolute path or `..` refuses the whole
//! archive: the published ones hold none. Every regular file below a part is taken, whatever it is called, since the
//! categories carry their licence and read-me along; what lies beside the parts is counted and left out. Sizes are
//! bounded per file, in number and in all.

mod tar;
mod zip;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use indicatif::HumanBytes;

use super::data_set::{DataSet, Part};
use super::progress::Progress;

const MAX_FILE_BYTES: u64 = 64 << 20; // the images are of at most 1600 × 1600 pixels
const MAX_ENTRIES: usize = 20_000; // VisA has 12,021 images and masks
const MAX_TOTAL_BYTES: u64 = 16 << 30;
/// What the headers of one entry, long names included, may take: they are read into memory.
const MAX_HEADER_BYTES: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    #[error("cannot read {}: {source}", .archive.display())]
    Open { archive: PathBuf, source: io::Error },
    #[error("{} is damaged or cut short: {source}", .archive.display())]
    Damaged { archive: PathBuf, source: io::Error },
    #[error("{} is neither a .tar.xz nor a .tar nor a .zip file{hint}", .archive.display())]
    Format { archive: PathBuf, hint: &'static str },
    #[error("{} was refused: {entry:?} {reason}; an archive of {set} holds nothing like it", .archive.display())]
    Hostile {
        set: &'static str,
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
    /// Folders named like a part of the data set.
    pub(crate) parts: BTreeSet<String>,
    /// Other names beside them.
    pub(crate) others: BTreeSet<String>,
}

/// Unpacks the `wanted` parts of a data set from `archive` (.tar.xz, .tar or .zip) into the existing, empty folder `into`.
///
/// # Errors
/// [`UnpackError`]; `into` then holds a part of it all, to be thrown away.
pub(crate) fn unpack(archive: &Path, into: &Path, set: &DataSet, wanted: &[&Part]) -> Result<Contents, UnpackError> {
    let mut unpacker = Unpacker {
        archive,
        into,
        set,
        wanted,
        contents: Contents::default(),
        count: 0,
        total: 0,
    };
    let open_error = |source| UnpackError::Open {
        archive: archive.to_owned(),
        source,
    };
    let mut file = File::open(archive).map_err(open_error)?;
    let length = file.metadata().map_err(open_error)?.len();
    let mut head = Vec::new();
    file.by_ref().take(512).read_to_end(&mut head).map_err(open_error)?;
    file.rewind().map_err(open_error)?;
    let label = archive.file_name().unwrap_or_default().to_string_lossy();
    let file = BufReader::new(Metered {
        inner: file,
        read: 0,
        progress: Progress::start(&label, 0, Some(length)),
    });
    // Told from its first bytes and not from its name.
    match head.as_slice() {
        head if head.starts_with(b"\xFD7zXZ\0") => tar::unpack_xz(file, &mut unpacker)?,
        head if head.get(257..262) == Some(b"ustar") => tar::unpack(file, &mut unpacker)?,
        head if head.starts_with(b"PK\x03\x04") => zip::unpack(file, &mut unpacker)?,
        head => {
            let hint = match head.trim_ascii_start() {
                _ if head.is_empty() => " (it is empty)",
                head if head.starts_with(b"<") => " but a web page",
                _ => "",
            };
            return Err(UnpackError::Format {
                archive: archive.to_owned(),
                hint,
            });
        }
    }
    Ok(unpacker.contents)
}

/// What an entry claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
}

/// Holds entries, whatever archive they come from, against the rules, and writes them.
struct Unpacker<'a> {
    archive: &'a Path,
    into: &'a Path,
    set: &'a DataSet,
    wanted: &'a [&'a Part],
    contents: Contents,
    /// Entries and their bytes so far.
    count: usize,
    total: u64,
}

impl Unpacker<'_> {
    /// Where an entry of `size` bytes is to be written; `None` for one that is left out.
    ///
    /// # Errors
    /// [`UnpackError::Hostile`] if it breaks a rule or a bound.
    fn admit(&mut self, name: &str, kind: Kind, size: u64) -> Result<Option<PathBuf>, UnpackError> {
        let parts = safe_parts(name).map_err(|reason| self.hostile(name, reason))?;
        self.count += 1;
        self.total = self.total.saturating_add(size);
        if size > MAX_FILE_BYTES {
            return Err(self.hostile(name, format!("unpacks to more than {}", HumanBytes(MAX_FILE_BYTES))));
        }
        if self.total > MAX_TOTAL_BYTES {
            let most = HumanBytes(MAX_TOTAL_BYTES);
            return Err(self.hostile(name, format!("brings the total to more than {most}")));
        }
        if self.count > MAX_ENTRIES {
            return Err(self.hostile(name, format!("is one entry more than {MAX_ENTRIES}")));
        }
        let parts = match parts.split_first() {
            Some((first, below)) if self.set.wrapper == Some(*first) => below,
            _ => &parts,
        };
        let Some((&top, below)) = parts.split_first() else {
            return Ok(None);
        };
        if self.set.part(top).is_none() || (kind == Kind::File && below.is_empty()) {
            self.contents.others.insert(top.to_owned());
            return Ok(None);
        }
        self.contents.parts.insert(top.to_owned());
        let is_wanted = self.wanted.iter().any(|part| part.name == top);
        Ok(is_wanted.then(|| parts.iter().fold(self.into.to_owned(), |path, part| path.join(part))))
    }

    /// Writes an entry to where it was admitted.
    fn write(&self, kind: Kind, target: &Path, data: &mut impl Read, size: u64) -> Result<(), UnpackError> {
        if kind == Kind::Folder {
            return create_dirs(target);
        }
        if let Some(parent) = target.parent() {
            create_dirs(parent)?;
        }
        let write_error = |source| UnpackError::Write {
            path: target.to_owned(),
            source,
        };
        let mut file = File::create_new(target).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => {
                self.hostile(&target.file_name().unwrap_or_default().to_string_lossy(), "comes twice")
            }
            _ => write_error(source),
        })?;
        let mut bytes = Vec::new();
        // One more than it claims, to see whether it does.
        data.take(size + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| self.damaged(source))?;
        if bytes.len() as u64 != size {
            return Err(self.damaged(io::Error::other("a file of another size than its header tells")));
        }
        io::Write::write_all(&mut file, &bytes).map_err(write_error)
    }

    fn damaged(&self, source: io::Error) -> UnpackError {
        UnpackError::Damaged {
            archive: self.archive.to_owned(),
            source,
        }
    }

    fn hostile(&self, entry: &str, reason: impl Into<String>) -> UnpackError {
        UnpackError::Hostile {
            set: self.set.name,
            archive: self.archive.to_owned(),
            entry: entry.to_owned(),
            reason: reason.into(),
        }
    }
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

fn create_dirs(path: &Path) -> Result<(), UnpackError> {
    fs::create_dir_all(path).map_err(|source| UnpackError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Shows how far an archive has been read.
struct Metered {
    inner: File,
    read: u64,
    progress: Progress,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.read += n as u64;
        self.progress.set(self.read);
        Ok(n)
    }
}

impl Seek for Metered {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

/// Ends with an error when more is read than was allowed: a few bytes that decompress into gigabytes of header, or claim
/// them, must not end up in memory.
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

impl<R: Seek> Seek for Rationed<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}
