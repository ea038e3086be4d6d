//! Pictures as files, as they came.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use rusqlite::Connection;
use tempfile::TempPath;

use super::record::{Inspection, to_millis};
use crate::{Error, Result};

/// The folder of pictures. One folder a line and day keeps folders small enough for any file system.
#[derive(Clone, Debug)]
pub(crate) struct Pictures {
    root: PathBuf,
    incoming: PathBuf,
    /// Tells pictures of one millisecond apart.
    next: Arc<AtomicU64>,
}

impl Pictures {
    /// Opens the folder. What came in but got no row before a kill, is removed.
    pub(super) fn open(store: &Path, connection: &Connection) -> Result<Self> {
        let root = store.join("pictures");
        let incoming = store.join("incoming");
        match fs::remove_dir_all(&incoming) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                return Err(Error::file("remove", incoming)(cause));
            }
            _ => {}
        }
        for folder in [&root, &incoming] {
            fs::create_dir_all(folder).map_err(Error::file("make", folder))?;
        }
        let pictures = Self {
            root,
            incoming,
            next: Arc::new(AtomicU64::new(to_millis(SystemTime::now()) as u64 % 1_000_000)),
        };
        pictures.sweep(connection)?;
        Ok(pictures)
    }

    /// An empty file for a picture that comes in. It is removed when its path is dropped, unless it is [taken](Self::take).
    pub(crate) fn incoming(&self) -> Result<TempPath> {
        let made = tempfile::Builder::new().prefix("picture-").tempfile_in(&self.incoming);
        Ok(made.map_err(Error::file("make", &self.incoming))?.into_temp_path())
    }

    /// Brings a picture that came in to its place; its name below the folder, and how many bytes it has.
    pub(super) fn take(&self, file: &Path, inspection: &Inspection) -> Result<(String, u64)> {
        let bytes = fs::metadata(file).map_err(Error::file("read", file))?.len();
        let written = humantime::format_rfc3339_millis(inspection.received).to_string();
        let (day, time) = written.split_once('T').unwrap_or((&written, "0"));
        let digits: String = time.chars().filter(char::is_ascii_digit).collect();
        let number = self.next.fetch_add(1, Ordering::Relaxed) % 1_000_000;
        let name = format!("{}/{day}/{digits}-{number:06}", inspection.line);
        let target = self.root.join(&name);
        let folder = target.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(Error::file("make", folder))?;
        riad::files::replace(file, &target)?;
        Ok((name, bytes))
    }

    /// Where a picture lies.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Removes a picture, and its day's folder if it was the last there.
    pub(super) fn remove(&self, name: &str) {
        let path = self.path(name);
        // What cannot be removed now is swept at the next start.
        let _ = fs::remove_file(&path);
        if let Some(folder) = path.parent() {
            let _ = fs::remove_dir(folder);
        }
    }

    /// Puts pictures aside that no row names: a kill came between the two, or an older database was put back.
    fn sweep(&self, connection: &Connection) -> Result<()> {
        let mut statement = connection.prepare("SELECT picture FROM inspection WHERE picture IS NOT NULL")?;
        let named = statement
            .query_map([], |row| row.get::<_, String>(0))?
            .collect::<rusqlite::Result<HashSet<_>>>()?;
        let list = |folder: &Path| -> Result<Vec<PathBuf>> {
            let entries = fs::read_dir(folder).map_err(Error::file("read", folder))?;
            Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        };
        let lost = self.root.with_file_name("lost");
        let mut count = 0usize;
        for line in list(&self.root)?.into_iter().filter(|path| path.is_dir()) {
            for day in list(&line)?.into_iter().filter(|path| path.is_dir()) {
                for file in list(&day)? {
                    let below = file.strip_prefix(&self.root).unwrap_or(&file);
                    let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
                    if !named.contains(&parts.join("/")) {
                        fs::create_dir_all(&lost).map_err(Error::file("make", &lost))?;
                        // Line and day are part of the name, so that none takes the place of another.
                        // What stays where it is, is looked at again at the next start.
                        count += usize::from(fs::rename(&file, lost.join(parts.join("_"))).is_ok());
                    }
                }
            }
        }
        if count > 0 {
            tracing::warn!(
                "{count} pictures have no row in the store; they were put into {}",
                lost.display()
            );
        }
        Ok(())
    }
}
