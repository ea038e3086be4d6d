//! Output never takes the place of something else.

use std::fs;

use super::support::{demo, stderr, stdout, trained};

#[test]
fn output_replaces_only_what_is_of_its_own_kind() {
    let folder = trained(&[]);
    let root = folder.path();
    let picture = "data/badge/test/good/000.png";
    fs::copy(root.join("data/badge/train/good/000.png"), root.join("picture.png")).unwrap();
    let taken = [
        "run/best.safetensors",
        "run/last.safetensors",
        "run/settings.json",
        "picture.png",
    ];
    let before = taken.map(|file| fs::read(root.join(file)).unwrap());
    for out in taken {
        let calibrated = ["run/last.safetensors", "run/settings.json", "picture.png"].contains(&out);
        let commands: [&[&str]; 4] = [
            &["export", "--model", "run", "--format", "onnx", "--out", out],
            &["export", "--model", "run", "--format", "torch", "--out", out],
            &["report", "run", "--out", out],
            &["calibrate", "--model", "run", picture, "--out", out],
        ];
        // A model may be calibrated in its place.
        for command in commands
            .into_iter()
            .filter(|command| calibrated || command[0] != "calibrate")
        {
            let said = stderr(root, command, 2);
            assert!(
                said.contains(out) && said.contains("choose another name"),
                "{command:?}: {said}"
            );
        }
    }
    assert_eq!(taken.map(|file| fs::read(root.join(file)).unwrap()), before);

    // Its own kind is replaced.
    for _ in 0..2 {
        stdout(
            root,
            &[
                "export",
                "--model",
                "run",
                "--format",
                "torch",
                "--out",
                "weights.pth",
                "-q",
            ],
        );
    }

    for mine in ["notes.txt", "notes.html"] {
        fs::write(root.join(mine), "mine").unwrap();
        let copies = ["data/badge/train/good/000.png", "data/badge/train/good/copy.png"];
        fs::copy(root.join(copies[0]), root.join(copies[1])).unwrap();
        let said = stderr(root, &["check", "data/badge", "--out", "notes.html"], 2);
        assert!(said.contains(mine) && said.contains("choose another file"), "{said}");
        assert_eq!(fs::read_to_string(root.join(mine)).unwrap(), "mine");
        fs::remove_file(root.join(mine)).unwrap();
    }
    stdout(root, &["check", "data/badge", "--out", "notes.html", "-q"]);
    assert!(root.join("notes.txt").exists() && root.join("notes.html").exists());
}

#[test]
fn maps_are_never_scored() {
    let folder = trained(&[]);
    let root = folder.path();
    let photos = root.join("photos");
    fs::create_dir(&photos).unwrap();
    fs::copy(root.join("data/badge/train/good/000.png"), photos.join("0.png")).unwrap();
    // The next run of `score photos/*.png` would find them.
    for maps in ["photos", "./photos/../photos"] {
        let said = stderr(root, &["score", "--model", "run", "photos/0.png", "--maps", maps], 2);
        assert!(said.contains("would score them"), "{said}");
    }
    assert_eq!(fs::read_dir(&photos).unwrap().count(), 1);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("../maps", photos.join("seen")).unwrap();
        fs::create_dir(root.join("maps")).unwrap();
        let score = ["score", "--model", "run", "photos", "--maps", "maps", "-q"];
        stdout(root, &score);
        let said = stderr(root, &score, 2);
        assert!(said.contains("would score them"), "{said}");
    }
}

#[test]
fn an_overlap_is_that_of_tiles() {
    let folder = demo();
    let command = ["train", "data/badge", "--size", "64", "--overlap", "5", "--out", "run"];
    let said = stderr(folder.path(), &command, 2);
    assert!(said.contains("--overlap"), "{said}");
    assert!(!folder.path().join("run").exists());
}
