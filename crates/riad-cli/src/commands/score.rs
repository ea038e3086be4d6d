//! `riad score`.

use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
    io::{self, IsTerminal, Write},
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use riad::{
    Error, Found, Threshold,
    files::{resolved, with_suffix, write_whole},
    names::{plain, written},
    render::{Plane, Scale, outline_found, raw, save},
};
use riad_data::{Pattern, image_files};
use serde_json::json;
use tracing::{error, info};

use crate::{
    Ending,
    args::{Format, MapFormat, ScoreArgs},
    console::Console,
    progress::{Progress, suspended},
    usage,
    way_out::told,
};

pub(crate) fn run(args: &ScoreArgs) -> Result<Ending> {
    let scale = Scale::up_to(args.map_scale).ok_or_else(|| usage("--map-scale must be above 0"))?;
    let compute = args.compute.compute()?;
    let detector = riad::Detector::open_with(&args.model, args.images.bands.clone(), &compute)?;
    let threshold = args.verdict.threshold(&detector)?;
    let mut output = Output::new(args.format, threshold.clone())?;

    let files = images(&args.paths, detector.reader().pattern.as_ref(), &mut output)?;
    let targets = args
        .maps
        .as_ref()
        .map(|folder| targets(folder, &args.paths, &files))
        .transpose()?;
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
            Err(error) if error.path().is_none() => return Err(error.into()),
            Err(error) => {
                console.note_error(&error);
                output.failure(&path, &told(&error))?;
            }
            Ok(found) => {
                if let Some(facts) = found.file_facts() {
                    console.note(&path, facts);
                }
                output.score(&path, found.score())?;
                if let Some(target) = targets.as_ref().and_then(|targets| targets.get(&path)) {
                    // A name that is too long with what a map adds, a disk that is full: the scores go on.
                    if let Err(error) = write_map(target, &found, args.map_format, &scale, threshold.as_ref()) {
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
            "{} of {} images called defective: above {}, the threshold for {} from {} good images",
            output.flagged,
            output.scored,
            threshold.value(),
            threshold.asked(),
            threshold.calibration().scores().len()
        );
    }
    Ok(if output.failures == 0 {
        Ending::Done
    } else {
        Ending::Incomplete
    })
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

/// Lines on standard output, and on standard error for what has no score.
struct Output {
    format: Format,
    /// What gives verdicts, if any were asked for.
    threshold: Option<Threshold>,
    /// Lines that were not written yet: whole ones, so that what is written at once ends with a line.
    lines: Vec<u8>,
    failures: usize,
    scored: usize,
    /// Images called defective.
    flagged: usize,
}

impl Output {
    fn new(format: Format, threshold: Option<Threshold>) -> Result<Self> {
        let has_verdicts = threshold.is_some();
        let mut output = Self {
            format,
            threshold,
            lines: Vec::new(),
            failures: 0,
            scored: 0,
            flagged: 0,
        };
        match format {
            Format::Csv if has_verdicts => output.record(&["path", "score", "p_value", "verdict"])?,
            Format::Csv => output.record(&["path", "score"])?,
            Format::Jsonl => {}
        }
        Ok(output)
    }

    fn score(&mut self, path: &Path, score: f32) -> Result<()> {
        self.scored += 1;
        let judged = self.threshold.as_ref().map(|threshold| {
            let verdict = threshold.verdict(score);
            self.flagged += usize::from(verdict.is_defective());
            (threshold.p_value(score), verdict)
        });
        match self.format {
            Format::Csv => {
                let mut fields = vec![written(path), score.to_string()];
                if let Some((p_value, verdict)) = judged {
                    fields.extend([format!("{p_value:.4}"), verdict.to_string()]);
                }
                self.record(&fields)
            }
            Format::Jsonl => {
                let mut object = json!({ "path": written(path), "score": score });
                if let Some((p_value, verdict)) = judged {
                    object["p_value"] = p_value.into();
                    object["verdict"] = verdict.name().into();
                }
                self.line(&object)
            }
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
        suspended(|| {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&self.lines)?;
            stdout.flush()
        })?;
        self.lines.clear();
        Ok(())
    }
}

/// Writes an image's map. With a threshold the overlay has a line around what is above it.
fn write_map(
    target: &Path,
    found: &Found,
    format: MapFormat,
    scale: &Scale,
    threshold: Option<&Threshold>,
) -> riad::Result<()> {
    match format {
        MapFormat::Npy => {
            let map = Plane::new(found.map().clone())?;
            write_whole(&with_suffix(target, ".npy"), &raw::npy(&map)?)
        }
        MapFormat::Tiff => {
            let map = Plane::new(found.map_at_original_size()?)?;
            write_whole(&with_suffix(target, ".tiff"), &raw::tiff(&map)?)
        }
        MapFormat::Png => {
            let picture = found.picture()?;
            let map = Plane::new(found.map_at_original_size()?)?;
            save(&scale.heat(&map), &with_suffix(target, ".heat.png"))?;
            let mut overlay = scale.overlay(&picture, &map);
            if let Some(threshold) = threshold {
                outline_found(&mut overlay, |x, y| map.at(x, y) > threshold.value());
            }
            save(&overlay, &with_suffix(target, ".overlay.png"))
        }
    }
}

/// Where each file's pictures go: below `folder` as the file lies below the folder that all `roots` share, under its
/// name without the ending, or with it where two differ in that alone.
fn targets(folder: &Path, roots: &[PathBuf], files: &[PathBuf]) -> Result<HashMap<PathBuf, PathBuf>> {
    let absolute = |folder: &Path| {
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        folder
            .canonicalize()
            .with_context(|| format!("cannot access {}", folder.display()))
    };
    // Paths that do not exist were reported before.
    let folders = roots
        .iter()
        .filter(|root| root.exists())
        .map(|root| match root.parent() {
            Some(parent) if !root.is_dir() => absolute(parent),
            _ => absolute(root),
        });
    let mut shared: Option<PathBuf> = None;
    for folder in folders {
        let folder = folder?;
        shared = Some(match shared {
            Some(shared) => shared
                .components()
                .zip(folder.components())
                .take_while(|(a, b)| a == b)
                .map(|(a, _)| a)
                .collect(),
            None => folder,
        });
    }
    let shared = shared.unwrap_or_default();

    let mut places = HashMap::new();
    for file in files {
        let parent = absolute(file.parent().unwrap_or(Path::new("")))?;
        let below = parent.strip_prefix(&shared).unwrap_or(&parent);
        let below: PathBuf = below
            .components()
            .filter(|part| matches!(part, Component::Normal(_)))
            .collect();
        places.insert(file, folder.join(below));
    }
    let stem = |file: &Path, place: &Path| place.join(file.file_stem().unwrap_or_default());
    let mut uses: HashMap<PathBuf, usize> = HashMap::new();
    for (file, place) in &places {
        *uses.entry(stem(file, place)).or_default() += 1;
    }
    let target = |(file, place): (&PathBuf, PathBuf)| {
        let stem = stem(file, &place);
        let is_alone = uses.get(&stem) == Some(&1);
        let target = if is_alone {
            stem
        } else {
            place.join(file.file_name().unwrap_or_default())
        };
        (file.clone(), target)
    };
    let targets: HashMap<PathBuf, PathBuf> = places.into_iter().map(target).collect();
    let places: HashSet<_> = targets.values().filter_map(|target| target.parent()).collect();
    for root in roots.iter().filter(|root| root.is_dir()) {
        let inside = resolved(root);
        if places.iter().any(|place| resolved(place).starts_with(&inside)) {
            return Err(usage(format!(
                "maps in {} would lie among the images to score in {}, and be taken for images the next time; choose a \
                 folder beside it with --maps",
                folder.display(),
                root.display()
            )));
        }
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn pictures_lie_as_their_images_do() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for file in ["a/x/1.png", "a/x/1.jpg", "a/2.png", "b/x/1.png", "c.png"] {
            fs::create_dir_all(at(file).parent().unwrap()).unwrap();
            fs::write(at(file), "").unwrap();
        }
        let targets = |roots: &[&str], files: &[&str]| {
            let paths = |paths: &[&str]| paths.iter().map(|path| at(path)).collect::<Vec<_>>();
            let found = targets(Path::new("maps"), &paths(roots), &paths(files)).unwrap();
            files
                .iter()
                .map(|file| found[&at(file)].to_string_lossy().replace('\\', "/"))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            targets(&["a"], &["a/x/1.png", "a/x/1.jpg", "a/2.png"]),
            ["maps/x/1.png", "maps/x/1.jpg", "maps/2"]
        );
        assert_eq!(
            targets(&["a", "b"], &["a/x/1.png", "b/x/1.png"]),
            ["maps/a/x/1", "maps/b/x/1"]
        );
        assert_eq!(targets(&["c.png", "c.png"], &["c.png", "c.png"]), ["maps/c", "maps/c"]);
        assert_eq!(
            targets(&["c.png", "b", "absent"], &["c.png", "b/x/1.png"]),
            ["maps/c", "maps/b/x/1"]
        );
    }
}
