//! Refusing to start what the disk cannot hold.

use std::io;
use std::path::{Path, PathBuf};

use indicatif::HumanBytes;

#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskError {
    #[error(
        "{} has {} free, but {} are needed; free some, or choose another folder with --out",
        .dir.display(), HumanBytes(*.available), HumanBytes(*.needed)
    )]
    Full { dir: PathBuf, available: u64, needed: u64 },
    #[error("cannot ask for the free space of {}: {source}", .dir.display())]
    Unknown { dir: PathBuf, source: io::Error },
}

/// Checks that `needed` bytes fit on the disk that holds `dir`.
///
/// # Errors
/// [`DiskError::Full`] where they do not, [`DiskError::Unknown`] where the system does not say.
pub(crate) fn ensure_space(dir: &Path, needed: u64) -> Result<(), DiskError> {
    let available = fs4::available_space(dir).map_err(|source| DiskError::Unknown {
        dir: dir.to_owned(),
        source,
    })?;
    if available < needed {
        Err(DiskError::Full {
            dir: dir.to_owned(),
            available,
            needed,
        })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_any_disk_holds_is_refused_with_both_numbers() {
        let dir = tempfile::tempdir().unwrap();
        ensure_space(dir.path(), 1).unwrap();
        let message = ensure_space(dir.path(), 1 << 60).unwrap_err().to_string();
        assert!(
            message.contains("1.00 EiB are needed") && message.contains("--out"),
            "{message}"
        );
    }
}
