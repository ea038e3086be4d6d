//! `riad watch`.
//!
//! The folder is looked at again and again instead of having the system report changes: that works on every file system,
//! network shares included, and what was missed before a restart is found in the same way as what comes after it.
//!
//! For each image, in this order: scored; its map written; placed in the folder for defects; its line written; and with `--by move` removed.
//! Each step can be done again without harm if a kill comes before the next, so each is done once in the end. An image with
//! which a step cannot be done keeps no other from its own: it is told, and tried again every time the folder is looked at.

mod aside;
mod folder;
mod heartbeat;
mod journal;
mod known;
mod line;
mod station;

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use riad_data::Pattern;
use riad_model::store::file_of;
use tracing::info;

use self::{
    aside::Aside,
    folder::Folder,
    heartbeat::Heartbeat,
    journal::Journal,
    known::Known,
    line::Origin,
    station::{Left, Station},
};
use crate::{
    Ending,
    args::WatchArgs,
    files::{resolved, sha256, shell_quoted},
    interrupt,
    maps::Maps,
    run::bands_of,
    scoring::{Compute, Model},
    usage,
};

/// How often to look for Ctrl-C while there is nothing to do.
const NAP: Duration = Duration::from_millis(50);

/// Digits of the checkpoint's SHA-256 that lines have.
const DIGITS: usize = 12;

pub(crate) fn run(args: &WatchArgs) -> Result<Ending> {
    let end = interrupt::Watch::start(None);
    let maps = Maps::new(&args.maps)?;
    let bands = bands_of(&args.model, args.images.bands.as_ref())?;
    let compute = args.compute.compute()?;
    let (model, digits) = open(&args.model, bands, &compute)?;
    let bands = &model.reader().pattern;
    let threshold = args
        .verdict
        .threshold(model.header(), &args.model, compute.precision)
        .transpose()?;
    if !args.folder.is_dir() {
        bail!("{} is no folder that could be watched", args.folder.display());
    }
    check_folders(args)?;
    let aside = args
        .defects
        .as_ref()
        .map(|defects| Aside::new(defects, args.by, &args.folder, bands.clone()))
        .transpose()?;
    let (journal, lines) = Journal::open(&args.out)?;
    let known = Known::of(lines);
    info!(
        "watching {}; {} holds the results of {} images; Ctrl-C ends",
        shell_quoted(&args.folder),
        shell_quoted(&args.out),
        known.images()
    );
    let mut folder = Folder::new(args.folder.clone(), bands.clone(), args.settle);
    let mut station = Station {
        origin: Origin {
            threshold: threshold.as_ref().map(|threshold| threshold.value),
            rate: threshold.as_ref().map(|threshold| threshold.rate),
            model: digits,
        },
        model,
        threshold,
        maps,
        aside,
        journal,
        known,
        heartbeat: Heartbeat::new(args.heartbeat, Instant::now()),
        left: Left::default(),
    };
    let mut ending = if args.once { Ending::Interrupted } else { Ending::Done };
    while end.reason().is_none() {
        let settled = folder.settled(Instant::now());
        station.look(&folder);
        station.finish(&settled, &folder)?;
        station.inspect(&settled, &folder, &end)?;
        let is_through = settled.len() == folder.images().len() && station.is_through(&settled);
        if args.once && end.reason().is_none() && is_through {
            let is_whole = station.is_whole_for(&settled) && !folder.has_troubles();
            ending = if is_whole { Ending::Done } else { Ending::Incomplete };
            break;
        }
        let looked = Instant::now();
        while end.reason().is_none() && looked.elapsed() < args.interval.max(NAP) {
            station.beat();
            thread::sleep(NAP);
        }
    }
    info!(
        "{} holds the results of {} images",
        shell_quoted(&args.out),
        station.known.images()
    );
    Ok(ending)
}

/// Opens a model, and gives the first digits of its file's SHA-256.
fn open(path: &Path, bands: Option<Pattern>, compute: &Compute) -> Result<(Model, String)> {
    let file = file_of(path)?;
    let state = || fs::metadata(&file).and_then(|metadata| Ok((metadata.len(), metadata.modified()?)));
    let cannot = || format!("cannot read {}", file.display());
    loop {
        let before = state().with_context(cannot)?;
        let model = Model::open(&file, bands.clone(), compute)?;
        let mut digits = sha256(&[&file])?;
        // Else another file may have taken its place between the two.
        if state().with_context(cannot)? == before {
            digits.truncate(DIGITS);
            return Ok((model, digits));
        }
    }
}

/// Checks that what is written does not come to lie where images are looked for, nor maps among defects.
///
/// # Errors
/// Blames the arguments.
fn check_folders(args: &WatchArgs) -> Result<()> {
    let apart = |folder: &Path, other: &Path, or: &str, option: &str| {
        let (inner, outer) = (resolved(folder), resolved(other));
        if inner.starts_with(&outer) || outer.starts_with(&inner) {
            return Err(usage(format!(
                "{} and {} must not lie in each other, or {or}; choose a folder beside it with {option}",
                folder.display(),
                other.display()
            )));
        }
        Ok(())
    };
    if let Some(defects) = &args.defects {
        apart(defects, &args.folder, "defects would be scored again", "--defects")?;
    }
    if let Some(maps) = &args.maps.maps {
        apart(maps, &args.folder, "maps would be scored as images", "--maps")?;
        if let Some(defects) = &args.defects {
            apart(maps, defects, "maps would be taken for defects", "--maps")?;
        }
    }
    Ok(())
}
