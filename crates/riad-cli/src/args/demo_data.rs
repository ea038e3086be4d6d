//! The command line of `riad demo-data`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// Make the demo data set: a texture and an object, both made up, with defects and their masks
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  riad demo-data demo\n  riad eval demo")]
pub(crate) struct DemoDataArgs {
    /// Folder to make
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,
    /// Number that decides what the images show
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
}
