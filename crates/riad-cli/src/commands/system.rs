//! `riad completions` and `riad man`.

use std::fs;

use anyhow::{Context, Result};
use clap::CommandFactory;

use crate::{
    Ending,
    args::{Cli, CompletionsArgs, ManArgs},
    print::print,
};

pub(crate) fn completions(args: &CompletionsArgs) -> Result<Ending> {
    // Written at once, since the generator panics where its output fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "riad", &mut script);
    print("the script", script)?;
    Ok(Ending::Done)
}

pub(crate) fn man(args: &ManArgs) -> Result<Ending> {
    let folder = &args.folder;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    clap_mangen::generate_to(Cli::command(), folder)
        .with_context(|| format!("cannot write man pages to {}", folder.display()))?;
    Ok(Ending::Done)
}
