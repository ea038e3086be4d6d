//! Which images a run learns from and which it holds out: groups, equal files, and images that are left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use crate::support::{demo, stderr, stdout};
use serde_json::Value;

const TRAIN: [&str; 14] = [
    "train",
    "data",
    "--method",
    "riad",
    "--size",
    "32",
    "--epochs",
    "1",
    "--calibration",
    "0.25",
    "--validation",
    "0.25",
    "--out",
    "run",
];

/// A folder `data` of good images under the names that `name` gives to those of the demo set, of which there are eight.
fn photos(root: &Path, names: impl Fn(usize) -> Vec<String>) {
    let mut files: Vec<_> = fs::read_dir(root.join("data/badge/train/good"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert_eq!(files.len(), 8);
    fs::create_dir(root.join("photos")).unwrap();
    for (number, file) in files.iter().enumerate() {
        for name in names(number) {
            fs::copy(file, root.join("photos").join(name)).unwrap();
        }
    }
    fs::rename(root.join("data"), root.join("demo")).unwrap();
    fs::rename(root.join("photos"), root.join("data")).unwrap();
}

/// The sides of the split, by what `key` gives of an image's record.
fn sides(root: &Path, key: impl Fn(&Value) -> String) -> BTreeMap<String, BTreeSet<&'static str>> {
    let settings: Value = serde_json::from_slice(&fs::read(root.join("run/settings.json")).unwrap()).unwrap();
    let mut sides: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for image in settings["images"].as_array().unwrap() {
        let side = match (&image["validation"], &image["calibration"]) {
            (Value::Bool(true), _) => "validation",
            (_, Value::Bool(true)) => "calibration",
            _ => "train",
        };
        sides.entry(key(image)).or_default().insert(side);
    }
    sides
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn equal_files_are_on_one_side() {
    let folder = demo();
    let root = folder.path();
    photos(root, |number| {
        vec![format!("{number}.png"), format!("{number}_again.png")]
    });
    stdout(root, &[&TRAIN[..], &["-q"]].concat());
    let sides = sides(root, |image| text(&image["sha256"]));
    assert_eq!(sides.len(), 8);
    assert!(sides.values().all(|sides| sides.len() == 1), "{sides:?}");
    let all: BTreeSet<_> = sides.into_values().flatten().collect();
    assert_eq!(all.len(), 3, "{all:?}");
}

#[test]
fn pictures_of_one_part_are_on_one_side() {
    let folder = demo();
    let root = folder.path();
    photos(root, |number| vec![format!("part{}_{number}.png", number / 2)]);
    let part = |image: &Value| text(&image["name"]).split('_').next().unwrap().to_owned();
    stdout(root, &[&TRAIN[..], &["-q"]].concat());
    assert!(
        sides(root, part).values().any(|sides| sides.len() > 1),
        "the split would part them"
    );
    let without = sides(root, part);

    fs::remove_dir_all(root.join("run")).unwrap();
    let grouped = [&TRAIN[..], &["--group-by", "{group}_*.png", "-q"]].concat();
    stdout(root, &grouped);
    let by_name = sides(root, part);
    assert!(by_name.values().all(|sides| sides.len() == 1), "{by_name:?}");
    assert_ne!(by_name, without);
    let error = stderr(root, &["train", "--resume", "run", "--group-by", "{group}.png"], 2);
    assert!(error.contains("another --group-by"), "{error}");

    // A table says the same.
    fs::remove_dir_all(root.join("run")).unwrap();
    let rows: String = (0..8).map(|n| format!("part{}_{n}.png,{}\n", n / 2, n / 2)).collect();
    fs::write(root.join("groups.csv"), format!("path,group\n{rows}")).unwrap();
    stdout(root, &[&TRAIN[..], &["--group-by", "groups.csv", "-q"]].concat());
    assert_eq!(sides(root, part), by_name);

    fs::remove_dir_all(root.join("run")).unwrap();
    let error = stderr(root, &[&TRAIN[..], &["--group-by", "{group}-*.png"]].concat(), 1);
    assert!(
        error.contains("part0_0.png") && error.contains("does not fit {group}-*.png"),
        "{error}"
    );
}

#[test]
fn images_that_are_left_out_stay_out() {
    let folder = demo();
    let root = folder.path();
    photos(root, |number| vec![format!("{number}.png")]);
    fs::write(root.join("out.txt"), "# blurred\n3.png\n\n./5.png\n").unwrap();
    stdout(root, &[&TRAIN[..], &["--without", "out.txt", "-q"]].concat());
    let names = sides(root, |image| text(&image["name"]));
    let names: Vec<_> = names.keys().map(String::as_str).collect();
    assert_eq!(names, ["0.png", "1.png", "2.png", "4.png", "6.png", "7.png"]);

    // The run goes on without them, wherever the list is.
    fs::remove_file(root.join("out.txt")).unwrap();
    stdout(root, &["train", "--resume", "run", "-q"]);
    fs::write(root.join("other.txt"), "3.png\n").unwrap();
    let error = stderr(root, &["train", "--resume", "run", "--without", "other.txt"], 2);
    assert!(error.contains("another --without"), "{error}");

    fs::write(root.join("other.txt"), "30.png\n").unwrap();
    let start = [&TRAIN[..13], &["other", "--without", "other.txt"]].concat();
    let error = stderr(root, &start, 1);
    assert!(error.contains("other.txt names 30.png"), "{error}");
    assert!(!root.join("other").exists());
}
