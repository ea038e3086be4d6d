//! The command line of `riad info`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// Show what a model is and how it was trained
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  riad info runs/bottle\n  riad info checkpoint.pth --json")]
pub(crate) struct InfoArgs {
    /// A run's folder or a checkpoint
    #[arg(value_name = "FILE|RUN", value_hint = ValueHint::AnyPath)]
    pub(crate) model: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
