//! `riad report`.

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use riad::{
    Compute, Error, Evaluation, Run,
    evaluation::{Measurement, TestSet},
    report,
};
use tracing::{error, info};

use super::measure::measure;
use crate::{
    Ending,
    args::ReportArgs,
    console::Console,
    shell::shell_quoted,
    usage,
    way_out::{told, told_in_full},
};

pub(crate) fn run(args: &ReportArgs) -> Result<Ending> {
    let compute = Compute::on(args.device.device()?);
    let console = Console::default();
    let file = match (&args.out, args.runs.as_slice()) {
        (Some(file), _) => file.clone(),
        (None, [run]) => run.join(report::FILE),
        (None, _) => return Err(usage("name the file for a report of several runs with --out")),
    };
    let mut results = Vec::with_capacity(args.runs.len());
    let mut failed = 0;
    for folder in &args.runs {
        match show(folder, args, &compute, &console) {
            Ok(result) => results.push(result),
            Err(error) if args.runs.len() == 1 => return Err(error),
            Err(error) => {
                error!("{} cannot be shown: {}", folder.display(), told_in_full(&error));
                failed += 1;
            }
        }
    }
    if results.is_empty() {
        bail!("none of the {failed} runs could be shown");
    }
    report::write(&file, &results)?;
    info!("open {}", shell_quoted(&file));
    let is_whole = failed == 0 && results.iter().all(Evaluation::is_whole);
    Ok(Ending::of(is_whole))
}

/// Measures a run on its test images, or on those that it held out.
fn show(folder: &Path, args: &ReportArgs, compute: &Compute, console: &Console) -> Result<Evaluation> {
    let run = Run::open(folder)?;
    let test = TestSet::of_run_or_held_out(&run, console).map_err(|error| {
        let way_out = format!("riad eval DATA --model {}", shell_quoted(folder));
        match &error {
            Error::ImagesGone { .. } => anyhow!("{}: {way_out}", told(&error)),
            Error::NothingHeldOut { .. } => usage(format!("{error}; name a folder with test images: {way_out}")),
            _ => error.into(),
        }
    })?;
    let measurement = Measurement::of(folder).rate(args.verdict.usual());
    measure(&test, measurement, compute, console)
}
