//! `cargo xtask slow-tests`: the tests that are too slow for every change.

use anyhow::{Context, Result, ensure};
use clap::Args;

/// Runs the tests that are marked `#[ignore]`, with optimisation. The mark says why a test is slow.
#[derive(Debug, Args)]
pub(crate) struct SlowTests {
    /// Only tests whose name contains this
    filter: Option<String>,
}

impl SlowTests {
    pub(crate) fn run(self) -> Result<()> {
        let mut test = crate::cargo(["test", "--workspace", "--release", "--", "--ignored"]);
        let status = test.args(self.filter).status().context("cannot start cargo")?;
        ensure!(status.success(), "slow tests failed");
        Ok(())
    }
}
