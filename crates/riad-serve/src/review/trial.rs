//! What a version would have done with the pictures that people labelled.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use riad::Cancel;

use crate::{
    Error, Result,
    line::{Line, Model},
    store::{Filter, Label, Labelled, Store, Verdict},
};

/// How many labelled pictures are looked at, the newest first.
const MOST: u32 = 500;

/// What a version would have done with the labelled pictures, beside the version in use.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Trial {
    /// In one sentence.
    pub(crate) sentence: String,
    /// Of the pictures that people called good: how many this version stops, how many the one in use, and how many there are.
    pub(crate) false_alarms: [usize; 3],
    /// Of those that people called defective: how many this version finds, how many the one in use, and how many there are.
    pub(crate) defects: [usize; 3],
}

impl Trial {
    /// Looks at the labelled pictures with a version and with the one in use.
    ///
    /// # Errors
    /// If the store fails, or it is broken off.
    pub(super) fn of(model: &Model, line: &Line, store: &Store, cancel: &Cancel) -> Result<Self> {
        let filter = Filter {
            label: Some(Labelled::Any),
            limit: Some(MOST),
            ..Filter::default()
        };
        let current = line.model();
        let mut trial = Self {
            sentence: String::new(),
            false_alarms: [0; 3],
            defects: [0; 3],
        };
        for inspection in store.inspections(&line.name, &filter, None, None)? {
            if cancel.reason().is_some() {
                return Err(Error::Request("it was broken off".to_owned()));
            }
            let Some(picture) = inspection.picture.as_ref().map(|name| store.pictures().path(name)) else {
                continue;
            };
            let is_stopped = |model: &Model| model.judge(&picture).verdict != Verdict::Good;
            let counts = match inspection.label {
                Some(Label::Good) => &mut trial.false_alarms,
                Some(Label::Defective) => &mut trial.defects,
                None => continue,
            };
            counts[0] += usize::from(is_stopped(model));
            counts[1] += usize::from(is_stopped(&current));
            counts[2] += 1;
        }
        trial.sentence = sentence(trial.false_alarms, trial.defects);
        Ok(trial)
    }
}

fn sentence([stops, stopped, good]: [usize; 3], [finds, found, bad]: [usize; 3]) -> String {
    if good + bad == 0 {
        return "no picture has a label that it could be tried on".to_owned();
    }
    let instead = |now: usize, before: usize| match now == before {
        true => now.to_string(),
        false => format!("{now} instead of {before}"),
    };
    format!(
        "stops {} of the {good} pictures that people called good, finds {} of the {bad} that they called defective",
        instead(stops, stopped),
        instead(finds, found)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_is_said_in_one_sentence() {
        assert_eq!(
            sentence([9, 31, 60], [48, 48, 50]),
            "stops 9 instead of 31 of the 60 pictures that people called good, finds 48 of the 50 that they called defective"
        );
        assert_eq!(
            sentence([0; 3], [0; 3]),
            "no picture has a label that it could be tried on"
        );
    }
}
