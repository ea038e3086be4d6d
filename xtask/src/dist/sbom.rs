//! What the program is made of, as a list for machines.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Release, VERSION, crates::Crates, provide, write};
use crate::{
    process::{cargo, run},
    workspace_root,
};

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
    let mut text = None;
    let crates = workspace_root().join("crates");
    let others = [workspace_root().join("xtask"), workspace_root().join("bench")];
    let entries = fs::read_dir(&crates).with_context(|| format!("cannot read {}", crates.display()))?;
    for folder in entries.filter_map(|entry| Some(entry.ok()?.path())).chain(others) {
        let file = folder.join(format!("{name}.json"));
        if folder.ends_with("riad-cli") {
            text = Some(fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?);
        }
        if file.exists() {
            fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
    }
    let text = text.context("cargo cyclonedx wrote no list of the program")?;
    // It names our crates by the folder in which they lie, which is not the same on each machine.
    let text = text.replace(
        &format!("path+file://{}/", workspace_root().display()),
        "path+file:///riad/",
    );
    let mut list = serde_json::from_str(&text).context("cargo cyclonedx wrote no JSON")?;
    let crates = Crates::of("all")?;
    keep(&mut list, |name, version| crates.contain(name, version));
    write(
        &release.folder.join(format!("{name}.json")),
        &format!("{}\n", serde_json::to_string_pretty(&list)?),
    )
}

/// Takes the crates out of a list that are not in the program: it has those of the whole workspace's features.
fn keep(list: &mut Value, is_kept: impl Fn(&str, &str) -> bool) {
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let mut kept = BTreeSet::from([text(&list["metadata"]["component"], "bom-ref")]);
    if let Some(components) = list["components"].as_array_mut() {
        components.retain(|component| is_kept(&text(component, "name"), &text(component, "version")));
        kept.extend(components.iter().map(|component| text(component, "bom-ref")));
    }
    if let Some(dependencies) = list["dependencies"].as_array_mut() {
        dependencies.retain(|dependency| kept.contains(&text(dependency, "ref")));
        for dependency in dependencies {
            if let Some(on) = dependency["dependsOn"].as_array_mut() {
                on.retain(|on| on.as_str().is_some_and(|on| kept.contains(on)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_crate_that_is_not_in_the_program_leaves_no_trace() {
        let component = |name: &str| json!({"bom-ref": format!("{name}#1.0.0"), "name": name, "version": "1.0.0"});
        let mut list = json!({
            "metadata": {"component": {"bom-ref": "program#1.0.0"}},
            "components": [component("here"), component("elsewhere")],
            "dependencies": [
                {"ref": "program#1.0.0", "dependsOn": ["here#1.0.0"]},
                {"ref": "here#1.0.0", "dependsOn": ["elsewhere#1.0.0"]},
                {"ref": "elsewhere#1.0.0"},
            ],
        });
        keep(&mut list, |name, version| (name, version) == ("here", "1.0.0"));
        assert_eq!(list["components"], json!([component("here")]));
        assert_eq!(
            list["dependencies"],
            json!([{"ref": "program#1.0.0", "dependsOn": ["here#1.0.0"]}, {"ref": "here#1.0.0", "dependsOn": []}])
        );
    }
}
