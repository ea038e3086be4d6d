//! `riad train`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use riad::{Run, Stop, TrainingOptions, TrainingOutcome, files::check_outside};
use riad_data::{Category, DataError, Layout, Pattern};
use riad_model::Device;
use tracing::info;

use crate::{Ending, args::TrainArgs, console::Console, interrupt, mistake, shell::shell_quoted, usage};

pub(crate) fn run(args: &TrainArgs) -> Result<Ending> {
    let device = args.compute.device()?;
    let mut options = args
        .training
        .options(args.compute.precision(), args.images.bands.as_ref());
    options.from = args.from.clone();
    // Before a folder is made for the run.
    if let Some(precision) = options.precision {
        precision.check_training(&device)?;
    }
    let console = Console::default();
    let resumed = args.resume.as_deref().map(Run::open).transpose()?;
    let layout = match &resumed {
        None => args.category.format.0,
        Some(run) => {
            run.agree(&options, args.category.format.0)?;
            Some(run.layout())
        }
    };
    let bands = resumed.as_ref().map_or(options.bands.as_ref(), Run::bands);
    let open = |data: &PathBuf| one_category(data, args.category.name.as_deref(), layout, bands);
    let category = args.data.as_ref().map(open).transpose()?;
    let mut run = match (resumed, &category) {
        (Some(run), _) => run,
        (None, Some(category)) => {
            if let (Some(out), Some(data)) = (&args.out, &args.data) {
                check_outside(out, data)?;
            }
            let folder = args
                .out
                .clone()
                .unwrap_or_else(|| Path::new("runs").join(&category.name));
            begin(&folder, category, &options, &device, &console)?
        }
        (None, None) => return Err(usage("DATA is missing: name the folder of good images")),
    };
    // Before anything more is written: from here on, a run stops in good order.
    let watch = interrupt::Watch::start(args.training.max_time);
    match run.train(category.as_ref(), &device, watch.cancel(), &console)? {
        TrainingOutcome::Finished => {
            info!(
                "score images with: riad score --model {} PATH…",
                shell_quoted(run.folder())
            );
            Ok(Ending::Done)
        }
        TrainingOutcome::Stopped(stop) => {
            info!("go on with: riad train --resume {}", shell_quoted(run.folder()));
            Ok(if stop == Stop::Time {
                Ending::Done
            } else {
                Ending::Interrupted
            })
        }
    }
}

/// Begins a run, and tells what was found of its images.
pub(super) fn begin(
    folder: &Path,
    category: &Category,
    options: &TrainingOptions,
    device: &Device,
    console: &Console,
) -> riad::Result<Run> {
    let run = Run::create(folder, category, options, device, console)?;
    console.sum_up();
    console.warn_of_darkness(options.white_level);
    Ok(run)
}

/// The category in `data`: the one named, or the only one.
pub(super) fn one_category(
    data: &Path,
    name: Option<&str>,
    layout: Option<Layout>,
    bands: Option<&Pattern>,
) -> Result<Category> {
    let found = categories(data, name, layout);
    let meant = || mistake::training(data).filter(|_| name.is_none() && layout.is_none());
    let (layout, folders) = found.map_err(|error| or_meant(error, meant))?;
    match folders.as_slice() {
        [folder] => Ok(Category::open_as(folder, layout, bands)?),
        folders => {
            let names: Vec<_> = folders
                .iter()
                .filter_map(|folder| folder.file_name())
                .map(|n| n.to_string_lossy())
                .collect();
            Err(usage(format!(
                "{} holds {} categories; choose one with --category: {}",
                data.display(),
                names.len(),
                names.join(", ")
            )))
        }
    }
}

/// The error, or where no layout fits what was `meant`, if that is clear.
pub(super) fn or_meant(error: anyhow::Error, meant: impl FnOnce() -> Option<String>) -> anyhow::Error {
    match error.downcast_ref() {
        Some(DataError::Layout { .. }) => meant().map_or(error, usage),
        _ => error,
    }
}

/// The folders of the categories in `data`, the one named or all, and their layout: the one given, or what is there.
pub(crate) fn categories(data: &Path, name: Option<&str>, layout: Option<Layout>) -> Result<(Layout, Vec<PathBuf>)> {
    let root = name.map_or_else(|| data.to_owned(), |name| data.join(name));
    let layout = match layout {
        Some(layout) => layout,
        None => Layout::of(&root)?,
    };
    let folders = match name {
        Some(_) => vec![root],
        None => layout.categories(&root)?,
    };
    Ok((layout, folders))
}
