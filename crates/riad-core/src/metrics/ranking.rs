//! Samples in the order of their scores. Each metric is one pass over them.

use rayon::prelude::*;

use super::{Curve, F1Max, MetricError, Thinned};

/// A score, and the number of the sample's defect region (0 for good), in eight bytes. The order of these bytes is that
/// of falling scores. So 10⁸ pixels fit in 800 MB, and can be sorted in place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sample(u64);

impl Sample {
    /// None if the score is NaN.
    pub(super) fn new(score: f32, region: u32) -> Option<Self> {
        if score.is_nan() {
            return None;
        }
        // Adding 0 makes -0 equal to 0. Flipping all bits of a negative number, and the sign of others, makes the bit
        // patterns of floats rise with their values; the complement makes them fall.
        let bits = (score + 0.0).to_bits();
        let rising = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
        Some(Self(u64::from(!rising) << 32 | u64::from(region)))
    }

    fn same_score(&self, other: &Self) -> bool {
        self.0 >> 32 == other.0 >> 32
    }

    fn score(self) -> f32 {
        let rising = !((self.0 >> 32) as u32);
        f32::from_bits(if rising >> 31 == 1 {
            rising & !(1 << 31)
        } else {
            !rising
        })
    }

    pub(super) fn region(self) -> u32 {
        self.0 as u32
    }
}

/// At least one sample, highest score first.
pub(super) struct Ranking {
    samples: Vec<Sample>,
    defects: usize,
}

impl Ranking {
    pub(super) fn new(mut samples: Vec<Sample>) -> Result<Self, MetricError> {
        if samples.is_empty() {
            return Err(MetricError::Empty);
        }
        samples.par_sort_unstable();
        let defects = samples.par_iter().filter(|sample| sample.region() != 0).count();
        Ok(Self { samples, defects })
    }

    pub(super) fn good(&self) -> usize {
        self.samples.len() - self.defects
    }

    /// The samples in groups of equal score, highest first.
    pub(super) fn groups(&self) -> impl Iterator<Item = &[Sample]> {
        self.samples.chunk_by(Sample::same_score)
    }

    pub(super) fn require_defects(&self) -> Result<(), MetricError> {
        if self.defects == 0 {
            Err(MetricError::NoDefects {
                count: self.samples.len(),
            })
        } else {
            Ok(())
        }
    }

    pub(super) fn require_good(&self) -> Result<(), MetricError> {
        if self.good() == 0 {
            Err(MetricError::NoGood {
                count: self.samples.len(),
            })
        } else {
            Ok(())
        }
    }

    pub(super) fn auroc(&self) -> Result<f64, MetricError> {
        self.require_defects()?;
        self.require_good()?;
        // Twice the number of (defect, good) pairs in the right order, ties counting one: whole numbers, so exact.
        let mut twice_ordered = 0u128;
        let mut defects_above = 0u128;
        for group in self.groups() {
            let defects = count_defects(group) as u128;
            let good = group.len() as u128 - defects;
            twice_ordered += good * (2 * defects_above + defects);
            defects_above += defects;
        }
        Ok(twice_ordered as f64 / (2 * self.defects as u128 * self.good() as u128) as f64)
    }

    pub(super) fn average_precision(&self) -> Result<f64, MetricError> {
        self.require_defects()?;
        let (mut called, mut found) = (0, 0);
        let mut sum = 0.0;
        for group in self.groups() {
            let defects = count_defects(group);
            called += group.len();
            found += defects;
            sum += defects as f64 * (found as f64 / called as f64);
        }
        Ok(sum / self.defects as f64)
    }

    pub(super) fn f1_max(&self) -> Result<F1Max, MetricError> {
        self.require_defects()?;
        let (mut called, mut found) = (0, 0);
        let mut best = F1Max {
            f1: 0.0,
            threshold: f32::INFINITY,
            precision: 0.0,
            recall: 0.0,
        };
        for group in self.groups() {
            called += group.len();
            found += count_defects(group);
            // 2 p r / (p + r) without the quotients.
            let f1 = 2.0 * found as f64 / (called + self.defects) as f64;
            if f1 > best.f1 {
                best = F1Max {
                    f1,
                    threshold: group[0].score(),
                    precision: found as f64 / called as f64,
                    recall: found as f64 / self.defects as f64,
                };
            }
        }
        Ok(best)
    }

    pub(super) fn roc_curve(&self, resolution: f64) -> Result<Curve, MetricError> {
        self.require_defects()?;
        self.require_good()?;
        let mut curve = Thinned::new([0.0, 0.0], resolution);
        let (mut called, mut found) = (0, 0);
        for group in self.groups() {
            called += group.len();
            found += count_defects(group);
            curve.push([
                (called - found) as f64 / self.good() as f64,
                found as f64 / self.defects as f64,
            ]);
        }
        Ok(curve.finish())
    }

    pub(super) fn precision_recall_curve(&self, resolution: f64) -> Result<Curve, MetricError> {
        self.require_defects()?;
        let mut curve = Thinned::new([0.0, 1.0], resolution);
        let (mut called, mut found) = (0, 0);
        for group in self.groups() {
            called += group.len();
            found += count_defects(group);
            curve.push([found as f64 / self.defects as f64, found as f64 / called as f64]);
        }
        Ok(curve.finish())
    }
}

fn count_defects(group: &[Sample]) -> usize {
    group.iter().filter(|sample| sample.region() != 0).count()
}
