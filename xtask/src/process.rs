//! Other programs: cargo and those that it has built, tools, and what they print.

use std::{
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::workspace_root;

/// The cargo that runs this task, at work on the workspace.
pub(crate) fn cargo<'a>(args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace_root()).args(args);
    command
}

/// Runs cargo, and returns where it has put the program `name`.
pub(crate) fn build(args: &[&str], name: &str) -> Result<PathBuf> {
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

/// Builds the program `riad` as the tests have it, with their features, so that nothing is built twice.
pub(crate) fn build_for_tests() -> Result<PathBuf> {
    build(&["test", "--no-run", "--locked", "--workspace", "--test", "it"], "riad")
}

/// Runs a command, which must succeed. Its line is printed before.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    eprintln!("$ {line}");
    let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
    ensure!(status.success(), "`{line}` ended with {status}");
    Ok(())
}

/// What a command prints, which must succeed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{line}`"))?;
    ensure!(
        output.status.success(),
        "`{line}` ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` prints no text"))
}

/// A command as people type it, but for the folder of its program.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
