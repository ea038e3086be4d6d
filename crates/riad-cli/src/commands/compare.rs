//! `riad compare`.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::Path,
};

use anyhow::{Result, anyhow};
use rayon::prelude::*;
use riad::{
    Compute, Run,
    evaluation::{Measuring, TestSet},
    names::relative,
    report::Comparison,
    run::image_sha256,
};
use tracing::info;

use super::eval::measure;
use crate::{Ending, args::CompareArgs, console::Console, shell::shell_quoted, usage, way_out::told};

/// Letters that name runs.
const MOST: usize = 26;

pub(crate) fn run(args: &CompareArgs) -> Result<Ending> {
    if args.runs.len() > MOST {
        return Err(usage(format!("at most {MOST} runs can be compared at once")));
    }
    let compute = Compute::f32(args.device.device()?);
    let console = Console::default();
    let mut runs = Vec::with_capacity(args.runs.len());
    for folder in &args.runs {
        let run = Run::open(folder)?;
        let test = test_set(&run, args, &compute, &console)?;
        runs.push((run, test));
    }
    // Before hours are spent.
    check_same(&runs)?;
    let mut results = Vec::with_capacity(runs.len());
    for (run, test) in &runs {
        let measuring = Measuring {
            bands: run.bands(),
            asked: args.verdict.usual(),
            ..Measuring::of(run.folder(), &compute)
        };
        results.push(measure(test, &measuring, &console)?);
    }
    let comparison = Comparison::new(&results)?;
    comparison.write(&args.out)?;
    write!(io::stdout(), "{}", comparison.summary())?;
    info!("to see it all, open {}", shell_quoted(&args.out));
    let is_whole = results.iter().all(|result| result.findings.faults.is_empty());
    Ok(if is_whole { Ending::Done } else { Ending::Incomplete })
}

/// What a run is measured on: the pictures given, or the test images of the data that it was trained with.
fn test_set(run: &Run, args: &CompareArgs, compute: &Compute, console: &Console) -> Result<TestSet> {
    if !args.photos.is_empty() {
        let sets = args.photos.sets(None);
        return Ok(TestSet::of_sets(run.folder(), &sets, run.bands(), compute, console)?);
    }
    let way_out = "name the pictures to compare on with --good and --bad";
    let folder = shell_quoted(run.folder());
    let category = run.category().map_err(|error| {
        anyhow!(
            "the images of the run in {folder} cannot be had: {}; {way_out}",
            told(&error)
        )
    })?;
    if category.test.is_empty() {
        return Err(usage(format!(
            "{} has no test images, so the run in {folder} cannot be compared on them; {way_out}",
            category.root.display()
        )));
    }
    Ok(TestSet::from(category))
}

/// Checks that all runs are measured on the same images: of the same names, labels and contents.
///
/// # Errors
/// Names the first image that differs, and the runs.
fn check_same(runs: &[(Run, TestSet)]) -> Result<()> {
    let Some(((first, first_test), others)) = runs.split_first() else {
        return Ok(());
    };
    let expected = images(first, first_test)?;
    for (run, test) in others {
        let found = images(run, test)?;
        let differs = expected.iter().find(|(name, image)| found.get(*name) != Some(*image));
        let added = found.iter().find(|(name, _)| !expected.contains_key(*name));
        let [one, other] = [first, run].map(|run| shell_quoted(run.folder()));
        let reason = match (differs, added) {
            (None, None) => continue,
            (Some((name, _)), _) if !found.contains_key(name) => format!("{name} is there for {one} alone"),
            (Some((name, _)), _) => format!("{name} is another image, or another kind, for {other}"),
            (None, Some((name, _))) => format!("{name} is there for {other} alone"),
        };
        return Err(usage(format!(
            "{one} and {other} have different test images: {reason}; name pictures to compare them on with --good and --bad"
        )));
    }
    Ok(())
}

/// Each test image's kind and contents, by its name.
fn images(run: &Run, test: &TestSet) -> Result<BTreeMap<String, (Option<String>, String)>> {
    let root: &Path = &test.category.root;
    let image = |item: &riad_data::TestItem| {
        let sum = image_sha256(&item.path, run.bands())?;
        Ok((relative(&item.path, root), (item.defect.clone(), sum)))
    };
    test.category.test.par_iter().map(image).collect()
}
