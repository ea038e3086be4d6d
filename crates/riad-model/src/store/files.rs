//! The files of a run: their names, how they are written, and the lock.

use std::{
    fs::{self, File, FileType, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
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

/// Opens a file to read. What is none, such as a pipe or a device, is refused: it may block or never end.
///
/// # Errors
/// If it is no file, or cannot be opened.
pub fn open_file(path: &Path) -> io::Result<File> {
    let kind = fs::metadata(path)?.file_type();
    // Of a folder the system says what is wrong.
    if !kind.is_file() && !kind.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is a device or a pipe, not a file",
        ));
    }
    File::open(path)
}

/// Writes `bytes` to `path` so that a kill at any instant leaves the old file or the new one: written beside under a
/// fixed name (a leftover is overwritten next time), flushed to the disk, renamed.
///
/// If `path` is a link, it stays one, and the file that it names is written, even if that is not there yet. A pipe, a terminal or a null
/// device cannot be replaced, so the bytes are written into it.
///
/// # Errors
/// If the file cannot be written. `path` is then unchanged.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => write_into(path, metadata.file_type(), bytes),
        _ if path.is_symlink() => replace_whole(&named_by(path)?, bytes),
        _ => replace_whole(path, bytes),
    };
    write().map_err(ModelError::io(path))
}

/// The file that a link names, directly or by other links.
fn named_by(link: &Path) -> io::Result<PathBuf> {
    // As many as Linux follows.
    const MOST: usize = 40;
    let mut path = link.to_owned();
    for _ in 0..MOST {
        match fs::read_link(&path) {
            Ok(next) => path = path.parent().unwrap_or(Path::new("")).join(next),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "the link leads to another link, and so on, and to no file",
    ))
}

/// Writes into what is no file.
fn write_into(path: &Path, kind: FileType, bytes: &[u8]) -> io::Result<()> {
    #[cfg(unix)]
    if std::os::unix::fs::FileTypeExt::is_block_device(&kind) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a disk, not a file"));
    }
    #[cfg(not(unix))]
    let _ = kind;
    File::options().write(true).open(path)?.write_all(bytes)
}

/// Writes beside a file, and then in its place.
fn replace_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = part_of(path);
    let write = || {
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        replace(&part, path)
    };
    if let Err(error) = write() {
        // A disk that is full needs the room. What cannot be removed now is overwritten next time.
        let _ = fs::remove_file(&part);
        return Err(error);
    }
    // The rename itself is on the disk once the folder is; only Unix lets a folder be opened for that.
    #[cfg(unix)]
    File::open(folder_of(path))?.sync_all()?;
    Ok(())
}

/// The folder that a file lies in.
#[cfg(unix)]
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        // Of a name alone the parent is empty, which no system opens.
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// How long [`replace`] waits for other programs on Windows, and how often it tries.
const PATIENCE: Duration = Duration::from_secs(5);
const NAP: Duration = Duration::from_millis(20);

/// Gives the file `from` the name `to`, in place of what has it.
///
/// On Windows another program that has either file open can forbid this. Scanners for viruses, indexers and viewers do so for an
/// instant, and a training of hours must not end by that: so it is tried for five seconds.
///
/// # Errors
/// If it cannot be renamed; both files are as they were then.
pub fn replace(from: &Path, to: &Path) -> io::Result<()> {
    let began = Instant::now();
    loop {
        match fs::rename(from, to) {
            Err(error) if is_held(&error) && began.elapsed() < PATIENCE => thread::sleep(NAP),
            done => return done,
        }
    }
}

/// Whether the reason may be that another program has a file open. Windows has three errors for that, the first of which can mean
/// something else as well.
fn is_held(error: &io::Error) -> bool {
    const ACCESS_DENIED: i32 = 5;
    const SHARING_VIOLATION: i32 = 32;
    const LOCK_VIOLATION: i32 = 33;
    cfg!(windows)
        && error
            .raw_os_error()
            .is_some_and(|code| [ACCESS_DENIED, SHARING_VIOLATION, LOCK_VIOLATION].contains(&code))
}

/// Removes what a kill within [`write_whole`] may have left beside `path`.
///
/// # Errors
/// If it exists and cannot be removed.
pub fn remove_part(path: &Path) -> Result<()> {
    let part = part_of(path);
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ModelError::io(&part)(error)),
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
    // Not made anew: Windows may refuse that while another process has the lock.
    let mut options = File::options();
    let file = options.create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(ModelError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(RunLock(file)),
        Err(TryLockError::WouldBlock) => Err(ModelError::RunBusy {
            folder: folder.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(ModelError::io(&path)(error)),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{os::unix::fs::symlink, process::Command};

    use super::*;

    #[test]
    fn a_name_alone_lies_in_the_working_folder() {
        for (path, folder) in [
            ("model", "."),
            ("runs/model", "runs"),
            ("./model", "."),
            ("/model", "/"),
        ] {
            assert_eq!(folder_of(Path::new(path)), Path::new(folder), "{path}");
            assert!(folder == "runs" || File::open(folder_of(Path::new(path))).is_ok());
        }
    }

    #[test]
    fn a_link_stays_a_link_and_a_pipe_a_pipe() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("kept")).unwrap();
        fs::write(at("kept/model"), "old").unwrap();
        symlink("kept/model", at("link")).unwrap();
        write_whole(&at("link"), b"new").unwrap();
        assert!(at("link").is_symlink());
        assert_eq!(fs::read(at("kept/model")).unwrap(), b"new");

        // The first of two links leads to a file that is not there yet.
        fs::remove_file(at("kept/model")).unwrap();
        symlink("link", at("first")).unwrap();
        write_whole(&at("first"), b"first").unwrap();
        assert!(at("first").is_symlink() && at("link").is_symlink());
        assert_eq!(fs::read(at("kept/model")).unwrap(), b"first");
        symlink("round", at("round")).unwrap();
        assert!(
            write_whole(&at("round"), b"")
                .unwrap_err()
                .to_string()
                .contains("to no file")
        );

        let pipe = at("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert_eq!(open_file(&pipe).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let reader = thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        write_whole(&pipe, b"bytes").unwrap();
        assert_eq!(reader.join().unwrap(), b"bytes");
        assert!(!pipe.is_file());

        let error = write_whole(&at("kept"), b"").unwrap_err();
        assert!(matches!(error, ModelError::Io { .. }), "{error}");
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(names.len(), 5, "nothing is left beside them: {names:?}");
    }
}

#[cfg(all(test, windows))]
mod tests {
    use std::os::windows::fs::OpenOptionsExt;

    use super::*;

    /// As a scanner does that looks at a file which was just written.
    #[test]
    fn a_file_that_is_held_for_an_instant_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.safetensors");
        write_whole(&path, b"old").unwrap();
        let alone = |path: &Path| File::options().read(true).share_mode(0).open(path).unwrap();
        let held = alone(&path);
        // It lets go when it has seen that the new file waits.
        let scanner = thread::spawn({
            let part = part_of(&path);
            move || {
                while !part.exists() {
                    thread::sleep(NAP);
                }
                drop(held);
            }
        });
        write_whole(&path, b"new").unwrap();
        scanner.join().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_file_that_is_held_for_good_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.safetensors");
        write_whole(&path, b"old").unwrap();
        let held = File::options().read(true).share_mode(1).open(&path).unwrap();
        assert!(write_whole(&path, b"new").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(held);
        write_whole(&path, b"new").unwrap();
    }
}
