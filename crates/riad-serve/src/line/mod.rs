//! A line: a product, its model, and its state.

mod drift;
mod folder;
mod incoming;
mod lines;
mod live;
mod model;
mod queue;
#[cfg(test)]
pub(crate) mod sample;
mod worker;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::SystemTime,
};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use riad::{Compute, Detector, FalsePositiveRate};
use tokio::sync::Semaphore;

use self::live::Live;
pub(crate) use self::{
    folder::{Pace, watch},
    incoming::copied,
    lines::Lines,
    live::{LineState, State},
    model::{Model, without},
    queue::Queue,
    worker::{Job, Judged, Numbers, Picture, Refusal, numbers, work},
};
use crate::{
    Error, Result, known,
    store::{Inspection, LineRow, Store, VersionRow, to_millis, version_file},
};

/// How many pictures of a line come in at once. Each takes two open files, of which a process mostly has 1,024.
const UPLOADS: usize = 128;

/// Letters of a line's name: it becomes part of addresses and of files.
const MOST_LETTERS: usize = 40;

/// A line to serve.
#[derive(Clone, Debug)]
pub struct LineOptions {
    /// Its name: letters, digits, `-` and `_`.
    pub name: String,
    /// The run or checkpoint of its first version.
    pub model: PathBuf,
}

/// A line that is served.
#[derive(Debug)]
pub(crate) struct Line {
    /// Its place among the lines.
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) watch: Option<PathBuf>,
    rate: FalsePositiveRate,
    compute: Compute,
    model: RwLock<Arc<Model>>,
    /// The version that was opened last beside it: people look at several pictures that it judged.
    other: Mutex<Option<(u32, Detector)>>,
    live: Mutex<Live>,
    /// Held while the version changes, in the store and here. It is never taken together with `live` while the store is waited
    /// for: the thread that writes takes that one.
    changing: Mutex<()>,
    /// Room for pictures that come in at once. Each line has its own, so that slow senders of one do not refuse another's.
    pub(crate) uploads: Arc<Semaphore>,
    /// One in how many pictures a person is asked about whatever their verdict, and what draws them.
    audit: Option<u32>,
    dice: Mutex<ChaCha8Rng>,
    /// The version that is being made, and how much of it is done.
    progress: Mutex<Option<(u32, f64)>>,
}

impl Line {
    /// Opens a line: the version that it used last, or one of the run that it is given, if that is another run than at the last start. It
    /// gets its place among the lines later.
    pub(crate) fn open(
        options: &LineOptions,
        watch: Option<&Path>,
        store: &Store,
        rate: FalsePositiveRate,
        audit: Option<u32>,
        compute: &Compute,
    ) -> Result<Self> {
        let name = options.name.clone();
        check_name(&name).map_err(Error::Request)?;
        if let Some(folder) = watch.filter(|folder| !folder.is_dir()) {
            return Err(Error::Request(format!(
                "{} is not a folder, so it cannot be watched",
                folder.display()
            )));
        }
        known::sweep(store, &name, &store.versions(&name)?)?;
        let before = store.line(&name)?;
        let (model, opened) = opened(&name, &options.model, before, store, rate, compute)?;
        warn_of_precision(&name, &model);
        let (shift, first) = match before {
            Some(row) => (row.shift, row.first),
            None => (to_millis(SystemTime::now()), store.newest()? + 1),
        };
        let previous = before.and_then(|row| match row.version == model.version {
            true => row.previous,
            false => Some(row.version),
        });
        let version = model.version;
        let row = LineRow {
            version,
            previous,
            shift,
            first,
            opened,
        };
        // A machine whose disk is full judges pictures all the same after its next start.
        if before != Some(row) {
            store.keep_line(&name, row).or_else(unless_full)?;
        }
        Ok(Self {
            index: 0,
            live: Mutex::new(Live::open(&name, store, row, &model)?),
            changing: Mutex::default(),
            uploads: Arc::new(Semaphore::new(UPLOADS)),
            name,
            watch: watch.map(Path::to_owned),
            rate,
            compute: compute.clone(),
            model: RwLock::new(Arc::new(model)),
            other: Mutex::default(),
            audit,
            dice: Mutex::new(ChaCha8Rng::seed_from_u64(to_millis(SystemTime::now()) as u64)),
            progress: Mutex::default(),
        })
    }

    /// The version in use.
    pub(crate) fn model(&self) -> Arc<Model> {
        self.model.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How it goes.
    pub(crate) fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What looks at pictures as one of its versions does, which need not be in use, nor be calibrated for the rate of now.
    pub(crate) fn detector(&self, number: u32, store: &Store) -> Result<Detector> {
        let current = self.model();
        if current.version == number {
            return Ok(current.detector.clone());
        }
        let other = self.other.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, other)) = other.filter(|(version, _)| *version == number) {
            return Ok(other);
        }
        let versions = store.versions(&self.name)?;
        let row = versions.iter().find(|row| row.number == number);
        let row = row.ok_or_else(|| Error::Request(format!("line {} has no version {number}", self.name)))?;
        let detector = stored(&self.name, row, store, &self.compute)?;
        *self.other.lock().unwrap_or_else(PoisonError::into_inner) = Some((number, detector.clone()));
        Ok(detector)
    }

    /// Opens one of its versions, which need not be in use, to judge pictures.
    ///
    /// # Errors
    /// If it cannot be opened, or is not calibrated for the rate.
    pub(crate) fn version(&self, number: u32, store: &Store) -> Result<Arc<Model>> {
        let current = self.model();
        if current.version == number {
            return Ok(current);
        }
        let model = Model::new(number, self.detector(number, store)?, self.rate)?;
        Ok(Arc::new(model))
    }

    /// Uses a version from the next picture on.
    pub(crate) fn switch(self: &Arc<Self>, number: u32, store: &Store) -> Result<()> {
        let model = self.version(number, store)?;
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.model().version;
        if before != number {
            warn_of_precision(&self.name, &model);
            let line = self.clone();
            store.use_version(&self.name, number, before, move |answers| {
                line.live().switched(before, number, answers);
            })?;
            *self.model.write().unwrap_or_else(PoisonError::into_inner) = model;
        }
        Ok(())
    }

    /// Begins a new shift.
    pub(crate) fn begin_shift(self: &Arc<Self>, store: &Store) -> Result<()> {
        let (line, now) = (self.clone(), to_millis(SystemTime::now()));
        store.begin_shift(&self.name, now, move || line.live().begin_shift(now))
    }

    /// Whether a picture is drawn for an audit. Nothing that is known of it has a say, so that audited pictures stand for all.
    fn is_drawn(&self) -> bool {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        self.audit
            .is_some_and(|one_in| dice.next_u32().is_multiple_of(one_in.max(1)))
    }

    /// How much of a version is done, from 0 to 1, if it is being made.
    pub(crate) fn progress(&self, version: u32) -> f64 {
        let progress = *self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.filter(|(of, _)| *of == version).map_or(0.0, |(_, done)| done)
    }

    /// So much of a version is done.
    pub(crate) fn note_progress(&self, version: u32, done: f64) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = Some((version, done.clamp(0.0, 1.0)));
    }

    /// No version is being made any more.
    pub(crate) fn forget_progress(&self) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Takes no more pictures in, if none is on its way now; whether that is so.
    pub(crate) fn close(&self) -> bool {
        match self.uploads.try_acquire_many(UPLOADS as u32) {
            Ok(all) => {
                all.forget();
                true
            }
            Err(_) => false,
        }
    }

    /// Takes pictures in again.
    pub(crate) fn reopen(&self) {
        self.uploads.add_permits(UPLOADS);
    }

    /// What the API says of it.
    pub(crate) fn state(&self, queued: usize) -> LineState {
        self.live().state(self, &self.model(), queued)
    }

    /// Takes in an inspection that was stored.
    pub(crate) fn note(&self, inspection: &Inspection) {
        self.live().note(inspection);
    }

    pub(crate) fn rate(&self) -> FalsePositiveRate {
        self.rate
    }

    pub(crate) fn compute(&self) -> &Compute {
        &self.compute
    }
}

/// Checks what a line is to be called.
///
/// # Errors
/// Says in words what is wrong.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || name.len() > MOST_LETTERS || !name.chars().all(is_plain) {
        return Err(format!(
            "a line's name must have 1 to {MOST_LETTERS} letters, digits, - or _, and {name:?} does not"
        ));
    }
    if is_device(name) {
        return Err(format!(
            "a line cannot be called {name}: Windows has a device of that name, and no folder"
        ));
    }
    Ok(())
}

/// The version that a line is to use, opened, and the version of the run that is given.
fn opened(
    line: &str,
    given: &Path,
    row: Option<LineRow>,
    store: &Store,
    rate: FalsePositiveRate,
    compute: &Compute,
) -> Result<(Model, u32)> {
    let run = detector(given, compute)?;
    let id = run.id().unwrap_or_default();
    let versions = store.versions(line)?;
    let opened = versions
        .iter()
        .find(|version| version.made == "opened" && version.model == id)
        .map(|opened| opened.number);
    if let Some(opened) = opened {
        let number = match row.filter(|row| row.opened == opened) {
            // The same run as at the last start: what was chosen on the page since is the last word, whatever it was made of.
            Some(row) => row.version,
            // Whoever names another run wants that one, as it was used last.
            None => {
                let mut used = store.used(line)?.into_iter();
                used.find(|&used| descends(&versions, used, opened)).unwrap_or(opened)
            }
        };
        if number == opened {
            // The run is what its owner can calibrate, and not the copy.
            run.threshold(rate)?;
        }
        let version = versions.iter().find(|version| version.number == number);
        let version = version.ok_or_else(|| Error::Request(format!("line {line} has no version {number}")))?;
        let not_for_rate = |reason: String| Error::NotForRate {
            line: line.to_owned(),
            version: number,
            reason,
        };
        let model = Model::new(number, stored(line, version, store, compute)?, rate).map_err(|error| match error {
            Error::Riad(riad::Error::TooFew { cause, .. }) => not_for_rate(cause.to_string()),
            Error::Riad(riad::Error::NotCalibrated { .. }) => not_for_rate("it is not calibrated".to_owned()),
            error => error,
        })?;
        return Ok((model, opened));
    }
    // Before it is copied: what is in the store stays there.
    run.threshold(rate)?;
    let file = riad::model_file(given).map_err(riad::Error::from)?;
    let number = versions.last().map_or(0, |version| version.number) + 1;
    let target = version_file(store.folder(), line, number);
    let folder = target.parent().unwrap_or(store.folder());
    fs::create_dir_all(folder).map_err(Error::file("make", folder))?;
    let bytes = fs::read(&file).map_err(Error::file("read", &file))?;
    riad::files::write_whole(&target, &bytes)?;
    let model = Model::new(number, detector(&target, compute)?, rate)?;
    // A list of this number may be there already: it is that of a version that never came to be, and maybe of other pictures.
    known::keep_of_run(store, line, number, given)?;
    store.keep_version(
        line,
        VersionRow {
            number,
            model: model.id().to_owned(),
            made: "opened".to_owned(),
            parent: None,
            created: to_millis(SystemTime::now()),
            state: "ready".to_owned(),
            note: Some(given.display().to_string()),
            trial: None,
        },
    )?;
    Ok((model, number))
}

/// Opens a version that the store has.
///
/// # Errors
/// If its file cannot be opened, or is not the one that was kept: another would judge, and draw, in its name.
fn stored(line: &str, row: &VersionRow, store: &Store, compute: &Compute) -> Result<Detector> {
    let file = version_file(store.folder(), line, row.number);
    let opened = detector(&file, compute)?;
    let found = opened.id().unwrap_or_default();
    // One that is being made has no id yet.
    if row.model.is_empty() || row.model == found {
        return Ok(opened);
    }
    Err(Error::OtherModel {
        found: found.to_owned(),
        kept: row.model.clone(),
        line: line.to_owned(),
        version: row.number,
        file,
    })
}

/// Says that a version scores in another precision than that of its calibration.
fn warn_of_precision(line: &str, model: &Model) {
    if let Some(calibrated) = model.detector.calibrated_otherwise() {
        let now = model.detector.precision();
        tracing::warn!(
            "line {line}: version {} was calibrated in {calibrated} and scores in {now}. Scores differ, so the false-positive rate is \
             not the requested one. Start the service with --precision {calibrated}, or recalibrate the line on the page",
            model.version
        );
    }
}

/// What a full disk keeps from being written is no reason to judge nothing.
pub(crate) fn unless_full(error: Error) -> Result<()> {
    match error.is_full() {
        true => {
            tracing::warn!("{error}; what has changed is not kept, and pictures are judged all the same");
            Ok(())
        }
        false => Err(error),
    }
}

/// Opens the file of a model.
fn detector(file: &Path, compute: &Compute) -> Result<Detector> {
    let options = Detector::options().compute(compute.clone()).identified(true);
    Ok(options.open(file)?)
}

/// Whether a version was made of another one, directly or not.
fn descends(versions: &[VersionRow], mut version: u32, ancestor: u32) -> bool {
    while version > ancestor {
        let row = versions.iter().find(|row| row.number == version);
        // A parent is older, so this ends.
        match row.and_then(|row| row.parent).filter(|parent| *parent < version) {
            Some(parent) => version = parent,
            None => return false,
        }
    }
    version == ancestor
}

/// Whether Windows has a device of this name. Stores go from one system to another, so that no system has such a line.
fn is_device(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let port = name.strip_prefix("com").or_else(|| name.strip_prefix("lpt"));
    matches!(name.as_str(), "con" | "prn" | "aux" | "nul")
        || port.is_some_and(|number| number.len() == 1 && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_changes_nothing_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("store")).unwrap();
        let options = LineOptions {
            name: "lid".to_owned(),
            model: sample::calibrated_run(folder.path()),
        };
        let compute = Compute::on(riad::Device::CPU);
        let open = || Line::open(&options, None, &store, FalsePositiveRate::new(0.5), None, &compute);
        drop(open().unwrap());
        // As on a disk that takes nothing.
        store
            .change(|connection| connection.pragma_update(None, "query_only", true))
            .unwrap();
        assert!(store.keep_line("lid", store.line("lid").unwrap().unwrap()).is_err());
        assert_eq!(open().unwrap().model().version, 1);
    }

    #[test]
    fn only_a_full_disk_is_no_reason_to_judge_nothing() {
        let sqlite = |code| Error::Database(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None));
        assert!(unless_full(sqlite(rusqlite::ffi::SQLITE_FULL)).is_ok());
        assert!(unless_full(sqlite(rusqlite::ffi::SQLITE_READONLY)).is_err());
    }

    #[test]
    fn a_version_is_of_the_model_that_it_was_made_of() {
        let row = |number, parent| VersionRow {
            number,
            model: String::new(),
            made: String::new(),
            parent,
            created: 0,
            state: String::new(),
            note: None,
            trial: None,
        };
        // 2 is another run, 3 and 5 were made of 1 on the page, and 4 of 2. The parent of 7 is not there.
        let versions = [
            row(1, None),
            row(2, None),
            row(3, Some(1)),
            row(4, Some(2)),
            row(5, Some(3)),
            row(7, Some(6)),
        ];
        let of = |ancestor| -> Vec<u32> {
            (1..8)
                .filter(|&version| descends(&versions, version, ancestor))
                .collect()
        };
        assert_eq!((of(1), of(2), of(4)), (vec![1, 3, 5], vec![2, 4], vec![4]));
    }

    #[test]
    fn a_line_is_no_device_of_windows() {
        for device in ["con", "NUL", "Aux", "prn", "COM1", "lpt9"] {
            assert!(is_device(device), "{device}");
        }
        for line in ["cone", "com", "com10", "lpt-1", "auxiliary", "lid"] {
            assert!(!is_device(line), "{line}");
        }
    }
}
