//! Good images that a person should look at: check, train and calibrate name them.

use std::{fs, path::Path};

use crate::support::{riad, stderr, stdout};
use tempfile::TempDir;

/// A folder `photos` of good badges, one of which is a copy and one of which is defective.
fn photos() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    stdout(root, &["demo-data", "data", "-q"]);
    fs::create_dir(root.join("photos")).unwrap();
    let copy =
        |from: &str, to: &str| fs::copy(root.join("data/badge").join(from), root.join("photos").join(to)).unwrap();
    for number in 0..40 {
        copy(&format!("train/good/{number:03}.png"), &format!("{number:03}.png"));
    }
    copy("train/good/007.png", "100.png");
    let defects: Vec<_> = fs::read_dir(root.join("data/badge/test"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|kind| kind != "good")
        .collect();
    let kind = defects.iter().min().unwrap();
    copy(&format!("test/{kind}/000.png"), "101.png");
    // Another product among the good ones.
    fs::copy(root.join("data/fabric/train/good/000.png"), root.join("fabric.png")).unwrap();
    folder
}

fn list(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let names = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    names.map(str::to_owned).collect()
}

#[test]
fn check_names_what_is_unusual_and_writes_a_list_that_train_takes() {
    let folder = photos();
    let root = folder.path();
    let output = riad(root).args(["check", "photos"]).assert().success();
    let lines = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    assert!(lines.contains("100.png: the same file as 007.png"), "{lines}");
    let said = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(said.contains("of 42 good images: "), "{said}");
    let page = fs::read_to_string(root.join("suspects.html")).unwrap();
    assert!(page.contains("the same file as 007.png") && page.contains("data:image/jpeg;base64,"));
    assert!(list(&root.join("suspects.txt")).contains(&"100.png".to_owned()));

    // One that cannot be read is reported, and the others are looked at.
    fs::write(root.join("photos/broken.png"), "no image").unwrap();
    let output = riad(root)
        .args(["check", "photos", "--out", "again.html"])
        .assert()
        .code(1);
    let lines = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    assert!(lines.contains("100.png: the same file as 007.png"), "{lines}");
    let said = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(said.contains("broken.png"), "{said}");
    assert!(root.join("again.txt").exists());

    // The page and the list are written even if nobody reads the lines.
    let mut check = std::process::Command::new(assert_cmd::cargo::cargo_bin("riad"))
        .current_dir(root)
        .args(["check", "photos", "--out", "unread.html", "-q"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(check.stdout.take());
    check.wait().unwrap();
    assert!(root.join("unread.html").exists());
    assert_eq!(list(&root.join("unread.txt")), list(&root.join("again.txt")));

    assert!(stderr(root, &["check", "photos", "--out", "page"], 2).contains("FILE.html"));

    // Of a few nobody can tell which is unlike the others.
    fs::create_dir(root.join("few")).unwrap();
    fs::rename(root.join("photos/000.png"), root.join("few/000.png")).unwrap();
    let said = stderr(root, &["check", "few", "--out", "few.html"], 0);
    assert!(
        said.contains("of 1 image, only copies and other sizes can be found: it takes 8"),
        "{said}"
    );
}

#[test]
fn training_and_calibration_name_a_defect_by_its_score() {
    let folder = photos();
    let root = folder.path();
    let train = [
        "train",
        "photos",
        "--method",
        "restore",
        "--size",
        "64",
        "--epochs",
        "15",
        "--calibration",
        "0",
        "--out",
        "run",
    ];
    // The copy is not in the way.
    fs::write(root.join("copy.txt"), "100.png\n101.png\n").unwrap();
    let output = riad(root)
        .args(train)
        .args(["--without", "copy.txt"])
        .assert()
        .success();
    let said = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(!said.contains("101.png"), "{said}");

    let good = |number| format!("data/badge/test/good/{number:03}.png");
    let fresh: Vec<_> = (0..12).map(good).filter(|path| root.join(path).exists()).collect();
    assert!(fresh.len() >= 10, "{}", fresh.len());
    let mut calibrate = vec!["calibrate", "--model", "run", "fabric.png"];
    calibrate.extend(fresh.iter().map(String::as_str));
    let output = riad(root).args(&calibrate).assert().success();
    let said = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(said.contains("fabric.png"), "{said}");
    assert!(
        said.contains("without the images unlike the others it would be 0."),
        "{said}"
    );
    let suspects = root.join("run/best-calibration-suspects.txt");
    assert_eq!(list(&suspects), ["fabric.png"]);
    let page = fs::read_to_string(root.join("run/best-calibration-suspects.html")).unwrap();
    assert!(page.contains("more anomalous than the others") && page.contains("anomalous where warm"));

    // The calibration of another model of the folder leaves the list as it is.
    let mut other = vec!["calibrate", "--model", "run", "--out", "run/other.safetensors"];
    other.extend(fresh.iter().map(String::as_str));
    riad(root).args(&other).assert().success();
    assert_eq!(list(&suspects), ["fabric.png"]);

    // The list is written anew, so the same command would take the image in again.
    let before = fs::read(root.join("run/best.safetensors")).unwrap();
    let own = [
        &calibrate[..],
        &["--without", "run/../run/best-calibration-suspects.txt"],
    ]
    .concat();
    assert!(stderr(root, &own, 2).contains("give it another name"));
    assert!(fs::read(root.join("run/best.safetensors")).unwrap() == before);

    // Left out by a list of another name, nothing is unusual, however often.
    fs::copy(&suspects, root.join("left-out.txt")).unwrap();
    calibrate.extend(["--without", "left-out.txt"]);
    for _ in 0..2 {
        let output = riad(root).args(&calibrate).assert().success();
        let said = String::from_utf8(output.get_output().stderr.clone()).unwrap();
        assert!(!said.contains("good images: "), "{said}");
        assert!(
            said.contains(&format!("calibrated with {} good images", fresh.len())),
            "{said}"
        );
    }
    // A path is the same image however it is written, and however often a list names it.
    fs::write(root.join("twice.txt"), "fabric.png\n./fabric.png\n").unwrap();
    let mut again = vec!["calibrate", "--model", "run", "./fabric.png", "--without", "twice.txt"];
    again.extend(fresh.iter().map(String::as_str));
    riad(root).args(&again).assert().success();
    // Nor do the list and the page of before say so any more.
    assert!(list(&suspects).is_empty());
    let page = fs::read_to_string(root.join("run/best-calibration-suspects.html")).unwrap();
    assert!(page.contains("0 of ") && !page.contains("fabric.png"), "{page}");
}
