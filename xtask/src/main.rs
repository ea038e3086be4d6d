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
mod python;
mod race;
mod release_notes;
mod service;
mod slow_tests;
mod sweep;
mod vary;
mod wheel;
mod windows;

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use serde_json::Value;

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

/// The cargo that runs this task, at work on the workspace.
fn cargo<'a>(args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace_root()).args(args);
    command
}

/// Runs cargo, and returns where it has put the program `name`.
fn build(args: &[&str], name: &str) -> Result<PathBuf> {
    eprintln!("building {name} (cargo {})", args.join(" "));
    let mut build = cargo(args.iter().copied());
    build
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped());
    let mut child = build.spawn().context("cannot start cargo")?;
    let mut program = None;
    for line in child
        .stdout
        .take()
        .into_iter()
        .flat_map(|stdout| BufReader::new(stdout).lines())
    {
        let message: Value = serde_json::from_str(&line.context("cannot read cargo's messages")?).unwrap_or_default();
        if message["target"]["name"] == name {
            program = message["executable"].as_str().map(PathBuf::from).or(program);
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    ensure!(status.success(), "{name} could not be built ({status})");
    program.with_context(|| format!("cargo does not say where it has put {name}"))
}
