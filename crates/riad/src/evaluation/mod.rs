//! Measures a model: on test images, on the user's own pictures, or on made-up defects.

mod at_threshold;
mod baseline;
mod painter;
mod results;
mod summary;
mod synthetic;
mod test_images;
mod test_set;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use riad_core::{
    Map,
    metrics::{self, Curve, F1Max, MetricError, PixelCurves, PixelMetrics},
};
use riad_data::{MadeUp, Pattern};
use riad_model::{Checkpoint, Roi};
use serde::Serialize;

pub(crate) use self::results::mean_of_baselines;
pub use self::{
    at_threshold::{AtThreshold, FlaggedImages, FlaggedPixels, ImageScore, Missed},
    painter::Painter,
    results::{Evaluation, Unmeasured, mean, write},
    summary::summary,
    synthetic::{Synthetic, SyntheticResult},
    test_set::{Sets, TestSet},
};
use self::{
    baseline::MeanImage,
    test_images::{TestImage, TestImages},
    test_set::told,
};
use crate::{
    Cancel, Error, Event, FalsePositiveRate, Observer, Result, Run, Threshold, Work,
    detector::{Compute, Detector},
    facts::facts,
    names::{relative, written},
    observer::Piece,
    run::history,
    settings::bands_of,
};

/// The default false-positive rate of evaluations.
pub const USUAL_RATE: f64 = 0.05;

/// Measures a run on known good and bad pictures, or on defects that are made up on good ones. The false-positive rate
/// is [`USUAL_RATE`]. The device is a GPU that this build can use, otherwise the CPU.
///
/// ```no_run
/// let run = riad::Run::open("runs/lid")?;
/// let evaluation = riad::evaluate(&run, riad::Sets::new().good("photos/ok").bad("photos/bad"), &())?;
/// println!("{}", evaluation.sentence());
/// # Ok::<(), riad::Error>(())
/// ```
///
/// # Errors
/// If the run has no weights, no pictures are given, or none of the good ones or none of the bad ones can be read.
pub fn evaluate(run: &Run, sets: Sets, observer: &dyn Observer) -> Result<Evaluation> {
    let model = run.folder();
    let compute = Compute::default();
    let test = TestSet::of_sets(model, &sets, run.bands(), &compute, observer)?;
    let measurement = Measurement::of(model).bands(run.bands().cloned()).compute(compute);
    measurement.measure(&test, observer)
}

/// A measurement of a model.
///
/// ```no_run
/// use riad::{
///     Run,
///     evaluation::{Measurement, TestSet},
/// };
///
/// let run = Run::open("runs/lid")?;
/// let test = TestSet::of_run(&run, &())?;
/// let evaluation = Measurement::of(run.folder()).rate(0.01).pictures(false).measure(&test, &())?;
/// # Ok::<(), riad::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Measurement {
    model: PathBuf,
    bands: Option<Pattern>,
    rate: FalsePositiveRate,
    baseline: bool,
    pictures: bool,
    compute: Option<Compute>,
    cancel: Cancel,
}

impl Measurement {
    /// Measures a run's folder or a checkpoint.
    pub fn of(model: impl Into<PathBuf>) -> Self {
        Self {
            model: model.into(),
            bands: None,
            rate: FalsePositiveRate::new(USUAL_RATE),
            baseline: false,
            pictures: true,
            compute: None,
            cancel: Cancel::new(),
        }
    }

    /// Which files make one image together. `None` is the default: as in the model's run, or else each file is an image.
    pub fn bands(mut self, bands: impl Into<Option<Pattern>>) -> Self {
        self.bands = bands.into();
        self
    }

    /// The rate of the threshold for verdicts: [`USUAL_RATE`] by default.
    pub fn rate(mut self, rate: impl Into<FalsePositiveRate>) -> Self {
        self.rate = rate.into();
        self
    }

    /// Whether the distance to the mean of the category's training images is measured, too, if it has some. The default is
    /// `false`.
    pub fn baseline(mut self, baseline: bool) -> Self {
        self.baseline = baseline;
        self
    }

    /// Whether pictures of every image are made for a report. The default is `true`.
    pub fn pictures(mut self, pictures: bool) -> Self {
        self.pictures = pictures;
        self
    }

    /// Where and how to compute. By default it is a GPU that this build can use, otherwise the CPU, in f32.
    pub fn compute(mut self, compute: Compute) -> Self {
        self.compute = Some(compute);
        self
    }

    /// Stops the measurement with [`Error::Cancelled`].
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    /// Measures the model on test images.
    ///
    /// # Errors
    /// If the model cannot be opened, there are no test images, or none can be read.
    pub fn measure(&self, test: &TestSet, observer: &dyn Observer) -> Result<Evaluation> {
        let category = &test.category;
        let checkpoint = Checkpoint::open(&self.model)?;
        let bands = bands_of(&self.model, self.bands.as_ref())?;
        let calibrated_with = test.calibrated_with(&checkpoint.header, bands.as_ref());
        let detector = Detector::options()
            .compute(self.compute.clone().unwrap_or_default())
            .bands(bands)
            .open_checkpoint(&checkpoint)?;
        let detector = detector.named(self.model.clone());
        let header = checkpoint.header.clone();
        // There is no mean of no images, nor of images of different sizes.
        let baseline = (self.baseline && !category.train.is_empty() && header.scoring.tiling.is_none())
            .then(|| MeanImage::of(category, &detector))
            .transpose()?;
        let findings = find((test, &calibrated_with), &detector, baseline.as_ref(), self, observer)?;
        let cautions: Vec<_> = test
            .caution
            .clone()
            .into_iter()
            .chain(cautions(test, &calibrated_with))
            .collect();
        Ok(Evaluation {
            name: test.name.clone(),
            data: written(&category.root),
            layout: category.layout,
            model: written(&self.model),
            history: history::read(&self.model, &header, observer),
            facts: facts(&checkpoint, &self.model)?,
            header,
            caution: (!cautions.is_empty()).then(|| cautions.join(" ")),
            roi_share: detector.roi().map(Roi::share),
            calibrated_otherwise: detector.calibrated_otherwise(),
            findings,
        })
    }
}

/// False-positive rate up to which AUPRO integrates, as in MVTec's evaluation.
pub const AUPRO_LIMIT: f64 = 0.3;

/// How near points of a curve may lie to be one: less than can be seen in a figure.
const CURVE_RESOLUTION: f64 = 2e-3;

/// The results for a category's test images.
#[non_exhaustive]
pub struct Findings {
    /// One for each of the category's test images, in their order.
    pub images: Vec<ImageScore>,
    /// How well scores and maps separate defects from good images and pixels.
    pub metrics: Metrics,
    /// The curves behind them.
    pub curves: Curves,
    /// The painter of the thumbnails, for their legend. `None` if there are no thumbnails.
    pub painter: Option<Painter>,
    /// The metrics of the mean image, if it was measured.
    pub baseline: Option<Metrics>,
    /// Verdicts of the threshold from the calibration, or why there is none.
    pub at_threshold: Result<AtThreshold, String>,
    /// Results for made-up defects, if there are any.
    pub synthetic: Option<Synthetic>,
    /// Defects without a mask, which count in image metrics only. Paths are those of [`ImageScore::path`].
    pub without_mask: Vec<String>,
    /// Faults of images, which are left out, and of masks.
    pub faults: Vec<String>,
}

/// The curves behind the metrics. A curve is `None` if its metric is.
#[derive(Default)]
#[non_exhaustive]
pub struct Curves {
    /// Over the images' scores.
    pub image: Option<ImageCurves>,
    /// Over the pixels of the maps.
    pub pixel: Option<PixelCurves>,
}

/// Curves over the images' scores.
#[non_exhaustive]
pub struct ImageCurves {
    /// True-positive rate over the false-positive rate.
    pub roc: Curve,
    /// Precision over recall.
    pub precision_recall: Curve,
    /// The area under that curve, by steps as in scikit-learn.
    pub average_precision: f64,
    /// The best harmonic mean of precision and recall, and its threshold.
    pub best_f1: F1Max,
}

/// Metrics as fractions of 1. `None` if the images do not define them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Metrics {
    /// Area under the ROC curve of the images' scores.
    pub image_auroc: Option<f64>,
    /// The same of the pixels.
    pub pixel_auroc: Option<f64>,
    /// Average precision of the pixels.
    pub pixel_ap: Option<f64>,
    /// Area under the per-region overlap up to [`AUPRO_LIMIT`], divided by that.
    pub aupro: Option<f64>,
    /// Of image scores, at the threshold that is best for these images.
    pub f1_max: Option<f64>,
    /// Why some metrics are `None`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub undefined: Vec<String>,
}

impl Metrics {
    /// The metrics in the order of their fields.
    pub(crate) fn all(&self) -> [Option<f64>; 5] {
        let Self {
            image_auroc,
            pixel_auroc,
            pixel_ap,
            aupro,
            f1_max,
            ..
        } = *self;
        [image_auroc, pixel_auroc, pixel_ap, aupro, f1_max]
    }

    /// Whether any metric is defined.
    pub fn any(&self) -> bool {
        self.all().iter().any(Option::is_some)
    }
}

/// What is said if some of the images are `calibrated_with`.
fn cautions(test: &TestSet, calibrated_with: &HashSet<&Path>) -> Vec<String> {
    let (bad, good): (Vec<_>, Vec<_>) = test.category.test.iter().partition(|item| item.is_defective());
    let [good_known, bad_known] = [&good, &bad].map(|items| {
        let known = items.iter().map(|item| item.path.as_path());
        known.filter(|path| calibrated_with.contains(path)).collect::<Vec<_>>()
    });
    let of_good = good_known.first().map(|first| {
        if good_known.len() == good.len() {
            return "The good images set the threshold. So they cannot show how many good ones are stopped.".to_owned();
        }
        format!(
            "{} of the {} good images set the threshold, {} first. They cannot show how many good ones are \
             stopped, so they do not count there.",
            good_known.len(),
            good.len(),
            first.display()
        )
    });
    let of_bad = bad_known.first().map(|first| {
        format!(
            "{} of the {} bad images set the threshold as good ones, {} first. So the threshold is too high. \
             Calibrate without them.",
            bad_known.len(),
            bad.len(),
            first.display()
        )
    });
    of_good.into_iter().chain(of_bad).collect()
}

/// Scores the test images and measures. The good images that the model is `calibrated_with` do not count as stopped or passed. Faults of
/// images and masks are told and noted, and the others are still measured.
fn find(
    (test, calibrated_with): (&TestSet, &HashSet<&Path>),
    model: &Detector,
    baseline: Option<&MeanImage>,
    measurement: &Measurement,
    observer: &dyn Observer,
) -> Result<Findings> {
    let category = &test.category;
    let total = category.test.len();
    if total == 0 {
        return Err(Error::NoTestImages {
            root: category.root.clone(),
        });
    }
    let threshold = model.threshold(measurement.rate);
    let mut at_threshold = match &threshold {
        Ok(threshold) => {
            let mut good = test.good().peekable();
            let set_by_good = good.peek().is_some() && good.all(|path| calibrated_with.contains(path));
            Ok(AtThreshold::new(threshold, set_by_good))
        }
        Err(reason) => Err(reason.to_string()),
    };
    let value = threshold.as_ref().map(Threshold::value).ok();
    let items: Vec<_> = test.items().collect();
    let painter = measurement.pictures.then(|| Painter::new(&items, model, value));
    let painter = painter.transpose()?;
    let mut loaded = TestImages::new(items, model);
    let mut images = Vec::with_capacity(total);
    let mut faults = test.faults.clone();
    let mut without_mask = Vec::new();
    let mut measures = Measures::default();
    let mut baseline_measures = Measures::default();
    let inside = model.roi().map(Roi::map);
    let work = Work::Measuring(&category.name);
    let piece = Piece::begin(observer, work, 0, total);
    while let Some(batch) = loaded.next_batch(observer)? {
        if measurement.cancel.reason().is_some() {
            return Err(Error::Cancelled);
        }
        let mut thumbnails = match &painter {
            Some(painter) => painter.thumbnails(&batch)?,
            None => Vec::new(),
        }
        .into_iter();
        for (image, scored) in &batch {
            let mut path = relative(&image.item.path, &category.root);
            // Several of a kind and a length can be on one image.
            if let Some(MadeUp { flaw, length, seed }) = image.made_up {
                path += &format!(" (made-up {flaw}, {length} px, seed {seed})");
            }
            measures.add(&scored.map, scored.score, image, inside)?;
            if let Ok(at_threshold) = &mut at_threshold {
                let set_the_threshold =
                    !image.item.is_defective() && calibrated_with.contains(image.item.path.as_path());
                at_threshold.add(&path, scored, (image, set_the_threshold), inside);
            }
            if let Some(baseline) = baseline {
                let map = baseline.map(&image.pixels)?;
                baseline_measures.add(&map, baseline::score(&map, inside), image, inside)?;
            }
            if image.mask.is_none() {
                without_mask.push(path.clone());
            }
            images.push(ImageScore {
                path,
                defect: image.item.defect.clone(),
                made_up: image.made_up,
                score: scored.score,
                thumbnails: thumbnails.next().unwrap_or_default(),
            });
        }
        note(&mut loaded.faults, &mut faults, observer);
        let done = images.len();
        observer.event(&Event::Progress { done, total });
    }
    note(&mut loaded.faults, &mut faults, observer);
    drop(piece);
    if images.is_empty() {
        return Err(Error::NoImages(format!(
            "none of the test images in {} could be read",
            category.root.display()
        )));
    }
    let (metrics, curves) = measures.finish()?;
    let baseline = baseline.is_some().then(|| baseline_measures.finish()).transpose()?;
    let baseline = baseline.map(|(metrics, _)| metrics);
    let synthetic = at_threshold.as_ref().ok().zip(test.seed);
    let synthetic = synthetic.and_then(|(at, seed)| Synthetic::new(&images, at, seed));
    Ok(Findings {
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
fn note(found: &mut Vec<Error>, faults: &mut Vec<String>, observer: &dyn Observer) {
    faults.extend(found.drain(..).map(|fault| told(&fault, observer)));
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
    /// Takes in an image. Pixels count if they are `inside`; the image keeps its label, even if its defect lies outside.
    fn add(&mut self, map: &Map, score: f32, image: &TestImage<'_>, inside: Option<&Map<bool>>) -> Result<()> {
        // The label is the folder's: a mask at the network's size may have lost a tiny defect.
        self.scores.push(score);
        self.defective.push(image.item.is_defective());
        self.with_mask |= image.item.is_defective() && image.mask.is_some();
        match (&image.mask, inside) {
            (Some(mask), None) => self.pixels.push(map, mask).map_err(Error::request)?,
            (Some(mask), Some(inside)) => self.pixels.push_inside(map, mask, inside).map_err(Error::request)?,
            (None, _) => self.without_mask = true,
        }
        Ok(())
    }

    fn finish(self) -> Result<(Metrics, Curves)> {
        let Self { scores, defective, .. } = &self;
        let mut undefined = Vec::new();
        let image_auroc = defined(metrics::auroc(scores, defective), "image level", &mut undefined)?;
        // F1 and precision with nothing but defects are 1 for any model.
        let of_images = |_| {
            Ok::<_, MetricError>(ImageCurves {
                roc: metrics::roc_curve(scores, defective, CURVE_RESOLUTION)?,
                precision_recall: metrics::precision_recall_curve(scores, defective, CURVE_RESOLUTION)?,
                average_precision: metrics::average_precision(scores, defective)?,
                best_f1: metrics::f1_max(scores, defective)?,
            })
        };
        let image = image_auroc.map(of_images).transpose().map_err(Error::request)?;
        // What the pixels of good images alone would lack is told by [`Findings::notes`].
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
        Err(error) => Err(Error::request(error)),
    }
}
