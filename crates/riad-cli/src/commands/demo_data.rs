//! `riad demo-data`.

use anyhow::Result;
use riad_data::demo::{self, Demo};
use tracing::info;

use crate::{Ending, args::DemoDataArgs, shell::shell_quoted};

pub(crate) fn run(args: &DemoDataArgs) -> Result<Ending> {
    let folder = shell_quoted(&args.folder);
    match demo::generate(&args.folder, args.seed)? {
        Demo::Created => info!("made the demo set in {folder}"),
        Demo::Reused => info!("the demo set of this seed is in {folder} already"),
    }
    info!("train and measure on it with: riad eval {folder}");
    Ok(Ending::Done)
}
