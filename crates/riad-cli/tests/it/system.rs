//! Shell completions and man pages.

#[cfg(unix)]
use std::process::Command;
use std::{fs, path::Path};

use crate::support::stdout;
#[cfg(target_os = "linux")]
use crate::support::trained;

const COMMANDS: [&str; 5] = ["train", "calibrate", "eval", "score", "watch"];

#[test]
fn every_command_has_a_man_page() {
    let folder = tempfile::tempdir().unwrap();
    stdout(folder.path(), &["man", "share/man1"]);
    let page = |name: &str| fs::read_to_string(folder.path().join("share/man1").join(name)).unwrap();
    assert!(page("riad.1").contains(".TH riad 1"));
    for command in COMMANDS {
        let page = page(&format!("riad-{command}.1"));
        assert!(page.contains("Examples:") && page.contains(r"\-\-device"), "{page}");
    }
}

#[test]
fn every_shell_gets_a_script() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = stdout(folder.path(), &["completions", shell]);
        for command in COMMANDS {
            assert!(script.contains(command), "{shell} does not complete {command}");
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_behind_standard_output_is_told_with_what_was_not_written() {
    let folder = trained(&["--calibration", "0.25"]);
    // Two equal ones are unusual.
    let good = folder.path().join("data/badge/train/good");
    fs::copy(good.join("000.png"), good.join("again.png")).unwrap();
    for (arguments, what) in [
        ("--help", "the help"),
        ("--version", "the help"),
        ("train --help", "the help"),
        ("completions bash", "the script"),
        ("info run", "the facts about the model"),
        ("info run --json", "the facts about the model"),
        ("score --model run data/badge/test/good", "the scores"),
        ("score --model run data/badge/test/good --format jsonl", "the scores"),
        ("eval --model run --good data/badge/test/good", "the results"),
        (
            "compare run run --good data/badge/test/good --bad data/badge/test/scratch",
            "the comparison",
        ),
        ("check data/badge", "the unusual images"),
    ] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = Command::new(assert_cmd::cargo::cargo_bin("riad"))
            .current_dir(folder.path())
            .args(arguments.split(' '))
            .stdout(full)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let expected = format!(
            "error: cannot write {what} to standard output; make room there, or send it to another place: No space left"
        );
        assert!(
            output.status.code() == Some(1) && said.contains(&expected),
            "{arguments}: {said}"
        );
    }
}

/// As a person at a prompt: what comes after these words?
#[test]
#[cfg(unix)]
fn bash_completes_commands_options_and_values() {
    if Command::new("bash").arg("--version").output().is_err() {
        eprintln!("skipped: there is no bash here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("riad.bash"),
        stdout(folder.path(), &["completions", "bash"]),
    )
    .unwrap();
    for (words, expected) in [
        ("riad w", "watch"),
        ("riad train --pres", "--preset"),
        ("riad watch --by ''", "copy link move"),
        ("riad score --format j", "jsonl"),
    ] {
        let ask = format!(
            "source riad.bash; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _riad riad \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        let answer = Command::new("bash")
            .current_dir(folder.path())
            .args(["-c", &ask])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&answer.stdout).trim(), expected, "{words}");
    }
}

/// `docs/commands.md` is what the commands' help says. `cargo xtask commands` writes it anew.
#[test]
fn the_books_commands_are_the_programs() {
    let folder = tempfile::tempdir().unwrap();
    let help = stdout(folder.path(), &["--help"]);
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let lines = commands.lines().take_while(|line| !line.is_empty());
    // A description goes on further to the right.
    let entries = lines.filter_map(|line| line.strip_prefix("  ").filter(|entry| !entry.starts_with(' ')));
    let names = entries.filter_map(|entry| entry.split_whitespace().next());
    let mut page = format!("# Commands\n\nWhat `riad help COMMAND` says.\n\n```text\n{help}```\n");
    for name in names.filter(|name| *name != "help") {
        let help = stdout(folder.path(), &[name, "--help"]);
        page += &format!("\n## riad {name}\n\n```text\n{help}```\n");
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/commands.md");
    if std::env::var_os("RIAD_WRITE").is_some() {
        fs::write(&file, &page).unwrap();
    }
    let is_there = fs::read_to_string(&file).is_ok_and(|text| text.replace('\r', "") == page);
    assert!(
        is_there,
        "docs/commands.md is not what the commands' help says; `cargo xtask commands` writes it"
    );
}
