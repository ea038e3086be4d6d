//! `report.html`: the results of an evaluation, in one file that needs nothing else.

mod chart;
mod compare;
mod figures;
mod gallery;
mod histogram;
mod table;
mod verdict;

use std::path::Path;

use askama::Template;
use riad_core::Calibration;
use riad_data::Flaw;

pub use compare::Comparison;

use self::{
    chart::Chart,
    gallery::Gallery,
    histogram::Histogram,
    table::Table,
    verdict::{Judge, ThresholdRow, thresholds},
};
use crate::{
    Error, Result,
    evaluation::{AUPRO_LIMIT, Evaluation, Findings, FlaggedImages, Painter, Synthetic},
    facts::Fact,
    files::{check_replaces, write_whole},
    page::{content_policy, style},
    render::Thumbnail,
    threshold::rates_in_words,
};

/// The name of the report's file beside `results.json`.
pub const FILE: &str = "report.html";

/// Endings of pages.
const PAGES: &[&str] = &["html", "htm"];

/// The page. What comes from outside, names of files above all, is escaped by the template.
#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    title: String,
    images: usize,
    version: &'static str,
    /// What a browser may load: pictures inside the file, and this style and script and no others.
    policy: String,
    style: String,
    script: String,
    table: Table<'a>,
    sections: Vec<Section<'a>>,
}

/// A category's part.
struct Section<'a> {
    /// From 1, to tell apart what belongs to one category.
    number: usize,
    name: &'a str,
    answer: Answer<'a>,
    /// What was found of made-up defects, if any were made.
    made_up: Option<MadeUpTable>,
    /// What readers must know before they read on.
    notes: Vec<String>,
    curves: Vec<Chart>,
    /// Whether there are curves of images, on which thresholds are marked.
    has_marks: bool,
    histogram: Option<Histogram>,
    /// The threshold whose verdicts are shown.
    judge: Option<Judge>,
    /// Whether it is one that can be had without the images' labels.
    is_calibrated: bool,
    thresholds: Vec<ThresholdRow>,
    calibration: String,
    losses: Vec<Chart>,
    has_validation: bool,
    facts: &'a [Fact],
    data: &'a str,
    gallery: Gallery<'a>,
    legend: Option<Thumbnail>,
    legend_end: String,
}

/// What stands above all else: how good the model is, in one sentence.
struct Answer<'a> {
    sentence: String,
    /// Whether there is a threshold, so that it can be said.
    is_known: bool,
    /// The worst misses, each with the number of its image on the page.
    missed: Vec<(&'a str, usize)>,
    /// How many more there are.
    more: usize,
}

/// How many made-up defects are found, by kind and length.
struct MadeUpTable {
    lengths: Vec<usize>,
    rows: Vec<(&'static str, Vec<String>)>,
}

impl MadeUpTable {
    fn new(synthetic: &Synthetic) -> Self {
        let lengths = synthetic.lengths();
        let shown = |flaw, length| match synthetic.count(flaw, length) {
            Some(FlaggedImages { flagged, of }) => format!("{flagged} of {of}"),
            None => "–".to_owned(),
        };
        let row = |flaw: Flaw| {
            (
                flaw.plural(),
                lengths.iter().map(|&length| shown(flaw, length)).collect(),
            )
        };
        Self {
            rows: synthetic.kinds().map(row).collect(),
            lengths,
        }
    }
}

/// Writes the report of some categories' results to `file`, whole.
pub fn write(file: &Path, results: &[Evaluation]) -> Result<()> {
    let (style, script) = (style(), include_str!("../../templates/report.js").replace('\r', ""));
    let title = match results {
        [single] => format!("RIAD: {}", single.name),
        several => format!("RIAD: {} categories", several.len()),
    };
    let page = Page {
        title,
        images: results.iter().map(|result| result.findings.images.len()).sum(),
        version: env!("CARGO_PKG_VERSION"),
        policy: content_policy(&style, Some(&script)),
        style,
        script,
        table: Table::new(results),
        sections: (1..)
            .zip(results)
            .map(|(number, result)| Section::new(number, result))
            .collect::<Result<_>>()?,
    };
    let html = page.render().map_err(Error::render("the report"))?;
    check_replaces(file, PAGES)?;
    write_whole(file, html.as_bytes())
}

impl<'a> Section<'a> {
    fn new(number: usize, result: &'a Evaluation) -> Result<Self> {
        let Evaluation {
            name,
            data,
            header,
            facts,
            history,
            caution,
            findings,
            ..
        } = result;
        let calibration = header.calibration.as_ref();
        let oracle = Judge::oracle(findings);
        let calibrated = Judge::calibrated(findings);
        let drawn: Vec<_> = calibrated.iter().chain(&oracle).collect();
        let curves = figures::curves(findings, &drawn);
        let histogram = Histogram::new(&findings.images, &drawn);
        // The oracle stands in where there is no threshold that could be used.
        let is_calibrated = calibrated.is_some();
        let judge = calibrated.or(oracle);
        let notes = caution.iter().cloned().chain(findings.notes());
        let gallery = Gallery::new(&findings.images, judge.as_ref(), calibration);
        Ok(Self {
            number,
            name,
            answer: Answer::new(findings, &gallery),
            made_up: findings.synthetic.as_ref().map(MadeUpTable::new),
            notes: notes.collect(),
            curves,
            has_marks: findings.curves.image.is_some(),
            histogram,
            thresholds: thresholds(findings, calibration, judge.as_ref()),
            calibration: calibrated_with(calibration),
            losses: figures::losses(history, header),
            has_validation: history.iter().any(|record| record.validation.is_some()),
            facts,
            data,
            gallery,
            legend: findings.painter.as_ref().map(Painter::legend).transpose()?,
            legend_end: findings
                .painter
                .as_ref()
                .map_or_else(String::new, |painter| format!("{:.3}", painter.top())),
            judge,
            is_calibrated,
        })
    }
}

impl<'a> Answer<'a> {
    fn new(findings: &'a Findings, gallery: &Gallery<'_>) -> Self {
        let is_known = findings.at_threshold.is_ok();
        let end = if is_known { "." } else { "" };
        let (worst, more) = findings.worst_misses();
        let missed = worst.iter().filter_map(|missed| {
            let number = gallery.shots.iter().position(|shot| shot.path == missed.path)?;
            Some((missed.path.as_str(), number + 1))
        });
        Self {
            sentence: format!("{}{end}", findings.sentence()),
            is_known,
            missed: missed.collect(),
            more,
        }
    }
}

fn calibrated_with(calibration: Option<&Calibration>) -> String {
    calibration.map_or_else(
        || "The model is not calibrated, so it has no threshold of its own.".to_owned(),
        |calibration| format!("Calibrated with {}.", rates_in_words(calibration)),
    )
}
