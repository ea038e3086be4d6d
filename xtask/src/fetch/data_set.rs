//! What a data set that can be fetched consists of, and how to tell that it is all there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Endings of what is counted: images, masks and tables of splits.
const COUNTED: [&str; 4] = ["png", "jpg", "bmp", "csv"];

/// A data set.
#[derive(Debug)]
pub(crate) struct DataSet {
    /// What people call it.
    pub(crate) name: &'static str,
    /// The command that fetches it.
    pub(crate) command: &'static str,
    /// Its folder below the workspace's `data`.
    pub(crate) folder: &'static str,
    /// Shown before anything is downloaded or unpacked.
    pub(crate) licence: &'static str,
    /// The page on which a person finds the archives when every address here has expired.
    pub(crate) page: &'static str,
    /// The address that the archives lie below.
    pub(crate) base: &'static str,
    /// How the archives' file names end.
    pub(crate) ending: &'static str,
    /// The archive that holds all parts.
    pub(crate) whole: Archive,
    /// The folder that holds the parts in the archive, where it does not hold them at its top.
    pub(crate) wrapper: Option<&'static str>,
    /// Room that an archive takes when it is unpacked, in per cent of its size.
    pub(crate) unpacked_percent: u64,
    pub(crate) parts: &'static [Part],
    /// The numbers of files at or below paths in a part's folder.
    pub(crate) expected: fn(&Part) -> Vec<(&'static str, usize)>,
}

/// An archive that can be downloaded: the whole data set or one category.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Archive {
    /// File name without its ending.
    pub(crate) name: &'static str,
    /// What stands before the file name in the address, below the data set's base.
    pub(crate) folder: &'static str,
    /// SHA-256 in hexadecimal, where one has been published.
    pub(crate) sha256: Option<&'static str>,
}

/// A folder of a data set: a category, or what belongs to all categories.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    /// The archive that holds it alone, if there is one.
    pub(crate) archive: Option<Archive>,
    pub(crate) train: usize,
    pub(crate) test_good: usize,
    pub(crate) test_defective: usize,
}

/// Why a folder is not a complete part.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IncompletePart {
    #[error("{} holds {found} files where {set} has {expected}", .path.display())]
    Count {
        set: &'static str,
        path: PathBuf,
        found: usize,
        expected: usize,
    },
    #[error("cannot list {}: {source}", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
}

impl DataSet {
    pub(crate) fn categories(&self) -> impl Iterator<Item = &'static Part> + use<> {
        self.parts.iter().filter(|part| part.is_category())
    }

    pub(crate) fn part(&self, name: &str) -> Option<&'static Part> {
        self.parts.iter().find(|part| part.name == name)
    }

    pub(crate) fn file_name(&self, archive: &Archive) -> String {
        format!("{}{}", archive.name, self.ending)
    }

    /// The address of the archive: the publisher's, or below the base address of a mirror.
    pub(crate) fn url(&self, archive: &Archive, mirror: Option<&str>) -> String {
        let file = self.file_name(archive);
        match mirror {
            Some(base) => format!("{}/{file}", base.trim_end_matches('/')),
            None => format!("{}/{}{file}", self.base, archive.folder),
        }
    }

    /// The published archive that goes by this file name.
    pub(crate) fn archive_by_file_name(&self, path: &Path) -> Option<Archive> {
        let name = path.file_name()?.to_str()?;
        let archives = self.parts.iter().filter_map(|part| part.archive);
        std::iter::once(self.whole)
            .chain(archives)
            .find(|archive| self.file_name(archive) == name)
    }

    /// Checks that `dir` holds every file of `part`, by number: where no hash is published, this tells a shortened or
    /// foreign archive from the real one.
    ///
    /// # Errors
    /// [`IncompletePart`] names the first path with a wrong number of files, or one that cannot be listed.
    pub(crate) fn check(&self, part: &Part, dir: &Path) -> Result<(), IncompletePart> {
        for (path, expected) in (self.expected)(part) {
            let path = dir.join(path);
            let found = count(&path)?;
            if found != expected {
                return Err(IncompletePart::Count {
                    set: self.name,
                    path,
                    found,
                    expected,
                });
            }
        }
        Ok(())
    }
}

impl Part {
    /// Number of images, masks not counted.
    pub(crate) fn images(&self) -> usize {
        self.train + self.test_good + self.test_defective
    }

    pub(crate) fn is_category(&self) -> bool {
        self.images() > 0
    }
}

/// Number of files that count, at `path` and below.
fn count(path: &Path) -> Result<usize, IncompletePart> {
    let unreadable = |source| IncompletePart::Unreadable {
        path: path.to_owned(),
        source,
    };
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(unreadable(e)),
    };
    if !metadata.is_dir() {
        let ending = path.extension().unwrap_or_default();
        return Ok(usize::from(
            COUNTED.iter().any(|counted| ending.eq_ignore_ascii_case(counted)),
        ));
    }
    let mut sum = 0;
    for entry in fs::read_dir(path).map_err(unreadable)? {
        sum += count(&entry.map_err(unreadable)?.path())?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::super::{btad::BTAD, mvtec::MVTEC, visa::VISA};
    use super::*;

    #[test]
    fn the_counts_add_up_to_the_published_totals() {
        let totals = |set: &DataSet| {
            let sum = |of: fn(&Part) -> usize| set.parts.iter().map(of).sum::<usize>();
            [
                set.categories().count(),
                sum(|part| part.train),
                sum(|part| part.test_good),
                sum(|part| part.test_defective),
            ]
        };
        assert_eq!(totals(&MVTEC), [15, 3629, 467, 1258]);
        assert_eq!(totals(&VISA), [12, 8659, 962, 1200]);
        assert_eq!(totals(&BTAD), [3, 1799, 451, 290]);
    }

    #[test]
    fn a_mirror_replaces_the_address_but_not_the_file_name() {
        let url = |set: &DataSet, mirror| set.url(&set.parts[0].archive.unwrap_or(set.whole), mirror);
        assert!(url(&MVTEC, None).ends_with("/download/420937370-1629958698/bottle.tar.xz"));
        assert_eq!(
            url(&MVTEC, Some("http://127.0.0.1:8000/mvtec/")),
            "http://127.0.0.1:8000/mvtec/bottle.tar.xz"
        );
        assert_eq!(
            url(&VISA, None),
            "https://amazon-visual-anomaly.s3.us-west-2.amazonaws.com/VisA_20220922.tar"
        );
        assert_eq!(url(&BTAD, None), "https://avires.dimi.uniud.it/papers/btad/btad.zip");
    }
}
