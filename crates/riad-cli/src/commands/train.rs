//! `riad train`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use riad::{Run, Stop, TrainingOptions, TrainingOutcome, files::check_outside};
use riad_data::Category;
use riad_model::Device;
use tracing::info;

use super::category::one_category;
use crate::{Ending, args::TrainArgs, console::Console, interrupt, shell::shell_quoted, usage};

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
