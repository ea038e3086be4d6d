//! What a new model finds.

use riad::{
    Cancel, Compute, FalsePositiveRate, Observer, Sets, Suspects,
    evaluation::{Measurement, Synthetic, TestSet},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Draft,
    pictures::{Suspect, named},
};
use crate::{Error, Result, store::Store};

/// Draws the made-up defects. Every model is tried on the same.
const SEED: u64 = 0;

/// What a new model finds, and what it is good for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Found {
    /// From which size on it finds which made-up defects.
    sentence: String,
    /// What to know about that.
    note: String,
    /// Lengths of made-up defects, in pixels of the pictures.
    lengths: Vec<usize>,
    /// What was found of each kind.
    kinds: Vec<FoundOfKind>,
    /// The false-positive rate that verdicts are given for.
    rate: f64,
    /// The highest score that is called good.
    threshold: f32,
    /// What its calibration promises, and which rates it allows.
    promise: String,
    /// The smallest rate that it allows.
    smallest_rate: f64,
    /// Good pictures that a person should look at, now that a model has seen them.
    suspects: Vec<Suspect>,
}

/// What was found of a kind of made-up defects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct FoundOfKind {
    /// What several of it are called.
    name: String,
    /// The length from which on 9 of 10 are found.
    from: Option<usize>,
    /// For each length, how many were found, and of how many; null where none could be made.
    #[schema(value_type = Vec<Option<Vec<usize>>>)]
    found: Vec<Option<(usize, usize)>>,
}

impl Found {
    /// Tries the model of a draft's run on defects that are made up on pictures which it did not learn from.
    pub(super) fn of(
        draft: &Draft,
        store: &Store,
        rate: FalsePositiveRate,
        (compute, cancel, observer): (&Compute, &Cancel, &dyn Observer),
    ) -> Result<Self> {
        let run = draft.run();
        let sets = Sets::new().synthetic(SEED);
        let test = TestSet::of_sets(&run, &sets, None, compute, observer)?;
        let measurement = Measurement::of(&run)
            .rate(rate)
            .pictures(false)
            .compute(compute.clone())
            .cancel(cancel.clone());
        let evaluation = measurement.measure(&test, observer)?;
        let findings = evaluation.findings;
        let at = findings.at_threshold.map_err(Error::Request)?;
        let made_up = findings
            .synthetic
            .ok_or_else(|| Error::Request("no defect could be made up on the pictures".to_owned()))?;
        let calibration = evaluation
            .header
            .calibration
            .ok_or_else(|| Error::Request("too few pictures were held out for a threshold".to_owned()))?;
        let pictures = store.good(&draft.name)?;
        let suspects = Suspects::listed(&run.join("suspects.txt"))?;
        Ok(Self {
            sentence: made_up.sentence(),
            note: evaluation.caution.unwrap_or_default(),
            lengths: made_up.lengths(),
            kinds: kinds(&made_up),
            rate: rate.rate,
            threshold: at.threshold,
            promise: riad::rates_in_words_at(&calibration, rate),
            smallest_rate: calibration.smallest_rate(),
            suspects: named(&pictures, suspects),
        })
    }
}

fn kinds(made_up: &Synthetic) -> Vec<FoundOfKind> {
    let lengths = made_up.lengths();
    let kinds = made_up.kinds().map(|flaw| FoundOfKind {
        name: flaw.plural().to_owned(),
        from: made_up.found_from.get(flaw.name()).copied().flatten(),
        found: lengths
            .iter()
            .map(|&length| made_up.count(flaw, length).map(|count| (count.flagged, count.of)))
            .collect(),
    });
    kinds.collect()
}
