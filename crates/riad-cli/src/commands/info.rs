//! `riad info`.

use anyhow::{Context, Result};
use riad::facts::{Info, facts, in_lines};
use riad_model::Checkpoint;

use crate::{Ending, args::InfoArgs, print::print};

pub(crate) fn run(args: &InfoArgs) -> Result<Ending> {
    let checkpoint = Checkpoint::open(&args.model)?;
    let text = if args.json {
        let info = Info::of(&checkpoint, &args.model)?;
        serde_json::to_string_pretty(&info).context("the header cannot be written as JSON")? + "\n"
    } else {
        in_lines(&facts(&checkpoint, &args.model)?)
    };
    print("the facts about the model", text)?;
    Ok(Ending::Done)
}
