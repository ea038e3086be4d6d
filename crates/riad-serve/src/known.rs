//! The good pictures of a version: pictures that its weights learned from, and pictures that were held out for
//! thresholds.
//!
//! They are a list beside the version's file. Further training uses them again. A threshold must never come from a
//! picture that the weights learned from.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use riad::{Run, files::sha256, names};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    store::{Store, VersionRow, version_file},
};

/// A good picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// Where it is, as [`names::written`] writes it.
    name: String,
    /// The SHA-256 of its file.
    sha256: String,
    /// Whether it was held out for thresholds, and so not learned from.
    pub(crate) is_for_calibration: bool,
}

impl Known {
    /// A picture that is there now.
    pub(crate) fn of(path: &Path, is_for_calibration: bool) -> Result<Self> {
        Ok(Self {
            name: names::written(path),
            sha256: sha256(&[path])?,
            is_for_calibration,
        })
    }

    /// Its file.
    pub(crate) fn path(&self) -> PathBuf {
        names::read(&self.name).unwrap_or_else(|| PathBuf::from(&self.name))
    }

    /// Whether it holds the same as one of these.
    pub(crate) fn is_in(&self, contents: &HashSet<String>) -> bool {
        contents.contains(&self.sha256)
    }

    /// Whether its file is there and holds what it held.
    pub(crate) fn is_unchanged(&self) -> bool {
        sha256(&[self.path()]).is_ok_and(|sum| sum == self.sha256)
    }
}

fn file(store: &Store, line: &str, version: u32) -> PathBuf {
    version_file(store.folder(), line, version).with_extension("pictures.json")
}

/// Keeps the list of a version.
pub(crate) fn keep(store: &Store, line: &str, version: u32, known: &[Known]) -> Result<()> {
    let path = file(store, line, version);
    let json = serde_json::to_vec(known).map_err(|error| Error::file("write", &path)(error.into()))?;
    Ok(riad::files::write_whole(&path, &json)?)
}

/// Keeps the list of a version that was opened from a run, in place of any other. A checkpoint alone has none, and a run whose images are
/// several files each has none either: pictures come to a service as one file.
pub(crate) fn keep_of_run(store: &Store, line: &str, version: u32, model: &Path) -> Result<()> {
    let path = file(store, line, version);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::file("remove", path)(error)),
        _ => {}
    }
    let Some(run) = Run::of(model)?.filter(|run| run.bands().is_none()) else {
        return Ok(());
    };
    let known: Vec<_> = run
        .good()
        .map(|image| Known {
            name: names::written(&image.path),
            sha256: image.sha256,
            is_for_calibration: image.is_for_calibration,
        })
        .collect();
    keep(store, line, version, &known)
}

/// The list of a version. One that was only recalibrated has that of the version before it. Empty if nothing is known.
pub(crate) fn of_version(store: &Store, line: &str, mut version: u32) -> Result<Vec<Known>> {
    let versions = store.versions(line)?;
    loop {
        let path = file(store, line, version);
        match fs::read(&path) {
            Ok(json) => {
                return serde_json::from_slice(&json).map_err(|error| Error::file("read", path)(error.into()));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::file("read", path)(error)),
            Err(_) => {}
        }
        let row = versions.iter().find(|row| row.number == version);
        // A parent is older, so this ends.
        match row.and_then(|row| row.parent).filter(|parent| *parent < version) {
            Some(parent) => version = parent,
            None => return Ok(Vec::new()),
        }
    }
}

/// What the pictures of a list hold that were learned from: the same picture may lie elsewhere, too.
pub(crate) fn learned(known: &[Known]) -> HashSet<String> {
    let learned = known.iter().filter(|known| !known.is_for_calibration);
    learned.map(|known| known.sha256.clone()).collect()
}

/// The content of pictures. One that cannot be read has none.
pub(crate) fn contents(pictures: &[PathBuf]) -> HashSet<String> {
    pictures.iter().filter_map(|path| sha256(&[path]).ok()).collect()
}

/// Whether a picture holds the same as one of these.
pub(crate) fn is_one_of(path: &Path, contents: &HashSet<String>) -> bool {
    sha256(&[path]).is_ok_and(|sum| contents.contains(&sum))
}

/// Where a version is trained, until it is made.
pub(crate) fn workshop(store: &Store, line: &str, version: u32) -> PathBuf {
    version_file(store.folder(), line, version).with_extension("training")
}

/// Removes what the training of versions that were given up has left.
pub(crate) fn sweep(store: &Store, line: &str, versions: &[VersionRow]) -> Result<()> {
    for row in versions {
        let folder = workshop(store, line, row.number);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::file("remove", folder)(error)),
            _ => {}
        }
    }
    Ok(())
}
