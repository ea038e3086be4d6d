//! Errors when a service starts or stores something.

use std::{io, path::PathBuf};

/// This crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Errors of a service. An error in one request is not such an error: the answer to the request says it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A model cannot be used.
    #[error(transparent)]
    Riad(#[from] riad::Error),

    /// An option has no meaning.
    #[error("{0}")]
    Request(String),

    /// The version that a line used last has no threshold for the rate.
    #[error(
        "line {line} used its version {version} last, which has no threshold for this false-positive rate: {reason}; start the service \
         with the rate from before, use another version on the page, or recalibrate this one there with more audited pictures"
    )]
    NotForRate {
        /// The line.
        line: String,
        /// Its version.
        version: u32,
        /// What the rate takes.
        reason: String,
    },

    /// A version's file in the store is not the one that was kept there.
    #[error(
        "{} is not version {version} of line {line}: its id is {found}, and that of the version is {kept}; bring the file back from a \
         backup of the store, or name another --store", file.display()
    )]
    OtherModel {
        /// The line.
        line: String,
        /// Its version.
        version: u32,
        /// The file.
        file: PathBuf,
        /// The first 12 digits of its SHA-256.
        found: String,
        /// Those of the file that was kept.
        kept: String,
    },

    /// Another process holds the store.
    #[error("another process uses {}; only one process at a time can use a store", .0.display())]
    InUse(PathBuf),

    /// Another version of the program wrote the store.
    #[error("{} was written by another version of riad: its schema is {found}, and this program knows {known}; use the version that wrote it, or another --store", path.display())]
    OtherSchema {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The schema that is known.
        known: i64,
    },

    /// The database reported an error.
    #[error("the store's database reports an error: {0}")]
    Database(#[from] rusqlite::Error),

    /// A file or folder cannot be used.
    #[error("cannot {doing} {}: {cause}", path.display())]
    File {
        /// The action that failed: read, write, make.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },

    /// The service cannot listen at the address.
    #[error("cannot listen at {address}: {cause}")]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        cause: io::Error,
    },
}

impl Error {
    /// About a file, from what the system said.
    pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |cause| Self::File { doing, path, cause }
    }

    /// Whether the disk, or the service's share of it, is full.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::Database(rusqlite::Error::SqliteFailure(failure, _)) => failure.code == rusqlite::ErrorCode::DiskFull,
            Self::File { cause, .. } => {
                matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }
}
