//! `riad watch`.

use anyhow::Result;
use riad::{
    Detector, Error,
    watch::{Options, Station, WatchOutcome},
};
use tracing::info;

use crate::{Ending, args::WatchArgs, console::Console, interrupt, shell::shell_quoted, usage};

pub(crate) fn run(args: &WatchArgs) -> Result<Ending> {
    let end = interrupt::Watch::start(None);
    let maps = args.maps.maps()?;
    let compute = args.compute.compute()?;
    let detector = Detector::options()
        .compute(compute)
        .bands(args.images.bands.clone())
        .identified(true)
        .open(&args.model)?;
    args.verdict.threshold(&detector)?;
    let options = Options {
        rate: args.verdict.rate(),
        defects: args.defects.clone().map(|defects| (defects, args.by)),
        maps,
        settle: args.settle,
        interval: args.interval,
        once: args.once,
        ..Options::new(&args.folder, &args.out)
    };
    let console = Console::watching(args.heartbeat);
    let mut station = Station::open(detector, options, &console).map_err(|error| match error {
        Error::Within { folder, other } => {
            let is_of_maps = args.maps.folder() == Some(&folder);
            let (option, why) = match (is_of_maps, args.defects.as_ref() == Some(&other)) {
                (true, true) => ("--maps", "maps would be taken for defects"),
                (true, false) => ("--maps", "maps would be scored as images"),
                (false, _) => ("--defects", "defects would be scored again"),
            };
            usage(format!(
                "{} and {} must lie outside of each other, or {why}; choose a folder beside it with {option}",
                folder.display(),
                other.display()
            ))
        }
        error => error.into(),
    })?;
    info!(
        "watching {}; {} holds the results of {} images; Ctrl-C ends",
        shell_quoted(&args.folder),
        shell_quoted(&args.out),
        station.counts().images
    );
    let ended = station.run(end.cancel(), &console)?;
    info!(
        "{} holds the results of {} images",
        shell_quoted(&args.out),
        station.counts().images
    );
    Ok(match ended {
        WatchOutcome::Whole => Ending::Done,
        WatchOutcome::Incomplete => Ending::Incomplete,
        WatchOutcome::Cancelled if args.once => Ending::Interrupted,
        WatchOutcome::Cancelled => Ending::Done,
    })
}
