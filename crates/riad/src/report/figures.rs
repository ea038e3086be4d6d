//! The curves behind the metrics, and the losses of training.

use riad_core::metrics::Curve;
use riad_model::{EpochRecord, Header, LossTerms};

use super::{
    chart::{Axes, Axis, Chart, steps},
    verdict::Judge,
};
use crate::evaluation::{AUPRO_LIMIT, Findings};

const FALSE_POSITIVES: &str = "false-positive rate";
const TRUE_POSITIVES: &str = "true-positive rate";

/// ROC, precision over recall and PRO, of images and of pixels, as far as they are defined. `judges` are marked on those
/// of images.
pub(super) fn curves(findings: &Findings, judges: &[&Judge]) -> Vec<Chart> {
    let metrics = &findings.metrics;
    let mut charts = Vec::new();
    if let Some(curves) = &findings.curves.image {
        let mut chart = roc("Image ROC", metrics.image_auroc, &curves.roc);
        for judge in judges {
            chart = chart.mark(judge.class(), judge.rates(&findings.images));
        }
        charts.push(chart);
        let mut chart = precision_recall(
            "Image precision, recall",
            Some(curves.average_precision),
            &curves.precision_recall,
        );
        for judge in judges {
            let flagged = |is_defective: bool| {
                let images = findings.images.iter();
                let of_class = images.filter(|image| image.defect.is_some() == is_defective);
                of_class.filter(|image| judge.flags(image.score)).count() as f64
            };
            let [false_alarms, found] = [false, true].map(flagged);
            // Where nothing is called defective, precision has no value.
            if false_alarms + found > 0.0 {
                let [_, recall] = judge.rates(&findings.images);
                chart = chart.mark(judge.class(), [recall, found / (false_alarms + found)]);
            }
        }
        charts.push(chart);
    }
    if let Some(curves) = &findings.curves.pixel {
        charts.push(roc("Pixel ROC", metrics.pixel_auroc, &curves.roc));
        charts.push(precision_recall(
            "Pixel precision, recall",
            metrics.pixel_ap,
            &curves.precision_recall,
        ));
        let aupro = metrics.aupro.map(|aupro| format!("AUPRO {}", percent(aupro)));
        let summary = summary("Per-region overlap over the false-positive rate", aupro.as_deref());
        let axes = Axes::new(
            Axis::new(FALSE_POSITIVES, 0.0, AUPRO_LIMIT),
            Axis::new("per-region overlap", 0.0, 1.0),
        );
        let line = curves.overlap.iter().copied();
        charts.push(Chart::new("Pixel PRO", aupro, summary, axes).line("curve", line));
    }
    charts
}

/// A share of 1 in per cent, as tables of such metrics have it.
fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn summary(title: &str, value: Option<&str>) -> String {
    value.map_or(title.to_owned(), |value| format!("{title}: {value}"))
}

fn share(label: &'static str) -> Axis {
    Axis::new(label, 0.0, 1.0)
}

fn roc(title: &'static str, auroc: Option<f64>, curve: &Curve) -> Chart {
    let value = auroc.map(|auroc| format!("AUROC {}", percent(auroc)));
    let summary = summary(title, value.as_deref());
    Chart::new(
        title,
        value,
        summary,
        Axes::new(share(FALSE_POSITIVES), share(TRUE_POSITIVES)),
    )
    .line("chance", [[0.0, 0.0], [1.0, 1.0]])
    .line("curve", curve.iter().copied())
}

fn precision_recall(title: &'static str, average: Option<f64>, curve: &Curve) -> Chart {
    let value = average.map(|average| format!("AP {}", percent(average)));
    let summary = summary(title, value.as_deref());
    Chart::new(title, value, summary, Axes::new(share("recall"), share("precision"))).line("curve", steps(curve))
}

/// Which of a loss's numbers is drawn.
type Term = fn(&LossTerms) -> f64;

/// The loss and its terms over the epochs, with the epoch whose weights are measured; none without a history.
pub(super) fn losses(history: &[EpochRecord], header: &Header) -> Vec<Chart> {
    let (Some(first), Some(last)) = (history.first(), history.last()) else {
        return Vec::new();
    };
    let epoch = |record: &EpochRecord| record.epoch as f64;
    let best_epoch = header.progress.as_ref().map(|progress| progress.best_epoch);
    let weights = header
        .training
        .as_ref()
        .map(|training| training.loss)
        .unwrap_or_default();
    let terms: [(&str, f32, Term); 5] = [
        ("Loss", 1.0, |loss| loss.total),
        ("L2 term", weights.l2, |loss| loss.l2),
        ("L1 term", weights.l1, |loss| loss.l1),
        ("SSIM term", weights.ssim, |loss| loss.ssim),
        ("MSGMS term", weights.msgms, |loss| loss.msgms),
    ];
    let chart = |(title, _, term): (&'static str, f32, Term)| {
        // Six digits are written down, and a logarithm takes no 0.
        let value = |loss: &LossTerms| term(loss).max(1e-6);
        let is_finite = |point: &[f64; 2]| point[1].is_finite();
        let train = history.iter().map(|record| [epoch(record), value(&record.train)]);
        let train = train.filter(is_finite);
        let validation = history
            .iter()
            .filter_map(|record| Some([epoch(record), value(record.validation.as_ref()?)]));
        let validation = validation.filter(is_finite);
        let values = || train.clone().chain(validation.clone()).map(|[_, value]| value);
        let (low, high) = values().fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), value| {
            (low.min(value), high.max(value))
        });
        let at_best = |record: &&EpochRecord| Some(record.epoch) == best_epoch;
        let best = history
            .iter()
            .find(at_best)
            .and_then(|record| record.validation.as_ref());
        let shown = best.map(|loss| format!("validation {:.4}", term(loss)));
        let mut summary = format!("{title} over {} epochs", history.len());
        if let (Some(best), Some(epoch)) = (&shown, best_epoch) {
            summary += &format!(", {best} at the epoch that is kept, {epoch}");
        }
        let axes = Axes::new(
            // A single epoch lies in the middle.
            Axis::new(
                "epoch",
                epoch(first).min(epoch(last) - 0.5),
                epoch(last).max(epoch(first) + 0.5),
            ),
            Axis::logarithmic("", low / 1.1, high * 1.1),
        );
        let mut chart = Chart::new(title, shown, summary, axes);
        if let Some(best) = best_epoch {
            chart = chart.rule("best", best as f64);
        }
        chart.line("train", train).line("validation", validation)
    };
    let shown = terms.into_iter().filter(|(_, weight, _)| *weight > 0.0);
    shown.map(chart).collect()
}
