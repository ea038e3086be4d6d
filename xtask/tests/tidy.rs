//! Rules of the house that no compiler checks, over every file that git does not ignore.
#![allow(clippy::unwrap_used)] // the helpers are not marked as tests

use std::fs;
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file of the project, relative to its root. Reads `.gitignore` itself, so that an unpacked archive without git
/// is checked as well.
fn files() -> Vec<PathBuf> {
    let root = root();
    let walk = WalkBuilder::new(&root)
        .hidden(false)
        .require_git(false)
        .parents(false)
        .git_global(false)
        .filter_entry(|entry| entry.file_name() != ".git")
        .build();
    let files: Vec<_> = walk
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file()))
        .map(|entry| entry.path().strip_prefix(&root).unwrap().to_owned())
        .collect();
    assert!(
        files.contains(&PathBuf::from("xtask/tests/tidy.rs")),
        "the walk misses files"
    );
    files
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension()
        .and_then(|x| x.to_str())
        .is_some_and(|x| extensions.contains(&x.to_lowercase().as_str()))
}

fn rust_files() -> impl Iterator<Item = (PathBuf, String)> {
    let root = root();
    files()
        .into_iter()
        .filter(|path| has_extension(path, &["rs"]))
        .map(move |path| {
            let text = fs::read_to_string(root.join(&path)).unwrap();
            (path, text)
        })
}

#[track_caller]
fn assert_none(offenders: Vec<String>, rule: &str) {
    assert!(offenders.is_empty(), "{rule}:\n  {}", offenders.join("\n  "));
}

/// The compiler denies `unsafe` by a workspace lint; this keeps a crate from allowing it for itself.
#[test]
fn unsafe_is_allowed_in_the_crates_of_kernels_alone() {
    let allowances = ["allow", "expect"].map(|level| format!("{level}(unsafe_code"));
    let offenders = rust_files()
        .filter(|(path, text)| {
            let has_kernels = path.starts_with("crates/riad-conv") || path.starts_with("crates/riad-cuda");
            !has_kernels && allowances.iter().any(|allowance| text.contains(allowance))
        })
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert_none(offenders, "only riad-conv and riad-cuda may allow unsafe code");
    for (manifest, text) in manifests() {
        assert!(
            text.contains("[lints]\nworkspace = true"),
            "{} has no workspace lints",
            manifest.display()
        );
    }
}

fn manifests() -> Vec<(PathBuf, String)> {
    let root = root();
    files()
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|name| name == "Cargo.toml") && path.components().count() > 1)
        .filter(|path| !path.components().any(|part| part.as_os_str() == "fuzz"))
        .map(|path| (path.clone(), fs::read_to_string(root.join(&path)).unwrap()))
        .collect()
}

#[test]
fn a_file_of_rust_has_at_most_600_lines() {
    let offenders = rust_files()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > 600)
        .map(|(path, lines)| format!("{} has {lines}", path.display()))
        .collect();
    assert_none(offenders, "split files of more than 600 lines");
}

#[test]
fn every_published_crate_has_a_readme_a_description_and_its_licences() {
    let root = root();
    for (manifest, text) in manifests() {
        if text.contains("publish = false") {
            continue;
        }
        let readme = root.join(&manifest).with_file_name("README.md");
        assert!(readme.exists(), "{} is missing", readme.display());
        assert!(
            text.contains("\ndescription = \""),
            "{} has no description",
            manifest.display()
        );
        for field in ["license", "repository", "homepage", "rust-version"] {
            assert!(
                text.contains(&format!("\n{field}.workspace = true")),
                "{} has no {field}",
                manifest.display()
            );
        }
        for field in ["categories", "keywords", "documentation", "[package.metadata.docs.rs]"] {
            assert!(
                text.contains(&format!("\n{field}")),
                "{} has no {field}",
                manifest.display()
            );
        }
        // A package holds what lies in its folder.
        for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
            let own = fs::read(root.join(&manifest).with_file_name(licence)).unwrap_or_default();
            assert_eq!(
                own,
                fs::read(root.join(licence)).unwrap(),
                "{} lacks {licence}",
                manifest.display()
            );
        }
    }
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        assert!(root.join(licence).exists(), "{licence} is missing");
    }
}

/// Whoever reads that an older Rust is enough than the one that CI builds with is told something that nobody has tried.
#[test]
fn the_oldest_rust_is_the_same_everywhere() {
    let read = |name: &str| fs::read_to_string(root().join(name)).unwrap();
    let manifest = read("Cargo.toml");
    let line = manifest.lines().find(|line| line.starts_with("rust-version = "));
    let version = line.and_then(|line| line.split('"').nth(1)).unwrap();
    for (file, words) in [
        ("README.md", format!("Rust {version} or later")),
        ("CONTRIBUTING.md", format!("Rust {version} ")),
        (".github/workflows/ci.yml", format!("RUSTUP_TOOLCHAIN: \"{version}.0\"")),
        (
            ".github/workflows/release.yml",
            format!("RUSTUP_TOOLCHAIN: \"{version}.0\""),
        ),
    ] {
        assert!(read(file).contains(&words), "{file} does not say `{words}`");
    }
    // None of them names another one.
    for workflow in ["ci", "nightly", "release"] {
        let file = format!(".github/workflows/{workflow}.yml");
        for line in read(&file).lines() {
            let image = line.trim().strip_prefix("container: rust:");
            let installed = line.trim().strip_prefix("- run: rustup toolchain install ");
            if let Some(rest) = image.or(installed) {
                assert!(
                    rest.starts_with(version) || rest.starts_with("stable"),
                    "{file}: {line}"
                );
            }
        }
    }
}

/// Data sets and trained networks are fetched or made, never kept in git.
#[test]
fn no_large_image_weight_or_archive_is_part_of_the_project() {
    let large = [
        "png",
        "jpg",
        "jpeg",
        "bmp",
        "tif",
        "tiff",
        "webp",
        "gif",
        "safetensors",
        "pt",
        "pth",
        "onnx",
        "npy",
        "npz",
        "tar",
        "xz",
        "zip",
        "gz",
    ];
    let root = root();
    let offenders = files()
        .into_iter()
        .filter(|path| has_extension(path, &large))
        .filter(|path| fs::metadata(root.join(path)).unwrap().len() > 1 << 20)
        .map(|path| path.display().to_string())
        .collect();
    assert_none(offenders, "no image, weights or archive over 1 MiB");
}

/// A host in a build file ties everyone to it; whoever needs a mirror of a registry sets it up at home. Links to
/// packages' pages are no hosts to build from.
#[test]
fn no_package_registry_is_named() {
    let hosts: Vec<String> = [
        "index.crates.@io",
        "static.crates.@io",
        "files.pythonhosted.@org",
        "pypi.@org/simple",
        "registry.npmjs.@org",
        "deb.@debian.org",
    ]
    .map(|host| host.replace('@', ""))
    .into();
    let root = root();
    let offenders = files()
        .into_iter()
        .filter_map(|path| Some((fs::read_to_string(root.join(&path)).ok()?, path)))
        .flat_map(|(text, path)| {
            let found: Vec<_> = hosts.iter().filter(|host| text.contains(*host)).cloned().collect();
            found
                .into_iter()
                .map(move |host| format!("{} names {host}", path.display()))
        })
        .collect();
    assert_none(offenders, "no registry's host in the tree");
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap();
    let foreign = lock
        .lines()
        .filter(|line| line.starts_with("source = "))
        .filter(|line| *line != "source = \"registry+https://github.com/rust-lang/crates.io-index\"")
        .map(str::to_owned)
        .collect();
    assert_none(foreign, "every dependency comes from the default registry");
}
