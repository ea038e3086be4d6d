//! `riad export`.

use anyhow::Result;
use riad::files::{check_replaces, write_whole};
use riad_model::{
    Checkpoint,
    export::{onnx_network, onnx_scorer, torch_state_dict},
};
use tracing::{info, warn};

use crate::{
    Ending,
    args::{ExportArgs, ExportFormat},
    shell::shell_quoted,
};

pub(crate) fn run(args: &ExportArgs) -> Result<Ending> {
    // Before the time that it takes.
    check_replaces(
        &args.out,
        match args.format {
            ExportFormat::Onnx | ExportFormat::OnnxNetwork => &["onnx"],
            ExportFormat::Torch => &["pth", "pt"],
        },
    )?;
    let checkpoint = Checkpoint::open(&args.model)?;
    let bytes = match args.format {
        ExportFormat::Onnx => onnx_scorer(&checkpoint)?,
        ExportFormat::OnnxNetwork => onnx_network(&checkpoint),
        ExportFormat::Torch => torch_state_dict(&checkpoint.weights)?,
    };
    write_whole(&args.out, &bytes)?;
    let white_level = checkpoint.header.scoring.white_level;
    if let (ExportFormat::Torch, Some(white)) = (args.format, white_level) {
        warn!(
            "a state dict holds only weights, and not the white level: divide the samples of files by {white} before \
             the network, or its input differs from that of training"
        );
    }
    info!("{}: {:.1} MB", shell_quoted(&args.out), bytes.len() as f64 / 1e6);
    Ok(Ending::Done)
}
