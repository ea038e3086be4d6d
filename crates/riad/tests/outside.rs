//! The crate as somebody has it who has nothing else of this project.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, path::Path, process::Command};

use riad_data::demo;

/// 60 lines that train, inspect with eight threads, render and report; without a command line, and with no other crate.
#[test]
#[ignore = "takes minutes: builds every dependency for a workspace of its own"]
fn a_program_of_its_own_needs_this_crate_alone() {
    let folder = tempfile::tempdir().unwrap();
    let _ = demo::generate(folder.path(), 0).unwrap();
    let ours = Path::new(env!("CARGO_MANIFEST_DIR"));
    let badge = folder.path().join("badge");
    let kind = fs::read_dir(badge.join("test")).unwrap().flatten();
    let bad = kind
        .map(|kind| kind.path())
        .find(|kind| !kind.ends_with("good"))
        .unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--manifest-path"])
        .arg(ours.join("tests/outside/Cargo.toml"))
        .arg("--target-dir")
        .arg(ours.join("../../target/outside"))
        .arg("--")
        .args([
            badge.join("train/good"),
            badge.join("test/good"),
            bad.clone(),
            folder.path().join("out"),
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let pictures = [badge.join("test/good"), bad].map(|folder| fs::read_dir(folder).unwrap().count());
    assert!(
        said.contains(&format!(" of {}\n", pictures.iter().sum::<usize>())),
        "{said}"
    );
    assert!(said.contains("Finds ") && said.contains(" stops "), "{said}");
    // What was printed is all: a library says nothing by itself.
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    for file in ["overlay.png", "report.html", "run/best.safetensors"] {
        assert!(folder.path().join("out").join(file).is_file(), "{file}");
    }
}
