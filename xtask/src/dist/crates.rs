//! Which crates the program is made of.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::process::{cargo, output};

/// The crates that are built into the program, with ours.
#[derive(Debug)]
pub(super) struct Crates(BTreeSet<(String, String)>);

impl Crates {
    /// Those for a target, or for `all` of them.
    ///
    /// cargo's metadata has more: there, the crates of the whole workspace turn on each other's features.
    ///
    /// # Errors
    /// If cargo fails, or names no crate.
    pub(super) fn of(target: &str) -> Result<Self> {
        let tree = output(&mut cargo([
            "tree", "--locked", "-p", "riad-cli", "-e", "normal", "--prefix", "none", "--format", "{p}", "--target",
            target,
        ]))?;
        let crates = Self(tree.lines().filter_map(parse).collect());
        ensure!(!crates.0.is_empty(), "cargo names no crate that the program is made of");
        Ok(crates)
    }

    /// Whether the program has this version of a crate.
    pub(super) fn contain(&self, name: &str, version: &str) -> bool {
        self.0.contains(&(name.to_owned(), version.to_owned()))
    }
}

/// The name and the version in a line of cargo tree: `name vVERSION`, and more.
fn parse(line: &str) -> Option<(String, String)> {
    let mut words = line.split(' ');
    let name = words.next()?;
    let version = words.next()?.strip_prefix('v')?;
    Some((name.to_owned(), version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_has_its_own_crates_and_none_of_the_tests() {
        let crates = Crates::of("all").unwrap();
        assert!(crates.contain("riad-core", env!("CARGO_PKG_VERSION")));
        let names = |name: &str| crates.0.iter().any(|(found, _)| found == name);
        // Only Windows has the first, and only tests have the others.
        assert!(names("windows-service"));
        assert!(!names("proptest") && !names("assert_cmd"));
    }

    #[test]
    fn a_line_of_the_tree_has_a_name_and_a_version() {
        let pair = |name: &str, version: &str| Some((name.to_owned(), version.to_owned()));
        assert_eq!(parse("serde v1.0.229"), pair("serde", "1.0.229"));
        assert_eq!(
            parse("clap_derive v4.6.9 (proc-macro) (*)"),
            pair("clap_derive", "4.6.9")
        );
        assert_eq!(parse(""), None);
    }
}
