//! The libraries say what is wrong; which option or command mends it is for the program to say.

use std::error::Error;

use anyhow::{Result, bail};
use riad_data::DataError;
use riad_model::ModelError;
use tracing::error;

use crate::{files::shell_quoted, remarks};

/// An error's words, with the way out on the command line if there is one.
pub(crate) fn told(error: &(dyn Error + 'static)) -> String {
    match way_out(error) {
        Some(way_out) => format!("{error} ({way_out})"),
        None => error.to_string(),
    }
}

/// The same of an error with its context.
pub(crate) fn told_in_full(error: &anyhow::Error) -> String {
    match error.chain().find_map(way_out) {
        Some(way_out) => format!("{error:#} ({way_out})"),
        None => format!("{error:#}"),
    }
}

fn way_out(error: &(dyn Error + 'static)) -> Option<String> {
    match error.downcast_ref() {
        Some(DataError::Channels { found, .. }) => return Some(format!("--channels {found} reads so many")),
        Some(DataError::AboveWhite { .. }) => {
            return Some(
                "--white-level says which sample is white, and a run keeps the one that it was trained with".to_owned(),
            );
        }
        Some(DataError::LimitExceeded { .. }) => return Some(remarks::more_memory()),
        Some(DataError::Layouts { .. }) => return Some("--format names one".to_owned()),
        _ => {}
    }
    Some(match error.downcast_ref()? {
        ModelError::Images(cause) => return way_out(cause.as_ref()),
        ModelError::Diverged { .. } => "--lr sets the learning rate".to_owned(),
        ModelError::NotBuilt { feature, .. } => {
            format!(
                "build it with `cargo build --release -p riad-cli --features {feature}`, or choose another --device"
            )
        }
        ModelError::RunExists { folder } => {
            let folder = shell_quoted(folder);
            format!("riad train --resume {folder} goes on with it; --out names another folder")
        }
        ModelError::NoRun { .. } => "riad train DATA starts one".to_owned(),
        ModelError::NoWeights { folder } => format!("riad train --resume {}", shell_quoted(folder)),
        ModelError::RunBusy { .. } => "--out names another folder".to_owned(),
        ModelError::Precision { .. } => "--precision and --device choose".to_owned(),
        _ => return None,
    })
}

/// Names everything that is wrong with images to learn from, so that all can be mended at once.
///
/// # Errors
/// If there is any fault.
pub(crate) fn refuse(faults: &[String]) -> Result<()> {
    match faults {
        [] => Ok(()),
        [only] => bail!("{only}"),
        several => {
            several.iter().for_each(|fault| error!("{fault}"));
            bail!(
                "{} faults in the images to learn from; nothing is trained before they are mended or removed",
                several.len()
            )
        }
    }
}

/// The same of faults that a library found.
///
/// # Errors
/// If there is any fault.
pub(crate) fn refuse_all(faults: &[DataError]) -> Result<()> {
    refuse(&faults.iter().map(|fault| told(fault)).collect::<Vec<_>>())
}
