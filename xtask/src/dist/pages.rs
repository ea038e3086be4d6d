//! Man pages and completions, as the program prints them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::write;
use crate::process::{self, output, run};

/// The program for this machine: what it prints does not depend on how it was built.
fn program() -> Result<PathBuf> {
    // Alone, because the features of the tests would bring in other programs' crates.
    process::build(&["build", "--locked", "-p", "riad-cli", "--bin", "riad"], "riad")
}

/// Writes the man pages into a folder.
pub(super) fn man(folder: &Path) -> Result<()> {
    run(Command::new(program()?).args(["-q", "man"]).arg(folder))
}

/// Writes completions for these shells into a folder, under the names by which shells look for them.
pub(super) fn completions(folder: &Path, shells: &[(&str, &str)]) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let program = program()?;
    for (shell, name) in shells {
        let script = output(Command::new(&program).args(["completions", shell]))?;
        write(&folder.join(name), &script)?;
    }
    Ok(())
}
