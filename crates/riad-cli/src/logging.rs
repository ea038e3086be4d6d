//! What the program says on standard error, in words for people.

use std::{
    fmt,
    io::{self, Write},
};

use tracing::{Event, Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    filter::Targets,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use riad::names;

use crate::progress;

/// Starts logging: information and worse, more for each `verbose`, less for each `quiet`. Of the libraries outside this
/// workspace only warnings and worse are told.
pub(crate) fn start(verbose: u8, quiet: u8) {
    let level = match (verbose, quiet) {
        (0, 0) => LevelFilter::INFO,
        (0, 1) => LevelFilter::WARN,
        (0, _) => LevelFilter::ERROR,
        (1, _) => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    // Targets begin with their crate's name, and all of ours begin with riad.
    let targets = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("riad", level);
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Plain)
        .with_writer(|| BesideBars);
    tracing_subscriber::registry()
        .with(lines.with_ansi(false))
        .with(targets)
        .init();
}

/// An event as a line: its message and fields, after its level where that is not information.
struct Plain;

impl<S, N> FormatEvent<S, N> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        writer.write_str(match level {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            Level::INFO => "",
            Level::DEBUG => "debug: ",
            Level::TRACE => "trace: ",
        })?;
        let mut message = String::new();
        context.field_format().format_fields(Writer::new(&mut message), event)?;
        writeln!(writer, "{}", names::plain(&message))
    }
}

/// Standard error, where lines go above the progress bars.
struct BesideBars;

impl Write for BesideBars {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        progress::suspended(|| io::stderr().write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
