//! The files of an evaluation: `results.json` and `scores.csv`.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
};

use riad_data::Layout;
use riad_model::{EpochRecord, Header, Precision, ScoringSettings, TrainConfig};
use serde::Serialize;

use super::{AUPRO_LIMIT, AtThreshold, Findings, Metrics, Synthetic};
use crate::{
    Error, Result,
    facts::{Fact, preset_name},
    files::write_whole,
};

/// A category's evaluation, with its data and its model.
#[non_exhaustive]
pub struct Evaluation {
    /// The name of the category.
    pub name: String,
    /// The folder of its images, written by the rule of [`names`](crate::names).
    pub data: String,
    /// The layout of that folder.
    pub layout: Layout,
    /// The model's folder or file, written in the same way.
    pub model: String,
    /// The header of the model.
    pub header: Header,
    /// Facts about the model in words.
    pub facts: Vec<Fact>,
    /// The losses of its training for each epoch, if they are known.
    pub history: Vec<EpochRecord>,
    /// A caution, if the numbers are not those of an independent test.
    pub caution: Option<String>,
    /// The share of the image in the region of interest. `None` without a region of interest.
    pub roi_share: Option<f64>,
    /// The precision of the model's calibration, if it was measured in another one. Then its rate differs from the
    /// requested one.
    pub calibrated_otherwise: Option<Precision>,
    /// The results for the images.
    pub findings: Findings,
}

impl Evaluation {
    /// Whether every image and every mask could be used.
    pub fn is_whole(&self) -> bool {
        self.findings.faults.is_empty()
    }
}

impl Serialize for Evaluation {
    /// As `results.json` has it.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        results_file(std::slice::from_ref(self), &[]).serialize(serializer)
    }
}

/// A category that could not be measured, and why.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Unmeasured {
    /// Its name.
    pub name: String,
    /// Why it could not be measured.
    pub reason: String,
}

impl Unmeasured {
    /// A category of this name, and why it could not be measured.
    pub fn new(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            reason: reason.into(),
        }
    }
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

/// Writes `results.json` and `scores.csv` to `out`. They tell categories by their names.
///
/// # Errors
/// If two results have the same name, or a file cannot be written.
pub fn write(out: &Path, results: &[Evaluation], unmeasured: &[Unmeasured]) -> Result<()> {
    let mut names = HashSet::new();
    if let Some(twice) = results.iter().find(|result| !names.insert(&result.name)) {
        return Err(Error::request(format!(
            "{} is in the results twice, and results.json has one place for it; write each of the two to a folder of its own",
            twice.name
        )));
    }
    let file = results_file(results, unmeasured);
    let json = serde_json::to_vec_pretty(&file).map_err(Error::render("results.json"))?;
    write_whole(&out.join("scores.csv"), &scores_csv(results)?)?;
    write_whole(&out.join("results.json"), &json)
}

fn results_file<'a>(results: &'a [Evaluation], unmeasured: &'a [Unmeasured]) -> ResultsFile<'a> {
    let categories = results.iter().map(|result| {
        let Findings {
            images,
            metrics,
            baseline,
            at_threshold,
            synthetic,
            without_mask,
            faults,
            ..
        } = &result.findings;
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
        |Evaluation {
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
    ResultsFile {
        categories: categories.collect(),
        unmeasured,
        settings: Settings {
            aupro_limit: AUPRO_LIMIT,
            models: models.collect(),
        },
        versions: BTreeMap::from([("riad", env!("CARGO_PKG_VERSION"))]),
    }
}

/// `path,label,score`: the path below the category's folder, after the category's name where there are several; the
/// label 1 for a defect; the score in as many digits as tell it from every other, so that metrics can be recomputed.
fn scores_csv(results: &[Evaluation]) -> Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(["path", "label", "score"])
        .map_err(Error::render("scores.csv"))?;
    for Evaluation { name, findings, .. } in results {
        for image in &findings.images {
            let path = if results.len() > 1 {
                format!("{name}/{}", image.path)
            } else {
                image.path.clone()
            };
            csv.write_record([
                path,
                u8::from(image.defect.is_some()).to_string(),
                image.score.to_string(),
            ])
            .map_err(Error::render("scores.csv"))?;
        }
    }
    csv.into_inner()
        .map_err(|error| Error::render("scores.csv")(error.into_error()))
}

/// The mean of each metric over the categories. A metric is `None` if a category does not have it, or if there are none.
pub fn mean<'a>(all: impl Iterator<Item = &'a Metrics> + Clone) -> Metrics {
    let mean = |metric: fn(&Metrics) -> Option<f64>| {
        let values: Option<Vec<f64>> = all.clone().map(metric).collect();
        let values = values.filter(|values| !values.is_empty())?;
        Some(values.iter().sum::<f64>() / values.len() as f64)
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

/// The mean of the mean image's metrics over the categories. `None` if it was not measured for all of them.
pub(crate) fn mean_of_baselines(results: &[Evaluation]) -> Option<Metrics> {
    let baselines = results.iter().map(|result| result.findings.baseline.as_ref());
    let baselines: Vec<_> = baselines.collect::<Option<_>>()?;
    Some(mean(baselines.into_iter()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_categories_have_no_mean() {
        assert_eq!(mean([].into_iter()), Metrics::default());
        let half = Metrics {
            image_auroc: Some(0.5),
            ..Metrics::default()
        };
        assert_eq!(mean([&half, &half].into_iter()), half);
    }
}
