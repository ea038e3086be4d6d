//! Images of several files.

use std::fs::{self, File};

use image::{GrayImage, Luma};
use tempfile::TempDir;

use super::{end, once, rows, start, stdout, wait_until};

/// Images of two files each: a picture in grey, and its negative.
fn trained_with_bands() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for (number, kind) in (0..16).zip(["train", "train", "train", "inbox"].into_iter().cycle()) {
        fs::create_dir_all(root.join(kind)).unwrap();
        // Of those in the inbox, every second has a bright spot.
        let is_defective = kind == "inbox" && number % 8 == 3;
        let picture = GrayImage::from_fn(32, 32, |x, y| {
            let is_spot = is_defective && (8..16).contains(&x) && (8..20).contains(&y);
            Luma([if is_spot {
                250
            } else {
                60 + ((x * 7 + y * 13 + number) % 40) as u8
            }])
        });
        let negative = GrayImage::from_fn(32, 32, |x, y| Luma([255 - picture.get_pixel(x, y).0[0]]));
        for (band, picture) in [("a", picture), ("b", negative)] {
            picture.save(root.join(format!("{kind}/{number}_{band}.png"))).unwrap();
        }
    }
    let train = [
        "train",
        "train",
        "--method",
        "riad",
        "--bands",
        "*_{a,b}.png",
        "--size",
        "32",
        "--epochs",
        "2",
        "--out",
        "run",
        "-q",
    ];
    stdout(root, &train);
    stdout(root, &["calibrate", "--model", "run", "inbox", "-q"]);
    fs::rename(root.join("inbox"), root.join("pictures")).unwrap();
    fs::create_dir_all(root.join("inbox")).unwrap();
    folder
}

#[test]
fn an_image_of_several_files_is_judged_and_moved_whole() {
    let folder = trained_with_bands();
    let root = folder.path();
    let copy = |name: &str| fs::copy(root.join("pictures").join(name), root.join("inbox").join(name)).unwrap();
    let file = root.join("results.csv");
    let lines = |count| wait_until("a line", || rows(&file).len() == count);
    // All of the four that it was calibrated with are above the threshold but the one that scores least.
    let more = ["--fpr", "0.8", "--defects", "defects", "--by", "move"];

    fs::write(root.join("inbox/notes.png"), "").unwrap();
    // The first is not whole until its second file comes.
    copy("3_a.png");
    copy("7_b.png");
    copy("7_a.png");
    let child = start(root, "results.csv", &more);
    lines(1);
    assert_eq!(rows(&file)[0].path, "7_a.png");
    copy("3_b.png");
    copy("11_a.png");
    copy("11_b.png");
    lines(3);
    let said = end(child);
    assert_eq!(said.matches("3_b.png is missing").count(), 1, "{said}");
    assert_eq!(said.matches("does not fit the pattern").count(), 1, "{said}");
    let sizes: Vec<u64> = rows(&file).iter().map(|row| row.size).collect();
    let size = |name: &str| fs::metadata(root.join("pictures").join(name)).unwrap().len();
    assert_eq!(sizes[0], size("7_a.png") + size("7_b.png"));

    let defects: Vec<String> = rows(&file)
        .into_iter()
        .filter(|row| row.verdict == "defective")
        .map(|row| row.path)
        .collect();
    assert!(defects.len() >= 2, "{:?}", rows(&file));
    for first in &defects {
        for name in [first.clone(), first.replace("_a", "_b")] {
            assert_eq!(
                fs::read(root.join("defects").join(&name)).unwrap(),
                fs::read(root.join("pictures").join(&name)).unwrap()
            );
            assert!(!root.join("inbox").join(name).exists());
        }
    }

    // A kill came when one of two files was removed: the other goes too, and nothing else happens.
    let second = defects[0].replace("_a", "_b");
    fs::copy(root.join("defects").join(&second), root.join("inbox").join(&second)).unwrap();
    let then = fs::metadata(root.join("pictures").join(&second))
        .unwrap()
        .modified()
        .unwrap();
    File::options()
        .write(true)
        .open(root.join("inbox").join(&second))
        .unwrap()
        .set_modified(then)
        .unwrap();
    let child = start(root, "results.csv", &more);
    wait_until("the rest goes", || !root.join("inbox").join(&second).exists());
    end(child);
    assert_eq!(rows(&file).len(), 3);

    // Another image of the same name gets a number, for all of its files.
    for (from, to) in [(&defects[1], &defects[0]), (&defects[1].replace("_a", "_b"), &second)] {
        fs::copy(root.join("defects").join(from), root.join("inbox").join(to)).unwrap();
    }
    let child = start(
        root,
        "results.csv",
        &["--fpr", "0.8", "--defects", "defects", "--by", "copy"],
    );
    lines(4);
    end(child);
    let number = defects[0].replace("_a.png", "");
    for band in ["a", "b"] {
        let other = defects[1].replace("_a", &format!("_{band}"));
        let [numbered, other] = [format!("{number}-1_{band}.png"), other].map(|name| root.join("defects").join(name));
        assert_eq!(fs::read(numbered).unwrap(), fs::read(other).unwrap());
    }

    // What is not whole is not waited for by one that ends by itself.
    fs::remove_file(root.join("inbox/notes.png")).unwrap();
    copy("15_b.png");
    let (code, said) = once(root, "results.csv", &["--fpr", "0.8"]);
    assert_eq!((code, rows(&file).len()), (1, 4), "{said}");
    assert_eq!(said.matches("15_a.png is missing").count(), 1, "{said}");
    copy("15_a.png");
    let (code, said) = once(root, "results.csv", &["--fpr", "0.8"]);
    assert_eq!((code, rows(&file).len()), (0, 5), "{said}");
}
