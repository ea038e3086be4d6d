//! `riad export`.

use anyhow::Result;
use riad::files::{check_replaces, write_whole};
use riad_model::{Checkpoint, export::Format};
use tracing::{info, warn};

use crate::{Ending, args::ExportArgs, shell::shell_quoted};

pub(crate) fn run(args: &ExportArgs) -> Result<Ending> {
    // Before the time that it takes.
    check_replaces(&args.out, args.format.endings())?;
    let checkpoint = Checkpoint::open(&args.model)?;
    let bytes = args.format.bytes(&checkpoint)?;
    write_whole(&args.out, &bytes)?;
    let white_level = checkpoint.header.scoring.white_level;
    if let (Format::Torch, Some(white)) = (args.format, white_level) {
        warn!(
            "a state dict holds only weights, and not the white level: divide the samples of files by {white} before \
             the network, or its input differs from that of training"
        );
    }
    info!("{}: {:.1} MB", shell_quoted(&args.out), bytes.len() as f64 / 1e6);
    Ok(Ending::Done)
}
