//! `riad man`.

use std::fs;

use anyhow::{Context, Result};
use clap::CommandFactory;

use crate::{
    Ending,
    args::{Cli, ManArgs},
};

pub(crate) fn run(args: &ManArgs) -> Result<Ending> {
    let folder = &args.folder;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    clap_mangen::generate_to(Cli::command(), folder)
        .with_context(|| format!("cannot write man pages to {}", folder.display()))?;
    Ok(Ending::Done)
}
