//! `riad calibrate`.

use anyhow::Result;
use riad::{Recalibration, rates_in_words};
use tracing::info;

use crate::{Ending, args::CalibrateArgs, console::Console, shell::shell_quoted, usage};

pub(crate) fn run(args: &CalibrateArgs) -> Result<Ending> {
    if args.out.is_none() && !args.model.is_dir() {
        return Err(usage(format!(
            "name the file for the calibrated model with --out; it may be {} itself",
            shell_quoted(&args.model)
        )));
    }
    let console = Console::default();
    let mut calibration = Recalibration::of(&args.model).compute(args.compute.compute()?);
    for path in &args.paths {
        calibration = calibration.pictures(path);
    }
    if let Some(file) = &args.without {
        calibration = calibration.without(file);
    }
    if let Some(mask) = &args.roi {
        calibration = calibration.roi(mask);
    }
    if let Some(bands) = &args.images.bands {
        calibration = calibration.bands(bands.clone());
    }
    if let Some(file) = &args.out {
        calibration = calibration.out(file);
    }
    let calibrated = calibration.start(&console)?;
    console.sum_up();
    console.warn_of_darkness(calibrated.white_level);
    info!(
        "{} is calibrated with {}",
        shell_quoted(&calibrated.model),
        rates_in_words(&calibrated.calibration)
    );
    let model = args.out.as_ref().unwrap_or(&args.model);
    info!(
        "score images with: riad score --model {} --fpr RATE PATH…",
        shell_quoted(model)
    );
    Ok(Ending::of(calibrated.faults == 0))
}
