//! The one thread that writes.

use std::{
    fmt, mem,
    path::PathBuf,
    sync::mpsc::{self, Receiver, SyncSender},
    thread::{self, JoinHandle},
};

use rusqlite::{Connection, params};

use super::{
    Links,
    pictures::Pictures,
    query,
    record::{Inspection, to_millis},
};
use crate::{Error, Result};

/// How many changes may wait. Whoever brings more waits with them.
const WAITING: usize = 256;

/// An inspection that is to be stored.
#[derive(Debug)]
pub(crate) struct Entry {
    /// All of it but its number and its links.
    pub(crate) inspection: Inspection,
    /// The file of its picture, which comes into the store's hands.
    pub(crate) picture: Option<PathBuf>,
    pub(crate) key: Option<Key>,
    /// What the watched folder knows it by.
    pub(crate) identity: Option<String>,
}

/// By what a request is known that is sent again. A counter of a camera may begin anew, so the key alone does not tell.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// As the sender gives it.
    pub(crate) text: String,
    /// The SHA-256 of the picture.
    pub(crate) picture: String,
}

/// What is on the disk.
#[derive(Debug)]
pub(crate) enum Stored {
    /// This inspection, which is new.
    New(Inspection),
    /// It was stored before, under the same key or as the same file: this is the first one.
    Before(Inspection),
    /// Another picture has its key: the number of that inspection.
    Other(i64),
}

/// Changes something within a transaction, if there is one, and then answers, with what kept all of it from the disk.
type Change = Box<dyn FnOnce(Option<&Connection>) -> Answer + Send>;
type Answer = Box<dyn FnOnce(Option<Error>) + Send>;

/// Hands changes to the thread.
pub(super) struct Writer {
    changes: Option<SyncSender<Change>>,
    thread: Option<JoinHandle<()>>,
    pictures: Pictures,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) fn start(connection: Connection, pictures: Pictures) -> Self {
        let (changes, waiting) = mpsc::sync_channel(WAITING);
        Self {
            changes: Some(changes),
            thread: Some(thread::spawn(move || write(connection, &waiting))),
            pictures,
        }
    }

    /// Hands a change to the thread; `then` hears what became of it when it is on the disk.
    fn submit<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        then: impl FnOnce(Result<T>) + Send + 'static,
    ) {
        let change: Change = Box::new(move |connection| {
            let result = connection.map(|connection| whole(connection, change));
            Box::new(move |not_committed| {
                then(match (result, not_committed) {
                    (Some(Err(error)), _) => Err(error.into()),
                    (_, Some(error)) => Err(error),
                    (Some(Ok(value)), None) => Ok(value),
                    (None, None) => Err(Error::Request("the store is closed".into())),
                });
            })
        });
        // The thread ends after all that could hand it anything.
        if let Some(changes) = &self.changes {
            let _ = changes.send(change);
        }
    }

    /// Waits until a change is on the disk. `then` gets what came of it on the thread that writes, before anybody hears of a later
    /// change.
    pub(super) fn change<T: Send + 'static, U: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        then: impl FnOnce(T) -> U + Send + 'static,
    ) -> Result<U> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.submit(change, move |result| {
            let _ = answer.send(result.map(then));
        });
        answered
            .recv()
            .unwrap_or_else(|_| Err(Error::Request("the store is closed".into())))
    }

    pub(super) fn insert(&self, entry: Entry, then: impl FnOnce(Result<Stored>) + Send + 'static) {
        let Entry {
            mut inspection,
            picture,
            key,
            identity,
        } = entry;
        // The picture is in its place before its row is: a row never names a file that is not there yet.
        if let Some(file) = picture {
            match self.pictures.take(&file, &inspection) {
                Ok((name, bytes)) => {
                    (inspection.picture, inspection.bytes, inspection.kept) = (Some(name), bytes, true)
                }
                Err(error) => return then(Err(error)),
            }
        }
        let (name, pictures) = (inspection.picture.clone(), self.pictures.clone());
        self.submit(
            move |connection| insert(connection, inspection, key.as_ref(), identity.as_deref()),
            move |stored| {
                if !matches!(stored, Ok(Stored::New(_)))
                    && let Some(name) = name
                {
                    pictures.remove(&name);
                }
                then(stored);
            },
        );
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // The thread ends when nobody can hand it anything any more.
        drop(self.changes.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Makes all of a change, or nothing: the transaction has other changes, too, and goes on if this one fails.
fn whole<T>(connection: &Connection, change: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let run = |sql| connection.prepare_cached(sql)?.execute([]);
    run("SAVEPOINT change")?;
    let result = change(connection);
    // SQLite ends the whole transaction by itself if it meets a full disk, say. Then there is no savepoint any more.
    if !connection.is_autocommit() {
        if result.is_err() {
            run("ROLLBACK TO change")?;
        }
        run("RELEASE change")?;
    }
    result
}

/// Takes all changes that wait into one transaction, and answers when that is on the disk.
fn write(connection: Connection, waiting: &Receiver<Change>) {
    let mut answers = Vec::new();
    while let Ok(first) = waiting.recv() {
        let mut error = connection.execute_batch("BEGIN IMMEDIATE").err();
        for change in std::iter::once(first).chain(waiting.try_iter().take(WAITING)) {
            // Without a transaction nothing is changed. SQLite ends one by itself if it meets a full disk, say.
            let is_within = error.is_none() && !connection.is_autocommit();
            answers.push(change(is_within.then_some(&connection)));
        }
        if error.is_none() {
            error = match connection.is_autocommit() {
                true => Some(rolled_back()),
                false => connection.execute_batch("COMMIT").err(),
            };
        }
        if !connection.is_autocommit() {
            let _ = connection.execute_batch("ROLLBACK");
        }
        for answer in mem::take(&mut answers) {
            // Each gets one of its own; SQLite's are not to be cloned.
            let copy = error.take().map(|original| {
                let copy = copy_of(&original);
                error = Some(original);
                copy
            });
            answer(copy.map(Error::Database));
        }
    }
}

/// What SQLite says if it ended a transaction by itself; the disk is full, mostly.
fn rolled_back() -> rusqlite::Error {
    let words = "the transaction was rolled back".to_owned();
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL), Some(words))
}

fn copy_of(error: &rusqlite::Error) -> rusqlite::Error {
    match error {
        rusqlite::Error::SqliteFailure(failure, words) => rusqlite::Error::SqliteFailure(*failure, words.clone()),
        other => rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(1), Some(other.to_string())),
    }
}

fn insert(
    connection: &Connection,
    mut inspection: Inspection,
    key: Option<&Key>,
    identity: Option<&str>,
) -> rusqlite::Result<Stored> {
    // Asked first: SQLite counts on for a row that its index refuses, and numbers have no gaps.
    if (key.is_some() || identity.is_some())
        && let Some(before) = query::of_sender(connection, &inspection.line, key, identity)?
    {
        return Ok(before);
    }
    let sql = "INSERT INTO inspection (line, received, source, name, verdict, reason, score, p_value, threshold, rate, confidence, \
               regions, width, height, model, version, riad_version, ms, audit, picture, bytes, key, key_picture, identity, pictures, \
               regions_total, ran) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, \
               ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27)";
    let regions = serde_json::to_string(&inspection.regions)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let size = |number: Option<usize>| number.map(|number| i64::try_from(number).unwrap_or(i64::MAX));
    connection.prepare_cached(sql)?.execute(params![
        inspection.line,
        to_millis(inspection.received),
        inspection.source.name(),
        inspection.name,
        inspection.verdict.name(),
        inspection.reason,
        inspection.score.map(f64::from),
        inspection.p_value,
        inspection.threshold.map(f64::from),
        inspection.rate,
        inspection.confidence,
        regions,
        size(inspection.width),
        size(inspection.height),
        inspection.model,
        inspection.version,
        inspection.riad_version,
        inspection.ms,
        inspection.audit,
        inspection.picture,
        i64::try_from(inspection.bytes).unwrap_or(i64::MAX),
        key.map(|key| &key.text),
        key.map(|key| &key.picture),
        identity,
        size(inspection.pictures),
        size(Some(inspection.regions_total)),
        i64::try_from(inspection.ran.as_millis()).unwrap_or(i64::MAX),
    ])?;
    inspection.id = connection.last_insert_rowid();
    inspection.links = Links::of(&inspection.line, inspection.id);
    Ok(Stored::New(inspection))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{
        super::{Origin, Store, Verdict},
        *,
    };

    fn inspection(score: f32) -> Inspection {
        Inspection {
            id: 0,
            line: "lid".to_owned(),
            received: SystemTime::UNIX_EPOCH,
            ran: Duration::ZERO,
            source: Origin::Http,
            name: None,
            verdict: Verdict::Good,
            reason: None,
            score: Some(score),
            p_value: None,
            threshold: None,
            rate: 0.05,
            confidence: None,
            regions: Vec::new(),
            regions_total: 0,
            width: None,
            height: None,
            pictures: None,
            model: String::new(),
            version: 1,
            riad_version: String::new(),
            ms: 0.0,
            audit: false,
            label: None,
            labelled: None,
            kept: false,
            links: Links::default(),
            picture: None,
            bytes: 0,
        }
    }

    #[test]
    fn a_change_that_fails_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let forget = "INSERT INTO forgotten (sink, line) VALUES ('mqtt:hall', 'lid')";
        let failed = store.change(move |connection| {
            connection.execute(forget, [])?;
            connection.execute("INSERT INTO nothing VALUES (1)", [])
        });
        assert!(failed.unwrap_err().to_string().contains("nothing"));
        assert!(store.forgotten("mqtt:hall").unwrap().is_empty());
        store.change(move |connection| connection.execute(forget, [])).unwrap();
        assert_eq!(store.forgotten("mqtt:hall").unwrap(), ["lid"]);
    }

    /// Both were judged before either was stored.
    #[test]
    fn a_key_has_one_row_and_never_the_verdict_of_another_picture() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (answer, answers) = mpsc::channel();
        for (score, key, picture) in [
            (0.1, "a", "one"),
            (0.2, "a", "two"),
            (0.3, "a", "one"),
            (0.4, "b", "two"),
        ] {
            let entry = Entry {
                inspection: inspection(score),
                picture: None,
                key: Some(Key {
                    text: key.to_owned(),
                    picture: picture.to_owned(),
                }),
                identity: None,
            };
            let answer = answer.clone();
            store.insert(entry, move |stored| answer.send(stored).unwrap());
        }
        let next = || answers.recv().unwrap().unwrap();
        assert!(matches!(next(), Stored::New(first) if first.id == 1));
        assert!(matches!(next(), Stored::Other(1)));
        assert!(matches!(next(), Stored::Before(first) if first.id == 1 && first.score == Some(0.1)));
        assert!(matches!(next(), Stored::New(other) if other.id == 2));
        let rows = store.after(0, 9).unwrap();
        assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [1, 2]);
    }
}
