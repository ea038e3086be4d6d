//! A line about an image.

use std::time::SystemTime;

use riad_core::Region;
use serde::{Deserialize, Serialize};

use super::folder::Identity;
use crate::Verdict;

/// What all lines of one start have in common, by which those of another start are told apart.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) threshold: Option<f32>,
    /// The false-positive rate that was asked for.
    pub(super) rate: Option<f64>,
    /// The first digits of the checkpoint's SHA-256.
    pub(super) model: String,
}

/// What is to be written of an image: a score, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Line {
    path: String,
    size: u64,
    #[serde(serialize_with = "rfc3339::serialize")]
    modified: SystemTime,
    pub(super) score: Option<f32>,
    pub(super) p_value: Option<f64>,
    pub(super) verdict: Option<Verdict>,
    threshold: Option<f32>,
    rate: Option<f64>,
    model: String,
    riad_version: &'static str,
    pub(super) error: Option<String>,
    /// What is above the threshold. Each format has its own way to write it.
    #[serde(skip)]
    pub(super) regions: Option<Vec<Region>>,
}

impl Line {
    /// A line that says nothing of the image yet.
    pub(super) fn of(identity: Identity, origin: &Origin) -> Self {
        let Identity { path, size, modified } = identity;
        Self {
            path,
            size,
            modified,
            score: None,
            p_value: None,
            verdict: None,
            threshold: origin.threshold,
            rate: origin.rate,
            model: origin.model.clone(),
            riad_version: env!("CARGO_PKG_VERSION"),
            error: None,
            regions: None,
        }
    }

    pub(super) fn identity(&self) -> Identity {
        Identity {
            path: self.path.clone(),
            size: self.size,
            modified: self.modified,
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        Outcome::of(self.verdict, self.error.is_some())
    }
}

/// What a line says in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Good, or not judged.
    Scored,
    /// Defective, or not this product.
    Rejected,
    /// It could not be scored.
    Failed,
}

impl Outcome {
    fn of(verdict: Option<Verdict>, has_error: bool) -> Self {
        match verdict {
            _ if has_error => Self::Failed,
            Some(Verdict::Defective | Verdict::NotThisProduct) => Self::Rejected,
            Some(Verdict::Good) | None => Self::Scored,
        }
    }
}

/// What is needed of a line that is in the file. The rest would take memory.
#[derive(Deserialize)]
pub(super) struct Written {
    path: String,
    size: u64,
    #[serde(deserialize_with = "rfc3339::deserialize")]
    modified: SystemTime,
    verdict: Option<Verdict>,
    error: Option<String>,
}

impl From<Written> for (Identity, Outcome) {
    fn from(written: Written) -> Self {
        let outcome = Outcome::of(written.verdict, written.error.is_some());
        let Written {
            path, size, modified, ..
        } = written;
        (Identity { path, size, modified }, outcome)
    }
}

/// Times as people read them, to the nanosecond, so that they come back equal.
mod rfc3339 {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_rfc3339_nanos(*time))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        humantime::parse_rfc3339(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
