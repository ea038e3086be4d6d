//! Metrics over the pixels of a set of anomaly maps.

use super::ranking::{Ranking, Sample};
use super::{Curve, F1Max, MetricError, Thinned};
use crate::{Components, Map, components};

/// Collects the pixels of a test set map by map, and then computes the metrics of all pixels together.
///
/// A pixel takes 8 bytes. [`finish`](Self::finish) sorts the pixels in place, so it needs little more memory.
#[derive(Default)]
pub struct PixelMetrics {
    samples: Vec<Sample>,
    /// Number of pixels of each defect region; region r of the samples is entry r - 1.
    region_sizes: Vec<u64>,
}

/// How well scores separate good and defective pixels of a test set.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct PixelScores {
    /// Area under the receiver operating characteristic, in [0, 1].
    pub auroc: f64,
    /// Average precision, in [0, 1].
    pub average_precision: f64,
    /// Normalised area under the per-region overlap curve, in [0, 1].
    pub aupro: f64,
    /// The best F1 over all thresholds.
    pub f1_max: F1Max,
}

/// The curves whose areas and averages [`PixelScores`] holds.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PixelCurves {
    /// As [`roc_curve`](super::roc_curve) of the pixels.
    pub roc: Curve,
    /// As [`precision_recall_curve`](super::precision_recall_curve) of the pixels.
    pub precision_recall: Curve,
    /// The share of good pixels that are called defective (x) and the share of a defect region that is found, averaged
    /// over the regions (y), from (0, 0) to the limit of the false-positive rate.
    #[doc(alias = "pro_curve")]
    #[doc(alias = "per_region_overlap")]
    pub overlap: Curve,
}

impl PixelMetrics {
    /// A collector without pixels.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one image: its anomaly map, and its mask, which is true for defective pixels.
    ///
    /// Add good images, too, with no defective pixel: the false-positive rate is over all good pixels of the set.
    /// Defective pixels that touch, also at corners, form one region. So `defect` must be the mask at the map's size.
    ///
    /// # Errors
    /// Two sizes, or a NaN in the map. Nothing is added then.
    pub fn push(&mut self, map: &Map, defect: &Map<bool>) -> Result<(), MetricError> {
        check_sizes(map, "the mask of the defects", defect)?;
        self.add(map, defect, |_| true)
    }

    /// As [`push`](Self::push), but only pixels that are `inside` count. The part of a defect inside is a region, or
    /// several regions if it is not connected.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn push_inside(&mut self, map: &Map, defect: &Map<bool>, inside: &Map<bool>) -> Result<(), MetricError> {
        check_sizes(map, "the mask of the defects", defect)?;
        check_sizes(map, "the mask of what counts", inside)?;
        let inside = inside.values();
        let mut defect = defect.clone();
        let pixels = defect.values_mut().iter_mut().zip(inside);
        pixels.for_each(|(defect, inside)| *defect &= inside);
        self.add(map, &defect, |index| inside[index])
    }

    fn add(&mut self, map: &Map, defect: &Map<bool>, counts: impl Fn(usize) -> bool) -> Result<(), MetricError> {
        let map = map.values();
        if let Some(index) = map.iter().position(|score| score.is_nan()) {
            return Err(MetricError::NanScore { index });
        }
        if !defect.values().contains(&true) {
            let counting = map.iter().enumerate().filter(|&(index, _)| counts(index));
            self.samples
                .extend(counting.filter_map(|(_, &score)| Sample::new(score, 0)));
            return Ok(());
        }
        let Components { labels: regions, count } = components(defect).ok_or(MetricError::TooLarge)?;
        let before = u32::try_from(self.region_sizes.len()).map_err(|_| MetricError::TooLarge)?;
        let after = before.checked_add(count).ok_or(MetricError::TooLarge)?;

        self.region_sizes.resize(after as usize, 0);
        self.samples.reserve(map.len());
        let pixels = map.iter().zip(&regions).enumerate();
        for (_, (&score, &region)) in pixels.filter(|&(index, _)| counts(index)) {
            let region = if region == 0 { 0 } else { before + region };
            if let Some(index) = (region as usize).checked_sub(1) {
                self.region_sizes[index] += 1;
            }
            self.samples.extend(Sample::new(score, region));
        }
        Ok(())
    }

    /// Ranks all pixels and measures. `limit` is the false-positive rate up to which the per-region overlap is
    /// integrated; MVTec's evaluation takes 0.3.
    ///
    /// AUPRO is as MVTec defines it. For every threshold, x is the share of good pixels that are called defective. y is
    /// the share of a defect region that is found, averaged over all regions of the set. The curve starts at (0, 0),
    /// and has the last point of every group of equal scores. It is integrated by trapezoids up to the limit, with
    /// interpolation at the limit. The integral is divided by the limit.
    ///
    /// # Errors
    /// No pixels, pixels of one class only, or a `limit` outside (0, 1].
    pub fn finish(self, limit: f64) -> Result<PixelScores, MetricError> {
        let (scores, ..) = self.rank(limit, f64::INFINITY)?;
        Ok(scores)
    }

    /// As [`finish`](Self::finish), with the curves. `resolution` thins them, see [`Curve`].
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn finish_with_curves(self, limit: f64, resolution: f64) -> Result<(PixelScores, PixelCurves), MetricError> {
        let (scores, overlap, ranking) = self.rank(limit, resolution)?;
        let curves = PixelCurves {
            roc: ranking.roc_curve(resolution)?,
            precision_recall: ranking.precision_recall_curve(resolution)?,
            overlap,
        };
        Ok((scores, curves))
    }

    /// The scores, the curve of the overlap, and the ranking from which the other curves are computed.
    fn rank(self, limit: f64, resolution: f64) -> Result<(PixelScores, Curve, Ranking), MetricError> {
        if !(limit > 0.0 && limit <= 1.0) {
            return Err(MetricError::Limit);
        }
        let ranking = Ranking::new(self.samples)?;
        let auroc = ranking.auroc()?;
        let (aupro, overlap) = overlap(&ranking, &self.region_sizes, limit, resolution);
        let scores = PixelScores {
            auroc,
            average_precision: ranking.average_precision()?,
            aupro,
            f1_max: ranking.f1_max()?,
        };
        Ok((scores, overlap, ranking))
    }
}

fn check_sizes(map: &Map, what: &'static str, mask: &Map<bool>) -> Result<(), MetricError> {
    let (map, mask) = (map.size(), mask.size());
    if map == mask {
        Ok(())
    } else {
        Err(MetricError::Sizes { map, what, mask })
    }
}

/// Normalised area under the per-region overlap up to `limit`, and the curve. The ranking has pixels of both classes.
fn overlap(ranking: &Ranking, region_sizes: &[u64], limit: f64, resolution: f64) -> (f64, Curve) {
    let regions = region_sizes.len() as f64;
    // What one pixel of each region, and a good pixel, adds to the mean overlap.
    let shares: Vec<f64> = std::iter::once(0.0)
        .chain(region_sizes.iter().map(|&size| 1.0 / (size as f64 * regions)))
        .collect();
    let good = ranking.good() as f64;
    let mut curve = Thinned::new([0.0, 0.0], resolution);
    let (mut false_positives, mut rate, mut overlap, mut area) = (0usize, 0.0, 0.0, 0.0);
    for group in ranking.groups() {
        false_positives += group.iter().filter(|sample| sample.region() == 0).count();
        let next_rate = false_positives as f64 / good;
        let next_overlap = overlap + group.iter().map(|sample| shares[sample.region() as usize]).sum::<f64>();
        if next_rate > limit {
            let overlap_at_limit = overlap + (next_overlap - overlap) * (limit - rate) / (next_rate - rate);
            area += (limit - rate) * (overlap + overlap_at_limit) / 2.0;
            curve.push([limit, overlap_at_limit]);
            break;
        }
        area += (next_rate - rate) * (overlap + next_overlap) / 2.0;
        (rate, overlap) = (next_rate, next_overlap);
        curve.push([rate, overlap]);
    }
    (area / limit, curve.finish())
}
