//! From an archive to complete folders, in one step each.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::data_set::{Archive, DataSet, IncompletePart, Part};
use super::disk::{self, DiskError};
use super::unpack::{self, UnpackError};

#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    #[error("{} holds no category of {set}, only {}", .archive.display(), list(.others))]
    NoCategory {
        set: &'static str,
        archive: PathBuf,
        others: BTreeSet<String>,
    },
    #[error("{} holds no {part}, only {}", .archive.display(), list(.found))]
    Lacks {
        archive: PathBuf,
        part: &'static str,
        found: BTreeSet<String>,
    },
    #[error("{} does not hold all of {part}: {source}", .archive.display())]
    Incomplete {
        archive: PathBuf,
        part: &'static str,
        source: IncompletePart,
    },
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("cannot move {} to {}: {source}", .from.display(), .to.display())]
    Move {
        from: PathBuf,
        to: PathBuf,
        source: io::Error,
    },
    #[error("cannot make or delete {}: {source}", .dir.display())]
    Scratch { dir: PathBuf, source: io::Error },
}

impl InstallError {
    /// Whether another copy of the archive would help.
    pub(crate) fn is_the_archives(&self) -> bool {
        match self {
            Self::Unpack(error) => error.is_the_archives(),
            Self::NoCategory { .. } | Self::Lacks { .. } | Self::Incomplete { .. } => true,
            Self::Disk(_) | Self::Move { .. } | Self::Scratch { .. } => false,
        }
    }
}

fn list(names: &BTreeSet<String>) -> String {
    match names.len() {
        0 => "nothing".to_owned(),
        _ => names.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
    }
}

/// `<out>/.download`, locked against a second run: archives that grow, and the folder in which they are unpacked.
pub(crate) struct WorkFolder {
    set: &'static DataSet,
    out: PathBuf,
    dir: PathBuf,
    _lock: File,
}

impl WorkFolder {
    /// Makes and locks the folder, and clears what a killed run has left half unpacked.
    pub(crate) fn open(set: &'static DataSet, out: &Path) -> Result<Self> {
        let dir = out.join(".download");
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let path = dir.join("lock");
        let lock = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "another {} is at work in {}; wait for it to end",
                    set.command,
                    out.display()
                )
            }
            Err(TryLockError::Error(e)) => return Err(e).with_context(|| format!("cannot lock {}", path.display())),
        }
        let work = Self {
            set,
            out: out.to_owned(),
            dir,
            _lock: lock,
        };
        work.clear()?;
        Ok(work)
    }

    /// Where the complete archive lies once it is downloaded.
    pub(crate) fn file(&self, archive: &Archive) -> PathBuf {
        self.dir.join(self.set.file_name(archive))
    }

    /// Whether the archive is downloaded, wholly or in part.
    pub(crate) fn has_begun(&self, archive: &Archive) -> bool {
        let file = self.file(archive);
        file.exists() || file.with_added_extension("part").exists()
    }

    fn unpacked(&self) -> PathBuf {
        self.dir.join("unpacked")
    }

    fn clear(&self) -> Result<(), InstallError> {
        let dir = self.unpacked();
        match fs::remove_dir_all(&dir) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(InstallError::Scratch { dir, source }),
            _ => Ok(()),
        }
    }

    /// Unpacks `archive` and moves those of its parts that are `missing` into place, all of them checked before.
    ///
    /// # Errors
    /// Also where a missing part that is `required` is not in the archive; nothing has been moved then.
    pub(crate) fn install(
        &self,
        archive: &Path,
        missing: &[&'static Part],
        required: impl Fn(&Part) -> bool,
    ) -> Result<(), InstallError> {
        let length = fs::metadata(archive)
            .map_err(|source| UnpackError::Open {
                archive: archive.to_owned(),
                source,
            })?
            .len();
        disk::ensure_space(&self.out, length.saturating_mul(self.set.unpacked_percent) / 100)?;
        let dir = self.unpacked();
        fs::create_dir(&dir).map_err(|source| InstallError::Scratch {
            dir: dir.clone(),
            source,
        })?;
        let result = self.install_through(&dir, archive, missing, required);
        self.clear()?;
        result
    }

    fn install_through(
        &self,
        dir: &Path,
        archive: &Path,
        missing: &[&'static Part],
        required: impl Fn(&Part) -> bool,
    ) -> Result<(), InstallError> {
        let contents = unpack::unpack(archive, dir, self.set, missing)?;
        let archive = archive.to_owned();
        if contents.parts.is_empty() {
            return Err(InstallError::NoCategory {
                set: self.set.name,
                archive,
                others: contents.others,
            });
        }
        let (found, absent): (Vec<&Part>, Vec<&Part>) = missing
            .iter()
            .copied()
            .partition(|part| contents.parts.contains(part.name));
        if let Some(part) = absent.into_iter().find(|part| required(part)) {
            return Err(InstallError::Lacks {
                archive,
                part: part.name,
                found: contents.parts,
            });
        }
        for part in &found {
            self.set
                .check(part, &dir.join(part.name))
                .map_err(|source| InstallError::Incomplete {
                    archive: archive.clone(),
                    part: part.name,
                    source,
                })?;
        }
        for part in found {
            let (from, to) = (dir.join(part.name), self.out.join(part.name));
            fs::rename(&from, &to).map_err(|source| InstallError::Move {
                from,
                to: to.clone(),
                source,
            })?;
            if part.is_category() {
                eprintln!("{}: {} images in {}", part.name, part.images(), to.display());
            }
        }
        Ok(())
    }
}
