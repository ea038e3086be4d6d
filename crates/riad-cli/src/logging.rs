//! What the program says on standard error, in words for people.

use std::{
    fmt,
    fs::File,
    io::{self, Write},
    sync::OnceLock,
    time::SystemTime,
};
#[cfg(windows)]
use std::{fs, path::Path};

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

/// Where lines go if nobody reads standard error.
static FILE: OnceLock<File> = OnceLock::new();

/// A file of lines that is larger is put aside for a new one when the program starts.
#[cfg(windows)]
const LARGE: u64 = 16 << 20;

/// Adds what is said from now on to a file, with the time. The file before it has `.old` behind its name.
///
/// # Errors
/// If the file cannot be made there.
#[cfg(windows)]
pub(crate) fn into_file(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    if fs::metadata(path).is_ok_and(|facts| facts.len() > LARGE) {
        fs::rename(path, path.with_added_extension("old"))?;
    }
    let _ = FILE.set(File::options().create(true).append(true).open(path)?);
    Ok(())
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
        if FILE.get().is_some() {
            write!(writer, "{} ", humantime::format_rfc3339_seconds(SystemTime::now()))?;
        }
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

/// Standard error, where lines go above the progress bars, or the file in its place.
pub(crate) struct BesideBars;

impl Write for BesideBars {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match FILE.get() {
            Some(mut file) => file.write(line),
            None => progress::suspended(|| io::stderr().write(line)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
