//! What the program is made of, as a list for machines.

use std::fs;

use anyhow::{Context, Result};

use super::{Release, VERSION, provide, run};
use crate::{cargo, workspace_root};

/// Writes the list, in CycloneDX's JSON.
pub(super) fn make(release: &Release) -> Result<()> {
    provide("cargo-cyclonedx@0.5.9", "cargo-cyclonedx")?;
    let name = format!("riad-{VERSION}.cdx");
    // It writes beside each crate's manifest; that of the program is wanted.
    let mut list = cargo([
        "cyclonedx",
        "--format",
        "json",
        "--spec-version",
        "1.5",
        "--no-build-deps",
        // Not of this machine alone: for Windows there are crates of its own.
        "--target",
        "all",
    ]);
    list.args([
        "--manifest-path",
        "crates/riad-cli/Cargo.toml",
        "--override-filename",
        &name,
    ]);
    list.env("SOURCE_DATE_EPOCH", release.date.to_string());
    run(&mut list)?;
    let mut is_kept = false;
    let crates = workspace_root().join("crates");
    let others = [workspace_root().join("xtask"), workspace_root().join("bench")];
    let entries = fs::read_dir(&crates).with_context(|| format!("cannot read {}", crates.display()))?;
    for folder in entries.filter_map(|entry| Some(entry.ok()?.path())).chain(others) {
        let file = folder.join(format!("{name}.json"));
        if folder.ends_with("riad-cli") {
            let to = release.folder.join(format!("{name}.json"));
            fs::copy(&file, &to).with_context(|| format!("cannot copy {}", file.display()))?;
            is_kept = true;
        }
        if file.exists() {
            fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
    }
    anyhow::ensure!(is_kept, "cargo cyclonedx wrote no list of the program");
    Ok(())
}
