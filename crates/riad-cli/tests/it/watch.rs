//! `riad watch`: every image gets one line and every defect is set aside once, whenever the process is killed.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{demo, stderr, stdout};
use image::{GrayImage, Luma};
use tempfile::TempDir;

/// What a line says: size, time, score, p-value, verdict and error.
type Row = (String, u64, String, Option<f32>, Option<f64>, String, String);

/// A folder with a calibrated model `run`, and in `pictures` defects and good products: made-up ones, and real ones where
/// there are any at hand.
fn trained() -> TempDir {
    let folder = demo();
    let root = folder.path();
    let train = [
        "train",
        "data/badge",
        "--method",
        "riad",
        "--size",
        "32",
        "--epochs",
        "1",
        "--out",
        "run",
        "-q",
    ];
    stdout(root, &train);
    stdout(root, &["calibrate", "--model", "run", "data/badge/test/good", "-q"]);
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/piped/PA_BDP01_TL/test");
    let real = riad_data::image_files(&shared, None).images;
    let made = riad_data::image_files(&root.join("data/badge/test"), None).images;
    fs::create_dir(root.join("pictures")).unwrap();
    for (number, file) in made.iter().chain(real.iter().step_by(6)).enumerate() {
        fs::copy(file, root.join(format!("pictures/{number}.png"))).unwrap();
    }
    folder
}

fn start(root: &Path, out: &str, more: &[&str]) -> Child {
    let watch = [
        "watch",
        "inbox",
        "--model",
        "run",
        "--interval",
        "50ms",
        "--settle",
        "100ms",
        "-q",
    ];
    Command::new(assert_cmd::cargo::cargo_bin("riad"))
        .current_dir(root)
        .args(watch)
        .args(["--out", out])
        .args(more)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Ends as Ctrl-C does, and gives what was said.
fn end(child: Child) -> String {
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    said
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The whole lines of a CSV file, but for its header.
fn rows(file: &Path) -> Vec<Row> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let rows = csv::Reader::from_reader(whole.as_bytes()).into_deserialize();
    rows.map(Result::unwrap).collect()
}

/// A file's size and time as a line has them.
fn identity(file: &Path) -> (u64, String) {
    let metadata = fs::metadata(file).unwrap();
    let modified = humantime::format_rfc3339_nanos(metadata.modified().unwrap());
    (metadata.len(), modified.to_string())
}

/// The fractional parts of multiples of the golden ratio: as scattered as random numbers, and the same every time.
fn scattered(attempt: u32) -> f64 {
    (f64::from(attempt) * 0.618_034).fract()
}

/// Brings all pictures to the inbox in ways that cameras have, every fifth of them later replaced by another; gives for
/// each image that was complete at some time its path, size and time, and the picture's number.
fn deliver(root: &Path, count: usize) -> HashMap<(String, u64, String), usize> {
    let mut delivered = HashMap::new();
    for number in 0..count {
        let content = fs::read(root.join(format!("pictures/{number}.png"))).unwrap();
        let path = format!("{}/{number}.png", ["left", "right"][number % 2]);
        let file = root.join("inbox").join(&path);
        match number % 3 {
            // In pieces, of which the first is a good while alone.
            0 => {
                let mut target = File::create(&file).unwrap();
                for piece in content.chunks(content.len().div_ceil(4)) {
                    target.write_all(piece).unwrap();
                    thread::sleep(Duration::from_millis(25));
                }
            }
            1 => {
                let part = root.join("inbox").join(format!("{path}.part"));
                fs::write(&part, content).unwrap();
                fs::rename(part, &file).unwrap();
            }
            _ => fs::write(&file, content).unwrap(),
        }
        let (size, time) = identity(&file);
        delivered.insert((path.clone(), size, time), number);
        if number % 5 == 4 {
            wait_until("the first line of an image that is replaced", || {
                rows(&root.join("results.csv"))
                    .iter()
                    .any(|row| row.0 == path && row.3.is_some())
            });
            let other = number - 1;
            fs::copy(root.join(format!("pictures/{other}.png")), root.join("next.png")).unwrap();
            let (size, time) = identity(&root.join("next.png"));
            fs::rename(root.join("next.png"), &file).unwrap();
            delivered.insert((path, size, time), other);
        }
    }
    delivered
}

/// Kills `kills` times while images arrive, and checks what is there in the end.
fn survive(kills: u32, by: &str) {
    let folder = trained();
    let root = folder.path();
    let count = fs::read_dir(root.join("pictures")).unwrap().count();
    let scores = stdout(root, &["score", "--model", "run", "pictures", "--fpr", "0.5", "-q"]);
    let expected: BTreeMap<String, (f32, f64, String)> = csv::Reader::from_reader(scores.as_bytes())
        .into_deserialize::<(String, f32, f64, String)>()
        .map(|row| row.unwrap())
        .map(|(path, score, p_value, verdict)| (path, (score, p_value, verdict)))
        .collect();
    for side in ["inbox/left", "inbox/right", "defects/left"] {
        fs::create_dir_all(root.join(side)).unwrap();
    }
    // Other files that have the names of defects to come.
    for number in (0..count).step_by(4) {
        fs::write(root.join(format!("defects/left/{number}.png")), "of someone else").unwrap();
    }

    let more = ["--fpr", "0.5", "--defects", "defects", "--by", by];
    let delivered = thread::scope(|scope| {
        let delivery = scope.spawn(|| deliver(root, count));
        for attempt in 1..=kills {
            let mut child = start(root, "results.csv", &more);
            thread::sleep(Duration::from_millis(700).mul_f64(scattered(attempt)));
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let child = start(root, "results.csv", &more);
        let mut delivered = delivery.join().unwrap();
        // One that comes now: when it has its line, the last process is at work.
        let last = root.join("inbox/left/last.png");
        fs::copy(root.join("pictures/0.png"), &last).unwrap();
        let (size, time) = identity(&last);
        delivered.insert(("left/last.png".to_owned(), size, time), 0);
        wait_until("a line for every image", || {
            let rows = rows(&root.join("results.csv"));
            delivered.keys().all(|image| {
                rows.iter()
                    .any(|row| (&row.0, row.1, &row.2) == (&image.0, image.1, &image.2))
            })
        });
        end(child);
        delivered
    });

    let mut lines: HashMap<_, usize> = HashMap::new();
    let mut defects = Vec::new();
    for (path, size, time, score, p_value, verdict, error) in rows(&root.join("results.csv")) {
        let image = (path, size, time);
        *lines.entry(image.clone()).or_default() += 1;
        let Some(number) = delivered.get(&image) else {
            // On a machine so busy that a piece of an image lay there alone for long.
            assert!(
                score.is_none() && error.contains("cut off"),
                "{image:?}: {score:?} {error}"
            );
            continue;
        };
        let of = &expected[&format!("pictures/{number}.png")];
        assert_eq!(
            (score, p_value, &verdict),
            (Some(of.0), Some(of.1), &of.2),
            "{image:?}: {error}"
        );
        if verdict == "defective" {
            defects.push((image, *number));
        }
    }
    assert!(lines.values().all(|&count| count == 1), "{lines:?}");
    assert!(delivered.keys().all(|image| lines.contains_key(image)));

    // Each defect is aside once, under its name or one with a number, and what was there before still is.
    assert!(!defects.is_empty() && defects.len() < delivered.len());
    let mut aside: Vec<PathBuf> = riad_data::image_files(&root.join("defects"), None).images;
    for ((path, size, time), number) in &defects {
        let stem = root.join("defects").join(path.trim_end_matches(".png"));
        let content = fs::read(root.join(format!("pictures/{number}.png"))).unwrap();
        let found = aside.iter().position(|file| {
            file.to_str().unwrap().starts_with(stem.to_str().unwrap()) && fs::read(file).unwrap() == content
        });
        aside.remove(found.unwrap_or_else(|| panic!("{path} is not aside")));
        let file = root.join("inbox").join(path);
        let stays = file.exists() && identity(&file) == (*size, time.clone());
        assert!(by != "move" || !stays, "{path} was not moved");
    }
    assert_eq!(aside.len(), count.div_ceil(4), "{aside:?}");
    assert!(aside.iter().all(|file| fs::read(file).unwrap() == b"of someone else"));
    if by != "move" {
        assert_eq!(
            riad_data::image_files(&root.join("inbox"), None).images.len(),
            count + 1
        );
    }
}

#[test]
fn killed_while_it_moves_defects_it_goes_on() {
    survive(5, "move");
}

#[test]
#[ignore = "takes a minute or two: 120 kills"]
fn a_hundred_kills_leave_one_line_for_every_image() {
    for by in ["move", "copy", "link"] {
        survive(40, by);
    }
}

#[test]
fn an_unreadable_image_is_reported_once_and_again_when_it_has_changed() {
    let folder = trained();
    let root = folder.path();
    fs::create_dir(root.join("inbox")).unwrap();
    fs::write(root.join("inbox/broken.png"), "no image").unwrap();
    let file = root.join("results.csv");
    let lines = |count| wait_until("a line", || rows(&file).len() == count);

    let child = start(root, "results.csv", &[]);
    lines(1);
    assert!(stderr(root, &["watch", "inbox", "--model", "run"], 2).contains("another riad watch"));
    let said = end(child);
    assert_eq!(said.matches("cannot decode inbox/broken.png").count(), 1, "{said}");

    // Not again, neither in this process nor in one that has been torn from its work.
    let whole = fs::read(&file).unwrap();
    fs::write(&file, [&whole[..], b"0.png,12,20"].concat()).unwrap();
    let child = start(root, "results.csv", &[]);
    fs::copy(root.join("pictures/0.png"), root.join("inbox/0.png")).unwrap();
    lines(2);
    let said = end(child);
    assert!(
        said.contains("the last line is torn") && !said.contains("broken"),
        "{said}"
    );

    let child = start(root, "results.csv", &[]);
    fs::copy(root.join("pictures/1.png"), root.join("inbox/broken.png")).unwrap();
    lines(3);
    end(child);
    let errors: Vec<_> = rows(&file).into_iter().map(|row| (row.0, row.6.is_empty())).collect();
    let expected = [("broken.png", false), ("0.png", true), ("broken.png", true)];
    assert_eq!(errors, expected.map(|(path, good)| (path.to_owned(), good)));
    assert!(fs::read(&file).unwrap().starts_with(&whole));

    // The same in the other format.
    let child = start(root, "results.jsonl", &[]);
    let jsonl = || fs::read_to_string(root.join("results.jsonl")).unwrap_or_default();
    wait_until("both lines", || jsonl().lines().count() == 2);
    end(child);
    let mut found: Vec<(String, f64)> = jsonl()
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| {
            (
                line["path"].as_str().unwrap().to_owned(),
                line["score"].as_f64().unwrap(),
            )
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let of = |path: &str| {
        let row = rows(&file).into_iter().rfind(|row| row.0 == path).unwrap();
        (path.to_owned(), f64::from(row.3.unwrap()))
    };
    for ((path, score), (expected_path, expected)) in found.into_iter().zip([of("0.png"), of("broken.png")]) {
        assert_eq!((path, score as f32), (expected_path, expected as f32));
    }
}

#[test]
fn folders_that_would_feed_themselves_are_refused() {
    let folder = trained();
    let root = folder.path();
    fs::create_dir(root.join("inbox")).unwrap();
    for defects in ["inbox", "inbox/defects", "."] {
        let error = stderr(
            root,
            &["watch", "inbox", "--model", "run", "--fpr", "0.5", "--defects", defects],
            2,
        );
        assert!(error.contains("must not lie in each other"), "{error}");
    }
    assert!(stderr(root, &["watch", "absent", "--model", "run"], 1).contains("absent is no folder"));
    assert!(stderr(root, &["watch", "inbox", "--model", "run", "--defects", "d"], 2).contains("--fpr"));
    assert!(stderr(root, &["watch", "inbox", "--model", "run", "--out", "a.txt"], 2).contains(".jsonl"));
    assert!(!root.join("a.txt").exists());
}

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
    assert_eq!(rows(&file)[0].0, "7_a.png");
    copy("3_b.png");
    copy("11_a.png");
    copy("11_b.png");
    lines(3);
    let said = end(child);
    assert_eq!(said.matches("3_b.png is missing").count(), 1, "{said}");
    assert_eq!(said.matches("not named by the pattern").count(), 1, "{said}");
    let sizes: Vec<u64> = rows(&file).iter().map(|row| row.1).collect();
    let size = |name: &str| fs::metadata(root.join("pictures").join(name)).unwrap().len();
    assert_eq!(sizes[0], size("7_a.png") + size("7_b.png"));

    let defects: Vec<String> = rows(&file)
        .into_iter()
        .filter(|row| row.5 == "defective")
        .map(|row| row.0)
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
}

/// As by a file that has the name of a folder that it takes.
#[test]
fn a_defect_that_cannot_be_set_aside_keeps_no_other_from_being_scored() {
    let folder = trained();
    let root = folder.path();
    for place in ["inbox/left", "inbox/right", "defects"] {
        fs::create_dir_all(root.join(place)).unwrap();
    }
    let defect = riad_data::image_files(&root.join("data/badge/test/scratch"), None).images;
    for (number, file) in defect.iter().enumerate() {
        fs::copy(file, root.join(format!("inbox/left/{number}.png"))).unwrap();
        fs::copy(file, root.join(format!("inbox/right/{number}.png"))).unwrap();
    }
    fs::write(root.join("defects/left"), "in the way").unwrap();
    let more = ["--fpr", "0.9", "--defects", "defects", "--by", "move"];
    let watch = start(root, "out.csv", &more);
    let lines = |side: &str, verdict: &str| -> Vec<String> {
        let rows = rows(&root.join("out.csv")).into_iter();
        let chosen = rows.filter(|row| row.0.starts_with(side) && row.5.starts_with(verdict));
        chosen.map(|row| row.0).collect()
    };
    wait_until("the right side", || lines("right", "").len() == defect.len());
    let flagged = lines("right", "defective");
    assert!(!flagged.is_empty());
    // What is good has its line. A defect has none before it is in its place.
    wait_until("the left side", || {
        lines("left", "").len() == defect.len() - flagged.len()
    });
    assert_eq!(lines("left", "defective"), [""; 0]);
    fs::remove_file(root.join("defects/left")).unwrap();
    wait_until("the places", || lines("left", "defective").len() == flagged.len());
    let left = || riad_data::image_files(&root.join("inbox"), None).images.len();
    wait_until("the moves", || left() == 2 * (defect.len() - flagged.len()));
    let said = end(watch);
    for file in lines("left", "defective") {
        let told = format!("cannot set inbox/{file} aside");
        assert_eq!(said.matches(&told).count(), 1, "{said}");
        assert!(root.join("defects").join(file).exists());
    }
}

/// A name that is not UTF-8, and one that is what the first looked like when it was approximated.
#[test]
#[cfg(target_os = "linux")]
fn names_are_told_apart_and_come_back_whatever_their_bytes() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    let folder = trained();
    let root = folder.path();
    fs::create_dir(root.join("inbox")).unwrap();
    let content = fs::read(root.join("pictures/0.png")).unwrap();
    let names = [
        (&b"a\xff.png"[..], "a%FF.png"),
        (b"a\xfe.png", "a%FE.png"),
        ("a\u{fffd}.png".as_bytes(), "a\u{fffd}.png"),
        (b"=1+1.png", "%3D1+1.png"),
        (b"\x1b[31m.png", "%1B[31m.png"),
        (b"two\nlines.png", "two%0Alines.png"),
    ];
    for out in ["out.csv", "out.jsonl"] {
        for (name, _) in names {
            let file = root.join("inbox").join(OsStr::from_bytes(name));
            fs::write(&file, &content).unwrap();
            // Nothing but the name tells them apart.
            File::options()
                .write(true)
                .open(&file)
                .unwrap()
                .set_modified(std::time::UNIX_EPOCH)
                .unwrap();
        }
        let watch = start(root, out, &["--fpr", "0.9", "--defects", "defects", "--by", "move"]);
        wait_until("the moves", || fs::read_dir(root.join("inbox")).unwrap().count() == 0);
        end(watch);
        let text = fs::read_to_string(root.join(out)).unwrap();
        assert!(!text.contains('\x1b'));
        let header = usize::from(out.ends_with("csv"));
        assert_eq!(text.lines().count(), names.len() + header, "{text}");
        for (name, written) in names {
            assert!(text.contains(written), "{written}: {text}");
            assert!(root.join("defects").join(OsStr::from_bytes(name)).exists());
        }
    }
}
