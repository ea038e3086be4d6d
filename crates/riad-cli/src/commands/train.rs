//! `riad train`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use riad_data::{Category, find_categories};
use tracing::info;

use crate::{
    Ending,
    args::TrainArgs,
    files::shell_quoted,
    interrupt::Reason,
    run::{Run, Trained},
    usage,
};

pub(crate) fn run(args: &TrainArgs) -> Result<Ending> {
    let device = riad_model::device(&args.compute.device)?;
    let category = args
        .data
        .as_deref()
        .map(|data| one_category(data, args.category.as_deref()))
        .transpose()?;
    let mut run = match (&args.resume, &category) {
        (Some(folder), _) => {
            let run = Run::open(folder)?;
            run.agree(&args.training)?;
            run
        }
        (None, Some(category)) => {
            let folder = args
                .out
                .clone()
                .unwrap_or_else(|| Path::new("runs").join(&category.name));
            Run::create(&folder, category, &args.training)?
        }
        (None, None) => return Err(usage("DATA is missing: name the folder of images to learn from")),
    };
    match run.train(category.as_ref(), args.training.max_time, &device)? {
        Trained::Finished => {
            info!(
                "score images with: riad score --model {} PATH…",
                shell_quoted(run.folder())
            );
            Ok(Ending::Done)
        }
        Trained::Stopped(reason) => {
            info!("go on with: {}", run.resume_command());
            Ok(if reason == Reason::Time {
                Ending::Done
            } else {
                Ending::Interrupted
            })
        }
    }
}

/// The category in `data`: the one named, or the only one.
fn one_category(data: &Path, name: Option<&str>) -> Result<Category> {
    let folders = categories(data, name)?;
    match folders.as_slice() {
        [folder] => Ok(Category::open(folder)?),
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

/// The folders of the categories in `data`: the one named, or all.
pub(crate) fn categories(data: &Path, name: Option<&str>) -> Result<Vec<PathBuf>> {
    Ok(match name {
        Some(name) => vec![data.join(name)],
        None => find_categories(data)?,
    })
}
