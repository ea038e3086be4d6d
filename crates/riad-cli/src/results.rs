//! What an evaluation writes and prints: `results.json`, `scores.csv`, and the table.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};
use riad_model::{EpochRecord, Header, ScoringSettings, TrainConfig};
use serde::Serialize;

mod text;

pub(crate) use text::{sentence, text};

use crate::{
    at_threshold::AtThreshold,
    evaluation::{AUPRO_LIMIT, Evaluation, Metrics},
    facts::Fact,
    files::write_whole,
    run::preset_name,
    synthetic::Synthetic,
};

/// A category's evaluation and where it comes from.
pub(crate) struct CategoryResult {
    pub(crate) name: String,
    pub(crate) data: String,
    pub(crate) model: String,
    pub(crate) header: Header,
    /// What the model is, in words.
    pub(crate) facts: Vec<Fact>,
    /// The losses of its training, epoch by epoch, as far as they are known.
    pub(crate) history: Vec<EpochRecord>,
    /// What readers must know before they take the numbers for those of a test.
    pub(crate) caution: Option<String>,
    /// The share of the images that is looked at; `None` without a region of interest.
    pub(crate) roi_share: Option<f64>,
    pub(crate) evaluation: Evaluation,
}

/// A category that could not be measured, and why.
#[derive(Debug, Serialize)]
pub(crate) struct Unmeasured {
    pub(crate) name: String,
    pub(crate) reason: String,
}

#[derive(Serialize)]
struct ResultsFile<'a> {
    categories: BTreeMap<&'a str, CategoryMetrics<'a>>,
    /// Categories that could not be measured, and why.
    #[serde(skip_serializing_if = "<[Unmeasured]>::is_empty")]
    unmeasured: &'a [Unmeasured],
    settings: Settings<'a>,
    versions: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
struct CategoryMetrics<'a> {
    #[serde(flatten)]
    metrics: &'a Metrics,
    images: usize,
    /// Defects that count as images alone; empty where all have masks.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    without_mask: &'a [String],
    /// What keeps images from being measured, or masks from being used.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    faults: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    at_threshold: Option<&'a AtThreshold>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_threshold: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    synthetic: Option<&'a Synthetic>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caution: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_image: Option<&'a Metrics>,
}

#[derive(Serialize)]
struct Settings<'a> {
    aupro_limit: f64,
    models: BTreeMap<&'a str, ModelSettings<'a>>,
}

#[derive(Serialize)]
struct ModelSettings<'a> {
    model: &'a str,
    data: &'a str,
    preset: String,
    width: usize,
    scoring: &'a ScoringSettings,
    training: &'a Option<TrainConfig>,
    seed: Option<u64>,
    best_epoch: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roi_share: Option<f64>,
}

/// Writes `results.json` and `scores.csv` to `out`.
pub(crate) fn write(out: &Path, results: &[CategoryResult], unmeasured: &[Unmeasured]) -> Result<()> {
    let categories = results.iter().map(|result| {
        let Evaluation {
            images,
            metrics,
            baseline,
            at_threshold,
            synthetic,
            without_mask,
            faults,
            ..
        } = &result.evaluation;
        let metrics = CategoryMetrics {
            metrics,
            images: images.len(),
            without_mask,
            faults,
            at_threshold: at_threshold.as_ref().ok(),
            no_threshold: at_threshold.as_ref().err().map(String::as_str),
            synthetic: synthetic.as_ref(),
            caution: result.caution.as_deref(),
            mean_image: baseline.as_ref(),
        };
        (result.name.as_str(), metrics)
    });
    let models = results.iter().map(
        |CategoryResult {
             name,
             data,
             model,
             header,
             roi_share,
             ..
         }| {
            let settings = ModelSettings {
                model,
                data,
                preset: preset_name(header.architecture.width),
                width: header.architecture.width,
                scoring: &header.scoring,
                training: &header.training,
                seed: header.training.as_ref().map(|training| training.seed),
                best_epoch: header.progress.as_ref().map(|progress| progress.best_epoch),
                roi_share: *roi_share,
            };
            (name.as_str(), settings)
        },
    );
    let file = ResultsFile {
        categories: categories.collect(),
        unmeasured,
        settings: Settings {
            aupro_limit: AUPRO_LIMIT,
            models: models.collect(),
        },
        versions: BTreeMap::from([("riad", env!("CARGO_PKG_VERSION"))]),
    };
    let json = serde_json::to_vec_pretty(&file).context("the results cannot be written down")?;
    write_whole(&out.join("scores.csv"), &scores_csv(results)?)?;
    write_whole(&out.join("results.json"), &json)
}

/// `path,label,score`: the path below the category's folder, after the category's name where there are several; the
/// label 1 for a defect; the score in as many digits as tell it from every other, so that metrics can be recomputed.
fn scores_csv(results: &[CategoryResult]) -> Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(["path", "label", "score"])?;
    for CategoryResult { name, evaluation, .. } in results {
        for image in &evaluation.images {
            let path = if results.len() > 1 {
                format!("{name}/{}", image.path)
            } else {
                image.path.clone()
            };
            csv.write_record([
                path,
                u8::from(image.defect.is_some()).to_string(),
                image.score.to_string(),
            ])?;
        }
    }
    csv.into_inner()
        .map_err(|error| error.into_error())
        .context("the scores cannot be written down")
}

/// The mean of each metric over the categories, where all have it.
pub(crate) fn mean<'a>(all: impl Iterator<Item = &'a Metrics> + Clone) -> Metrics {
    let mean = |metric: fn(&Metrics) -> Option<f64>| {
        let values: Option<Vec<f64>> = all.clone().map(metric).collect();
        values.map(|values| values.iter().sum::<f64>() / values.len() as f64)
    };
    Metrics {
        image_auroc: mean(|metrics| metrics.image_auroc),
        pixel_auroc: mean(|metrics| metrics.pixel_auroc),
        pixel_ap: mean(|metrics| metrics.pixel_ap),
        aupro: mean(|metrics| metrics.aupro),
        f1_max: mean(|metrics| metrics.f1_max),
        undefined: Vec::new(),
    }
}
