//! `cargo xtask eval` and `ablate` from outside, with a shell script in the place of `riad`.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the helpers are not marked as tests

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Logs its arguments; trains by laying out a run; fails in evaluating `cable` while the file `broken` lies beside it;
/// evaluates everything else to fixed numbers, with a fault in `cable` while the file `faulty` lies beside it.
const FAKE_RIAD: &str = r#"#!/bin/sh
here=$(dirname "$0")
echo "$*" >> "$here/log"
task=$1
while [ $# -gt 0 ]; do
  case $1 in
    --out|--resume) out=$2 ;;
  esac
  last=$2; [ "$task" = eval ] && [ -z "$data" ] && data=$2
  shift
done
mkdir -p "$out"
if [ "$task" = train ]; then echo '{}' > "$out/settings.json"; exit 0; fi
category=$(basename "$data")
if [ "$category" = cable ] && [ -e "$here/broken" ]; then echo "error: no memory" >&2; exit 1; fi
if [ "$category" = cable ] && [ -e "$here/faulty" ]; then faults=', "faults": ["000.png: no image"]'; fi
cat > "$out/results.json" <<END
{"categories": {"$category": {"image_auroc": 0.991, "pixel_auroc": 0.95, "pixel_ap": null, "aupro": 0.9, "f1_max": 0.97, "images": 3$faults}},
 "settings": {"aupro_limit": 0.3}, "versions": {"riad": "0.1.0"}}
END
[ -z "$faults" ]
"#;

struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for category in ["bottle", "cable", "own_part"] {
            fs::create_dir_all(dir.path().join("data").join(category).join("train/good")).unwrap();
        }
        fs::create_dir_all(dir.path().join("data/.download")).unwrap();
        let fixture = Self { dir };
        fs::write(fixture.path("riad"), FAKE_RIAD).unwrap();
        fs::set_permissions(fixture.path("riad"), fs::Permissions::from_mode(0o755)).unwrap();
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn eval(&self, args: &[&str]) -> Output {
        self.xtask("eval", args)
    }

    fn xtask(&self, task: &str, args: &[&str]) -> Output {
        self.run(task, &[&["--data", "data", "--out", "out"], args].concat())
    }

    fn run(&self, task: &str, args: &[&str]) -> Output {
        Command::new(assert_cmd::cargo::cargo_bin!("xtask"))
            .current_dir(self.dir.path())
            .args([task, "--riad", "./riad"])
            .args(args)
            .output()
            .unwrap()
    }

    /// The arguments of every call of `riad` since the last look, with the fixture's folder left out.
    fn calls(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        let _ = fs::remove_file(self.path("log"));
        log.replace(&format!("{}/", self.dir.path().display()), "")
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn trains_and_evaluates_every_category_into_one_table() {
    let fixture = Fixture::new();
    let output = fixture.eval(&[
        "--preset", "tiny", "--size", "128", "--epochs", "2", "--", "--seed", "7",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(
        fixture.calls()[..2],
        [
            "train data/bottle --out out/bottle/run --preset tiny --size 128 --epochs 2 --seed 7 --method riad",
            "eval data/bottle --model out/bottle/run --out out/bottle/eval",
        ]
    );
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(
        table.contains("| bottle        |        99.1 |  99.9 |          97.1 |        95.0 |"),
        "{table}"
    );
    assert!(
        table.contains("| own_part      |        99.1 |     – |             – |"),
        "{table}"
    );
    assert!(table.contains("| **mean of 3** |        99.1 |     – |"), "{table}");
    assert_eq!(fs::read_to_string(fixture.path("out/table.md")).unwrap(), table);
    let results = json(&fixture.path("out/results.json"));
    assert_eq!(results["categories"]["own_part"]["image_auroc"], 0.991);
    assert_eq!(results["categories"]["own_part"]["pixel_ap"], Value::Null);
    assert_eq!(results["versions"]["bottle"]["riad"], "0.1.0");
    assert_eq!(results["request"]["train"][0], "--preset");
}

#[test]
fn a_failing_category_is_reported_and_tried_again_while_the_others_are_kept() {
    let fixture = Fixture::new();
    fs::write(fixture.path("broken"), "").unwrap();
    let output = fixture.eval(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("[2/3] cable: failed: riad eval ended with exit status: 1"),
        "{}",
        stderr(&output)
    );
    assert!(
        stderr(&output).contains("1 of 3 categories failed (cable)"),
        "{}",
        stderr(&output)
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains("**mean of 2**"));
    fixture.calls();

    fs::remove_file(fixture.path("broken")).unwrap();
    let output = fixture.eval(&[]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("[1/3] bottle: kept from an earlier run"));
    let calls = [
        "train --resume out/cable/run --method riad",
        "eval data/cable --model out/cable/run --out out/cable/eval",
    ];
    assert_eq!(fixture.calls(), calls);
}

#[test]
fn other_settings_do_not_end_up_in_the_same_table() {
    let fixture = Fixture::new();
    assert!(fixture.eval(&["--epochs", "2"]).status.success());
    let output = fixture.eval(&["--epochs", "3"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("begun with other settings: choose another --out"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn checkpoints_are_evaluated_without_training() {
    let fixture = Fixture::new();
    fs::create_dir_all(fixture.path("models/bottle")).unwrap();
    fs::write(fixture.path("models/own_part.pth"), "").unwrap();
    let output = fixture.eval(&["--checkpoints", "models", "--device", "cpu"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("holds none of cable, cable.safetensors, cable.pt, cable.pth"));
    assert_eq!(
        fixture.calls(),
        [
            "eval data/bottle --model models/bottle --out out/bottle/eval --device cpu",
            "eval data/own_part --model models/own_part.pth --out out/own_part/eval --device cpu",
        ]
    );
}

#[test]
fn a_folder_without_categories_says_what_is_looked_for() {
    let fixture = Fixture::new();
    let output = fixture.eval(&["--data", "data/bottle"]);
    assert_eq!(output.status.code(), Some(2), "--data twice is wrong usage");
    fs::remove_dir_all(fixture.path("data")).unwrap();
    fs::create_dir(fixture.path("data")).unwrap();
    let output = fixture.eval(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("data: no category here"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn variants_are_run_over_seeds_once_each_and_kept() {
    let fixture = Fixture::new();
    let first = ["--groups", "sets,loss", "--seeds", "2", "--", "--epochs", "2"];
    let output = fixture.xtask("ablate", &first);
    assert!(output.status.success(), "{}", stderr(&output));
    let calls = fixture.calls();
    // Six variants, the default shared by both groups, of three categories with two seeds.
    assert_eq!(calls.len(), 6 * 3 * 2, "{calls:?}");
    assert_eq!(
        calls[0],
        "eval data/bottle --out out/bottle/sets2/seed-0 --epochs 2 --sets 2 --method riad --seed 0 -q"
    );
    assert!(
        calls.contains(
            &"eval data/cable --out out/cable/default/seed-1 --epochs 2 --method riad --seed 1 -q".to_owned()
        )
    );
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("## Mask sets n\n\n### bottle\n"), "{table}");
    assert!(
        table.contains("| ssim + msgms | 99.1 ± 0.0 | 95.0 ± 0.0 | – | 90.0 ± 0.0 | 2 |"),
        "{table}"
    );
    assert_eq!(fs::read_to_string(fixture.path("out/ablation.md")).unwrap(), table);

    // A further seed is all that is left to do.
    let output = fixture.xtask(
        "ablate",
        &["--groups", "sets,loss", "--seeds", "3", "--", "--epochs", "2"],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(fixture.calls().iter().all(|call| call.ends_with("--seed 2 -q")));
    let output = fixture.xtask("ablate", &["--groups", "sets", "--", "--epochs", "3"]);
    assert!(
        stderr(&output).contains("begun with other settings"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn categories_of_another_data_set_do_not_end_up_in_the_same_table() {
    let fixture = Fixture::new();
    let variants = ["--groups", "sets", "--seeds", "1"];
    assert!(fixture.xtask("ablate", &variants).status.success());
    fixture.calls();
    fs::rename(fixture.path("data"), fixture.path("other")).unwrap();
    fs::create_dir(fixture.path("data")).unwrap();
    fs::rename(fixture.path("other/cable"), fixture.path("data/cable")).unwrap();
    // The category alone is the same data.
    assert!(fixture.xtask("ablate", &variants).status.success());
    let output = fixture.run(
        "ablate",
        &[&["--data", "other", "--out", "out"], &variants[..]].concat(),
    );
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("out/bottle was begun with other settings") && said.contains("data/bottle"),
        "{said}"
    );
    assert!(fixture.calls().is_empty());
}

#[test]
fn results_with_faults_count_as_failed_whenever_they_are_read() {
    let fixture = Fixture::new();
    fs::write(fixture.path("faulty"), "").unwrap();
    for _ in 0..2 {
        let output = fixture.eval(&[]);
        assert_eq!(output.status.code(), Some(1));
        let said = stderr(&output);
        assert!(said.contains("1 of 3 categories failed (cable)"), "{said}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("**mean of 2**"));
        let calls = fixture.calls();
        assert!(
            calls.iter().any(|call| call.starts_with("eval data/cable")),
            "it is tried again: {calls:?}"
        );
        let output = fixture.run(
            "ablate",
            &["--data", "data", "--out", "ablate", "--groups", "sets", "--seeds", "1"],
        );
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(fixture.calls().last().unwrap().starts_with("eval data/cable"));
    }
    fs::remove_file(fixture.path("faulty")).unwrap();
    let output = fixture.eval(&[]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn categories_are_spread_over_devices() {
    let fixture = Fixture::new();
    let output = fixture.eval(&["--device", "cuda:0,cuda:1"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let calls = fixture.calls();
    // Each category is trained and evaluated on one of them, and no device is left out while there is work.
    for category in ["bottle", "cable", "own_part"] {
        let of_category = calls.iter().filter(|call| call.contains(&format!("data/{category} ")));
        let devices: Vec<_> = of_category.map(|call| call.rsplit(' ').next().unwrap()).collect();
        assert_eq!(devices.len(), 2, "{calls:?}");
        assert_eq!(devices[0], devices[1], "{calls:?}");
    }
    for device in ["cuda:0", "cuda:1"] {
        assert!(calls.iter().any(|call| call.ends_with(device)), "{calls:?}");
    }
    let one = fixture.eval(&[]);
    assert!(
        stderr(&one).contains("[3/3] own_part: kept from an earlier run"),
        "{}",
        stderr(&one)
    );
}
