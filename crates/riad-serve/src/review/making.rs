//! Making a version, in the background.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    time::SystemTime,
};

use riad::{Cancel, Recalibration};
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
    line::{Line, Model},
    making::{Making, NotMade},
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
    let selected = Selected::of(line, store, inspections)?;
    let what = match how {
        How::Recalibrate => What::Thresholds(for_thresholds(line, store, selected)?),
        How::Train => What::Weights(Material::of(line, store, &selected)?),
    };
    let place = making.begin(&line.name).ok_or(NotMade::Busy)?;
    let row = begin(line, store, &what)?;
    let answer = version(row.clone(), line);
    tell(line, events, answer.clone());
    let (line, store, events) = (line.clone(), store.clone(), events.clone());
    place.on_a_thread(move |place| {
        // A fault of ours must not keep other versions from being made.
        let made = catch_unwind(AssertUnwindSafe(|| {
            made(&line, (&store, &events), &row, what, place.cancel())
        }))
        .unwrap_or_else(|_| {
            Err(Error::Request(
                "it met a fault of the program; please report it".to_owned(),
            ))
        });
        let mut row = row;
        match made {
            Ok((model, trial)) => {
                row.model = model;
                row.state = "ready".to_owned();
                row.trial = serde_json::to_string(&trial).ok();
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

/// The good ones among selected pictures.
#[derive(Debug, Default)]
pub(super) struct Selected {
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
                    &mut selected.audited
                } else {
                    &mut selected.others
                };
                good.push(store.pictures().path(&name));
            }
        }
        for good in [&mut selected.audited, &mut selected.others] {
            good.sort();
            good.dedup();
        }
        Ok(selected)
    }
}

/// The pictures of a selection that thresholds can come of.
fn for_thresholds(line: &Line, store: &Store, selected: Selected) -> Result<Vec<PathBuf>, NotMade> {
    let learned = known::learned(&known::of_version(store, &line.name, line.model().version)?);
    let mut pictures = selected.audited;
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

/// Takes the next number.
fn begin(line: &Line, store: &Store, what: &What) -> Result<VersionRow> {
    let (made, note) = match what {
        What::Thresholds(pictures) => ("recalibrated", format!("with {} audited good pictures", pictures.len())),
        What::Weights(material) => ("trained", material.note()),
    };
    let number = versions(line, store)?.first().map_or(0, |newest| newest.version) + 1;
    let row = VersionRow {
        number,
        model: String::new(),
        made: made.to_owned(),
        parent: Some(line.model().version),
        created: to_millis(SystemTime::now()),
        state: "making".to_owned(),
        note: Some(note),
        trial: None,
    };
    store.keep_version(&line.name, row.clone())?;
    Ok(row)
}

/// The id of the version that was made, and what it would have done.
fn made(
    line: &Line,
    (store, events): (&Store, &Events),
    row: &VersionRow,
    what: What,
    cancel: &Cancel,
) -> Result<(String, Trial)> {
    match what {
        What::Thresholds(pictures) => recalibrate(line, store, row, pictures, cancel)?,
        What::Weights(material) => learning::train(line, (store, events), row, material, cancel)?,
    }
    let model: Arc<Model> = line.version(row.number, store)?;
    let trial = Trial::of(&model, line, store, cancel)?;
    Ok((model.id().to_owned(), trial))
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
