//! The licences of what is built into the program: most ask that their text goes with it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::crates::Crates;
use crate::process::{cargo, output};

/// How the names of licences' files begin.
const NAMES: [&str; 5] = ["license", "licence", "copying", "notice", "copyright"];

/// How the names of code end that begin like that.
const CODE: [&str; 5] = [".rs", ".c", ".h", ".py", ".sh"];

/// What is built in and is no crate.
const STANDARD: &str = "\
Rust's standard library is built in too: Copyright (c) The Rust Project Contributors, MIT OR Apache-2.0. The texts of both licences are
in LICENSE-MIT and LICENSE-APACHE.
";

/// What mingw links into each program for Windows and asks a notice for.
const WINDOWS: &str = include_str!("notices-windows.txt");

/// The texts of all crates that the program is made of for a target, one text for all that share it.
pub(super) fn of(target: &str) -> Result<String> {
    let metadata = output(&mut cargo([
        "metadata",
        "--format-version=1",
        "--locked",
        "--filter-platform",
        target,
    ]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo's metadata is no JSON")?;
    let crates = Crates::of(target)?;
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let (name, version) = (text(package, "name"), text(package, "version"));
        // Ours has its own files beside this one.
        if package["source"].is_null() || !crates.contain(name, version) {
            continue;
        }
        let folder = Path::new(text(package, "manifest_path"))
            .parent()
            .map(Path::to_owned)
            .unwrap_or_default();
        let licence = text(package, "license");
        let mut found = files(&folder)?;
        found.sort();
        let read = found
            .iter()
            .map(|file| fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
        let mut whole = read.collect::<Result<Vec<_>, _>>()?.join("\n\n");
        if whole.trim().is_empty() {
            whole = format!("Its authors ({}) give no text.", authors(package));
        }
        texts
            .entry(whole)
            .or_default()
            .push(format!("{name} {version}: {licence}"));
    }
    ensure!(!texts.is_empty(), "cargo names no crate that the program is made of");
    let mut blocks: Vec<_> = texts
        .into_iter()
        .map(|(text, names)| (names.join("\n"), text))
        .collect();
    blocks.sort();
    let line = "=".repeat(78);
    let blocks = blocks
        .iter()
        .map(|(names, text)| format!("{line}\n{names}\n{line}\n\n{}\n", text.trim()));
    Ok(format!(
        "Crates that are built into riad, and their licences.\n\n{STANDARD}\n{}{}",
        blocks.collect::<Vec<_>>().join("\n"),
        if target.contains("windows") {
            format!("\n{WINDOWS}")
        } else {
            String::new()
        }
    ))
}

fn text<'a>(package: &'a Value, field: &str) -> &'a str {
    package[field].as_str().unwrap_or_default()
}

fn authors(package: &Value) -> String {
    let authors = package["authors"].as_array().into_iter().flatten();
    authors.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

/// The licences in a crate's folder and below it: C that a crate brings along has its own.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(here) = folders.pop() {
        for entry in fs::read_dir(&here).with_context(|| format!("cannot read {}", here.display()))? {
            let path = entry.with_context(|| format!("cannot read {}", here.display()))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
            let is_licence = NAMES.iter().any(|start| name.starts_with(start));
            if path.is_dir() {
                folders.push(path);
            } else if is_licence && !CODE.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_below_a_crate_count_and_code_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let nested = folder.path().join("third_party").join("c");
        fs::create_dir_all(&nested).unwrap();
        for file in [
            "LICENSE-MIT",
            "third_party/c/COPYING.txt",
            "third_party/c/license.rs",
            "README.md",
        ] {
            fs::write(folder.path().join(file), file).unwrap();
        }
        let mut found = files(folder.path()).unwrap();
        found.sort();
        assert_eq!(found, [folder.path().join("LICENSE-MIT"), nested.join("COPYING.txt")]);
    }
}
