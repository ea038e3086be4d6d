//! `riad info`.

use std::{
    io::{self, Write as _},
    path::Path,
};

use anyhow::{Context, Result};
use riad_core::Calibration;
use riad_model::{Checkpoint, Header, Roi};
use serde::Serialize;

use crate::{Ending, args::InfoArgs, facts::facts, names::written, run::preset_name};

/// The header with what follows from it.
#[derive(Serialize)]
struct Info<'a> {
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

pub(crate) fn run(args: &InfoArgs) -> Result<Ending> {
    let checkpoint = Checkpoint::open(&args.model)?;
    let text = if args.json {
        let info = info(&checkpoint, &args.model)?;
        serde_json::to_string_pretty(&info).context("the header cannot be written as JSON")? + "\n"
    } else {
        let line = |(name, value)| format!("{name:<16} {value}\n");
        facts(&checkpoint, &args.model)?.into_iter().map(line).collect()
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(Ending::Done)
}

fn info<'a>(checkpoint: &'a Checkpoint, model: &Path) -> Result<Info<'a>> {
    let header = &checkpoint.header;
    let Header {
        architecture, scoring, ..
    } = header;
    Ok(Info {
        file: written(model),
        preset: preset_name(architecture.width),
        parameters: architecture.parameters()?,
        channels: architecture.channels,
        macs_per_pass: architecture.macs(scoring.height, scoring.width)?,
        passes_per_image: scoring.passes_per_image(),
        normal: checkpoint.normal.is_some(),
        roi_share: checkpoint.roi.as_ref().map(Roi::share),
        smallest_fpr: header.calibration.as_ref().map(Calibration::smallest_rate),
        header,
    })
}
