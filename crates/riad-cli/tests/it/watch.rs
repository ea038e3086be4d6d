//! `riad watch`: every image gets one line and every defect is set aside once, whenever the process is killed.

mod bands;
mod maps;
mod once;

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{self, interrupt, stderr, stdout};
use serde::Deserialize;
use tempfile::TempDir;

/// What a line says.
#[derive(Debug, Deserialize)]
struct Row {
    path: String,
    size: u64,
    modified: String,
    score: Option<f32>,
    p_value: Option<f64>,
    verdict: String,
    threshold: Option<f32>,
    rate: Option<f64>,
    model: String,
    riad_version: String,
    error: String,
    regions: String,
}

/// A folder with a calibrated model `run`, and in `pictures` defects and good products: made-up ones, and real ones where
/// there are any at hand.
fn trained() -> TempDir {
    let folder = support::trained(&[]);
    let root = folder.path();
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

/// `riad watch inbox`, which tells all there is to tell.
fn watch(root: &Path, out: &str, more: &[&str]) -> Command {
    let watch = ["watch", "inbox", "--model", "run", "--interval", "50ms"];
    let settle = if more.contains(&"--settle") {
        &[][..]
    } else {
        &["--settle", "100ms"]
    };
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("riad"));
    command
        .current_dir(root)
        .args(watch)
        .args(settle)
        .args(["--out", out])
        .args(more)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

fn start(root: &Path, out: &str, more: &[&str]) -> Child {
    watch(root, out, more).arg("-q").spawn().unwrap()
}

/// Runs with `--once` to its end, and gives the exit code and what was said.
fn once(root: &Path, out: &str, more: &[&str]) -> (i32, String) {
    let output = watch(root, out, more).arg("--once").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), said)
}

/// Ends as Ctrl-C does, and gives what was said.
fn end(mut child: Child) -> String {
    interrupt(&mut child);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(0) || cfg!(windows), "{said}");
    said
}

/// How long a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(120);

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
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
                    .any(|row| row.path == path && row.score.is_some())
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
        let lacking = || {
            let rows = rows(&root.join("results.csv"));
            let has_line = |image: &&(String, u64, String)| {
                rows.iter()
                    .any(|row| (&row.path, row.size, &row.modified) == (&image.0, image.1, &image.2))
            };
            let lacking: Vec<_> = delivered.keys().filter(|image| !has_line(image)).cloned().collect();
            lacking
        };
        let deadline = Instant::now() + PATIENCE;
        while !lacking().is_empty() {
            let there = || riad_data::image_files(&root.join("inbox"), None).images;
            assert!(
                Instant::now() < deadline,
                "no line: {:?}; there are {:?}",
                lacking(),
                there()
            );
            thread::sleep(Duration::from_millis(10));
        }
        end(child);
        delivered
    });

    let mut lines: HashMap<_, usize> = HashMap::new();
    let mut defects = Vec::new();
    for row in rows(&root.join("results.csv")) {
        let Row {
            score,
            p_value,
            verdict,
            error,
            ..
        } = row;
        let image = (row.path, row.size, row.modified);
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
        if verdict != "good" {
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
        said.contains("the last line is incomplete") && !said.contains("broken"),
        "{said}"
    );

    let child = start(root, "results.csv", &[]);
    fs::copy(root.join("pictures/1.png"), root.join("inbox/broken.png")).unwrap();
    lines(3);
    end(child);
    let errors: Vec<_> = rows(&file)
        .into_iter()
        .map(|row| (row.path, row.error.is_empty()))
        .collect();
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
        let row = rows(&file).into_iter().rfind(|row| row.path == path).unwrap();
        (path.to_owned(), f64::from(row.score.unwrap()))
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
        assert!(error.contains("must lie outside of each other"), "{error}");
    }
    assert!(stderr(root, &["watch", "absent", "--model", "run"], 1).contains("absent is not a folder"));
    assert!(stderr(root, &["watch", "inbox", "--model", "run", "--defects", "d"], 2).contains("--fpr"));
    assert!(stderr(root, &["watch", "inbox", "--model", "run", "--out", "a.txt"], 2).contains(".jsonl"));
    assert!(!root.join("a.txt").exists());
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
        let chosen = rows.filter(|row| row.path.starts_with(side) && row.verdict.starts_with(verdict));
        chosen.map(|row| row.path).collect()
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
        let told = format!("cannot put inbox/{file} into defects");
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
