//! `riad info`.

use std::path::Path;

use anyhow::{Context, Result};
use riad::{
    facts::{facts, preset_name},
    names::written,
};
use riad_core::Calibration;
use riad_model::{Checkpoint, Header, Roi};
use serde::Serialize;

use crate::{Ending, args::InfoArgs, print::print};

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
        let lines = facts(&checkpoint, &args.model)?.into_iter();
        lines.map(|(name, value)| line(name, &value)).collect()
    };
    print("the facts about the model", text)?;
    Ok(Ending::Done)
}

/// Columns of a line, and of the name that it begins with.
const COLUMNS: usize = 80;
const NAME: usize = 17;

/// A name, and what it is in as many lines as it takes; a word that is longer than a line is not broken.
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
