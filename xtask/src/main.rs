//! Development tasks of the workspace; `cargo xtask help` lists them.

mod ci;
mod eval;
mod fetch;
mod slow_tests;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

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
    Eval(eval::Eval),
    Ci(ci::Ci),
    SlowTests(slow_tests::SlowTests),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::FetchMvtec(task) => task.run(),
        Task::Eval(task) => task.run(),
        Task::Ci(task) => task.run(),
        Task::SlowTests(task) => task.run(),
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

/// The cargo that runs this task, at work on the workspace.
fn cargo<'a>(args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace_root()).args(args);
    command
}
