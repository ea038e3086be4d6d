//! `riad completions`.

use anyhow::Result;
use clap::CommandFactory;

use crate::{
    Ending,
    args::{Cli, CompletionsArgs},
    print::print,
};

pub(crate) fn run(args: &CompletionsArgs) -> Result<Ending> {
    // Written at once, since the generator panics where its output fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "riad", &mut script);
    print("the script", script)?;
    Ok(Ending::Done)
}
