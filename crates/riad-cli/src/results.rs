//! What an evaluation writes and prints: `results.json`, `scores.csv`, and the table.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};
use riad_model::{EpochRecord, Header, ScoringSettings, TrainConfig};
use serde::Serialize;

use crate::{
    calibration::rate_in_words,
    evaluation::{AUPRO_LIMIT, AtThreshold, Evaluation, Flagged, Metrics},
    facts::Fact,
    files::write_whole,
    run::preset_name,
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
            without_mask,
            faults,
            ..
        } = &result.evaluation;
        let metrics = CategoryMetrics {
            metrics,
            images: images.len(),
            without_mask,
            faults,
            at_threshold: at_threshold.as_ref(),
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

/// The results as a table for people, with what they must know to read it.
pub(crate) fn table(results: &[CategoryResult], unmeasured: &[Unmeasured]) -> String {
    let has_baseline = results.iter().any(|result| result.evaluation.baseline.is_some());
    let mut header = vec![
        "category",
        "image AUROC",
        "pixel AUROC",
        "pixel AP",
        "AUPRO",
        "F1-max",
        "images",
    ];
    if has_baseline {
        header.extend(["| mean image: AUROC", "pixel AUROC"]);
    }
    let mut rows = vec![header.into_iter().map(str::to_owned).collect()];
    let value = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
    let row = |name: &str, metrics: &Metrics, images: usize, baseline: Option<&Metrics>| {
        let Metrics {
            image_auroc,
            pixel_auroc,
            pixel_ap,
            aupro,
            f1_max,
            ..
        } = metrics;
        let mut row = vec![name.to_owned()];
        row.extend([image_auroc, pixel_auroc, pixel_ap, aupro, f1_max].map(|metric| value(*metric)));
        row.push(images.to_string());
        if let Some(baseline) = baseline {
            row.extend([value(baseline.image_auroc), value(baseline.pixel_auroc)]);
        }
        row
    };
    for CategoryResult { name, evaluation, .. } in results {
        let Evaluation {
            images,
            metrics,
            baseline,
            ..
        } = evaluation;
        rows.push(row(name, metrics, images.len(), baseline.as_ref()));
    }
    if results.len() > 1 {
        let evaluations = || results.iter().map(|result| &result.evaluation);
        let baselines: Option<Vec<_>> = evaluations().map(|evaluation| evaluation.baseline.as_ref()).collect();
        let images = evaluations().map(|evaluation| evaluation.images.len()).sum();
        let metrics = mean(evaluations().map(|evaluation| &evaluation.metrics));
        rows.push(row(
            "mean",
            &metrics,
            images,
            baselines.map(|all| mean(all.into_iter())).as_ref(),
        ));
    }
    let mut text = aligned(&rows);
    text += &format!(
        "\nAUPRO up to a false-positive rate of {AUPRO_LIMIT}. F1-max is of image scores, at the threshold that is best \
         for these very labels: an upper bound.\n"
    );
    if has_baseline {
        text += "Mean image: the distance to the pixel-wise mean of the training images, for comparison.\n";
    }
    text += &threshold_table(results);
    for CategoryResult {
        name,
        evaluation,
        roi_share,
        ..
    } in results
    {
        if let Some(share) = roi_share {
            text += &format!(
                "{name}: only pixels in the region of interest count, {:.1} % of the image; images keep their labels\n",
                100.0 * share
            );
        }
        for note in evaluation.notes() {
            text += &format!("{name}: {note}\n");
        }
    }
    for Unmeasured { name, reason } in unmeasured {
        text += &format!("{name}: not measured: {reason}\n");
    }
    text
}

/// What calibrated thresholds flag; nothing if none was asked for.
fn threshold_table(results: &[CategoryResult]) -> String {
    let header = [
        "category",
        "threshold",
        "calibrated with",
        "good images flagged",
        "defective images flagged",
        "good pixels",
        "defective pixels",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let mut rate = None;
    for CategoryResult { name, evaluation, .. } in results {
        let Some(AtThreshold {
            fpr,
            confidence,
            threshold,
            calibration_images,
            good_images,
            defective_images,
            good_pixels,
            defective_pixels,
        }) = &evaluation.at_threshold
        else {
            continue;
        };
        rate = Some(rate_in_words(*fpr, *confidence));
        let images = |&Flagged { flagged, of }: &Flagged| match of {
            0 => "-".to_owned(),
            _ => format!("{flagged} of {of} ({:.1} %)", 100.0 * flagged as f64 / of as f64),
        };
        let pixels = |&Flagged { flagged, of }: &Flagged| match of {
            0 => "-".to_owned(),
            _ => format!("{:.2} %", 100.0 * flagged as f64 / of as f64),
        };
        rows.push(vec![
            name.clone(),
            format!("{threshold:.4}"),
            format!("{calibration_images} images"),
            images(good_images),
            images(defective_images),
            pixels(good_pixels),
            pixels(defective_pixels),
        ]);
    }
    let Some(rate) = rate else { return String::new() };
    format!(
        "\nAt the threshold calibrated for {rate}, which these labels did not choose:\n{}",
        aligned(&rows)
    )
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

/// Rows in columns, the first to the left and the others to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            text += &if column == 0 {
                format!("{cell:<width$}")
            } else {
                format!("  {cell:>width$}")
            };
        }
        text.push('\n');
    }
    text
}
