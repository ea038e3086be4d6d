//! The store of the service: a row in SQLite for each inspection, and its picture as a file.
//!
//! One thread writes. It puts all waiting rows into one transaction, so many pictures wait for the disk only once. A
//! row is on the disk before anyone gets an answer or an event. Results that can be computed again are not stored: a
//! map follows from picture and model, and both are kept.

mod draft;
mod keep;
mod pictures;
mod query;
mod record;
mod schema;
mod sinks;
mod versions;
mod writer;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use fs4::{FileExt, TryLockError};
use rusqlite::Connection;

use crate::{Error, Result};

pub use self::keep::Keep;
pub(crate) use self::{
    draft::{DraftRow, GoodRow},
    query::{Answers, Dot, Filter, Labelled, parse_time},
    record::{Inspection, Label, Links, Origin, Part, Verdict, as_rfc3339, as_rfc3339_or_null, from_millis, to_millis},
    sinks::Cursor,
    versions::{LineRow, VersionRow},
    writer::{Entry, Key, Stored},
};
use self::{pictures::Pictures, writer::Writer};

/// How many connections that read are kept while nobody uses them.
const IDLE: usize = 8;

/// The store of a service: a folder that one process uses at a time.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    database: PathBuf,
    pictures: Pictures,
    writer: Writer,
    /// Connections that read, while nobody uses them.
    readers: Mutex<Vec<Connection>>,
    /// Held as long as the store is open.
    _lock: File,
}

impl Store {
    /// Opens the store in a folder, or makes one, and keeps it from other processes. What a kill has left half done is put in order.
    ///
    /// # Errors
    /// If another process uses it, it is a newer program's, or it cannot be written.
    pub(crate) fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        // Lists of pictures in it must be true wherever the service is started.
        let folder = folder.into();
        let folder = std::path::absolute(&folder).map_err(Error::file("find", &folder))?;
        fs::create_dir_all(&folder).map_err(Error::file("make", &folder))?;
        let lock = locked(&folder)?;
        // SQLite hands its name on as it is, and Windows takes names of more than 260 letters where they are written in full.
        let database = fs::canonicalize(&folder)
            .unwrap_or_else(|_| folder.clone())
            .join("riad.sqlite");
        let connection = schema::open(&database)?;
        let pictures = Pictures::open(&folder, &connection)?;
        Ok(Self {
            inner: Arc::new(Inner {
                writer: Writer::start(connection, pictures.clone()),
                pictures,
                readers: Mutex::new(Vec::new()),
                _lock: lock,
                folder,
                database,
            }),
        })
    }

    /// Where it lies.
    pub(crate) fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// The files of pictures.
    pub(crate) fn pictures(&self) -> &Pictures {
        &self.inner.pictures
    }

    /// Stores an inspection; `then` hears of it, on the thread that writes, when it is on the disk.
    pub(crate) fn insert(&self, entry: Entry, then: impl FnOnce(Result<Stored>) + Send + 'static) {
        self.inner.writer.insert(entry, then);
    }

    /// Changes something, in the order in which changes are asked for, and waits until it is on the disk.
    pub(crate) fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.inner.writer.change(change, |value| value)
    }

    /// Reads something, beside whatever is written meanwhile.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let idle = self.readers().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => schema::reader(&self.inner.database)?,
        };
        let result = read(&connection);
        let mut idle = self.readers();
        if idle.len() < IDLE {
            idle.push(connection);
        }
        Ok(result?)
    }

    fn readers(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.inner.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deletes what is not to be kept any longer, until `ends` says so; how many pictures that were.
    pub(crate) fn tidy(&self, keep: &Keep, ends: impl Fn() -> bool) -> Result<usize> {
        keep::tidy(self, keep, ends)
    }
}

/// Where the file of a version lies in a store.
pub(crate) fn version_file(store: &Path, line: &str, version: u32) -> PathBuf {
    store.join("models").join(line).join(format!("{version}.safetensors"))
}

fn locked(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(Error::file("write", &path))?;
    match FileExt::try_lock(&file) {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse(folder.to_owned())),
        Err(TryLockError::Error(cause)) => Err(Error::file("lock", path)(cause)),
    }
}
