//! `riad completions`.

use std::io::{self, Write};

use anyhow::Result;
use clap::CommandFactory;

use crate::{
    Ending,
    args::{Cli, CompletionsArgs},
};

pub(crate) fn run(args: &CompletionsArgs) -> Result<Ending> {
    // Written at once, since the generator panics where its output fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "riad", &mut script);
    io::stdout().write_all(&script)?;
    Ok(Ending::Done)
}
