//! `riad score`.

use std::{
    collections::HashSet,
    fmt::Display,
    io::{self, IsTerminal, Write},
    mem,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use riad::{
    Error, Inspection, Judgement, Threshold, Verdict,
    names::{plain, written},
};
use riad_data::{Pattern, counted, image_files};
use serde::Serialize;
use serde_json::json;
use tracing::{error, info};

use crate::{
    Ending,
    args::{Format, ScoreArgs},
    console::Console,
    is_broken_pipe,
    print::print,
    progress::Progress,
    usage,
    way_out::told,
};

pub(crate) fn run(args: &ScoreArgs) -> Result<Ending> {
    let maps = args.maps.maps()?;
    let compute = args.compute.compute()?;
    let detector = riad::Detector::options()
        .compute(compute)
        .bands(args.images.bands.clone())
        .open(&args.model)?;
    let threshold = args.verdict.threshold(&detector)?;
    let mut output = Output::new(args.format, threshold.clone(), maps.is_some())?;

    let files = images(&args.paths, detector.reader().pattern.as_ref(), &mut output)?;
    let targets = maps.as_ref().map(|maps| maps.beside(&args.paths, &files));
    let targets = targets.transpose().map_err(|error| match error {
        Error::Inside { out, data } => usage(format!(
            "maps in {} would lie among the images in {}, and the next run would score them; choose a folder beside \
             it with --maps",
            out.display(),
            data.display()
        )),
        error => error.into(),
    })?;
    output.flush()?;
    if files.is_empty() {
        bail!("there are no images to score");
    }

    let total = files.len() as u64;
    // A bar would run into lines that go to the same terminal.
    let mut progress = (!io::stdout().is_terminal()).then(|| Progress::start("scoring", "image", 0, total));
    let console = Console::default();
    for (done, (path, found)) in (1..).zip(detector.inspect_many(files)) {
        match found {
            // The device's: nothing can be scored any more.
            Err(error) if error.stops_everything() => return Err(error.into()),
            Err(error) => {
                console.note_error(&error);
                output.failure(&path, &told(&error))?;
            }
            Ok(found) => {
                if let Some(facts) = found.file_facts() {
                    console.note(&path, facts);
                }
                output.score(&path, &found)?;
                if let Some(maps) = &maps
                    && let Some(target) = targets.as_ref().and_then(|targets| targets.get(&path))
                {
                    // A name that is too long with what a map adds, a disk that is full: the scores go on.
                    if let Err(error) = maps.write(target, &found, threshold.as_ref()) {
                        output.no_map(&path, &error);
                    }
                }
            }
        }
        output.flush()?;
        if let Some(progress) = &mut progress {
            progress.tell(done, String::new);
        }
    }
    drop(progress);
    console.sum_up();
    if let Some(threshold) = &threshold {
        info!(
            "{} of {} images are defective{}: above {}, the threshold for {} from {}",
            output.defective,
            output.scored,
            output.strange_in_words(),
            threshold.value(),
            threshold.rate(),
            counted(threshold.calibration().scores().len(), "good image")
        );
    }
    Ok(Ending::of(output.failures == 0))
}

/// The images at `paths`. What is none is told, and keeps no other from being scored: of several files that make an image,
/// one that is missing is found when the image is read.
fn images(paths: &[PathBuf], bands: Option<&Pattern>, output: &mut Output) -> Result<Vec<PathBuf>> {
    let mut images = Vec::new();
    for path in paths {
        let found = image_files(path, None);
        for fault in &found.faults {
            output.failure(fault.path().unwrap_or(path), &told(fault))?;
        }
        images.extend(found.images);
    }
    let Some(bands) = bands else { return Ok(images) };
    let (mut firsts, mut seen) = (Vec::new(), HashSet::new());
    for file in images {
        match bands.files(&file) {
            Ok(files) => firsts.extend(files.into_iter().take(1).filter(|first| seen.insert(first.clone()))),
            Err(error) => output.failure(&file, &told(&error))?,
        }
    }
    Ok(firsts)
}

/// A line of JSON about an image.
#[derive(Serialize)]
struct Line {
    path: String,
    score: f32,
    #[serde(flatten)]
    judged: Option<Judgement>,
}

/// Lines on standard output, and on standard error for what has no score.
struct Output {
    format: Format,
    /// What gives verdicts, if any were asked for.
    threshold: Option<Threshold>,
    /// Whether maps are written, too: they are wanted even if nobody reads the lines any more.
    has_maps: bool,
    is_closed: bool,
    /// Lines that were not written yet: whole ones, so that what is written at once ends with a line.
    lines: Vec<u8>,
    failures: usize,
    scored: usize,
    defective: usize,
    /// Images that are not this product.
    strange: usize,
}

impl Output {
    fn new(format: Format, threshold: Option<Threshold>, has_maps: bool) -> Result<Self> {
        let has_verdicts = threshold.is_some();
        let mut output = Self {
            format,
            threshold,
            has_maps,
            is_closed: false,
            lines: Vec::new(),
            failures: 0,
            scored: 0,
            defective: 0,
            strange: 0,
        };
        match format {
            Format::Csv if has_verdicts => output.record(&["path", "score", "p_value", "verdict"])?,
            Format::Csv => output.record(&["path", "score"])?,
            Format::Jsonl => {}
        }
        Ok(output)
    }

    fn score(&mut self, path: &Path, found: &Inspection) -> Result<()> {
        let (path, score) = (written(path), found.score());
        let judged = self.threshold.as_ref().map(|threshold| found.judged(threshold));
        self.scored += 1;
        match judged.as_ref().map(|judged| judged.verdict) {
            Some(Verdict::Defective) => self.defective += 1,
            Some(Verdict::NotThisProduct) => self.strange += 1,
            Some(Verdict::Good) | None => {}
        }
        match self.format {
            Format::Csv => {
                let mut fields = vec![path, score.to_string()];
                if let Some(judged) = judged {
                    fields.extend([judged.p_value.to_string(), judged.verdict.to_string()]);
                }
                self.record(&fields)
            }
            Format::Jsonl => self.line(&json!(Line { path, score, judged })),
        }
    }

    /// How many images are not this product, to go on a sentence with. Nothing if none is.
    fn strange_in_words(&self) -> String {
        match self.strange {
            0 => String::new(),
            1 => " and 1 is not this product".to_owned(),
            more => format!(" and {more} are not this product"),
        }
    }

    fn failure(&mut self, path: &Path, error: &dyn Display) -> Result<()> {
        self.failures += 1;
        error!("{error}");
        match self.format {
            Format::Csv => Ok(()),
            Format::Jsonl => self.line(&json!({ "path": written(path), "error": plain(&error.to_string()) })),
        }
    }

    /// Tells that an image has a score, but not the pictures of its map.
    fn no_map(&mut self, path: &Path, error: &Error) {
        self.failures += 1;
        error!("no map of {}: {error}", path.display());
    }

    fn record(&mut self, fields: &[impl AsRef<str>]) -> Result<()> {
        let mut record = csv::Writer::from_writer(&mut self.lines);
        record.write_record(fields.iter().map(AsRef::as_ref))?;
        Ok(record.flush()?)
    }

    fn line(&mut self, object: &serde_json::Value) -> Result<()> {
        writeln!(self.lines, "{object}")?;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let lines = mem::take(&mut self.lines);
        if self.is_closed {
            return Ok(());
        }
        let printed = print("the scores", lines);
        self.is_closed = self.has_maps && printed.as_ref().is_err_and(is_broken_pipe);
        if self.is_closed { Ok(()) } else { printed }
    }
}
