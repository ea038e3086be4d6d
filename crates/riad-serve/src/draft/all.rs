//! All lines that are being made.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    ptr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use riad::FalsePositiveRate;
use tokio::sync::Semaphore;

use super::{Draft, Stage, folder, folder_of, lost, plan::Measured};
use crate::{
    Error, Result,
    line::{LineOptions, Lines, check_name, unless_full},
    making::{self, Making, NotMade},
    store::{DraftRow, Store, to_millis},
};

/// How many lines may be in the making at once.
const MOST: usize = 20;

/// How many pictures come in at once at least: the page sends three at a time, and a program may send one beside it.
const FEWEST_UPLOADS: usize = 4;

/// How much room a line's good pictures have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) pictures: usize,
    pub(crate) bytes: u64,
}

/// All lines that are being made or were made here.
#[derive(Debug)]
pub(crate) struct Drafts {
    /// It is never held while the disk is waited for: requests look here.
    all: Mutex<BTreeMap<String, Arc<Draft>>>,
    /// Held while one is begun.
    beginning: Mutex<()>,
    rate: FalsePositiveRate,
    pub(crate) room: Room,
    /// Room for pictures that come in at once.
    pub(crate) uploads: Arc<Semaphore>,
    /// How fast networks are, as far as it was measured.
    measured: Measured,
}

impl Drafts {
    /// Those in a store. A training that was under way when the service ended is broken off, and what a kill has left is put in order.
    pub(crate) fn open(store: &Store, rate: FalsePositiveRate, room: Room) -> Result<Self> {
        let mut all = BTreeMap::new();
        for row in store.drafts()? {
            let draft = Draft::of(row, store, rate)?;
            if let Err(error) = draft.sweep(store) {
                // It is swept again before anything is learned from its pictures.
                tracing::error!("the pictures of line {} could not be put in order: {error}", draft.name);
            }
            if draft.stage() == Stage::Training {
                // It does not go on by itself: what ended the service may have been the training.
                draft
                    .keep(store, |now| {
                        now.stage = Stage::Stopped;
                        now.note = Some(
                            "the service ended while the model was trained; it can go on from where it was saved last"
                                .to_owned(),
                        );
                    })
                    .or_else(unless_full)?;
            }
            all.insert(draft.name.clone(), Arc::new(draft));
        }
        put_aside(store, &all)?;
        Ok(Self {
            all: Mutex::new(all),
            beginning: Mutex::default(),
            rate,
            room,
            uploads: Arc::new(Semaphore::new(uploads(making::cores()))),
            measured: Measured::default(),
        })
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Draft>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one of a name, even if it is served by now.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Draft>> {
        self.all().get(name).cloned()
    }

    /// How fast networks are, as far as it was measured.
    pub(crate) fn measured(&self) -> &Measured {
        &self.measured
    }

    /// Those that are not served yet, the oldest first.
    pub(crate) fn being_made(&self) -> Vec<Arc<Draft>> {
        let mut all: Vec<_> = self.all().values().cloned().collect();
        all.retain(|draft| draft.stage() != Stage::Used);
        all.sort_by_key(|draft| draft.created);
        all
    }

    /// The lines that were made here, to be served.
    pub(crate) fn lines(&self, store: &Store) -> Vec<LineOptions> {
        let mut all: Vec<_> = self.all().values().cloned().collect();
        all.retain(|draft| draft.stage() == Stage::Used);
        all.sort_by_key(|draft| draft.created);
        all.iter().map(|draft| draft.options(store)).collect()
    }

    /// Begins to make a line; `taken` are the names of the lines that are served.
    ///
    /// # Errors
    /// [`NotMade::Asked`] if it cannot be called so, or too many are being made.
    pub(crate) fn begin(&self, name: &str, taken: &[String], store: &Store) -> Result<Arc<Draft>, NotMade> {
        check_name(name).map_err(NotMade::Wrong)?;
        // Only this adds a name, so the names that are looked at here stay free.
        let _one = self.beginning.lock().unwrap_or_else(PoisonError::into_inner);
        // Some file systems take large and small letters for the same.
        let is_same = |other: &String| other.eq_ignore_ascii_case(name);
        {
            let all = self.all();
            if taken.iter().any(is_same) || all.keys().any(is_same) {
                return Err(NotMade::Asked(format!(
                    "there is a line {name} already; choose another name"
                )));
            }
            if all.values().filter(|draft| draft.stage() != Stage::Used).count() >= MOST {
                return Err(NotMade::Asked(format!(
                    "{MOST} lines are being made already; put one of them on the line, or delete one"
                )));
            }
        }
        if store.names()?.iter().any(is_same) {
            return Err(NotMade::Asked(format!(
                "this store has verdicts of an earlier line {name}; choose another name, so that they are not mixed"
            )));
        }
        // Pictures that a line of this name has left are none of this one.
        for (folder, kind) in folders_of(store, name) {
            if folder.exists() {
                aside(store, &folder, kind)?;
            }
        }
        let row = DraftRow {
            name: name.to_owned(),
            created: to_millis(SystemTime::now()),
            state: Stage::Collecting.name().to_owned(),
            note: None,
            plan: None,
            found: None,
            region: None,
            white_level: None,
        };
        let draft = Arc::new(Draft::of(row, store, self.rate)?);
        let good = draft.good();
        fs::create_dir_all(&good).map_err(Error::file("make", good))?;
        draft.keep(store, |_| {})?;
        self.all().insert(name.to_owned(), draft.clone());
        Ok(draft)
    }

    /// Forgets a line that was made here, with its pictures and models, and serves it no longer.
    ///
    /// # Errors
    /// [`NotMade::Asked`] if it has judged pictures, pictures come in, or it is being trained.
    pub(crate) fn delete(&self, draft: &Draft, lines: &Lines, making: &Making, store: &Store) -> Result<(), NotMade> {
        // It is not put on the line meanwhile.
        let _alone = draft.alone();
        // Another one of its name may have been begun since it was asked for.
        if !self.find(&draft.name).is_some_and(|known| ptr::eq(&*known, draft)) {
            return Err(NotMade::Asked(format!("line {} is deleted already", draft.name)));
        }
        if draft.stage() == Stage::Training {
            making.stop(&draft.name);
            return Err(NotMade::Asked(format!(
                "line {} is being trained; that is being stopped now, so try again in a moment",
                draft.name
            )));
        }
        let check = |judged| match judged {
            0 => Ok(()),
            judged => Err(NotMade::Asked(format!(
                "line {} has judged {judged} pictures, and its verdicts stay traceable, so it cannot be deleted",
                draft.name
            ))),
        };
        // Before its door is closed: a line that stays is open all the time.
        check(store.judged(&draft.name)?)?;
        let served = lines.find(&draft.name);
        if served
            .as_ref()
            .is_some_and(|line| line.watch.is_some() || !line.close())
        {
            return Err(NotMade::Asked(format!(
                "pictures come in at line {}; it cannot be deleted",
                draft.name
            )));
        }
        let forgotten = store.forget_line(&draft.name).map_err(NotMade::from).and_then(check);
        if let Err(not_made) = forgotten {
            if let Some(line) = served {
                line.reopen();
            }
            return Err(not_made);
        }
        lines.remove(&draft.name);
        // Whoever still holds it must not bring pictures into the folder of the next one of this name.
        draft.now().stage = Stage::Used;
        let mut left = Vec::new();
        for (folder, kind) in folders_of(store, &draft.name) {
            match folder.exists().then(|| aside(store, &folder, kind)) {
                None => {}
                Some(Ok(target)) => left.push(target),
                // It is put aside by the next one of its name, or at the next start.
                Some(Err(error)) => tracing::warn!("what line {} has left stays where it is: {error}", draft.name),
            }
        }
        // From here on its name is free.
        self.all().remove(&draft.name);
        for folder in left {
            if let Err(error) = fs::remove_dir_all(&folder) {
                tracing::warn!("{} could not be removed: {error}", folder.display());
            }
        }
        Ok(())
    }
}

/// How many pictures come in at once: each of these cores decodes one, and another one arrives meanwhile.
fn uploads(cores: usize) -> usize {
    (2 * cores).max(FEWEST_UPLOADS)
}

/// The folders of a line, and what each is called when it is put aside.
fn folders_of(store: &Store, name: &str) -> [(PathBuf, &'static str); 2] {
    [(folder_of(store, name), "line"), (models(store).join(name), "models")]
}

/// Where the models of all lines lie.
fn models(store: &Store) -> PathBuf {
    store.folder().join("models")
}

/// Puts a folder aside; where it is then.
fn aside(store: &Store, folder: &Path, kind: &str) -> Result<PathBuf> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let target = lost(store)?.join(format!("{kind}-{name}-{}", to_millis(SystemTime::now())));
    fs::rename(folder, &target).map_err(Error::file("move", folder))?;
    Ok(target)
}

/// Puts folders aside that belong to no line: a kill came while one was deleted, or an older database was put back.
fn put_aside(store: &Store, drafts: &BTreeMap<String, Arc<Draft>>) -> Result<()> {
    // A line that is only being made has no models there yet.
    let drafts = drafts.keys().cloned().collect();
    for (root, known, kind) in [
        (folder(store), drafts, "line"),
        (models(store), store.names()?, "models"),
    ] {
        fs::create_dir_all(&root).map_err(Error::file("make", &root))?;
        let entries = fs::read_dir(&root).map_err(Error::file("read", &root))?;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if known.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
                continue;
            }
            match aside(store, &entry.path(), kind) {
                Ok(target) => tracing::warn!(
                    "{} belongs to no line; it was put into {}",
                    entry.path().display(),
                    target.display()
                ),
                Err(error) => tracing::warn!("{} belongs to no line: {error}", entry.path().display()),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_cores_take_more_pictures_at_once() {
        assert_eq!([1, 2, 8, 32].map(uploads), [4, 4, 16, 64]);
    }
}
