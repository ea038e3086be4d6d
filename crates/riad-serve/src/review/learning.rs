//! Training on: from the weights in use, with what they learned from and what people called good since.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use riad::{Cancel, Checkpoint, Layout, Observer, Protocol, Recalibration, Training, TrainingOptions, TrainingOutcome};

use super::{making::Good, tell, version};
use crate::{
    Error, Result,
    events::Events,
    known::{self, Known},
    line::Line,
    making::NotMade,
    store::{Store, VersionRow, version_file},
};

/// Steps of training, about: a tenth of what a first training takes. Weights that know the product need to learn what is new, and the
/// pictures that they know keep them from forgetting the rest.
const STEPS: usize = 400;

/// The learning rate, as a share of that of the training before: weights that know the product need not be shaken. A full rate first
/// raises the loss, and found as many made-up defects in the end (docs/results.md).
const RATE: f64 = 0.3;

/// Fewer pictures are all learned from, and none is held out to watch the loss with.
const WORTH_VALIDATING: usize = 20;

/// How much of the work training is; the rest is calibration.
const TRAINING: f64 = 0.9;

/// The least time between two words about progress.
const TELL: Duration = Duration::from_secs(1);

/// What a version is trained of.
#[derive(Debug)]
pub(super) struct Material {
    /// What the version in use has to do with, as far as it is there.
    known: Vec<Known>,
    /// The content of what it learned from, whether that is there or not, and of what is to be learned from.
    learned: HashSet<String>,
    /// Selected pictures that are learned from.
    learn: Vec<PathBuf>,
    /// Selected pictures that thresholds come of. If there are none, those that its run held out do.
    calibrate: Vec<PathBuf>,
    /// How many pictures that the version in use has to do with are not there any more.
    gone: usize,
    needed: usize,
}

impl Material {
    /// Looks for what there is to train a version on that is made of the version `of`.
    ///
    /// # Errors
    /// [`NotMade::Asked`] if nothing new is selected, or thresholds cannot be made.
    pub(super) fn of(line: &Line, store: &Store, of: u32, selected: &Good) -> Result<Self, NotMade> {
        let needed = line.rate().images_needed().map_err(Error::from)?;
        let all = known::of_version(store, &line.name, of)?;
        let mut learned = known::learned(&all);
        let (known, gone): (Vec<_>, Vec<_>) = all.into_iter().partition(|known| known.path().is_file());
        if selected.audited.is_empty() && selected.others.is_empty() {
            return Err(NotMade::Asked(
                "none of the selected pictures is labelled good, so there is nothing new to learn".to_owned(),
            ));
        }
        // A picture may have come twice, and have been drawn for an audit once.
        learned.extend(known::contents(&selected.others));
        let (again, fresh): (Vec<_>, Vec<_>) = selected
            .audited
            .iter()
            .cloned()
            .partition(|path| known::is_one_of(path, &learned));
        let mut material = Self {
            known,
            learned,
            learn: [selected.others.clone(), again].concat(),
            calibrate: Vec::new(),
            gone: gone.len(),
            needed,
        };
        if fresh.len() >= needed {
            material.calibrate = fresh;
        } else {
            material.learned.extend(known::contents(&fresh));
            material.learn.extend(fresh);
            material.check_held_out(selected.audited.len())?;
        }
        material.learn.sort();
        material.learn.dedup();
        if material.to_learn().next().is_none() {
            return Err(NotMade::Asked(
                "there is nothing to learn: all selected pictures are audited and needed for the threshold, and those that the model \
                 learned from are not there any more"
                    .to_owned(),
            ));
        }
        Ok(material)
    }

    /// Checks that thresholds can come of what the run held out.
    fn check_held_out(&self, audited: usize) -> Result<(), NotMade> {
        let held_out = self.held_out().count();
        if held_out >= self.needed {
            return Ok(());
        }
        Err(NotMade::Asked(format!(
            "the new threshold takes {} good pictures that nothing was learned from: {audited} of those selected are audited, and of those \
             that the model's run held out for it {held_out} are there",
            self.needed
        )))
    }

    /// Pictures that the run held out for thresholds, and that nothing was or is to be learned from: they may have come once more.
    fn held_out(&self) -> impl Iterator<Item = PathBuf> {
        let held_out = self.known.iter().filter(|known| known.is_for_calibration);
        held_out.filter(|known| !known.is_in(&self.learned)).map(Known::path)
    }

    fn to_learn(&self) -> impl Iterator<Item = PathBuf> {
        let selected: HashSet<_> = self.learn.iter().chain(&self.calibrate).cloned().collect();
        let known = self.known.iter().filter(|known| !known.is_for_calibration);
        let others = known.map(Known::path).filter(move |path| !selected.contains(path));
        self.learn.iter().cloned().chain(others)
    }

    /// Leaves out what has changed since it was learned from, and of the selected pictures what `readable` does not keep.
    ///
    /// # Errors
    /// Says in words what is missing then.
    pub(super) fn leave_out(&mut self, mut readable: impl FnMut(&mut Vec<PathBuf>)) -> Result<(), String> {
        let has_audited = !self.calibrate.is_empty();
        // What has changed since is not what it was learned as.
        self.known.retain(Known::is_unchanged);
        readable(&mut self.learn);
        readable(&mut self.calibrate);
        if self.to_learn().next().is_none() {
            return Err("there is nothing left to learn from".to_owned());
        }
        match has_audited {
            true if self.calibrate.len() < self.needed => Err(format!(
                "the threshold takes {} audited pictures, and {} of those selected can be read",
                self.needed,
                self.calibrate.len()
            )),
            false if self.held_out().count() < self.needed => {
                Err("too many of the pictures that the run held out have changed".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// What it is, in words.
    pub(super) fn note(&self) -> String {
        let before = self.to_learn().count() - self.learn.len();
        let mut note = format!(
            "from {} selected good pictures and {before} from before",
            self.learn.len()
        );
        if before == 0 {
            note = format!(
                "from {} selected good pictures alone, because those that the model learned from are not there",
                self.learn.len()
            );
        } else if self.gone > 0 {
            note += &format!("; {} from before are not there any more", self.gone);
        }
        match self.calibrate.len() {
            0 => note + &format!("; threshold from {} that the run held out", self.held_out().count()),
            audited => note + &format!("; threshold from {audited} audited good pictures"),
        }
    }
}

/// Trains a version and leaves it in its place.
pub(super) fn train(
    line: &Line,
    (store, events): (&Store, &Events),
    row: &VersionRow,
    material: &Material,
    cancel: &Cancel,
) -> Result<()> {
    let folder = known::workshop(store, &line.name, row.number);
    let made = in_folder(line, (store, events), row, material, (&folder, cancel));
    let removed = fs::remove_dir_all(&folder);
    if made.is_err() {
        // It may be there without its thresholds. Nobody uses it, as its version has failed.
        let _ = fs::remove_file(version_file(store.folder(), &line.name, row.number));
    }
    made?;
    removed.map_err(Error::file("remove", folder))
}

fn in_folder(
    line: &Line,
    (store, events): (&Store, &Events),
    row: &VersionRow,
    material: &Material,
    (folder, cancel): (&Path, &Cancel),
) -> Result<()> {
    let (images, run) = (folder.join("pictures"), folder.join("run"));
    fs::create_dir_all(&images).map_err(Error::file("make", &images))?;
    let mut count = 0;
    for picture in material.to_learn() {
        count += 1;
        // What a file is, its content says; the name only has to look like that of a picture.
        let target = images.join(format!("{count:06}.png"));
        if fs::hard_link(&picture, &target).is_err() {
            fs::copy(&picture, &target).map_err(Error::file("copy", &picture))?;
        }
    }
    let of = version_file(store.folder(), &line.name, row.parent.unwrap_or(row.number));
    let before = Checkpoint::open(&of).map_err(riad::Error::from)?;
    let teller = Teller {
        line,
        events,
        row,
        // The answer to the request has told that it begins.
        told: Mutex::new((Instant::now(), 0.0)),
    };
    let training = Training::new(&images)
        .layout(Layout::Folder)
        .options(options(&of, &before, count))
        .out(&run)
        .device(line.compute().device.clone())
        .cancel(cancel.clone());
    if training.start(&teller)?.outcome() != Some(TrainingOutcome::Finished) {
        return Err(riad::Error::Cancelled.into());
    }
    let mut trained = Checkpoint::open(&run).map_err(riad::Error::from)?;
    // What is looked at, and what it may look like, a person or the first run has said.
    trained.roi = before.roi;
    trained.header.appearance = before.header.appearance.or(trained.header.appearance.take());
    let target = version_file(store.folder(), &line.name, row.number);
    trained.save(&target).map_err(riad::Error::from)?;
    let mut recalibration = Recalibration::of(&target)
        .out(&target)
        .compute(line.compute().clone())
        .cancel(cancel.clone());
    let held_out: Vec<_> = match material.calibrate.is_empty() {
        true => material.held_out().collect(),
        false => material.calibrate.clone(),
    };
    for picture in &held_out {
        recalibration = recalibration.pictures(picture);
    }
    for picture in &material.learn {
        recalibration = recalibration.alike(picture);
    }
    recalibration.start(&teller)?;
    keep_known(line, store, row, material)
}

/// Keeps what the version has to do with.
fn keep_known(line: &Line, store: &Store, row: &VersionRow, material: &Material) -> Result<()> {
    let selected: HashSet<_> = material.learn.iter().chain(&material.calibrate).cloned().collect();
    let mut all: Vec<_> = material
        .known
        .iter()
        .filter(|known| !selected.contains(&known.path()))
        .cloned()
        .collect();
    for (pictures, is_for_calibration) in [(&material.learn, false), (&material.calibrate, true)] {
        for picture in pictures {
            all.push(Known::of(picture, is_for_calibration)?);
        }
    }
    known::keep(store, &line.name, row.number, &all)
}

/// How to train on from a version's file with so many pictures.
fn options(of: &Path, before: &Checkpoint, pictures: usize) -> TrainingOptions {
    let header = &before.header;
    let validation = if pictures < WORTH_VALIDATING { 0.0 } else { 0.1 };
    let training = header.training.as_ref();
    let batch = training.map_or(4, |training| training.batch_size);
    let trained_on = pictures - (pictures as f64 * validation).round() as usize;
    let looks_at_places = before.normal.is_some() || header.scoring.tiling.is_some();
    TrainingOptions {
        from: Some(of.to_owned()),
        protocol: (!looks_at_places).then_some(Protocol::Paper),
        loss: training.map(|training| training.loss),
        batch: Some(batch),
        lr: training.map(|training| training.learning_rate * RATE),
        epochs: Some(STEPS.div_ceil(trained_on.div_ceil(batch).max(1))),
        validation: Some(validation),
        calibration: Some(0.0),
        ..TrainingOptions::default()
    }
}

/// Tells how far it is.
struct Teller<'a> {
    line: &'a Line,
    events: &'a Events,
    row: &'a VersionRow,
    /// When it was told last, and from where on the present work counts.
    told: Mutex<(Instant, f64)>,
}

impl Observer for Teller<'_> {
    fn event(&self, event: &riad::Event<'_>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let progress = match event {
            riad::Event::Step { done, total, .. } => TRAINING * *done as f64 / (*total).max(1) as f64,
            riad::Event::Began {
                work: riad::Work::Calibrating,
                ..
            } => {
                told.1 = TRAINING;
                TRAINING
            }
            riad::Event::Progress { done, total } if told.1 > 0.0 => {
                told.1 + (1.0 - told.1) * *done as f64 / (*total).max(1) as f64
            }
            _ => return,
        };
        self.line.note_progress(self.row.number, progress);
        if told.0.elapsed() >= TELL {
            told.0 = Instant::now();
            tell(self.line, self.events, version(self.row.clone(), self.line));
        }
    }
}
