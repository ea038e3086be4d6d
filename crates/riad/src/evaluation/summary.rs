//! Evaluations in words, for a terminal or a log.

use std::fmt::Write as _;

use riad_data::in_part;

use super::{
    AUPRO_LIMIT, Evaluation, Findings, FlaggedImages, FlaggedPixels, Metrics, Missed, Synthetic, Unmeasured, mean,
    mean_of_baselines,
};
use crate::FalsePositiveRate;

/// The misses that are named.
const MISSES: usize = 5;

/// Columns that a table's first column takes at most. A longer name has a line of its own.
const NAME: usize = 28;

/// Evaluations in words: a sentence for each with the worst misses, then tables of no more than 80 columns, notes, and the categories
/// that are `unmeasured`. Each line ends with a line end.
///
/// ```no_run
/// # let evaluation: riad::Evaluation = todo!();
/// print!("{}", riad::evaluation::summary(&[evaluation], &[]));
/// ```
pub fn summary(results: &[Evaluation], unmeasured: &[Unmeasured]) -> String {
    let mut text = String::new();
    for result in results {
        let Evaluation { caution, findings, .. } = result;
        if results.len() > 1 {
            let _ = write!(text, "{}: ", result.name);
        }
        let _ = writeln!(text, "{}", findings.sentence());
        let (missed, more) = findings.worst_misses();
        for Missed { path, score } in missed {
            let _ = writeln!(text, "  missed: {path}, score {score:.4}");
        }
        if more > 0 {
            let _ = writeln!(text, "  and {more} more in results.json");
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

impl Evaluation {
    /// The result at the threshold in one sentence without its full stop, or why there is no threshold.
    pub fn sentence(&self) -> String {
        self.findings.sentence()
    }
}

impl Findings {
    /// See [`Evaluation::sentence`].
    pub fn sentence(&self) -> String {
        match (&self.at_threshold, &self.synthetic) {
            (Err(reason), _) => format!("There is no threshold, so nothing is found or stopped: {reason}"),
            (Ok(at), None) => at.sentence(),
            (Ok(at), Some(synthetic)) => {
                let stops = at.stops().map_or_else(String::new, |stops| format!("; {stops}"));
                format!("{}{stops}", synthetic.sentence())
            }
        }
    }

    /// The defects that are missed by most, five at most, and the number of the others. Made-up defects are not among them, because
    /// the smallest of those are meant to be missed.
    pub fn worst_misses(&self) -> (&[Missed], usize) {
        let all = match (&self.at_threshold, &self.synthetic) {
            (Ok(at), None) => at.missed.as_slice(),
            _ => &[],
        };
        let (worst, others) = all.split_at(all.len().min(MISSES));
        (worst, others.len())
    }

    /// What a reader must know about the numbers.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.metrics.undefined.clone();
        let defective = self.images.iter().filter(|image| image.defect.is_some()).count();
        match self.without_mask.as_slice() {
            [] => {}
            all if all.len() == defective => {
                notes.push("pixel metrics are undefined, because no defect has a usable mask".to_owned());
            }
            some => {
                notes.push(format!(
                    "pixel metrics are over {} of {} images; of {} defects, {} have no usable mask: {} (results.json \
                     names all)",
                    self.images.len() - some.len(),
                    self.images.len(),
                    defective,
                    some.len(),
                    in_part(some, ", ")
                ));
            }
        }
        if !self.faults.is_empty() {
            notes.push(format!(
                "the measurement is incomplete; {} faults were found: {} (results.json names all)",
                self.faults.len(),
                in_part(&self.faults, "; ")
            ));
        }
        notes
    }
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
        let mut row = vec![name.to_owned()];
        row.extend(metrics.all().map(value));
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
        if let Some(baseline) = mean_of_baselines(results) {
            rows.push(row("  mean image", &baseline, count));
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
    use riad_data::Layout;
    use riad_model::{Checkpoint, Preset, ScoringSettings, Weights};

    use super::*;
    use crate::evaluation::{AtThreshold, Curves, ImageScore};

    /// Of a model without a threshold, that has seen a good and a bad image.
    fn evaluation(name: &str) -> Evaluation {
        let weights = Weights::initial(Preset::Tiny.architecture(), 0).unwrap();
        let image = |score| ImageScore {
            path: String::new(),
            defect: None,
            made_up: None,
            score,
            thumbnails: Vec::new(),
        };
        Evaluation {
            name: name.to_owned(),
            data: String::new(),
            layout: Layout::Folder,
            model: String::new(),
            header: Checkpoint::new(weights, ScoringSettings::for_size(32, 32), None, None).header,
            facts: Vec::new(),
            history: Vec::new(),
            caution: None,
            roi_share: None,
            calibrated_otherwise: None,
            findings: Findings {
                images: vec![image(0.25), image(0.5)],
                metrics: Metrics::default(),
                curves: Curves::default(),
                painter: None,
                baseline: None,
                at_threshold: Err("it is not calibrated".to_owned()),
                synthetic: None,
                without_mask: Vec::new(),
                faults: Vec::new(),
            },
        }
    }

    /// A threshold that flags none of these defects and has seen no pixel.
    fn at_threshold(missed: usize) -> AtThreshold {
        let missed = (0..missed).map(|index| Missed {
            path: format!("bad/{index}.png"),
            score: 0.25,
        });
        AtThreshold {
            fpr: 0.05,
            confidence: None,
            threshold: 0.5,
            calibration_images: 1,
            good_images: None,
            defective_images: FlaggedImages {
                flagged: 0,
                of: missed.len(),
            },
            good_pixels: FlaggedPixels { flagged: 1, of: 200 },
            defective_pixels: FlaggedPixels::default(),
            missed: missed.collect(),
        }
    }

    #[test]
    fn one_without_a_threshold_says_where_its_scores_lie() {
        assert_eq!(
            summary(&[evaluation("lid")], &[]),
            "There is no threshold, so nothing is found or stopped: it is not calibrated\n\
             Scores are from 0.2500 to 0.5000, and half of them are up to 0.5000\n"
        );
    }

    #[test]
    fn each_has_its_sentence_its_misses_and_its_place_in_the_tables() {
        let (mut lid, mut cap) = (evaluation("lid"), evaluation("cap"));
        lid.findings.at_threshold = Ok(at_threshold(7));
        lid.findings.metrics.image_auroc = Some(0.75);
        lid.findings.baseline = Some(Metrics::default());
        cap.caution = Some("They are few.".to_owned());
        cap.findings.metrics.image_auroc = Some(0.25);
        let unmeasured = [Unmeasured::new("box", "it is empty")];
        let said = summary(&[lid, cap], &unmeasured);
        let expected = "\
lid: Finds 0 of 7 defects (0 %; 95 % range 0 to 41)
  missed: bad/0.png, score 0.2500
  missed: bad/1.png, score 0.2500
  missed: bad/2.png, score 0.2500
  missed: bad/3.png, score 0.2500
  missed: bad/4.png, score 0.2500
  and 2 more in results.json
cap: There is no threshold, so nothing is found or stopped: it is not calibrated
They are few.

               image  pixel  pixel
category       AUROC  AUROC     AP  AUPRO  F1-max  images
lid           0.7500      -      -      -       -       2
  mean image       -      -      -      -       -       2
cap           0.2500      -      -      -       -       2
mean          0.5000      -      -      -       -       4

AUPRO up to a false-positive rate of 0.3. F1-max is for image scores, at the
threshold that is best for these labels: an upper bound.
Mean image: the distance to the pixel-wise mean of the training images, for
comparison.

The threshold is calibrated for a false-positive rate of 0.05,
and these labels did not choose it. Of the pixels it flags:
                     calibrated    good  defective
category  threshold        with  pixels     pixels
lid          0.5000     1 image  0.50 %          -
box: not measured: it is empty
";
        assert_eq!(said, expected);
    }

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
