//! `riad info`.

use std::{
    io::{self, Write as _},
    path::Path,
};

use anyhow::{Context, Result};
use riad_core::Calibration;
use riad_model::{Checkpoint, Header, Roi, ScoringSettings, Similarity, Tiling, TrainConfig};
use serde::Serialize;

use crate::{
    Ending,
    args::{InfoArgs, Size},
    calibration::reach,
    run::{preset_name, terms},
};

/// The header with what follows from it.
#[derive(Serialize)]
struct Info<'a> {
    file: String,
    preset: String,
    parameters: usize,
    /// Multiply-accumulates of one pass, and there are sets × region sizes passes to score an image.
    macs_per_pass: u64,
    passes_per_image: usize,
    /// Whether what is normal at each place is taken off the maps.
    normal_map: bool,
    /// The share of the image that is looked at; `None` without a region of interest.
    roi_share: Option<f64>,
    /// The smallest false-positive rate that the calibration allows; `None` without one.
    smallest_fpr: Option<f64>,
    #[serde(flatten)]
    header: &'a Header,
}

pub(crate) fn run(args: &InfoArgs) -> Result<Ending> {
    let checkpoint = Checkpoint::open(&args.model)?;
    let text = if args.json {
        let info = info(&checkpoint, &args.model);
        serde_json::to_string_pretty(&info).context("the header cannot be written as JSON")? + "\n"
    } else {
        let line = |(name, value)| format!("{name:<16} {value}\n");
        facts(&checkpoint, &args.model).into_iter().map(line).collect()
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(Ending::Done)
}

fn info<'a>(checkpoint: &'a Checkpoint, model: &Path) -> Info<'a> {
    let header = &checkpoint.header;
    let Header {
        architecture, scoring, ..
    } = header;
    Info {
        file: model.display().to_string(),
        preset: preset_name(architecture.width),
        parameters: architecture.parameters(),
        macs_per_pass: architecture.macs(scoring.height, scoring.width),
        passes_per_image: scoring.passes_per_image(),
        normal_map: checkpoint.normal_map.is_some(),
        roi_share: checkpoint.roi.as_ref().map(Roi::share),
        smallest_fpr: header.calibration.as_ref().map(Calibration::smallest_rate),
        header,
    }
}

/// What something of a model is called, and what it is.
pub(crate) type Fact = (&'static str, String);

/// What there is to know of a model, in words.
pub(crate) fn facts(checkpoint: &Checkpoint, model: &Path) -> Vec<Fact> {
    let info = info(checkpoint, model);
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
    } = info.header;
    let ScoringSettings {
        height: _,
        width: _,
        tiling,
        normalisation,
        region_sizes,
        sets,
        mask_seed,
        smoothing,
        similarity,
        scales,
    } = scoring;
    line("file", info.file.clone());
    let network = if architecture.skip_connections {
        "U-Net"
    } else {
        "autoencoder"
    };
    line(
        "network",
        format!("{network}, {}, width {}", info.preset, architecture.width),
    );
    line("parameters", info.parameters.to_string());
    line(
        "work per image",
        format!(
            "{} passes of {:.1} GMAC{}",
            info.passes_per_image,
            info.macs_per_pass as f64 / 1e9,
            if scoring.tiling.is_some() { " for each tile" } else { "" }
        ),
    );
    match tiling {
        None => line("image size", format!("{} (height x width)", Size::of(scoring))),
        Some(Tiling { overlap }) => line(
            "image size",
            format!(
                "any, in tiles of {} (height x width) that overlap by {overlap} pixels or more",
                Size::of(scoring)
            ),
        ),
    }
    if let Some(share) = info.roi_share {
        line(
            "looked at",
            format!("{:.1} % of the image, the region of interest", 100.0 * share),
        );
    }
    if region_sizes.is_empty() {
        line("hidden", "nothing".into());
    } else {
        line(
            "region sizes K",
            region_sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
        );
        line("mask sets n", format!("{sets}, from seed {mask_seed}"));
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
    };
    let normal = if info.normal_map {
        ", less what is normal at each place"
    } else {
        ""
    };
    line(
        "maps",
        format!("{similarity}, mean filter of {smoothing}x{smoothing}{normal}"),
    );
    match training {
        None => line(
            "trained",
            "elsewhere: weights without a history, scored with the published settings".into(),
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
            format!(
                "up to {epochs} epochs in batches of {batch_size}, Adam {learning_rate} with weight decay {weight_decay}, \
                 patience {patience}, seed {seed}"
            ),
        ),
    }
    if let Some(progress) = progress {
        line("best epoch", progress.best_epoch.to_string());
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
            .map_or("nothing, so there is no --fpr: see riad calibrate".into(), reach),
    );
    line("written by", format!("riad {riad_version}, format {format}"));
    facts
}
