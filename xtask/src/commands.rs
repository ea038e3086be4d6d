//! `cargo xtask commands`: the page of the book that says what every command's help says.

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::process;

/// Writes docs/commands.md from the help of every command. A test checks that the page is up to date
#[derive(Debug, Args)]
pub(crate) struct Commands {}

impl Commands {
    pub(crate) fn run(self) -> Result<()> {
        let mut test = process::cargo([
            "test",
            "-q",
            "-p",
            "riad-cli",
            "--test",
            "it",
            "the_books_commands_are_the_programs",
        ]);
        let status = test.env("RIAD_WRITE", "1").status().context("cannot start cargo")?;
        ensure!(status.success(), "docs/commands.md could not be written");
        Ok(())
    }
}
