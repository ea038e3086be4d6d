//! A version of a line's model, ready to look at pictures.

use std::{path::Path, time::Instant};

use riad::{Detector, FalsePositiveRate, Inspection, Threshold};

use crate::{
    Result,
    store::{Part, Verdict},
};

/// A version of a line's model, ready to look at pictures.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) version: u32,
    pub(crate) detector: Detector,
    pub(crate) threshold: Threshold,
}

/// What a model says of a picture.
#[derive(Debug)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    pub(crate) reason: Option<String>,
    pub(crate) found: Option<Inspection>,
    pub(crate) regions: Vec<Part>,
    /// How long it took, in milliseconds.
    pub(crate) ms: f64,
}

impl Model {
    /// A version that judges at a rate.
    ///
    /// # Errors
    /// If it is not calibrated for that rate.
    pub(crate) fn new(version: u32, detector: Detector, rate: FalsePositiveRate) -> Result<Self> {
        let threshold = detector.threshold(rate)?;
        Ok(Self {
            version,
            detector,
            threshold,
        })
    }

    /// By what its results are told from those of others.
    pub(crate) fn id(&self) -> &str {
        self.detector.id().unwrap_or_default()
    }

    /// Looks at the picture in a file.
    pub(crate) fn judge(&self, picture: &Path) -> Judgement {
        self.judged(picture, || self.detector.inspect_file(picture))
    }

    /// Looks at the picture in a file's content.
    pub(crate) fn judge_bytes(&self, bytes: &[u8]) -> Judgement {
        self.judged(Path::new(""), || self.detector.inspect_bytes(bytes))
    }

    fn judged(&self, picture: &Path, inspect: impl FnOnce() -> riad::Result<Inspection>) -> Judgement {
        let begun = Instant::now();
        let found = inspect();
        let ms = begun.elapsed().as_secs_f64() * 1e3;
        match found {
            // No threshold holds for it, and it must not pass.
            Ok(found) if !found.score().is_finite() => Judgement {
                verdict: Verdict::Error,
                reason: Some("the model gives no score for this picture".to_owned()),
                found: None,
                regions: Vec::new(),
                ms,
            },
            Ok(found) => {
                let judged = found.judged(&self.threshold);
                Judgement {
                    verdict: judged.verdict.into(),
                    reason: judged.reason,
                    regions: judged.regions.into_iter().map(Part::from).collect(),
                    found: Some(found),
                    ms,
                }
            }
            Err(error) => Judgement {
                verdict: Verdict::Error,
                // The file's name is the store's own, and tells its sender nothing.
                reason: Some(without(&error.to_string(), picture)),
                found: None,
                regions: Vec::new(),
                ms,
            },
        }
    }
}

/// A message about a file without its name.
pub(crate) fn without(message: &str, file: &Path) -> String {
    let name = file.display().to_string();
    if name.is_empty() {
        return message.to_owned();
    }
    match message.strip_prefix(&format!("{name}: ")) {
        Some(rest) => rest.to_owned(),
        None => message.replace(&name, "the picture"),
    }
}
