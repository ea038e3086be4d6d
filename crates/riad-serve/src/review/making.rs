//! Making a version, in the background.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    time::SystemTime,
};

use riad::{Cancel, Detector, Recalibration};
use riad_data::Fit;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Trial, Version,
    learning::{self, Material},
    tell, version, versions,
};
use crate::{
    Error, Result,
    events::Events,
    known,
    line::{Line, Model, without},
    making::{Making, NotMade, quietly},
    store::{Inspection, Label, Store, VersionRow, to_millis, version_file},
};

/// How a version is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum How {
    /// Thresholds are found anew from the good ones among the audited pictures. Weights stay.
    ///
    /// An audit is drawn before anybody knows the score, so its good pictures stand for all good products. False alarms that were not
    /// drawn are not used: with them the threshold would be too high. Neither are those that the weights learned from.
    Recalibrate,
    /// The weights learn on, from the selected good pictures and from those that they learned from before, and thresholds are found anew:
    /// from the audited ones if there are enough, and then nothing is learned from those; else from what the run held out.
    Train,
}

/// What became of a version that was being made when the service ended.
const GIVEN_UP: &str = "the service ended while it was made";

/// Begins to make a version from labelled pictures.
pub(crate) fn make(
    making: &Arc<Making>,
    line: &Arc<Line>,
    (store, events): (&Store, &Events),
    how: How,
    inspections: &[i64],
) -> Result<Version, NotMade> {
    // Somebody may put another one to use meanwhile, and what is checked here is not of that.
    let of = line.model().version;
    let Selected { good, ids } = Selected::of(line, store, inspections)?;
    let what = match how {
        How::Recalibrate => What::Thresholds(for_thresholds(line, store, of, good)?),
        How::Train => What::Weights(Material::of(line, store, of, &good)?),
    };
    let place = making.begin(&line.name).ok_or(NotMade::Busy)?;
    let row = begin(line, store, of, &what)?;
    let answer = version(row.clone(), line);
    tell(line, events, answer.clone());
    let (line, store, events) = (line.clone(), store.clone(), events.clone());
    place.on_a_thread(move |place| {
        // A fault of ours must not keep other versions from being made.
        let made = catch_unwind(AssertUnwindSafe(|| {
            quietly(|| made(&line, (&store, &events), &row, (what, &ids), place.cancel()))?
        }))
        .unwrap_or_else(|_| {
            Err(Error::Request(
                "it met a fault of the program; please report it".to_owned(),
            ))
        });
        let mut row = row;
        match made {
            Ok(made) => {
                row.model = made.id;
                row.state = "ready".to_owned();
                row.trial = serde_json::to_string(&made.trial).ok();
                row.note = row.note.map(|note| note + &made.left_out.as_a_note());
            }
            Err(error) => {
                tracing::error!("line {}: version {} could not be made: {error}", line.name, row.number);
                row.state = "failed".to_owned();
                row.note = Some(match error {
                    Error::Riad(riad::Error::Cancelled) => GIVEN_UP.to_owned(),
                    error => error.to_string(),
                });
            }
        }
        line.forget_progress();
        // Whoever sees that it is made may begin the next.
        drop(place);
        if let Err(error) = store.keep_version(&line.name, row.clone()) {
            tracing::error!("line {}: version {} could not be kept: {error}", line.name, row.number);
        }
        let version = version(row, &line);
        tell(&line, &events, version);
    });
    Ok(answer)
}

/// What a version is made of.
enum What {
    /// Good pictures for thresholds.
    Thresholds(Vec<PathBuf>),
    /// Pictures to learn from.
    Weights(Material),
}

/// What was selected.
#[derive(Debug, Default)]
struct Selected {
    good: Good,
    /// The number of each picture's inspection.
    ids: HashMap<PathBuf, i64>,
}

/// The good ones among selected pictures.
#[derive(Debug, Default)]
pub(super) struct Good {
    /// Those that were drawn for an audit.
    pub(super) audited: Vec<PathBuf>,
    /// The others: false alarms.
    pub(super) others: Vec<PathBuf>,
}

impl Selected {
    fn of(line: &Line, store: &Store, inspections: &[i64]) -> Result<Self, NotMade> {
        let mut selected = Self::default();
        for &id in inspections {
            let found = store.inspection(&line.name, id)?;
            let Some(Inspection {
                label: Some(label),
                audit,
                picture,
                ..
            }) = found
            else {
                return Err(NotMade::Asked(format!(
                    "inspection {id} of this line is not there or has no label"
                )));
            };
            if let (Label::Good, Some(name)) = (label, picture) {
                let good = if audit {
                    &mut selected.good.audited
                } else {
                    &mut selected.good.others
                };
                let path = store.pictures().path(&name);
                good.push(path.clone());
                selected.ids.insert(path, id);
            }
        }
        for good in [&mut selected.good.audited, &mut selected.good.others] {
            good.sort();
            good.dedup();
        }
        Ok(selected)
    }
}

/// Selected pictures that a version is made without, because their files are gone or damaged: each in words.
#[derive(Debug, Default)]
pub(super) struct LeftOut(Vec<String>);

impl LeftOut {
    /// How many are named.
    const NAMED: usize = 5;

    /// Keeps the pictures that can still be read as this model reads them. A training would fail for one of them, after minutes, and name
    /// a copy that nobody finds.
    fn retain(&mut self, pictures: &mut Vec<PathBuf>, detector: &Detector, ids: &HashMap<PathBuf, i64>) {
        let fit = Fit::Resized(detector.header().scoring.size());
        pictures.retain(|path| match detector.reader().load(path, fit) {
            Ok(_) => true,
            Err(error) => {
                let id = ids.get(path).copied().unwrap_or_default();
                let error = without(&error.to_string(), path);
                self.0.push(format!("the picture of inspection {id} ({error})"));
                false
            }
        });
    }

    /// Which they are. Empty if there are none.
    pub(super) fn as_a_note(&self) -> String {
        let Self(all) = self;
        if all.is_empty() {
            return String::new();
        }
        let named = all[..all.len().min(Self::NAMED)].join(", ");
        match all.len().saturating_sub(Self::NAMED) {
            0 => format!("; left out: {named}"),
            more => format!("; left out: {named}, and {more} more"),
        }
    }
}

/// The pictures of a selection that thresholds can come of, for a version made of the version `of`.
fn for_thresholds(line: &Line, store: &Store, of: u32, good: Good) -> Result<Vec<PathBuf>, NotMade> {
    let learned = known::learned(&known::of_version(store, &line.name, of)?);
    let mut pictures = good.audited;
    let audited = pictures.len();
    pictures.retain(|path| !known::is_one_of(path, &learned));
    let needed = line.rate().images_needed().map_err(Error::from)?;
    if pictures.len() >= needed {
        return Ok(pictures);
    }
    let mut words = format!(
        "a false-positive rate of {} takes {needed} audited pictures that are labelled good; {audited} of those selected are",
        line.rate().rate
    );
    if pictures.len() < audited {
        words += &format!(", and this version learned from {} of them", audited - pictures.len());
    }
    Err(NotMade::Asked(words))
}

/// Takes the next number, for a version that is made of the version `of`.
fn begin(line: &Line, store: &Store, of: u32, what: &What) -> Result<VersionRow> {
    let (made, note) = match what {
        What::Thresholds(pictures) => ("recalibrated", format!("with {} audited good pictures", pictures.len())),
        What::Weights(material) => ("trained", material.note()),
    };
    let number = versions(line, store)?.first().map_or(0, |newest| newest.version) + 1;
    let row = VersionRow {
        number,
        model: String::new(),
        made: made.to_owned(),
        parent: Some(of),
        created: to_millis(SystemTime::now()),
        state: "making".to_owned(),
        note: Some(note),
        trial: None,
    };
    store.keep_version(&line.name, row.clone())?;
    Ok(row)
}

/// A version that was made.
struct Made {
    id: String,
    /// What it would have done.
    trial: Trial,
    left_out: LeftOut,
}

/// Makes the version of a row.
fn made(
    line: &Line,
    (store, events): (&Store, &Events),
    row: &VersionRow,
    (what, ids): (What, &HashMap<PathBuf, i64>),
    cancel: &Cancel,
) -> Result<Made> {
    let detector = line.detector(row.parent.unwrap_or(row.number), store)?;
    let mut left_out = LeftOut::default();
    let mut readable = |pictures: &mut Vec<PathBuf>| left_out.retain(pictures, &detector, ids);
    match what {
        What::Thresholds(mut pictures) => {
            readable(&mut pictures);
            let needed = line.rate().images_needed()?;
            if pictures.len() < needed {
                let words = format!(
                    "the threshold takes {needed} audited pictures, and {} of those selected can be read",
                    pictures.len()
                );
                return Err(Error::Request(words + &left_out.as_a_note()));
            }
            recalibrate(line, store, row, pictures, cancel)?;
        }
        What::Weights(mut material) => {
            let left = material.leave_out(readable);
            left.map_err(|words| Error::Request(words + &left_out.as_a_note()))?;
            learning::train(line, (store, events), row, &material, cancel)?;
        }
    }
    let model: Arc<Model> = line.version(row.number, store)?;
    let trial = Trial::of(&model, line, store, cancel)?;
    Ok(Made {
        id: model.id().to_owned(),
        trial,
        left_out,
    })
}

fn recalibrate(line: &Line, store: &Store, row: &VersionRow, pictures: Vec<PathBuf>, cancel: &Cancel) -> Result<()> {
    let of = version_file(store.folder(), &line.name, row.parent.unwrap_or(row.number));
    let target = version_file(store.folder(), &line.name, row.number);
    let mut recalibration = Recalibration::of(of)
        .out(&target)
        .compute(line.compute().clone())
        .cancel(cancel.clone());
    for picture in pictures {
        recalibration = recalibration.pictures(picture);
    }
    recalibration.start(&())?;
    Ok(())
}
