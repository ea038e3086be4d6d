//! The libraries say what is wrong. The program says which option or command corrects it.

use std::{error::Error as StdError, path::Path};

use riad::Error;
use riad_data::DataError;
use riad_model::ModelError;

use crate::{memory::more_memory, shell::shell_quoted};

/// An error's words, with the way out on the command line if there is one.
pub(crate) fn told(error: &(dyn StdError + 'static)) -> String {
    match (in_our_words(error), way_out(error)) {
        (Some(words), _) => words,
        (None, Some(way_out)) => format!("{error} ({way_out})"),
        (None, None) => error.to_string(),
    }
}

/// The same of an error with its context.
pub(crate) fn told_in_full(error: &anyhow::Error) -> String {
    let causes: Vec<_> = error.chain().map(told).collect();
    causes.join(": ")
}

/// What the library says about settings and folders, in terms of the options.
fn in_our_words(error: &(dyn StdError + 'static)) -> Option<String> {
    Some(match error.downcast_ref()? {
        Error::Differs { folder, setting } => format!(
            "the run in {} was started with another --{}; leave this option out, or start another run in another folder with --out",
            folder.display(),
            match *setting {
                "layout" => "format".to_owned(),
                setting => setting.replace('_', "-"),
            }
        ),
        Error::Inside { out, data } => format!(
            "{} lies in {}, where images are looked for; choose a folder beside it with --out",
            out.display(),
            data.display()
        ),
        Error::OtherImages { root, reason } => format!(
            "{}: {reason}; a run goes on only with the images that it was started with: bring them back, or start another run in \
             another folder with --out",
            root.display()
        ),
        Error::ImagesGone { folder, cause } => format!(
            "cannot read the images of the run in {}; if they have moved, name their folder: {cause}",
            folder.display()
        ),
        Error::Faults(faults) => format!(
            "{} faults in the training images; correct or remove these images, then start again",
            faults.len()
        ),
        Error::Busy { path } => format!(
            "another riad watch writes to {}; stop it, or choose another file with --out",
            shell_quoted(path)
        ),
        Error::NotOurs { path } => format!(
            "{} does not hold results of riad watch; choose another file with --out",
            path.display()
        ),
        Error::Gone { path } => format!(
            "{} was moved or removed while riad watch used it; start riad watch again to begin a new file",
            path.display()
        ),
        _ => return None,
    })
}

fn way_out(error: &(dyn StdError + 'static)) -> Option<String> {
    error
        .downcast_ref()
        .and_then(of_library)
        .or_else(|| error.downcast_ref().and_then(of_data))
        .or_else(|| error.downcast_ref().and_then(of_model))
}

fn of_library(error: &Error) -> Option<String> {
    Some(match error {
        Error::Data(error) => return of_data(error),
        Error::Model(error) => return of_model(error),
        Error::Link { .. } => "if hard links are not possible here, choose --by copy or --by move".to_owned(),
        Error::NotOfMethod { method, settings, .. } => {
            let options: Vec<_> = settings.iter().map(|setting| format!("--{setting}")).collect();
            format!("leave out {} or --method {method}", options.join(" and "))
        }
        Error::RunExists { folder } => goes_on(folder),
        Error::NoRun { .. } => "riad train DATA starts one".to_owned(),
        Error::NotCalibrated { model, .. } | Error::TooFew { model, .. } => {
            format!("riad calibrate --model {} PATH…", shell_quoted(model))
        }
        _ => return None,
    })
}

fn of_data(error: &DataError) -> Option<String> {
    Some(match error {
        // Only the shells of Unix replace such patterns by file names.
        DataError::Io { path, .. } if cfg!(windows) && path.to_string_lossy().contains(['*', '?']) => {
            "name the folder; Windows does not replace * and ? by file names".to_owned()
        }
        DataError::Channels { found, .. } => format!("--channels {found} reads such images"),
        DataError::AboveWhite { .. } => {
            "--white-level sets the white level, and a run keeps the one that it was trained with".to_owned()
        }
        DataError::LimitExceeded { .. } => more_memory(),
        DataError::Layouts { .. } => "--format names one".to_owned(),
        _ => return None,
    })
}

fn of_model(error: &ModelError) -> Option<String> {
    Some(match error {
        ModelError::Images(cause) => return way_out(cause.as_ref()),
        ModelError::Diverged { .. } => "--lr sets the learning rate".to_owned(),
        ModelError::NotBuilt { feature, .. } => {
            format!(
                "build riad with `cargo build --release -p riad-cli --features {feature}`, or choose another --device"
            )
        }
        ModelError::RunExists { folder } => goes_on(folder),
        ModelError::NoRun { .. } => "riad train DATA starts one".to_owned(),
        ModelError::NoWeights { folder } => format!("riad train --resume {}", shell_quoted(folder)),
        ModelError::RunBusy { .. } => "--out names another folder".to_owned(),
        ModelError::Precision { .. } => "choose with --precision and --device".to_owned(),
        _ => return None,
    })
}

fn goes_on(folder: &Path) -> String {
    format!(
        "riad train --resume {} goes on with it; --out names another folder",
        shell_quoted(folder)
    )
}
