//! The metrics of all categories, beside the paper's numbers if there are any.

use riad_core::published::Published;
use riad_data::Layout;

use crate::evaluation::{Evaluation, Metrics, mean, mean_of_baselines};

/// A table in per cent.
pub(super) struct Table<'a> {
    /// Whether the paper has numbers for one of the categories.
    pub(super) has_paper: bool,
    /// Whether the mean image was measured too.
    pub(super) has_baseline: bool,
    has_numbers: bool,
    pub(super) rows: Vec<Row<'a>>,
    /// The means over the categories, where there are several.
    pub(super) mean: Option<Row<'a>>,
}

/// A category's metrics, each with the paper's beside it.
pub(super) struct Row<'a> {
    pub(super) name: &'a str,
    pub(super) model: &'a str,
    pub(super) images: usize,
    pub(super) image_auroc: Cell,
    pub(super) reimplementation: String,
    pub(super) pixel_auroc: Cell,
    pub(super) pixel_ap: Cell,
    pub(super) aupro: String,
    pub(super) f1_max: String,
    pub(super) baseline_image_auroc: String,
    pub(super) baseline_pixel_auroc: String,
}

/// A metric of this model and of the paper's.
pub(super) struct Cell {
    pub(super) ours: String,
    pub(super) paper: String,
}

impl<'a> Table<'a> {
    pub(super) fn new(results: &'a [Evaluation]) -> Self {
        let papers: Vec<_> = results
            .iter()
            .map(|result| published(&result.name, result.layout, result.findings.images.len()))
            .collect();
        let rows = results
            .iter()
            .zip(&papers)
            .map(|(result, paper)| {
                let findings = &result.findings;
                Row::new(
                    [&result.name, &result.model],
                    findings.images.len(),
                    &findings.metrics,
                    findings.baseline.as_ref(),
                    *paper,
                )
            })
            .collect();
        let evaluations = || results.iter().map(|result| &result.findings);
        let mean = (results.len() > 1).then(|| {
            Row::new(
                ["mean", ""],
                evaluations().map(|findings| findings.images.len()).sum(),
                &mean(evaluations().map(|findings| &findings.metrics)),
                mean_of_baselines(results).as_ref(),
                mean_published(&papers),
            )
        });
        Self {
            has_paper: papers.iter().any(Option::is_some),
            has_baseline: evaluations().any(|findings| findings.baseline.is_some()),
            has_numbers: evaluations().any(|findings| findings.metrics.any()),
            rows,
            mean,
        }
    }

    /// Whether any metric is defined: else the table would be one of dashes.
    pub(super) fn has_numbers(&self) -> bool {
        self.has_numbers
    }

    /// The categories' rows, then the means.
    pub(super) fn all(&self) -> impl Iterator<Item = &Row<'a>> {
        self.rows.iter().chain(&self.mean)
    }
}

impl<'a> Row<'a> {
    fn new(
        [name, model]: [&'a str; 2],
        images: usize,
        metrics: &Metrics,
        baseline: Option<&Metrics>,
        paper: Option<Published>,
    ) -> Self {
        let published = |value: fn(Published) -> f64| shown(paper.map(value));
        let ours = |value: Option<f64>| shown(value.map(|value| 100.0 * value));
        let cell = |value, paper| Cell {
            ours: ours(value),
            paper: published(paper),
        };
        Self {
            name,
            model,
            images,
            image_auroc: cell(metrics.image_auroc, |paper| paper.image_auroc),
            reimplementation: published(|paper| paper.reimplementation),
            pixel_auroc: cell(metrics.pixel_auroc, |paper| paper.pixel_auroc),
            pixel_ap: cell(metrics.pixel_ap, |paper| paper.pixel_ap),
            aupro: ours(metrics.aupro),
            f1_max: ours(metrics.f1_max),
            baseline_image_auroc: ours(baseline.and_then(|baseline| baseline.image_auroc)),
            baseline_pixel_auroc: ours(baseline.and_then(|baseline| baseline.pixel_auroc)),
        }
    }
}

/// The paper's numbers, if these are its images: those of another category can be called the same.
fn published(name: &str, layout: Layout, images: usize) -> Option<Published> {
    let published = Published::of(name).filter(|_| layout == Layout::Mvtec);
    published.filter(|published| published.test_images == images).copied()
}

fn shown(percent: Option<f64>) -> String {
    percent.map_or_else(|| "–".to_owned(), |percent| format!("{percent:.1}"))
}

/// The means, if every category has published numbers: over fewer, they would be compared with other means.
fn mean_published(papers: &[Option<Published>]) -> Option<Published> {
    let papers = papers.iter().copied().collect::<Option<Vec<_>>>()?;
    let mean = |value: fn(&Published) -> f64| papers.iter().map(value).sum::<f64>() / papers.len() as f64;
    let mut means = *papers.first()?;
    means.category = "mean";
    means.image_auroc = mean(|paper| paper.image_auroc);
    means.pixel_auroc = mean(|paper| paper.pixel_auroc);
    means.pixel_ap = mean(|paper| paper.pixel_ap);
    means.reimplementation = mean(|paper| paper.reimplementation);
    Some(means)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_numbers_are_beside_its_own_images_only() {
        assert_eq!(published("bottle", Layout::Mvtec, 83).unwrap().image_auroc, 99.9);
        for (name, layout, images) in [
            ("bottle", Layout::Folder, 83),
            ("bottle", Layout::Mvtec, 82),
            ("lid", Layout::Mvtec, 83),
        ] {
            assert_eq!(published(name, layout, images), None);
        }
    }
}
