//! `riad compare`.

use anyhow::Result;
use riad::{
    Compute, Detector, Error, Evaluation, Run,
    evaluation::{Measurement, TestSet},
    report::Comparison,
};
use tracing::info;

use super::measure::measure;
use crate::{Ending, args::CompareArgs, console::Console, print::print, shell::shell_quoted, usage, way_out::told};

pub(crate) fn run(args: &CompareArgs) -> Result<Ending> {
    let compute = Compute::on(args.device.device()?);
    let console = Console::default();
    let runs = args.runs.iter().map(Run::open).collect::<riad::Result<Vec<_>>>()?;
    let sets = (!args.photos.is_empty()).then(|| args.photos.sets(None));
    // Before hours are spent: whether each model can be opened, and has the same test images.
    for run in &runs {
        Detector::open(run.folder())?;
    }
    let tests = TestSet::of_runs(&runs, sets.as_ref(), &compute, &console).map_err(with_way_out)?;
    let mut results = Vec::with_capacity(runs.len());
    for (run, test) in runs.iter().zip(&tests) {
        let measurement = Measurement::of(run.folder()).rate(args.verdict.usual());
        results.push(measure(test, measurement, &compute, &console)?);
    }
    let comparison = Comparison::new(&results)?;
    comparison.write(&args.out)?;
    print("the comparison", comparison.summary())?;
    info!("open {} to see everything", shell_quoted(&args.out));
    let is_whole = results.iter().all(Evaluation::is_whole);
    Ok(Ending::of(is_whole))
}

/// The way out of test images that cannot be had, or are not the same for all.
fn with_way_out(error: Error) -> anyhow::Error {
    let way_out = "name the pictures to compare on with --good and --bad";
    match &error {
        Error::NoTestImages { root } => usage(format!("{} has no test images; {way_out}", root.display())),
        Error::OtherTestImages { one, other, reason } => usage(format!(
            "{} and {} have different test images: {reason}; {way_out}",
            shell_quoted(one),
            shell_quoted(other)
        )),
        Error::ImagesGone { .. } => anyhow::anyhow!("{}; or {way_out}", told(&error)),
        _ => error.into(),
    }
}
