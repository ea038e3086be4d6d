//! `cargo xtask try-line`: a whole line with real peers, from training to the PLC, and its troubles.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::{
    process::{self, run},
    python, service,
};

/// Trains on a category, serves the line, and has curl, Chromium, mosquitto, a webhook's receiver and pymodbus use it: every test image
/// judged, labelled, recalibrated, switched, the broker gone and the clock moved under load, and every row compared at the end
#[derive(Debug, Args)]
pub(crate) struct TryLine {
    /// A category in MVTec AD's layout
    #[arg(value_name = "DIR")]
    data: PathBuf,
    /// How long each trouble lasts
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    seconds: u32,
}

/// What the peers import.
const PACKAGES: [&str; 2] = ["paho-mqtt", "pymodbus"];

impl TryLine {
    pub(crate) fn run(self) -> Result<()> {
        let tests = crate::workspace_root().join("crates/riad-serve/tests");
        let browser = tests.join("browser");
        let python = python::with("line", &PACKAGES)?;
        service::provide("mosquitto")?;
        service::provide("faketime")?;
        service::provide("chromium")?;
        let mut packages = Command::new("npm");
        run(packages.current_dir(&browser).args(["ci", "--no-audit", "--no-fund"]))?;
        let riad = process::build(&["build", "--release", "-p", "riad-cli", "--bin", "riad"], "riad")?;
        let mut line = Command::new(python);
        line.arg(tests.join("whole/line.py"))
            .arg(riad)
            .arg(&self.data)
            .arg(browser);
        run(line.arg(self.seconds.to_string()))
    }
}
