//! What happens in long work, on its way to Python.

use std::{path::Path, sync::mpsc::Sender};

use pyo3::{
    prelude::*,
    types::{PyDict, PyList},
};
use riad::{EpochRecord, Event, Observer, Stop, rates_in_words};

use crate::errors::Result;

/// Something that happened: a name and what belongs to it.
pub(crate) struct Told {
    event: &'static str,
    fields: Vec<(&'static str, Field)>,
}

/// A value of it.
pub(crate) enum Field {
    Count(usize),
    Number(f64),
    Text(String),
    Texts(Vec<String>),
    Truth(bool),
    Nothing,
}

impl Told {
    fn new(event: &'static str, fields: impl IntoIterator<Item = (&'static str, Field)>) -> Self {
        Self {
            event,
            fields: fields.into_iter().collect(),
        }
    }

    /// What Python is handed; `None` for what nobody needs to hear of.
    fn of(event: &Event<'_>) -> Option<Self> {
        use Field::{Count, Nothing, Number, Text, Texts, Truth};

        Some(match event {
            Event::Began { work, done, total } => Self::new(
                "began",
                [
                    ("work", Text(work.to_string())),
                    ("unit", Text(work.unit().to_owned())),
                    ("done", Count(*done)),
                    ("total", Count(*total)),
                ],
            ),
            Event::Progress { done, total } => {
                Self::new("progress", [("done", Count(*done)), ("total", Count(*total))])
            }
            Event::Ended => Self::new("ended", []),
            Event::Fault(error) => Self::new("fault", [("message", Text(error.to_string()))]),
            Event::Chosen {
                method,
                alignment,
                images,
            } => Self::new(
                "chosen",
                [
                    ("method", Text(method.to_string())),
                    ("alignment", Number(*alignment)),
                    ("images", Count(*images)),
                ],
            ),
            Event::TooFewToCalibrate { images, needed } => Self::new(
                "too few to calibrate",
                [("images", Count(*images)), ("needed", Count(*needed))],
            ),
            Event::Training(session) => Self::new(
                "training",
                [
                    ("folder", text(session.folder)),
                    ("category", Text(session.category.to_owned())),
                    ("train", Count(session.images[0])),
                    ("validation", Count(session.images[1])),
                    ("calibration", Count(session.images[2])),
                    ("epochs", Count(session.epochs)),
                    ("last", Count(session.last)),
                ],
            ),
            Event::Step {
                epoch,
                loss,
                done,
                total,
            } => Self::new(
                "step",
                [
                    ("epoch", Count(*epoch)),
                    ("loss", Number(loss.total)),
                    ("done", Count(*done)),
                    ("total", Count(*total)),
                ],
            ),
            Event::Epoch { record, best, last } => {
                let mut told = Self::new("epoch", losses(record));
                told.fields.extend([("best", Truth(*best)), ("last", Count(*last))]);
                told
            }
            Event::Finished { epochs, kept, loss } => Self::new(
                "finished",
                [
                    ("epochs", Count(*epochs)),
                    ("kept", Count(*kept)),
                    ("loss", loss.map_or(Nothing, Number)),
                ],
            ),
            Event::Stopped { epochs, stop } => Self::new(
                "stopped",
                [
                    ("epochs", Count(*epochs)),
                    (
                        "by",
                        Text(if *stop == Stop::Time { "time" } else { "request" }.to_owned()),
                    ),
                ],
            ),
            Event::LeftOut { what, cause } => Self::new(
                "left out",
                [("what", Text((*what).to_owned())), ("message", Text(cause.to_string()))],
            ),
            Event::Suspects {
                names,
                looked_at,
                effect,
                list,
            } => Self::new(
                "suspects",
                [
                    ("names", Texts(names.iter().map(|name| (*name).to_owned()).collect())),
                    ("looked_at", Count(*looked_at)),
                    ("effect", effect.map_or(Nothing, |effect| Text(effect.to_owned()))),
                    ("list", text(list)),
                ],
            ),
            Event::Calibrated(calibration) => Self::new(
                "calibrated",
                [
                    ("images", Count(calibration.scores().len())),
                    ("reach", Text(rates_in_words(calibration))),
                ],
            ),
            Event::LargeMask { file, share } => {
                Self::new("large_mask", [("file", text(file)), ("share", Number(*share))])
            }
            Event::Duplicate { path, other } => Self::new("twice", [("path", text(path)), ("other", text(other))]),
            _ => return None,
        })
    }

    /// A dictionary with the entry `event`.
    pub(crate) fn to_python<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyDict>> {
        let dictionary = PyDict::new(py);
        dictionary.set_item("event", self.event)?;
        set(&dictionary, &self.fields)?;
        Ok(dictionary)
    }
}

/// The losses of an epoch.
pub(crate) fn losses(record: &EpochRecord) -> Vec<(&'static str, Field)> {
    let of_validation = |of: fn(&riad::LossTerms) -> f64| {
        let terms = record.validation.as_ref();
        terms.map_or(Field::Nothing, |terms| Field::Number(of(terms)))
    };
    let train = &record.train;
    vec![
        ("epoch", Field::Count(record.epoch)),
        ("learning_rate", Field::Number(record.learning_rate)),
        ("train", Field::Number(train.total)),
        ("train_l2", Field::Number(train.l2)),
        ("train_l1", Field::Number(train.l1)),
        ("train_ssim", Field::Number(train.ssim)),
        ("train_msgms", Field::Number(train.msgms)),
        ("validation", of_validation(|terms| terms.total)),
        ("validation_l2", of_validation(|terms| terms.l2)),
        ("validation_l1", of_validation(|terms| terms.l1)),
        ("validation_ssim", of_validation(|terms| terms.ssim)),
        ("validation_msgms", of_validation(|terms| terms.msgms)),
    ]
}

/// Puts values into a dictionary.
pub(crate) fn set(dictionary: &Bound<'_, PyDict>, fields: &[(&'static str, Field)]) -> Result<()> {
    let py = dictionary.py();
    for (name, field) in fields {
        match field {
            Field::Count(count) => dictionary.set_item(name, count)?,
            Field::Number(number) => dictionary.set_item(name, number)?,
            Field::Text(text) => dictionary.set_item(name, text)?,
            Field::Texts(texts) => dictionary.set_item(name, PyList::new(py, texts)?)?,
            Field::Truth(truth) => dictionary.set_item(name, truth)?,
            Field::Nothing => dictionary.set_item(name, py.None())?,
        }
    }
    Ok(())
}

fn text(path: &Path) -> Field {
    Field::Text(path.to_string_lossy().into_owned())
}

/// Hands on what happens, from whatever thread, to the one that called from Python.
pub(crate) struct Teller(pub(crate) Sender<Told>);

impl Observer for Teller {
    fn event(&self, event: &Event<'_>) {
        if let Some(told) = Told::of(event) {
            // Nobody listens any more: the work will hear of it from its `Cancel`.
            let _ = self.0.send(told);
        }
    }
}
