//! Crates, and the modules of a crate, use each other in one direction only: docs/architecture.md has the order, and so has this
//! file.
#![allow(clippy::unwrap_used)] // the helpers are not marked as tests

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each crate that others may depend on, or that is a program, with those of this workspace that it uses outside of its tests.
const ARROWS: [(&str, &[&str]); 9] = [
    ("riad-core", &[]),
    ("riad-conv", &[]),
    ("riad-cuda", &["riad-conv"]),
    ("riad-data", &["riad-core"]),
    ("riad-model", &["riad-conv", "riad-core", "riad-cuda"]),
    ("riad", &["riad-core", "riad-data", "riad-model"]),
    ("riad-serve", &["riad", "riad-data"]),
    ("riad-python", &["riad"]),
    (
        "riad-cli",
        &["riad", "riad-core", "riad-data", "riad-model", "riad-serve"],
    ),
];

/// Each crate that has rooms, with them from the bottom up. A room may use those before it.
const CRATES: [(&str, &[&str]); 5] = [
    (
        "riad-model",
        &[
            "error", "seed", "network", "onnx", "method", "candle", "backend", "store", "scorer", "train", "export",
        ],
    ),
    ("riad-cuda", &["error", "lengths", "spec", "device", "ops"]),
    (
        "riad",
        &[
            "rate",
            "faster",
            "error",
            "observer",
            "files",
            "names",
            "page",
            "render",
            "roi",
            "source",
            "protocol",
            "held_out",
            "settings",
            "threshold",
            "detector",
            "speed",
            "calibration",
            "maps",
            "watch",
            "suspects",
            "tensorboard",
            "facts",
            "words",
            "run",
            "recalibration",
            "training",
            "evaluation",
            "report",
        ],
    ),
    (
        "riad-serve",
        &[
            "error",
            "token",
            "clock",
            "counters",
            "connections",
            "events",
            "making",
            "store",
            "known",
            "status",
            "line",
            "review",
            "draft",
            "shared",
            "sinks",
            "http",
            "service",
        ],
    ),
    (
        "riad-cli",
        &[
            "shell",
            "memory",
            "interrupt",
            "progress",
            "print",
            "logging",
            "service",
            "estimate",
            "way_out",
            "console",
            "args",
            "config",
            "commands",
        ],
    ),
];

fn sources(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join("crates")
        .join(of)
        .join("src")
}

/// The crates of this workspace that a manifest names as dependencies, other than those of tests.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut section = "";
    let mut found = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        }
        let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
        let counts = section.ends_with("dependencies]") && !section.ends_with("dev-dependencies]");
        if counts && (name == "riad" || name.starts_with("riad-")) {
            found.insert(name.to_owned());
        }
    }
    found
}

#[test]
fn crates_use_those_below_them_alone() {
    for (of, arrows) in ARROWS {
        let manifest = fs::read_to_string(sources(of).with_file_name("Cargo.toml")).unwrap();
        let found = dependencies(&manifest);
        let expected: BTreeSet<_> = arrows.iter().map(|&arrow| arrow.to_owned()).collect();
        assert_eq!(
            found, expected,
            "{of}: its Cargo.toml has others than docs/architecture.md"
        );
        // A name counts if it stands above in the list, so the list is the order.
        let place = |name: &str| ARROWS.iter().position(|(of, _)| *of == name);
        assert!(
            arrows.iter().all(|arrow| place(arrow) < place(of)),
            "{of} uses one above it"
        );
    }
}

#[test]
fn dependencies_of_tests_are_none() {
    let manifest = "[dependencies]\nriad.workspace = true\nriad-core = { path = \"x\" }\nrayon = \"1\"\n\
                    [dev-dependencies]\nriad-testing.workspace = true\n\
                    [target.'cfg(unix)'.dependencies]\nriad-conv.workspace = true\n";
    let found: Vec<String> = dependencies(manifest).into_iter().collect();
    assert_eq!(found, ["riad", "riad-conv", "riad-core"]);
}

/// The files of a room, without those of tests.
fn files(path: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        match path.is_dir() {
            _ if name == "tests" => {}
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

/// Code without comments, and without a module of tests at its end.
fn code(text: &str) -> String {
    let tests = [
        "#[cfg(test)]\nmod tests {",
        "#[cfg(all(test, target_os = \"linux\"))]\nmod tests {",
    ];
    let end = tests
        .iter()
        .filter_map(|mark| text.find(mark))
        .min()
        .unwrap_or(text.len());
    let lines = text[..end].lines();
    let without = lines.map(|line| line.split("//").next().unwrap_or_default());
    without.collect::<Vec<_>>().join("\n")
}

/// The first names behind `prefix`: of `crate::a::b` that is `a`, of `crate::{a::{b, c}, d}` it is `a` and `d`.
fn names_behind(code: &str, prefix: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let rest = &code[at + prefix.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            names.insert(rest.chars().take_while(|&c| is_name(c)).collect());
            continue;
        };
        let (mut depth, mut starts) = (0, true);
        for (place, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => starts = true,
                c if is_name(c) && starts => {
                    names.insert(list[place..].chars().take_while(|&c| is_name(c)).collect());
                    starts = false;
                }
                _ => {}
            }
        }
    }
    names
}

/// From the names that the crate's root gives out to the room that each comes from.
fn given_out(root: &str, rooms: &[&str]) -> BTreeMap<String, String> {
    let mut from = BTreeMap::new();
    for room in rooms {
        for name in names_behind(root, &format!("use {room}::")) {
            from.insert(name, (*room).to_owned());
        }
    }
    from
}

#[test]
fn rooms_use_those_below_them_alone() {
    let mut offenders = Vec::new();
    for (of, rooms) in CRATES {
        let source = sources(of);
        let root = fs::read_to_string(source.join("lib.rs"));
        let root = root.or_else(|_| fs::read_to_string(source.join("main.rs"))).unwrap();
        let given_out = given_out(&code(&root), rooms);
        for (place, room) in rooms.iter().enumerate() {
            let mut all = Vec::new();
            let (folder, file) = (source.join(room), source.join(format!("{room}.rs")));
            if folder.is_dir() {
                files(&folder, &mut all);
            }
            all.extend(file.is_file().then_some(file));
            assert!(!all.is_empty(), "{of} has no room {room}");
            for path in all {
                let text = code(&fs::read_to_string(&path).unwrap());
                for name in names_behind(&text, "crate::") {
                    let used = given_out.get(&name).map_or(name.as_str(), String::as_str);
                    let above = rooms.iter().position(|room| *room == used).is_some_and(|of| of > place);
                    if above {
                        offenders.push(format!("{} uses {used}, which is above {room}", path.display()));
                    }
                }
            }
        }
        let modules = code(&root);
        let declared = modules.lines().filter_map(|line| {
            let line = line.trim_start_matches("pub ").strip_prefix("mod ")?;
            Some(line.trim_end_matches(';').to_owned())
        });
        for module in declared {
            assert!(
                rooms.contains(&module.as_str()),
                "{of}: where is {module} among the rooms?"
            );
        }
    }
    assert!(
        offenders.is_empty(),
        "rooms know only what is below them:\n  {}",
        offenders.join("\n  ")
    );
}

#[test]
fn names_are_found_in_lists_and_paths() {
    let code = "use crate::{ModelError, method::{Keep, loss}, store};\nlet x: crate::backend::Device = y;";
    let found: Vec<String> = names_behind(code, "crate::").into_iter().collect();
    assert_eq!(found, ["ModelError", "backend", "method", "store"]);
}
