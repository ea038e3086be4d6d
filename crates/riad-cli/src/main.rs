//! The `riad` program: finds defects in pictures of products after seeing only good ones.
//!
//! It is glue: arguments, a console, signals and exit codes. What it does lies in the crate `riad`.

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
    num::NonZeroUsize,
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::{Parser, error::ErrorKind};
use riad::names;
use riad_data::DecodeMemory;

use crate::{
    args::{Cli, Command},
    logging::BesideBars,
};

#[allow(
    rustdoc::invalid_html_tags,
    reason = "clap prints these comments, and <NAME> is what people know from help"
)]
mod args;
mod commands;
mod config;
mod console;
mod estimate;
mod interrupt;
mod logging;
mod memory;
mod print;
mod progress;
#[cfg(windows)]
mod service;
mod shell;
mod way_out;

/// A training step allocates and frees hundreds of megabytes; the system's allocator hands them back each time, and a
/// page fault for every page is most of what that costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// More threads than any machine has cores are a slip, and each takes memory.
const MOST_THREADS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// How a command that met no error ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Everything asked for was done, or stopped where it was asked to stop.
    Done,
    /// The work went through, but not for every image.
    Incomplete,
    /// Ctrl-C broke it off.
    Interrupted,
}

impl Ending {
    /// Of work that went through, for every image or not.
    fn of(is_whole: bool) -> Self {
        if is_whole { Self::Done } else { Self::Incomplete }
    }
}

/// Arguments that parse but cannot be meant.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

/// An error that blames the arguments: exit code 2.
fn usage(message: impl Into<String>) -> anyhow::Error {
    UsageError(message.into()).into()
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    #[cfg(windows)]
    let is_service = arguments
        .iter()
        .any(|argument| argument == "serve" || argument == "watch");
    let work = move || work(arguments);
    #[cfg(windows)]
    if is_service {
        return match service::offer(Box::new(work)) {
            Some(work) => work().into(),
            None => ExitCode::SUCCESS,
        };
    }
    work().into()
}

/// Does what the arguments ask for, and gives the exit code.
fn work(arguments: Vec<OsString>) -> u8 {
    let arguments = match config::merge(arguments) {
        Ok(merged) => merged,
        Err(error) => return complain(&error, false),
    };
    let cli = match Cli::try_parse_from(&arguments.list) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, &arguments),
    };
    let verbose = cli.global.verbose >= 2;
    match run(cli) {
        Ok(Ending::Done) => 0,
        Ok(Ending::Incomplete) => 1,
        Ok(Ending::Interrupted) => interrupt::EXIT_CODE,
        Err(error) => complain(&error, verbose),
    }
}

fn run(cli: Cli) -> Result<Ending> {
    logging::start(cli.global.verbose, cli.global.quiet);
    DecodeMemory::of_process().set_bytes(cli.global.decode_memory);
    if let Some(threads) = cli.global.threads {
        if threads > MOST_THREADS {
            return Err(usage(format!("--threads is at most {MOST_THREADS}, not {threads}")));
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.get());
        pool.build_global().context("the threads cannot be started")?;
    }
    match cli.command {
        Command::DemoData(args) => commands::demo_data::run(&args),
        Command::Check(args) => commands::check::run(&args),
        Command::Train(args) => commands::train::run(&args),
        Command::Calibrate(args) => commands::calibrate::run(&args),
        Command::Eval(args) => commands::eval::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Compare(args) => commands::compare::run(&args),
        Command::Score(args) => commands::score::run(&args),
        Command::Export(args) => commands::export::run(&args),
        Command::Watch(args) => commands::watch::run(&args),
        Command::Serve(args) => commands::serve::run(&args),
        Command::Info(args) => commands::info::run(&args),
        Command::Bench(args) => commands::bench::run(&args),
        Command::Completions(args) => commands::system::completions(&args),
        Command::Man(args) => commands::system::man(&args),
    }
}

/// Prints what clap has to say (help and version are errors to it) and where its arguments came from.
fn refuse(error: &clap::Error, arguments: &config::Merged) -> u8 {
    let text = error.render().to_string();
    // What was typed is repeated in it, and colours come from escape sequences as well.
    let plain = names::plain_lines(&text);
    let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let printed = if plain == text && (is_help || io::stderr().is_terminal()) {
        error.print().and_then(|()| io::stdout().flush())
    } else {
        write!(BesideBars, "{plain}")
    };
    if is_help {
        return match printed.context(print::cannot_print("the help")) {
            Ok(()) => 0,
            Err(error) => complain(&error, false),
        };
    }
    if let Some(file) = &arguments.file {
        let _ = writeln!(
            BesideBars,
            "\nnote: options were also read from {}",
            names::written(file)
        );
    }
    2
}

fn complain(error: &anyhow::Error, verbose: bool) -> u8 {
    if is_broken_pipe(error) {
        return 0;
    }
    if let Some(riad::Error::Faults(faults)) = error.downcast_ref() {
        faults
            .iter()
            .for_each(|fault| tracing::error!("{}", way_out::told(fault)));
    }
    let _ = writeln!(
        BesideBars,
        "error: {}",
        names::plain_lines(&way_out::told_in_full(error))
    );
    if verbose {
        let _ = writeln!(BesideBars, "\n{}", error.backtrace());
    }
    if is_usage(error) { 2 } else { 1 }
}

/// Whether nobody reads our output any more, as after `riad score … | head`: they have what they wanted.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

fn is_usage(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.is::<UsageError>() || riad::Error::blames_request(cause))
}
