//! Facts about a model, for `riad info` and for the report.

use std::path::Path;

use riad_core::Calibration;
use riad_model::{
    Architecture, Checkpoint, Header, LossTerms, Preset, Roi, ScoringSettings, Similarity, Tiling, TrainConfig,
};
use serde::Serialize;

use crate::{Result, names::written, threshold::rates_in_words};

/// A name, and its value in words.
pub type Fact = (&'static str, String);

/// The facts about a checkpoint for other programs: its header, with what follows from it.
#[derive(Debug, Serialize)]
pub struct Info<'a> {
    file: String,
    preset: String,
    parameters: usize,
    channels: usize,
    /// Multiply-accumulates of one pass, and there are sets × region sizes passes to score an image.
    macs_per_pass: u64,
    passes_per_image: usize,
    /// Whether maps tell what is beyond normal at each place.
    normal: bool,
    /// The share of the image that is looked at; `None` without a region of interest.
    roi_share: Option<f64>,
    /// The smallest false-positive rate that the calibration allows; `None` without one.
    smallest_fpr: Option<f64>,
    #[serde(flatten)]
    header: &'a Header,
}

impl<'a> Info<'a> {
    /// The facts about the checkpoint in `model`.
    ///
    /// # Errors
    /// As [`facts`].
    pub fn of(checkpoint: &'a Checkpoint, model: &Path) -> Result<Self> {
        let header = &checkpoint.header;
        let Header {
            architecture, scoring, ..
        } = header;
        Ok(Self {
            file: written(model),
            preset: preset_name(architecture.width),
            parameters: architecture.parameters()?,
            channels: architecture.channels(),
            macs_per_pass: architecture.macs(scoring.height, scoring.width)?,
            passes_per_image: scoring.passes_per_image(),
            normal: checkpoint.normal.is_some(),
            roi_share: checkpoint.roi.as_ref().map(Roi::share),
            smallest_fpr: header.calibration.as_ref().map(Calibration::smallest_rate),
            header,
        })
    }
}

/// The facts about the checkpoint in `model`.
///
/// # Errors
/// If its header names no network. This cannot happen for a checkpoint that was read from a file.
pub fn facts(checkpoint: &Checkpoint, model: &Path) -> Result<Vec<Fact>> {
    let mut facts = Vec::new();
    let mut line = |name, value| facts.push((name, value));
    let Header {
        architecture,
        scoring,
        riad_version,
        format,
        training,
        progress,
        calibration,
        ..
    } = &checkpoint.header;
    let ScoringSettings {
        tiling,
        normalisation,
        smoothing,
        similarity,
        scales,
        ..
    } = scoring;
    line("file", written(model));
    line(
        "network",
        format!(
            "{architecture}, {}, width {}",
            preset_name(architecture.width),
            architecture.width
        ),
    );
    line("parameters", architecture.parameters()?.to_string());
    let colours = match architecture.channels() {
        1 => "grey",
        Architecture::COLOUR => "RGB",
        _ => "lights or bands",
    };
    line("channels", format!("{}, {colours}", architecture.channels()));
    line(
        "work per image",
        format!(
            "{} passes of {:.1} GMAC{}",
            scoring.passes_per_image(),
            architecture.macs(scoring.height, scoring.width)? as f64 / 1e9,
            if scoring.tiling.is_some() { " for each tile" } else { "" }
        ),
    );
    match tiling {
        None => line("image size", format!("{} (height x width)", scoring.size())),
        Some(Tiling { overlap }) => line(
            "image size",
            format!(
                "any, in tiles of {} (height x width) that overlap by {overlap} pixels or more",
                scoring.size()
            ),
        ),
    }
    if let Some(white) = scoring.white_level {
        line("white level", format!("a sample of {white}, in files of integers"));
    }
    if let Some(share) = checkpoint.roi.as_ref().map(Roi::share) {
        line(
            "looked at",
            format!("{:.1} % of the image, the region of interest", 100.0 * share),
        );
    }
    for (name, value) in checkpoint.header.method().facts(scoring) {
        line(name, value);
    }
    line(
        "normalisation",
        format!("(x - {}) / {}", normalisation.mean, normalisation.deviation),
    );
    let similarity = match similarity {
        Similarity::GmsGrey => format!("edges of luma, scales: {scales}"),
        Similarity::GmsColour => format!("edges of each colour, scales: {scales}"),
        Similarity::Ssim => "SSIM".into(),
        Similarity::L2 => "squared error".into(),
        other => other.to_string(),
    };
    let normal = match checkpoint.normal {
        Some(_) => ", minus what is normal at each place",
        None => "",
    };
    line(
        "maps",
        format!("{similarity}, mean filter of {smoothing}x{smoothing}{normal}"),
    );
    match training {
        None => line(
            "trained",
            "by another program: weights without a history, scored with the published settings".into(),
        ),
        Some(TrainConfig {
            epochs,
            batch_size,
            learning_rate,
            weight_decay,
            patience,
            seed,
            ..
        }) => line(
            "trained",
            match scoring.method.steps() {
                Some(_) => format!(
                    "{epochs} epochs in batches of {batch_size}, Adam from {learning_rate} to 0 with weight decay \
                     {weight_decay}, seed {seed}"
                ),
                None => format!(
                    "up to {epochs} epochs in batches of {batch_size}, Adam {learning_rate} with weight decay {weight_decay}, \
                     patience {patience}, seed {seed}"
                ),
            },
        ),
    }
    if let Some(progress) = progress {
        let kept = match scoring.method.steps() {
            Some(_) => "last epoch",
            None => "best epoch",
        };
        line(kept, progress.best_epoch.to_string());
        if let Some(record) = progress.history.get(progress.best_epoch.wrapping_sub(1)) {
            line("training loss", terms(&record.train));
            line(
                "validation loss",
                record.validation.as_ref().map_or("none".into(), terms),
            );
        }
    }
    line(
        "calibrated with",
        calibration
            .as_ref()
            .map_or("nothing, so there is no threshold".into(), rates_in_words),
    );
    line("written by", format!("riad {riad_version}, format {format}"));
    Ok(facts)
}

/// The preset's name. If no preset has this width, the width.
pub fn preset_name(width: usize) -> String {
    let preset = Preset::ALL.iter().find(|preset| preset.width() == width);
    preset.map_or_else(|| format!("width {width}"), |preset| preset.to_string())
}

/// A loss and its terms, in words.
pub fn terms(loss: &LossTerms) -> String {
    let LossTerms {
        l2, ssim, msgms, total, ..
    } = loss;
    format!("{total:.4} (l2 {l2:.4}, ssim {ssim:.4}, msgms {msgms:.4})")
}

/// Facts as text, in lines of 80 columns at most. A word that is longer than a line is not broken.
pub fn in_lines(facts: &[Fact]) -> String {
    facts.iter().map(|(name, value)| line(name, value)).collect()
}

/// Columns of a line, and of the name that it begins with.
const COLUMNS: usize = 80;
const NAME: usize = 17;

/// A name, and what it is in as many lines as it takes.
fn line(name: &str, value: &str) -> String {
    let mut text = format!("{name:<NAME$}");
    let mut column = NAME;
    for (index, word) in value.split(' ').enumerate() {
        let length = word.chars().count();
        if index > 0 && column + 1 + length > COLUMNS {
            text += &format!("\n{:NAME$}", "");
            column = NAME;
        } else if index > 0 {
            text.push(' ');
            column += 1;
        }
        text += word;
        column += length;
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_facts_are_broken_between_words() {
        assert_eq!(line("maps", "edges"), "maps             edges\n");
        let words = ["word"; 30].join(" ");
        let text = line("name", &words);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines.len() > 1 && lines.iter().all(|line| line.len() <= COLUMNS),
            "{text}"
        );
        assert!(lines[1].starts_with("                 word"), "{text}");
        let said: Vec<&str> = text.split_whitespace().skip(1).collect();
        assert_eq!(said.join(" "), words);
        let path = "x".repeat(100);
        assert_eq!(line("file", &path), format!("file             {path}\n"));
    }
}
