//! `cargo xtask release-notes`: the text of a release, if all that names it agrees.

use std::fs;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::workspace_root;

/// Prints the changelog's section of a release; refuses a tag that is not the version, and addresses that are nobody's
#[derive(Debug, Args)]
pub(crate) struct ReleaseNotes {
    /// The release's tag, such as v0.1.0
    tag: String,
}

impl ReleaseNotes {
    pub(crate) fn run(self) -> Result<()> {
        let read = |name: &str| {
            let path = workspace_root().join(name);
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        println!("{}", checked(&self.tag, &read("Cargo.toml")?, &read("CHANGELOG.md")?)?);
        Ok(())
    }
}

/// The section of the version that `tag` names.
fn checked(tag: &str, manifest: &str, changelog: &str) -> Result<String> {
    let version = env!("CARGO_PKG_VERSION");
    ensure!(
        tag == format!("v{version}"),
        "the tag {tag} is not that of version {version}, which is v{version}; set the version in Cargo.toml, or use the other tag"
    );
    let is_ours = !manifest
        .lines()
        .any(|line| line.contains("://") && line.contains(".example"));
    ensure!(
        is_ours,
        "Cargo.toml has `repository` or `homepage` in .example, where nobody lives; set the project's addresses"
    );
    section(changelog, version).with_context(|| {
        format!(
            "CHANGELOG.md has no section `## [{version}] - YYYY-MM-DD` with text; turn `## [Unreleased]` into it, or set the date"
        )
    })
}

/// What stands below the heading of a version with its date.
fn section(changelog: &str, version: &str) -> Option<String> {
    let heading = format!("## [{version}] - ");
    let is_heading = |line: &str| line.strip_prefix(&heading).is_some_and(is_date);
    let lines = changelog.lines().skip_while(|line| !is_heading(line)).skip(1);
    let lines: Vec<_> = lines.take_while(|line| !line.starts_with("## ")).collect();
    let text = lines.join("\n").trim().to_owned();
    (!text.is_empty()).then_some(text)
}

fn is_date(text: &str) -> bool {
    let day = format!("{text}T00:00:00Z");
    text.len() == 10 && humantime::parse_rfc3339(&day).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "repository = \"https://git.riad.org\"";

    fn changelog() -> String {
        dated("2026-12-01")
    }

    fn dated(date: &str) -> String {
        let version = env!("CARGO_PKG_VERSION");
        format!(
            "# Changelog\n\n## [Unreleased]\n\n- later\n\n## [{version}] - {date}\n\n### Added\n\n- all\n\n## [0.0.9]\n\n- old\n"
        )
    }

    #[test]
    fn the_section_of_the_version_is_the_text() {
        let tag = concat!("v", env!("CARGO_PKG_VERSION"));
        assert_eq!(checked(tag, OURS, &changelog()).unwrap(), "### Added\n\n- all");
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        let tag = concat!("v", env!("CARGO_PKG_VERSION"));
        for (tag, manifest, changelog, why) in [
            ("v99.0.0", OURS, changelog(), "is not that of version"),
            (env!("CARGO_PKG_VERSION"), OURS, changelog(), "is not that of version"),
            (tag, "homepage = \"https://riad.example\"", changelog(), "in .example"),
            (tag, OURS, "## [Unreleased]\n\n- all\n".to_owned(), "has no section"),
            (tag, OURS, dated("date of the tag"), "YYYY-MM-DD"),
            (tag, OURS, dated("2026-12"), "YYYY-MM-DD"),
            (tag, OURS, dated("2026-13-01"), "YYYY-MM-DD"),
        ] {
            let error = checked(tag, manifest, &changelog).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
