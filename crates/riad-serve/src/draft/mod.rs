//! Lines that are being made from nothing: good pictures come in, a person looks at the unusual ones, a model is trained, and what it
//! finds is told. Then the line is opened with that model as any other line is.
//!
//! A line that is being made has a folder of its own in the store: `lines/NAME/good` has its pictures, and `lines/NAME/run` is the run
//! that `riad train` would make of them. What is known of it is in the database.

mod all;
mod finding;
mod pictures;
mod plan;
mod progress;
mod region;
mod training;
mod white;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use riad::FalsePositiveRate;
use riad_data::Brightest;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(crate) use self::{
    all::{Drafts, Room},
    finding::Found,
    pictures::{Suspect, Taken},
    plan::{Plan, Plans},
    region::{MOST_MASK, Region},
    white::White,
};
use self::{pictures::Looked, progress::Progress, region::RegionState, white::LikelyWhite};
use crate::{
    Error, Result,
    events::{Event, Events},
    line::{Line, LineOptions, Lines},
    making::NotMade,
    store::{DraftRow, Store, as_rfc3339, from_millis, version_file},
};

/// Fewer pictures are not worth learning from, beside those that the threshold takes.
const LEAST_LEARNED: usize = 10;

/// The version that is made of a line's run.
const FIRST: u32 = 1;

/// How far a line is that is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// Its pictures come in and are looked through.
    Collecting,
    /// Its model is being trained.
    Training,
    /// The training was broken off, and can go on.
    Stopped,
    /// The training failed.
    Failed,
    /// Its model is there, and not used yet.
    Trained,
    /// It is served.
    Used,
}

impl Stage {
    /// As the database writes it.
    fn name(self) -> &'static str {
        match self {
            Self::Collecting => "collecting",
            Self::Training => "training",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Trained => "trained",
            Self::Used => "used",
        }
    }

    fn named(name: &str) -> Option<Self> {
        let all = [
            Self::Collecting,
            Self::Training,
            Self::Stopped,
            Self::Failed,
            Self::Trained,
            Self::Used,
        ];
        all.into_iter().find(|stage| stage.name() == name)
    }
}

/// What the API says of a line that is being made.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct BeingMade {
    /// What it is called.
    name: String,
    /// When somebody began to make it.
    #[serde(serialize_with = "as_rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    created: SystemTime,
    /// How far it is.
    pub(crate) state: Stage,
    /// Why it was broken off, or what failed.
    note: Option<String>,
    /// How many good pictures it has.
    pictures: usize,
    /// How many bytes they have.
    bytes: u64,
    /// How many it takes at least.
    needed: usize,
    /// The sample value that is white; null if that is the largest of the files' range.
    white_level: Option<u16>,
    /// What is probably white, if the pictures are dark and nobody has said it.
    likely_white: Option<LikelyWhite>,
    /// Where defects are looked for; null if that is everywhere.
    region: Option<RegionState>,
    /// How it is trained.
    plan: Option<Plan>,
    /// How its training goes or went.
    training: Option<progress::TrainingState>,
    /// What its model finds.
    found: Option<Found>,
}

/// A line that is being made, or was made here.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) name: String,
    /// Milliseconds since 1970.
    created: i64,
    folder: PathBuf,
    rate: FalsePositiveRate,
    /// Held while its pictures or its stage change, in the store and here.
    changing: Mutex<()>,
    /// Held while its pictures are looked through.
    looking: Mutex<()>,
    now: Mutex<Now>,
}

/// What is known of it.
#[derive(Debug)]
struct Now {
    stage: Stage,
    note: Option<String>,
    plan: Option<Plan>,
    found: Option<Found>,
    pictures: usize,
    bytes: u64,
    /// The brightest sample of all pictures.
    brightest: Option<Brightest>,
    white_level: Option<u16>,
    region: Option<Region>,
    progress: Option<Progress>,
    /// What was unusual about its pictures, as long as they are those.
    looked: Option<Looked>,
    /// How often they have changed.
    changes: u64,
}

impl Now {
    /// Forgets what was made.
    fn forget(&mut self) {
        self.stage = Stage::Collecting;
        (self.note, self.plan, self.found, self.progress) = (None, None, None, None);
    }
}

impl Draft {
    /// From what the store knows. What is damaged is told in its note: its pictures are there, and it can be trained again.
    fn of(row: DraftRow, store: &Store, rate: FalsePositiveRate) -> Result<Self> {
        let pictures = store.good(&row.name)?;
        let mut damage = Vec::new();
        let stage = Stage::named(&row.state).unwrap_or_else(|| {
            damage.push(format!(
                "its state is {:?}, which this program does not know",
                row.state
            ));
            Stage::Failed
        });
        let plan = kept("plan", row.plan, &mut damage);
        let found = kept("model's findings", row.found, &mut damage);
        let region = row.region.and_then(|png| {
            Region::kept(png)
                .map_err(|error| damage.push(format!("its region of interest cannot be read ({error})")))
                .ok()
        });
        let note = match damage.is_empty() {
            true => row.note,
            false => {
                let words = format!("what the store has of it is damaged: {}", damage.join("; "));
                tracing::error!("line {}: {words}", row.name);
                Some(words)
            }
        };
        let draft = Self {
            folder: store.folder().join("lines").join(&row.name),
            created: row.created,
            rate,
            changing: Mutex::default(),
            looking: Mutex::default(),
            now: Mutex::new(Now {
                stage,
                note,
                plan,
                found,
                pictures: pictures.len(),
                bytes: pictures.iter().map(|picture| picture.bytes).sum(),
                brightest: pictures.iter().filter_map(|picture| picture.brightest).max(),
                white_level: row.white_level,
                region,
                progress: None,
                looked: None,
                changes: 0,
            }),
            name: row.name,
        };
        if draft.stage() != Stage::Collecting {
            draft.now().progress = Progress::of_run(&draft.run());
        }
        Ok(draft)
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stage(&self) -> Stage {
        self.now().stage
    }

    /// How many pictures it has.
    pub(crate) fn pictures(&self) -> usize {
        self.now().pictures
    }

    /// The folder of its pictures.
    fn good(&self) -> PathBuf {
        self.folder.join("good")
    }

    /// The folder of its run.
    fn run(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// How many pictures it takes at least.
    fn needed(&self) -> Result<usize> {
        Ok(self.rate.images_needed()? + LEAST_LEARNED)
    }

    /// What the API says of it.
    pub(crate) fn state(&self) -> BeingMade {
        let now = self.now();
        BeingMade {
            name: self.name.clone(),
            created: from_millis(self.created),
            state: now.stage,
            note: now.note.clone(),
            pictures: now.pictures,
            bytes: now.bytes,
            needed: self.needed().unwrap_or(LEAST_LEARNED),
            white_level: now.white_level,
            likely_white: LikelyWhite::of(now.white_level, now.brightest),
            region: now.region.as_ref().map(|region| region.state(&self.name)),
            plan: now.plan.clone(),
            training: now.progress.as_ref().map(Progress::state),
            found: now.found.clone(),
        }
    }

    /// Tells how it goes.
    pub(crate) fn tell(&self, events: &Events) {
        events.send(Event::Making, &self.state());
    }

    /// Keeps what has changed.
    fn keep(&self, store: &Store, change: impl FnOnce(&mut Now)) -> Result<()> {
        let row = {
            let mut now = self.now();
            change(&mut now);
            DraftRow {
                name: self.name.clone(),
                created: self.created,
                state: now.stage.name().to_owned(),
                note: now.note.clone(),
                plan: now.plan.as_ref().and_then(|plan| serde_json::to_string(plan).ok()),
                found: now.found.as_ref().and_then(|found| serde_json::to_string(found).ok()),
                region: now.region.as_ref().map(Region::to_keep),
                white_level: now.white_level,
            }
        };
        store.keep_draft(row)
    }

    /// What is learned from has changed: what was made of it before is forgotten.
    fn renew(&self, store: &Store, change: impl FnOnce(&mut Now)) -> Result<()> {
        self.keep(store, |now| {
            change(now);
            now.forget();
        })
    }

    /// Checks that its pictures may change, and says why if not.
    fn check_open(&self) -> Result<(), NotMade> {
        match self.stage() {
            Stage::Training => Err(NotMade::Asked(format!(
                "line {} is being trained; its pictures stay as they are until that has ended or is stopped",
                self.name
            ))),
            Stage::Used => Err(self.used()),
            _ => Ok(()),
        }
    }

    fn used(&self) -> NotMade {
        NotMade::Asked(format!(
            "line {} is made and judges pictures; go on from there with its review",
            self.name
        ))
    }

    /// Why it judges no pictures yet, and what to do.
    pub(crate) fn why_not(&self) -> String {
        if self.stage() == Stage::Used {
            return format!(
                "line {} could not be opened when the service was started; its log says why",
                self.name
            );
        }
        let next = match self.stage() {
            Stage::Training => "its model is being trained; wait for it",
            Stage::Trained => "its model is trained; put it on the line",
            Stage::Stopped | Stage::Failed => "its training has not ended; train again",
            Stage::Collecting | Stage::Used => "give it good pictures and train its model",
        };
        format!(
            "line {0} is being made and judges nothing yet: {next} (on the page, or under /v1/lines/{0}/making)",
            self.name
        )
    }

    /// Serves it from now on, also after the next start, with the model of its run.
    ///
    /// # Errors
    /// [`NotMade::Asked`] if there is none yet or it cannot be used, or it is served already.
    pub(crate) fn put_on_line(&self, lines: &Lines, store: &Store) -> Result<Arc<Line>, NotMade> {
        let _alone = self.alone();
        match self.stage() {
            Stage::Trained => {}
            Stage::Used => return Err(self.used()),
            _ => return Err(NotMade::Asked(self.why_not())),
        }
        let line = lines
            .open(&self.options(store), None, store)
            .map_err(|error| match error {
                Error::Riad(error) => NotMade::Asked(error.to_string()),
                error => error.into(),
            })?;
        if let Err(error) = self.keep(store, |now| now.stage = Stage::Used) {
            lines.remove(&self.name);
            self.now().stage = Stage::Trained;
            return Err(error.into());
        }
        Ok(line)
    }

    /// As a line to be served, from its run, or from the store's copy of its model if somebody has removed that.
    fn options(&self, store: &Store) -> LineOptions {
        let copy = version_file(store.folder(), &self.name, FIRST);
        let is_there = riad::model_file(&self.run()).is_ok_and(|file| file.is_file());
        LineOptions {
            name: self.name.clone(),
            model: match !is_there && self.stage() == Stage::Used && copy.is_file() {
                true => copy,
                false => self.run(),
            },
        }
    }
}

/// What the database has as JSON. If it cannot be read, the reason joins the `damage`.
fn kept<T: serde::de::DeserializeOwned>(what: &str, json: Option<String>, damage: &mut Vec<String>) -> Option<T> {
    let json = json.filter(|json| !json.is_empty())?;
    serde_json::from_str(&json)
        .map_err(|error| damage.push(format!("its {what} cannot be read ({error})")))
        .ok()
}

/// Where a draft's folder lies.
fn folder_of(store: &Store, name: &str) -> PathBuf {
    folder(store).join(name)
}

/// Where that is put which belongs to nothing, for a person to look at.
fn lost(store: &Store) -> Result<PathBuf> {
    let lost = Path::join(store.folder(), "lost");
    fs::create_dir_all(&lost).map_err(Error::file("make", &lost))?;
    Ok(lost)
}

/// Where all of them lie.
fn folder(store: &Store) -> PathBuf {
    Path::join(store.folder(), "lines")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_in_the_store_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let room = Room {
            pictures: 10,
            bytes: 1000,
        };
        let open = || Drafts::open(&store, FalsePositiveRate::new(0.05), room).unwrap();
        open().begin("lid", &[], &store).unwrap();
        let note = || open().find("lid").unwrap().state().note;
        assert_eq!(note(), None);
        let damage = |sql: &'static str| store.change(move |connection| connection.execute(sql, [])).unwrap();
        damage("UPDATE draft SET plan = '{', found = '[1', state = 'melted'");
        let draft = open().find("lid").unwrap();
        let said = draft.state().note.unwrap();
        for part in [
            "its state is \"melted\"",
            "its plan cannot be read",
            "its model's findings cannot be read",
        ] {
            assert!(said.contains(part), "{said}");
        }
        assert_eq!(draft.stage(), Stage::Failed);
    }
}
