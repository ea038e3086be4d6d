//! All lines that are being made.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use riad::Asked;
use tokio::sync::Semaphore;

use super::{Draft, Stage, folder, folder_of, plan::Measured};
use crate::{
    Error, Result,
    line::{LineOptions, check_name},
    making::{Making, NotMade},
    store::{DraftRow, Store, to_millis},
};

/// How many lines may be in the making at once.
const MOST: usize = 20;

/// How many pictures come in at once: each is decoded, and must not take the cores from the lines.
const UPLOADS: usize = 8;

/// How much room a line's good pictures have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) pictures: usize,
    pub(crate) bytes: u64,
}

/// All lines that are being made or were made here.
#[derive(Debug)]
pub(crate) struct Drafts {
    all: Mutex<BTreeMap<String, Arc<Draft>>>,
    asked: Asked,
    pub(crate) room: Room,
    /// Room for pictures that come in at once.
    pub(crate) uploads: Arc<Semaphore>,
    /// How fast networks are, as far as it was measured.
    measured: Measured,
}

impl Drafts {
    /// Those in a store. A training that was under way when the service ended is broken off, and what a kill has left is put in order.
    pub(crate) fn open(store: &Store, asked: Asked, room: Room) -> Result<Self> {
        let mut all = BTreeMap::new();
        for row in store.drafts()? {
            let draft = Draft::of(row, store, asked)?;
            draft.sweep(store)?;
            if draft.stage() == Stage::Training {
                // It does not go on by itself: what ended the service may have been the training.
                draft.keep(store, |now| {
                    now.stage = Stage::Stopped;
                    now.note = Some(
                        "the service ended while the model was trained; it can go on from where it was saved last"
                            .to_owned(),
                    );
                })?;
            }
            all.insert(draft.name.clone(), Arc::new(draft));
        }
        put_aside(store, &all)?;
        Ok(Self {
            all: Mutex::new(all),
            asked,
            room,
            uploads: Arc::new(Semaphore::new(UPLOADS)),
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
    pub(crate) fn lines(&self) -> Vec<LineOptions> {
        let mut all: Vec<_> = self.all().values().cloned().collect();
        all.retain(|draft| draft.stage() == Stage::Used);
        all.sort_by_key(|draft| draft.created);
        all.iter().map(|draft| draft.options()).collect()
    }

    /// Begins to make a line; `taken` are the names of the lines that are served.
    ///
    /// # Errors
    /// [`NotMade::Asked`] if it cannot be called so, or too many are being made.
    pub(crate) fn begin(&self, name: &str, taken: &[String], store: &Store) -> Result<Arc<Draft>, NotMade> {
        check_name(name).map_err(NotMade::Wrong)?;
        let mut all = self.all();
        // Some file systems take large and small letters for the same.
        let is_same = |other: &String| other.eq_ignore_ascii_case(name);
        if taken.iter().any(is_same) || all.keys().any(is_same) {
            return Err(NotMade::Asked(format!(
                "there is a line {name} already; choose another name"
            )));
        }
        if store.line(name)?.is_some() || !store.versions(name)?.is_empty() {
            return Err(NotMade::Asked(format!(
                "this store has verdicts of an earlier line {name}; choose another name, so that they are not mixed"
            )));
        }
        if all.values().filter(|draft| draft.stage() != Stage::Used).count() >= MOST {
            return Err(NotMade::Asked(format!(
                "{MOST} lines are being made already; put one of them on the line, or delete one"
            )));
        }
        let row = DraftRow {
            name: name.to_owned(),
            created: to_millis(SystemTime::now()),
            state: Stage::Collecting.name().to_owned(),
            note: None,
            plan: None,
            found: None,
        };
        let draft = Arc::new(Draft::of(row, store, self.asked)?);
        let good = draft.good();
        fs::create_dir_all(&good).map_err(Error::file("make", good))?;
        draft.keep(store, |_| {})?;
        all.insert(name.to_owned(), draft.clone());
        Ok(draft)
    }

    /// Forgets a line that was made here, with its pictures and models.
    ///
    /// # Errors
    /// [`NotMade::Asked`] if it has judged pictures, or is being trained.
    pub(crate) fn delete(&self, draft: &Draft, making: &Making, store: &Store) -> Result<(), NotMade> {
        let mut all = self.all();
        let _alone = draft.alone();
        if draft.stage() == Stage::Training {
            making.stop(&draft.name);
            return Err(NotMade::Asked(format!(
                "line {} is being trained; that is being stopped now, so try again in a moment",
                draft.name
            )));
        }
        let judged = store.forget_line(&draft.name)?;
        if judged > 0 {
            return Err(NotMade::Asked(format!(
                "line {} has judged {judged} pictures, and its verdicts stay traceable; it can rest, but not be deleted",
                draft.name
            )));
        }
        all.remove(&draft.name);
        // Whoever still holds it must not bring pictures into the folder of the next one of this name.
        draft.now().stage = Stage::Used;
        let models = store.folder().join("models").join(&draft.name);
        for folder in [folder_of(store, &draft.name), models] {
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    // What is left is put aside at the next start.
                    tracing::warn!("{} could not be removed: {error}", folder.display());
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Puts folders aside that belong to no line: a kill came while one was deleted, or an older database was put back.
fn put_aside(store: &Store, known: &BTreeMap<String, Arc<Draft>>) -> Result<()> {
    let root = folder(store);
    fs::create_dir_all(&root).map_err(Error::file("make", &root))?;
    let entries = fs::read_dir(&root).map_err(Error::file("read", &root))?;
    let known: HashSet<_> = known.keys().map(String::as_str).collect();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if known.contains(name.as_str()) {
            continue;
        }
        let lost = store.folder().join("lost");
        fs::create_dir_all(&lost).map_err(Error::file("make", &lost))?;
        let target = lost.join(format!("line-{name}-{}", to_millis(SystemTime::now())));
        if fs::rename(entry.path(), &target).is_ok() {
            tracing::warn!(
                "{} belongs to no line; it was put into {}",
                entry.path().display(),
                target.display()
            );
        }
    }
    Ok(())
}
