//! Versions of a line's model: which there are, which is in use, and how another is made of what people said of pictures.
//!
//! No label moves a threshold by itself. A person selects pictures and has a version made, reads what it would have done, and puts it to
//! use.

mod learning;
mod making;
mod trial;

use std::time::SystemTime;

use serde::Serialize;
use utoipa::ToSchema;

pub(crate) use self::{
    making::{How, make},
    trial::Trial,
};
use crate::{
    Result,
    events::{Event, Events},
    line::Line,
    store::{Store, VersionRow, as_rfc3339, from_millis},
};

/// A version of a line's model.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Version {
    /// Its number at this line.
    pub(crate) version: u32,
    /// The first 12 digits of the SHA-256 of its file.
    pub(crate) model: String,
    /// How it was made: `opened`, `recalibrated` or `trained`.
    pub(crate) made: String,
    /// The version that it was made of.
    pub(crate) from: Option<u32>,
    /// When.
    #[serde(serialize_with = "as_rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub(crate) created: SystemTime,
    /// Whether the line uses it.
    pub(crate) in_use: bool,
    /// `making`, `ready` or `failed`.
    pub(crate) state: String,
    /// How much of its making is done, from 0 to 1.
    pub(crate) progress: f64,
    /// What it was made of, or why it failed.
    pub(crate) note: Option<String>,
    /// What it would have done with the labelled pictures.
    pub(crate) trial: Option<Trial>,
}

/// The versions of a line's model, the newest first.
pub(crate) fn versions(line: &Line, store: &Store) -> Result<Vec<Version>> {
    let mut versions: Vec<_> = store
        .versions(&line.name)?
        .into_iter()
        .map(|row| version(row, line))
        .collect();
    versions.reverse();
    Ok(versions)
}

fn version(row: VersionRow, line: &Line) -> Version {
    Version {
        version: row.number,
        model: row.model,
        made: row.made,
        from: row.parent,
        created: from_millis(row.created),
        in_use: row.number == line.model().version,
        progress: match row.state.as_str() {
            "ready" => 1.0,
            "making" => line.progress(row.number),
            _ => 0.0,
        },
        state: row.state,
        note: row.note,
        trial: row.trial.as_deref().and_then(|trial| serde_json::from_str(trial).ok()),
    }
}

/// A version with its line.
#[derive(Debug, Serialize)]
struct Told<'a> {
    line: &'a str,
    #[serde(flatten)]
    version: Version,
}

/// Tells that a version came, went on or was put to use.
pub(crate) fn tell(line: &Line, events: &Events, version: Version) {
    let line = &line.name;
    events.send(Event::Version, &Told { line, version });
}
