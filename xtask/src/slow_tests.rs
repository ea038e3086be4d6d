//! `cargo xtask slow-tests`: the tests that are too slow for every change.

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::{process, python, service};

/// Runs the tests that are marked `#[ignore]`, with optimisation. The mark says why a test is slow.
///
/// Without a filter it installs what they need: Chromium, and a Python environment with PyTorch, which takes 5 GB. With a filter it
/// installs nothing: PATH has chromium, and RIAD_PYTHON names a Python.
#[derive(Debug, Args)]
pub(crate) struct SlowTests {
    /// Only tests whose name contains this
    filter: Option<String>,
}

impl SlowTests {
    pub(crate) fn run(self) -> Result<()> {
        let mut test = process::cargo(["test", "--locked", "--workspace", "--release", "--", "--ignored"]);
        if self.filter.is_none() {
            service::provide("chromium")?;
            test.env("RIAD_PYTHON", python::peers()?);
            test.env("RIAD_REQUIRE", "python");
        }
        let status = test.args(self.filter).status().context("cannot start cargo")?;
        ensure!(status.success(), "slow tests failed");
        Ok(())
    }
}
