//! Writes files whole, and only outside of the folders that are read. The library does so with its own files. Programs
//! that write beside them can do the same. Its hashes of files are here, too.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use riad_data::Pattern;
use riad_model::{ModelError, store};
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// Writes `bytes` to `path` like a checkpoint: if the program is killed at any time, the file is the old one or the new
/// one. Missing folders are made.
///
/// # Errors
/// [`Error::File`] if the file cannot be written. `path` is then unchanged.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::file("make", folder))?;
    }
    store::write_whole(path, bytes).map_err(|error| match error {
        ModelError::Io { path, cause } => Error::file("write", &path)(cause),
        error => error.into(),
    })
}

/// Gives the file `from` the name `to`, in place of what has it. On Windows it waits up to five seconds for other programs that have
/// either open, such as scanners for viruses.
///
/// # Errors
/// [`Error::File`] if that cannot be done; both files are as they were then.
pub fn replace(from: &Path, to: &Path) -> Result<()> {
    store::replace(from, to).map_err(Error::file("write", to))
}

/// The bytes of a file. A pipe or a device is refused: it may block or never end.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>> {
    let cannot = Error::file("read", path);
    let mut bytes = Vec::new();
    let mut file = store::open_file(path).map_err(cannot)?;
    file.read_to_end(&mut bytes).map_err(cannot)?;
    Ok(bytes)
}

/// The SHA-256 of what files hold one after the other, in 64 hexadecimal digits. It reads them piece by piece.
///
/// # Errors
/// [`Error::File`] if a file cannot be read.
pub fn sha256(files: &[impl AsRef<Path>]) -> Result<String> {
    let mut hash = Sha256::new();
    for file in files.iter().map(AsRef::as_ref) {
        let cannot = Error::file("read", file);
        let mut file = BufReader::new(store::open_file(file).map_err(cannot)?);
        loop {
            let part = file.fill_buf().map_err(cannot)?;
            if part.is_empty() {
                break;
            }
            hash.update(part);
            let read = part.len();
            file.consume(read);
        }
    }
    Ok(hexadecimal(hash))
}

/// The SHA-256 of an image's file, or of all its files one after the other.
///
/// # Errors
/// If one cannot be read.
pub(crate) fn image_sha256(image: &Path, bands: Option<&Pattern>) -> Result<String> {
    match bands {
        None => sha256(&[image]),
        Some(bands) => sha256(&bands.files(image)?),
    }
}

/// What a checkpoint keeps of an image's SHA-256: enough to know the image again.
///
/// # Errors
/// If a file of it cannot be read.
pub(crate) fn image_digits(image: &Path, bands: Option<&Pattern>) -> Result<String> {
    let mut sum = image_sha256(image, bands)?;
    sum.truncate(16);
    Ok(sum)
}

/// The SHA-256 of bytes, in 64 hexadecimal digits.
pub fn sha256_of_bytes(bytes: &[u8]) -> String {
    hexadecimal(Sha256::new_with_prefix(bytes))
}

/// A finished hash as it is written.
pub(crate) fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks that nothing else is lost if a file with one of these endings is written to `path`: a file that is there has such an ending,
/// too. So a report replaces a report, and never a model or a picture.
///
/// # Errors
/// [`Error::OtherFile`] if the file that is there has another ending.
pub fn check_replaces(path: &Path, endings: &'static [&'static str]) -> Result<()> {
    let has_ending = || {
        let own = path.extension().and_then(|ending| ending.to_str());
        own.is_some_and(|own| endings.iter().any(|ending| own.eq_ignore_ascii_case(ending)))
    };
    if path.is_file() && !has_ending() {
        return Err(Error::OtherFile {
            path: path.to_owned(),
            endings,
        });
    }
    Ok(())
}

/// Where `path` lies, without links, as far as it is there: what is yet to be made is added as it is.
pub(crate) fn resolved(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for there in whole.ancestors() {
        if let Ok(real) = there.canonicalize() {
            return match whole.strip_prefix(there) {
                Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
                _ => real,
            };
        }
    }
    whole
}

/// Checks that `out` does not lie among the images in `data`.
///
/// # Errors
/// [`Error::Inside`] if it does.
pub fn check_outside(out: &Path, data: &Path) -> Result<()> {
    if resolved(out).starts_with(resolved(data)) {
        return Err(Error::Inside {
            out: out.to_owned(),
            data: data.to_owned(),
        });
    }
    Ok(())
}

/// `path` with `suffix` after its name, whatever bytes the name has.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
