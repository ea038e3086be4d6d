//! `riad calibrate`.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use anyhow::Result;
use rayon::prelude::*;
use riad::{
    Compute, Detector, Run, Scores, Suspects, calibrate, header_faults,
    names::written,
    reach,
    roi::load_roi,
    run::{bands_of, image_sha256, names_in},
};
use riad_data::{Pattern, Reader, image_files};
use riad_model::{Checkpoint, lock_run, store::BEST};
use tracing::{error, info};

use crate::{Ending, args::CalibrateArgs, console::Console, shell::shell_quoted, usage, way_out::told};

pub(crate) fn run(args: &CalibrateArgs) -> Result<Ending> {
    let compute = args.compute.compute()?;
    let console = Console::default();
    let target = match &args.out {
        Some(file) => file.clone(),
        None if args.model.is_dir() => args.model.join(BEST),
        None => {
            return Err(usage(format!(
                "name the file for the calibrated model with --out; {} itself may be it",
                shell_quoted(&args.model)
            )));
        }
    };
    // A trainer at work would write the run's best weights again, without the calibration.
    let is_in_run = args.out.is_none() && target.exists();
    let _lock = is_in_run.then(|| lock_run(&args.model)).transpose()?;
    let mut checkpoint = Checkpoint::open(&args.model)?;
    let bands = bands_of(&args.model, args.images.bands.as_ref())?;
    let mut images = Vec::new();
    let mut faults = Vec::new();
    for path in &args.paths {
        let found = image_files(path, bands.as_ref());
        images.extend(found.images);
        faults.extend(found.faults);
    }
    if let Some(file) = &args.without {
        leave_out(&mut images, file)?;
    }
    let reader = Reader::new(checkpoint.header.architecture.channels)
        .with_pattern(bands.clone())
        .with_white_level(checkpoint.header.scoring.white_level);
    let unreadable = header_faults(&images, &reader);
    images.retain(|image| !unreadable.iter().any(|fault| fault.path() == Some(image)));
    faults.extend(unreadable);
    check(&images, bands.as_ref(), &args.model)?;
    if let Some(file) = &args.roi {
        checkpoint.roi = Some(load_roi(file, &checkpoint.header.scoring, &images, &reader)?);
    }
    faults.iter().for_each(|fault| error!("{}", told(fault)));
    let Scores {
        of: scores,
        faults: damaged,
    } = calibrate(&mut checkpoint, images, bands.as_ref(), &compute, &console)?;
    damaged.iter().for_each(|fault| error!("{}", told(fault)));
    console.sum_up();
    console.warn_of_darkness(checkpoint.header.scoring.white_level);
    look_for_suspects(scores, &checkpoint, (&target, bands.as_ref()), &compute, &console)?;
    checkpoint.save(&target)?;

    if let Some(calibration) = &checkpoint.header.calibration {
        info!("{} is calibrated with {}", shell_quoted(&target), reach(calibration));
    }
    let model = if args.out.is_some() { &target } else { &args.model };
    info!(
        "score images with: riad score --model {} --fpr RATE PATH…",
        shell_quoted(model)
    );
    Ok(if faults.is_empty() && damaged.is_empty() {
        Ending::Done
    } else {
        Ending::Incomplete
    })
}

/// Takes the images that `file` names out of the list.
fn leave_out(images: &mut Vec<PathBuf>, file: &Path) -> Result<()> {
    let names = names_in(file)?;
    for name in &names {
        let before = images.len();
        images.retain(|image| written(image) != *name);
        if images.len() == before {
            return Err(usage(format!(
                "{} names {name}, which is none of the images; correct the line or remove it",
                file.display()
            )));
        }
    }
    Ok(())
}

/// Names the images that a person should look at, on a page and in a list beside the calibrated model.
fn look_for_suspects(
    scored: Vec<(PathBuf, f32)>,
    checkpoint: &Checkpoint,
    (target, bands): (&Path, Option<&Pattern>),
    compute: &Compute,
    console: &Console,
) -> Result<()> {
    let model = Detector::of_checkpoint(checkpoint, bands.cloned(), compute)?;
    let names = scored.iter().map(|(image, _)| written(image)).collect();
    let all: Vec<usize> = (0..scored.len()).collect();
    let (images, scores): (Vec<_>, Vec<_>) = scored.into_iter().unzip();
    let mut suspects = Suspects::among(images, names, model.reader());
    suspects.judge(&all, &scores);
    suspects.weigh(&all, &scores);
    if !suspects.is_empty() {
        let folder = target.parent().unwrap_or(Path::new(""));
        let list = suspects.write(folder, "calibration-suspects", model.reader(), Some(&model))?;
        suspects.tell(&list, console);
    }
    Ok(())
}

/// Checks that the images are what the guarantee supposes, as far as can be told: each of them once, and none that the
/// model knows.
fn check(images: &[PathBuf], bands: Option<&Pattern>, model: &Path) -> Result<()> {
    let sums = images.par_iter().map(|path| image_sha256(path, bands));
    let sums = sums.collect::<riad::Result<Vec<_>>>()?;
    let mut first = HashMap::new();
    for (path, sum) in images.iter().zip(&sums) {
        if let Some(before) = first.insert(sum, path) {
            return Err(usage(format!(
                "{} and {} are the same image; each counts but once, so leave one out",
                before.display(),
                path.display()
            )));
        }
    }
    if let Some(run) = Run::of(model)? {
        let seen = run.seen();
        let known: Vec<_> = images
            .iter()
            .zip(&sums)
            .filter(|(_, sum)| seen.contains(sum.as_str()))
            .collect();
        if let Some((path, _)) = known.first() {
            return Err(usage(format!(
                "{} of the images were trained or validated with, {} first; they score lower than fresh ones, and the \
                 threshold would flag too many: take images that the model has not seen",
                known.len(),
                path.display()
            )));
        }
    }
    Ok(())
}
