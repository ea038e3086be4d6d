//! Development tasks of the workspace; `cargo xtask help` lists them.

mod ablate;
mod bench;
mod ci;
mod commands;
mod cuda_toolkit;
mod debian;
mod dice;
mod dist;
mod eval;
mod fetch;
mod line;
mod make_defects;
mod pictures;
mod process;
mod python;
mod race;
mod release_notes;
mod service;
mod slow_tests;
mod sweep;
mod vary;
mod wheel;
mod windows;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Fetches data sets, evaluates whole data sets, and runs what CI runs.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    FetchMvtec(fetch::FetchMvtec),
    FetchVisa(fetch::FetchVisa),
    FetchBtad(fetch::FetchBtad),
    Eval(eval::Eval),
    MakeDefects(make_defects::MakeDefects),
    Vary(vary::Vary),
    Ablate(ablate::Ablate),
    Race(race::Race),
    Bench(bench::Bench),
    CudaToolkit(cuda_toolkit::CudaToolkit),
    Ci(ci::Ci),
    Commands(commands::Commands),
    ReleaseNotes(release_notes::ReleaseNotes),
    SlowTests(slow_tests::SlowTests),
    TryService(service::TryService),
    TryLine(line::TryLine),
    Dist(dist::Dist),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::FetchMvtec(task) => task.run(),
        Task::FetchVisa(task) => task.run(),
        Task::FetchBtad(task) => task.run(),
        Task::Eval(task) => task.run(),
        Task::MakeDefects(task) => task.run(),
        Task::Vary(task) => task.run(),
        Task::Ablate(task) => task.run(),
        Task::Race(task) => task.run(),
        Task::Bench(task) => task.run(),
        Task::CudaToolkit(task) => task.run(),
        Task::Ci(task) => task.run(),
        Task::Commands(task) => task.run(),
        Task::ReleaseNotes(task) => task.run(),
        Task::SlowTests(task) => task.run(),
        Task::TryService(task) => task.run(),
        Task::TryLine(task) => task.run(),
        Task::Dist(task) => task.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The folder of the workspace's `Cargo.toml`.
fn workspace_root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_owned()
}
