//! The files of a run: their names, how they are written, and the lock.

use std::{
    fs::{File, TryLockError},
    io::Write,
    path::{Path, PathBuf},
};

use super::checkpoint::invalid;
use crate::{Result, error::ModelError};

/// The weights of the best epoch so far. Scoring uses them.
pub const BEST: &str = "best.safetensors";
/// The state of a run, from which it resumes.
pub const LAST: &str = "last.safetensors";

/// The file that [`Checkpoint::open`](crate::Checkpoint::open) reads for `path`. If `path` is a run's folder, its best
/// weights.
///
/// # Errors
/// If it is a folder without a run, or the run has no weights yet.
pub fn file_of(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let best = path.join(BEST);
    if best.is_file() {
        return Ok(best);
    }
    if path.join(LAST).is_file() {
        return Err(ModelError::NoWeights {
            folder: path.to_owned(),
        });
    }
    Err(invalid(
        path,
        format!("this folder does not hold a run: it has no {BEST}"),
    ))
}

/// Writes `bytes` to `path` so that a kill at any instant leaves the old file or the new one: written beside under a
/// fixed name (a leftover is overwritten next time), flushed to the disk, renamed.
///
/// # Errors
/// If the file cannot be written. `path` is then unchanged.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = part_of(path);
    let write = || {
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&part, path)?;
        // The rename itself is on the disk once the folder is; only Unix lets a folder be opened for that.
        #[cfg(unix)]
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    write().map_err(ModelError::io(path))
}

/// Removes what a kill within [`write_whole`] may have left beside `path`.
///
/// # Errors
/// If it exists and cannot be removed.
pub fn remove_part(path: &Path) -> Result<()> {
    let part = part_of(path);
    match std::fs::remove_file(&part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(ModelError::io(&part)(error)),
        _ => Ok(()),
    }
}

/// Where a file lies while it is written.
fn part_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    path.with_file_name(name)
}

/// Locks a run against other processes until it is dropped.
#[derive(Debug)]
pub struct RunLock(File);

impl Drop for RunLock {
    fn drop(&mut self) {
        // Closing the file does not do it while a process that is just being started has it too.
        let _ = self.0.unlock();
    }
}

/// Locks the run in `folder` against other processes until the lock is dropped. A [`Trainer`](crate::Trainer) does so
/// itself.
///
/// # Errors
/// If another process is training there, or the file `lock` cannot be made.
pub fn lock_run(folder: &Path) -> Result<RunLock> {
    let path = folder.join("lock");
    let file = File::create(&path).map_err(ModelError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(RunLock(file)),
        Err(TryLockError::WouldBlock) => Err(ModelError::RunBusy {
            folder: folder.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(ModelError::io(&path)(error)),
    }
}
