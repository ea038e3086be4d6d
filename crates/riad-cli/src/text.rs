//! What an evaluation prints: one sentence, then tables of no more than 80 columns.

use std::{fmt::Write as _, path::Path};

use crate::shell::shell_quoted;
use riad::{
    Evaluation, FalsePositiveRate,
    evaluation::{
        AUPRO_LIMIT, AtThreshold, Findings, FlaggedImages, FlaggedPixels, Metrics, Synthetic, Unmeasured, mean,
        sentence,
    },
};

/// The misses that are named.
const MISSES: usize = 5;

/// Columns that a table's first column takes at most. A longer name has a line of its own.
const NAME: usize = 28;

/// What there is to say of some categories.
pub(crate) fn text(results: &[Evaluation], unmeasured: &[Unmeasured]) -> String {
    let mut text = String::new();
    for Evaluation {
        name,
        caution,
        findings,
        model,
        ..
    } in results
    {
        let name = if results.len() > 1 {
            format!("{name}: ")
        } else {
            String::new()
        };
        match &findings.at_threshold {
            Ok(at) => {
                let _ = writeln!(text, "{name}{}", sentence(findings, at));
                // Of made-up defects the smallest are to be missed.
                if findings.synthetic.is_none() {
                    text += &misses(at);
                }
            }
            Err(reason) => {
                let _ = writeln!(
                    text,
                    "{name}There is no threshold, so nothing is found or stopped: {reason} (riad calibrate --model {} PATH…)",
                    shell_quoted(Path::new(model))
                );
            }
        }
        if let Some(caution) = caution {
            let _ = writeln!(text, "{caution}");
        }
        if let Some(synthetic) = &findings.synthetic {
            text += &made_up_table(synthetic);
        }
        if !findings.metrics.any() {
            text += &scores(findings);
        }
    }
    if results.iter().any(|result| result.findings.metrics.any()) {
        text += "\n";
        text += &metrics_table(results);
    }
    text += &threshold_table(results);
    for Evaluation {
        name,
        findings,
        roi_share,
        ..
    } in results
    {
        if let Some(share) = roi_share {
            let _ = writeln!(
                text,
                "{name}: pixel metrics count only the region of interest, {:.1} % of the image; images keep their \
                 labels",
                100.0 * share
            );
        }
        for note in findings.notes() {
            let _ = writeln!(text, "{name}: {note}");
        }
    }
    for Unmeasured { name, reason, .. } in unmeasured {
        let _ = writeln!(text, "{name}: not measured: {reason}");
    }
    text
}

/// The worst misses, a line each.
fn misses(at: &AtThreshold) -> String {
    let mut text = String::new();
    for missed in at.missed.iter().take(MISSES) {
        let _ = writeln!(text, "  missed: {}, score {:.4}", missed.path, missed.score);
    }
    match at.missed.len().saturating_sub(MISSES) {
        0 => {}
        more => {
            let _ = writeln!(text, "  and {more} more in results.json");
        }
    }
    text
}

/// Where the scores lie, which is all that good images alone tell beside how many are stopped.
fn scores(findings: &Findings) -> String {
    let mut scores: Vec<_> = findings.images.iter().map(|image| image.score).collect();
    scores.sort_unstable_by(f32::total_cmp);
    let (Some(low), Some(high)) = (scores.first(), scores.last()) else {
        return String::new();
    };
    let median = scores[scores.len() / 2];
    let threshold = match &findings.at_threshold {
        Ok(at) => format!("; the threshold is {:.4}", at.threshold),
        Err(_) => String::new(),
    };
    format!("Scores are from {low:.4} to {high:.4}, and half of them are up to {median:.4}{threshold}\n")
}

/// How many made-up defects are found, by kind and length.
fn made_up_table(synthetic: &Synthetic) -> String {
    let lengths = synthetic.lengths();
    let mut rows = vec![vec!["found by length".to_owned()]];
    rows[0].extend(lengths.iter().map(|length| format!("{length} px")));
    for flaw in synthetic.kinds() {
        let mut row = vec![flaw.plural().to_owned()];
        row.extend(lengths.iter().map(|&length| match synthetic.count(flaw, length) {
            Some(FlaggedImages { flagged, of, .. }) => format!("{flagged} of {of}"),
            None => "-".to_owned(),
        }));
        rows.push(row);
    }
    format!("\n{}", aligned(&rows))
}

fn metrics_table(results: &[Evaluation]) -> String {
    let has_baseline = results.iter().any(|result| result.findings.baseline.is_some());
    let headings = [
        ["", "image", "pixel", "pixel", "", "", ""],
        ["category", "AUROC", "AUROC", "AP", "AUPRO", "F1-max", "images"],
    ];
    let mut rows: Vec<Vec<String>> = headings.map(|row| row.map(str::to_owned).to_vec()).to_vec();
    let value = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
    let row = |name: &str, metrics: &Metrics, images: usize| {
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
        row
    };
    for Evaluation { name, findings, .. } in results {
        let count = findings.images.len();
        rows.push(row(name, &findings.metrics, count));
        if let Some(baseline) = &findings.baseline {
            rows.push(row("  mean image", baseline, count));
        }
    }
    if results.len() > 1 {
        let evaluations = || results.iter().map(|result| &result.findings);
        let count = evaluations().map(|findings| findings.images.len()).sum();
        rows.push(row(
            "mean",
            &mean(evaluations().map(|findings| &findings.metrics)),
            count,
        ));
        let baselines: Option<Vec<_>> = evaluations().map(|findings| findings.baseline.as_ref()).collect();
        if let Some(baselines) = baselines {
            rows.push(row("  mean image", &mean(baselines.into_iter()), count));
        }
    }
    let mut text = aligned(&rows);
    let _ = write!(
        text,
        "\nAUPRO up to a false-positive rate of {AUPRO_LIMIT}. F1-max is for image scores, at the\nthreshold that is \
         best for these labels: an upper bound.\n"
    );
    if has_baseline {
        text += "Mean image: the distance to the pixel-wise mean of the training images, for\ncomparison.\n";
    }
    text
}

/// What calibrated thresholds flag; nothing where there is none.
fn threshold_table(results: &[Evaluation]) -> String {
    let headings = [
        ["", "", "calibrated", "good", "defective"],
        ["category", "threshold", "with", "pixels", "pixels"],
    ];
    let mut rows: Vec<Vec<String>> = headings.map(|row| row.map(str::to_owned).to_vec()).to_vec();
    let mut rate = None;
    for Evaluation { name, findings, .. } in results {
        let Ok(at) = &findings.at_threshold else { continue };
        rate = Some(FalsePositiveRate::new(at.fpr).with_confidence(at.confidence));
        let pixels = |FlaggedPixels { flagged, of, .. }: FlaggedPixels| match of {
            0 => "-".to_owned(),
            _ => format!("{:.2} %", 100.0 * flagged as f64 / of as f64),
        };
        rows.push(vec![
            name.clone(),
            format!("{:.4}", at.threshold),
            match at.calibration_images {
                1 => "1 image".to_owned(),
                count => format!("{count} images"),
            },
            pixels(at.good_pixels),
            pixels(at.defective_pixels),
        ]);
    }
    let Some(rate) = rate else { return String::new() };
    format!(
        "\nThe threshold is calibrated for {rate},\nand these labels did not choose it. Of the pixels it flags:\n{}",
        aligned(&rows)
    )
}

/// Rows in columns, the first to the left and the others to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let count = |cell: &String| cell.chars().count();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(count);
        let cells = cells.filter(|width| column > 0 || *width <= NAME);
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            if column > 0 {
                let _ = write!(line, "  {cell:>width$}");
            } else if count(cell) <= width {
                let _ = write!(line, "{cell:<width$}");
            } else {
                let _ = write!(line, "{cell}\n{:<width$}", "");
            }
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_has_a_line_of_its_own() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let text = aligned(&[
            row(["category", "AUROC", "n"]),
            row(["lid", "0.9", "12"]),
            row(["a_name_that_nobody_would_give_to_anything", "0.25", "3"]),
        ]);
        assert_eq!(
            text,
            "category  AUROC   n\n\
             lid         0.9  12\n\
             a_name_that_nobody_would_give_to_anything\n           0.25   3\n"
        );
    }
}
