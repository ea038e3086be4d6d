//! The command line: what can be asked for, with its help.

use std::{num::NonZeroUsize, path::PathBuf, str::FromStr};

use clap::{
    ArgAction, Args, Parser, Subcommand, ValueHint,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};

use crate::memory::parse_memory;

mod bands;
mod bench;
mod calibrate;
mod category;
mod check;
mod compare;
mod compute;
mod demo_data;
mod eval;
mod export;
mod info;
mod maps;
mod photos;
mod report;
mod score;
mod serve;
mod sinks;
mod system;
mod train;
mod training;
mod verdict;
mod watch;

pub(crate) use bands::BandsArgs;
pub(crate) use bench::BenchArgs;
pub(crate) use calibrate::CalibrateArgs;
pub(crate) use category::CategoryArgs;
pub(crate) use check::CheckArgs;
pub(crate) use compare::CompareArgs;
pub(crate) use compute::{ComputeArgs, DeviceArgs};
pub(crate) use demo_data::DemoDataArgs;
pub(crate) use eval::EvalArgs;
pub(crate) use export::ExportArgs;
pub(crate) use info::InfoArgs;
pub(crate) use maps::MapArgs;
pub(crate) use photos::PhotosArgs;
pub(crate) use report::ReportArgs;
pub(crate) use score::{Format, ScoreArgs};
pub(crate) use serve::ServeArgs;
pub(crate) use sinks::SinkArgs;
pub(crate) use system::{CompletionsArgs, ManArgs};
pub(crate) use train::TrainArgs;
pub(crate) use training::TrainingArgs;
pub(crate) use verdict::{VerdictArgs, warn_of_precision};
pub(crate) use watch::WatchArgs;

/// Finds defects in pictures of products after seeing only good ones.
///
/// A network learns from good products only. It fills in hidden parts of an image, or restores the image from its edges. A part
/// that it cannot restore is a defect.
#[derive(Debug, Parser)]
#[command(name = "riad", version, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  riad eval                                             see it work: demo, training, report
  riad train photos/good --out runs/lid                 learn from a folder of good pictures
  riad eval --model runs/lid --good more --bad bad      measure it on pictures that you know
  riad score --model runs/lid photos/today              a score each: larger is more anomalous
  riad score --model runs/lid photos/today --fpr 0.05   a verdict, too: one false alarm in 20
  riad eval --model runs/bottle data/bottle             on a data set in MVTec AD's layout";

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Read options from a TOML file. Its keys are the long option names. An option on the command line wins over the file
    #[arg(long, value_name = "FILE", global = true, value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Number of threads to compute with [default: one per core]. It does not change results
    #[arg(long, value_name = "N", global = true)]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Memory for all images that are decoded at the same time, such as 512MiB or 4GiB. An image that needs more alone is
    /// named and refused. The others go on
    #[arg(long, value_name = "BYTES", global = true, default_value = "1GiB", value_parser = parse_memory)]
    pub(crate) decode_memory: u64,
    /// Print more. Given twice: print everything, with backtraces of errors
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// Print only warnings and errors. Given twice: print only errors
    #[arg(short, long, action = ArgAction::Count, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    DemoData(DemoDataArgs),
    Check(CheckArgs),
    Train(TrainArgs),
    Calibrate(CalibrateArgs),
    Eval(EvalArgs),
    Report(ReportArgs),
    Compare(CompareArgs),
    Score(ScoreArgs),
    Export(ExportArgs),
    Watch(WatchArgs),
    Serve(Box<ServeArgs>),
    Info(InfoArgs),
    Bench(BenchArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// Takes the names of all these values, and shows them in help.
fn named<T>(all: &[T], name: fn(T) -> &'static str) -> impl TypedValueParser<Value = T> + use<T>
where
    T: Copy + FromStr<Err: std::error::Error + Send + Sync> + Send + Sync + 'static,
{
    let names: Vec<_> = all.iter().map(|&value| name(value)).collect();
    PossibleValuesParser::new(names).try_map(|name| name.parse::<T>())
}

/// The same, with what each is about.
fn described<T>(
    all: &[T],
    name: fn(T) -> &'static str,
    about: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> + use<T>
where
    T: Copy + FromStr<Err: std::error::Error + Send + Sync> + Send + Sync + 'static,
{
    let values = all
        .iter()
        .map(|&value| PossibleValue::new(name(value)).help(about(value)));
    PossibleValuesParser::new(values.collect::<Vec<_>>()).try_map(|name| name.parse::<T>())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
