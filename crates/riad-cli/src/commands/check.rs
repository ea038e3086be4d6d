//! `riad check`.

use anyhow::Result;
use riad::{Suspects, TrainingOptions, names::relative};
use tracing::{error, info};

use super::category::one_category;
use crate::{Ending, args::CheckArgs, console::Console, print::print, shell::shell_quoted, usage, way_out::told};

pub(crate) fn run(args: &CheckArgs) -> Result<Ending> {
    let bands = args.images.bands.as_ref();
    if args.out.extension().is_none_or(|ending| ending != "html") {
        return Err(usage(format!(
            "--out names a page, FILE.html, not {}",
            args.out.display()
        )));
    }
    let reader = TrainingOptions {
        channels: args.channels,
        bands: bands.cloned(),
        white_level: args.white_level,
        ..TrainingOptions::default()
    }
    .reader();
    reader.check().map_err(|error| usage(error.to_string()))?;
    let category = one_category(&args.data, args.category.name.as_deref(), args.category.format.0, bands)?;
    let images = [&category.train[..], &category.validation].concat();
    let images = images.into_iter().map(|image| {
        let name = relative(&image, &category.root);
        (image, name)
    });
    let suspects = Suspects::among(images.collect(), &reader);
    let faults: Vec<String> = category
        .train_faults
        .iter()
        .chain(suspects.unreadable())
        .map(|fault| told(fault))
        .collect();
    faults.iter().for_each(|fault| error!("{fault}"));
    let list = args.out.with_extension("txt");
    // Before the lines, whose reader may have gone.
    suspects.write(&list, &reader, None)?;
    let lines = suspects.lines().map(|(name, reasons)| format!("{name}: {reasons}\n"));
    print("the unusual images", lines.collect::<String>())?;
    if !suspects.is_empty() {
        suspects.tell(&list, &Console::default());
        info!("open {}", shell_quoted(&args.out));
    } else {
        info!("{}", suspects.sentence());
    }
    Ok(Ending::of(faults.is_empty()))
}
