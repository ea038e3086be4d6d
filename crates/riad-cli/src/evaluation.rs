//! Measures a model on a category's test images.

use anyhow::{Result, bail};
use riad_core::{
    Map,
    metrics::{self, Curve, F1Max, MetricError, PixelCurves, PixelMetrics},
};
use riad_data::MadeUp;
use riad_model::Roi;
use serde::Serialize;
use tracing::error;

use crate::{
    at_threshold::{AtThreshold, ImageScore},
    baseline::MeanImage,
    calibration::Threshold,
    names::{plain, relative},
    picture::Painter,
    progress::Progress,
    scoring::Model,
    synthetic::Synthetic,
    test_images::{TestImage, TestImages},
    test_set::TestSet,
    usage,
    way_out::told,
};

/// False-positive rate up to which AUPRO integrates, as in MVTec's evaluation.
pub(crate) const AUPRO_LIMIT: f64 = 0.3;

/// Images that a note names; more are only counted.
const NAMED: usize = 8;

/// How near points of a curve may lie to be one: less than can be seen in a figure.
const CURVE_RESOLUTION: f64 = 2e-3;

/// How well a model does on a category.
pub(crate) struct Evaluation {
    /// One for each of the category's test images, in their order.
    pub(crate) images: Vec<ImageScore>,
    pub(crate) metrics: Metrics,
    pub(crate) curves: Curves,
    /// What drew the thumbnails, for their legend.
    pub(crate) painter: Painter,
    /// The mean image's metrics, if it was measured too.
    pub(crate) baseline: Option<Metrics>,
    /// What a threshold does that was set beforehand, or why there is none.
    pub(crate) at_threshold: Result<AtThreshold, String>,
    /// What was found of defects that were made up, if any were.
    pub(crate) synthetic: Option<Synthetic>,
    /// The defects whose pixels are not known, which are measured as images alone, as in [`ImageScore::path`].
    pub(crate) without_mask: Vec<String>,
    /// What was wrong with images, which are left out then, and with masks.
    pub(crate) faults: Vec<String>,
}

impl Evaluation {
    /// What readers must know of the numbers.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = self.metrics.undefined.clone();
        let defective = self.images.iter().filter(|image| image.defect.is_some()).count();
        match self.without_mask.as_slice() {
            [] => {}
            all if all.len() == defective => {
                notes.push("pixel level: undefined, for no defect has a mask that could be used".to_owned());
            }
            some => {
                let (named, more) = some.split_at(some.len().min(NAMED));
                let more = match more.len() {
                    0 => String::new(),
                    more => format!(" and {more} more, which results.json names"),
                };
                notes.push(format!(
                    "pixel level: over {} of {} images; of {} defects {} have no mask that could be used: {}{more}",
                    self.images.len() - some.len(),
                    self.images.len(),
                    defective,
                    some.len(),
                    named.join(", ")
                ));
            }
        }
        if !self.faults.is_empty() {
            notes.push(format!(
                "not all is measured; {} faults were found: {}",
                self.faults.len(),
                self.faults.join("; ")
            ));
        }
        notes
    }
}

/// What the metrics are areas and points of; `None` as they are.
#[derive(Default)]
pub(crate) struct Curves {
    pub(crate) image: Option<ImageCurves>,
    pub(crate) pixel: Option<PixelCurves>,
}

/// Curves over the images' scores.
pub(crate) struct ImageCurves {
    pub(crate) roc: Curve,
    pub(crate) precision_recall: Curve,
    pub(crate) average_precision: f64,
    pub(crate) best_f1: F1Max,
}

/// Metrics as fractions of 1; `None` where the images do not define them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Metrics {
    pub(crate) image_auroc: Option<f64>,
    pub(crate) pixel_auroc: Option<f64>,
    pub(crate) pixel_ap: Option<f64>,
    pub(crate) aupro: Option<f64>,
    /// Over the images' scores, at the threshold that is best for these very images.
    pub(crate) f1_max: Option<f64>,
    /// Why some are `None`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) undefined: Vec<String>,
}

impl Metrics {
    /// Whether any is defined.
    pub(crate) fn any(&self) -> bool {
        let Self {
            image_auroc,
            pixel_auroc,
            pixel_ap,
            aupro,
            f1_max,
            ..
        } = self;
        [image_auroc, pixel_auroc, pixel_ap, aupro, f1_max]
            .iter()
            .any(|metric| metric.is_some())
    }
}

/// Scores the test images and measures. With `baseline`, its maps are measured on the same images. What the `threshold` flags
/// is counted, if there is one.
///
/// Images and masks that cannot be read are told and noted, and keep the others from nothing.
///
/// Images and masks that cannot be read are told and noted, and keep the others from nothing.
///
/// # Errors
/// If there are no test images, or none can be read.
pub(crate) fn evaluate(
    test: &TestSet,
    model: &Model,
    baseline: Option<&MeanImage>,
    threshold: Result<Threshold>,
) -> Result<Evaluation> {
    let category = &test.category;
    if category.test.is_empty() {
        return Err(usage(format!(
            "{} has no test images to measure on; MVTec AD's layout keeps them in test/good and test/<defect>",
            category.root.display()
        )));
    }
    let mut at_threshold = match &threshold {
        Ok(threshold) => Ok(AtThreshold::new(threshold, test.set_the_threshold)),
        Err(reason) => Err(format!("{reason:#}")),
    };
    let painter = Painter::new(
        &test.items().collect::<Vec<_>>(),
        model,
        threshold.ok().map(|threshold| threshold.value),
    )?;
    let mut loaded = TestImages::new(test.items(), model);
    let mut images = Vec::with_capacity(category.test.len());
    let mut faults: Vec<String> = category.test_faults.iter().map(|fault| plain(&told(fault))).collect();
    faults.extend(test.faults.iter().cloned());
    let mut without_mask = Vec::new();
    let mut measures = Measures::default();
    let mut baseline_measures = Measures::default();
    let inside = model.roi().map(Roi::map);
    let mut progress = Progress::start(&category.name, "image", 0, category.test.len() as u64);
    while let Some(batch) = loaded.next_batch()? {
        let thumbnails = painter.thumbnails(&batch)?;
        for ((image, scored), thumbnails) in batch.iter().zip(thumbnails) {
            let mut path = relative(&image.item.path, &category.root);
            if let Some(MadeUp { flaw, length, .. }) = image.made_up {
                path += &format!(" (made-up {flaw}, {length} px)");
            }
            measures.add(&scored.map, scored.score, image, inside)?;
            if let Ok(at_threshold) = &mut at_threshold {
                at_threshold.add(&path, scored, image, inside);
            }
            if let Some(baseline) = baseline {
                let map = baseline.map(&image.pixels)?;
                baseline_measures.add(&map, map.max().unwrap_or_default(), image, inside)?;
            }
            if image.mask.is_none() {
                without_mask.push(path.clone());
            }
            images.push(ImageScore {
                path,
                defect: image.item.defect.clone(),
                made_up: image.made_up,
                score: scored.score,
                thumbnails,
            });
        }
        note(&mut loaded.faults, &mut faults);
        progress.tell(images.len() as u64, String::new);
    }
    note(&mut loaded.faults, &mut faults);
    if images.is_empty() {
        bail!("none of the test images in {} could be read", category.root.display());
    }
    let (metrics, curves) = measures.finish()?;
    let baseline = baseline.is_some().then(|| baseline_measures.finish()).transpose()?;
    let baseline = baseline.map(|(metrics, _)| metrics);
    let synthetic = at_threshold.as_ref().ok().zip(test.seed);
    let synthetic = synthetic.and_then(|(at, seed)| Synthetic::new(&images, at, seed));
    Ok(Evaluation {
        images,
        metrics,
        curves,
        painter,
        baseline,
        at_threshold,
        synthetic,
        without_mask,
        faults,
    })
}

/// Tells of faults as they are found, and notes them.
fn note(found: &mut Vec<String>, faults: &mut Vec<String>) {
    found.iter().for_each(|fault| error!("{fault}"));
    faults.append(found);
}

/// Collects what the metrics are computed from.
#[derive(Default)]
struct Measures {
    scores: Vec<f32>,
    defective: Vec<bool>,
    pixels: PixelMetrics,
    /// Whether there are defects whose pixels are not known.
    without_mask: bool,
    /// Whether there are some whose pixels are.
    with_mask: bool,
}

impl Measures {
    /// Takes in an image. Pixels count if they are `inside`; the image's label is what it was, even if its defect is not.
    fn add(&mut self, map: &Map, score: f32, image: &TestImage<'_>, inside: Option<&Map<bool>>) -> Result<()> {
        // The label is the folder's: a mask at the network's size may have lost a tiny defect.
        self.scores.push(score);
        self.defective.push(image.item.is_defective());
        self.with_mask |= image.item.is_defective() && image.mask.is_some();
        match (&image.mask, inside) {
            (Some(mask), None) => self.pixels.push(map, mask)?,
            (Some(mask), Some(inside)) => self.pixels.push_inside(map, mask, inside)?,
            (None, _) => self.without_mask = true,
        }
        Ok(())
    }

    fn finish(self) -> Result<(Metrics, Curves)> {
        let Self { scores, defective, .. } = &self;
        let mut undefined = Vec::new();
        let image_auroc = defined(metrics::auroc(scores, defective), "image level", &mut undefined)?;
        // F1 and precision with nothing but defects are 1 for any model.
        let image = image_auroc
            .map(|_| {
                Ok::<_, MetricError>(ImageCurves {
                    roc: metrics::roc_curve(scores, defective, CURVE_RESOLUTION)?,
                    precision_recall: metrics::precision_recall_curve(scores, defective, CURVE_RESOLUTION)?,
                    average_precision: metrics::average_precision(scores, defective)?,
                    best_f1: metrics::f1_max(scores, defective)?,
                })
            })
            .transpose()?;
        // What the pixels of good images alone would lack is told by [`Evaluation::notes`].
        let (pixels, pixel) = if self.without_mask && !self.with_mask {
            None
        } else {
            let measured = self.pixels.finish_with_curves(AUPRO_LIMIT, CURVE_RESOLUTION);
            defined(measured, "pixel level", &mut undefined)?
        }
        .unzip();
        let metrics = Metrics {
            image_auroc,
            pixel_auroc: pixels.map(|pixels| pixels.auroc),
            pixel_ap: pixels.map(|pixels| pixels.average_precision),
            aupro: pixels.map(|pixels| pixels.aupro),
            f1_max: image.as_ref().map(|curves| curves.best_f1.f1),
            undefined,
        };
        Ok((metrics, Curves { image, pixel }))
    }
}

/// A metric's value, or `None` with the reason noted where there are only good or only defective samples.
fn defined<T>(metric: Result<T, MetricError>, level: &str, undefined: &mut Vec<String>) -> Result<Option<T>> {
    match metric {
        Ok(value) => Ok(Some(value)),
        Err(error @ (MetricError::NoDefects { .. } | MetricError::NoGood { .. })) => {
            let reason = format!("{level}: {error}");
            if !undefined.contains(&reason) {
                undefined.push(reason);
            }
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
