//! What ends by itself, and the line that tells how it goes.

use std::{fs, path::Path, thread, time::Duration};

use super::{end, once, rows, scattered, start, trained, wait_until, watch};

fn copy(root: &Path, number: usize, name: &str) {
    fs::create_dir_all(root.join("inbox")).unwrap();
    fs::copy(
        root.join(format!("pictures/{number}.png")),
        root.join("inbox").join(name),
    )
    .unwrap();
}

#[test]
fn once_ends_when_every_image_has_its_line_and_fails_for_one_that_cannot_be_scored() {
    let folder = trained();
    let root = folder.path();
    fs::create_dir(root.join("inbox")).unwrap();
    let (code, said) = once(root, "out.csv", &[]);
    assert_eq!((code, rows(&root.join("out.csv")).len()), (0, 0), "{said}");

    (0..5).for_each(|number| copy(root, number, &format!("{number}.png")));
    fs::write(root.join("inbox/broken.png"), "no image").unwrap();
    let (code, said) = once(root, "out.csv", &[]);
    assert_eq!((code, rows(&root.join("out.csv")).len()), (1, 6), "{said}");
    assert_eq!(said.matches("cannot decode inbox/broken.png").count(), 1, "{said}");
    // The exit code does not depend on which start has met it.
    assert_eq!(once(root, "out.csv", &[]).0, 1);
    assert_eq!(rows(&root.join("out.csv")).len(), 6);
    fs::remove_file(root.join("inbox/broken.png")).unwrap();
    assert_eq!(once(root, "out.csv", &[]).0, 0);

    // It waits for an image that is still being written.
    let growing = root.join("inbox/growing.png");
    fs::write(&growing, "half").unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(300));
            copy(root, 6, "growing.png");
        });
        let (code, said) = once(root, "out.csv", &["--settle", "2s"]);
        assert_eq!(code, 0, "{said}");
    });
    assert!(rows(&root.join("out.csv")).last().unwrap().score.is_some());
}

#[test]
fn once_does_not_wait_for_what_cannot_be_done() {
    let folder = trained();
    let root = folder.path();
    (0..8).for_each(|number| copy(root, number, &format!("{number}.png")));
    fs::create_dir(root.join("inbox/left")).unwrap();
    fs::rename(root.join("inbox/0.png"), root.join("inbox/left/0.png")).unwrap();
    fs::create_dir(root.join("defects")).unwrap();
    fs::write(root.join("defects/left"), "in the way").unwrap();
    // A threshold below the score of most.
    let more = ["--fpr", "0.9", "--defects", "defects", "--by", "move"];
    let (code, said) = once(root, "out.csv", &more);
    let is_there = |path: &str| rows(&root.join("out.csv")).iter().any(|row| row.path == path);
    assert_eq!((code, is_there("left/0.png")), (1, false), "{said}");
    assert_eq!(rows(&root.join("out.csv")).len(), 7);
    assert_eq!(
        said.matches("cannot put inbox/left/0.png into defects").count(),
        1,
        "{said}"
    );
    fs::remove_file(root.join("defects/left")).unwrap();
    let (code, said) = once(root, "out.csv", &more);
    assert_eq!((code, is_there("left/0.png")), (0, true), "{said}");
    assert!(root.join("defects/left/0.png").exists());
}

#[cfg(unix)]
#[test]
fn defects_do_not_come_in_again_by_a_link() {
    let folder = trained();
    let root = folder.path();
    (0..8).for_each(|number| copy(root, number, &format!("{number}.png")));
    let more = ["--fpr", "0.9", "--defects", "defects"];
    assert_eq!(once(root, "out.csv", &more).0, 0);
    let set_aside = || fs::read_dir(root.join("defects")).unwrap().count();
    let before = set_aside();
    assert!(before > 0);
    std::os::unix::fs::symlink(root.join("defects"), root.join("inbox/back")).unwrap();
    let (code, said) = once(root, "out.csv", &more);
    assert_eq!(code, 1, "{said}");
    assert_eq!(said.matches("inbox/back leads into defects").count(), 1, "{said}");
    assert_eq!((rows(&root.join("out.csv")).len(), set_aside()), (8, before));
}

/// Nobody reads what the program says of images that cannot be read, so it waits in the midst of its work until it is killed, however
/// fast it is: what it says of all of them is more than the system keeps for it.
#[test]
fn once_goes_on_after_kills() {
    const KILLS: u32 = 3;
    const SYSTEM_KEEPS: usize = 64 << 10;
    let folder = trained();
    let root = folder.path();
    let broken = "b".repeat(200);
    let count = (KILLS as usize + 2) * SYSTEM_KEEPS / broken.len();
    for number in 0..count {
        let name = format!("{number:04}{broken}.png");
        match number % 50 {
            0 => copy(root, number % 9, &name),
            _ => fs::write(root.join("inbox").join(name), "no image").unwrap(),
        }
    }
    let lines = || rows(&root.join("out.csv"));
    for attempt in 1..=KILLS {
        let before = lines().len();
        let mut child = start(root, "out.csv", &["--once"]);
        wait_until("a line more", || lines().len() > before);
        thread::sleep(Duration::from_millis(100).mul_f64(scattered(attempt)));
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(lines().len() < count);
    }
    let (code, said) = once(root, "out.csv", &[]);
    assert_eq!((code, lines().len()), (1, count), "{said}");
    let mut paths: Vec<_> = lines().into_iter().map(|row| row.path).collect();
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), count);
}

#[test]
fn a_heartbeat_tells_how_it_goes_at_work_and_at_rest() {
    let folder = trained();
    let root = folder.path();
    let count = 40;
    (0..count).for_each(|number| copy(root, number % 9, &format!("{number}.png")));
    let beats = |said: &str| -> Vec<String> {
        let lines = said.lines().filter(|line| line.contains(", backlog "));
        lines.map(str::to_owned).collect()
    };
    let more = ["--fpr", "0.9", "--heartbeat", "1ms"];
    let child = watch(root, "out.csv", &more).spawn().unwrap();
    wait_until("all lines", || rows(&root.join("out.csv")).len() == count);
    thread::sleep(Duration::from_millis(400));
    let said = end(child);
    let found = beats(&said);
    assert!(found.iter().all(|line| line.chars().count() <= 80), "{said}");
    assert!(found[0].contains("none yet"), "{said}");
    // In the midst of the backlog, whose images are all there when it begins.
    let waiting = |line: &String| line.contains(" done,") && !line.contains("backlog 0,") && line.contains("median");
    assert!(found.iter().any(waiting), "{said}");
    let rejects = rows(&root.join("out.csv"))
        .iter()
        .filter(|row| row.verdict != "good")
        .count();
    // How long ago the last image was depends on the machine.
    let last = format!("{count} done, {rejects} rejects, backlog 0, last ");
    let rest = found
        .last()
        .unwrap()
        .strip_prefix(&last)
        .unwrap_or_else(|| panic!("{last}: {said}"));
    assert!(rest.contains(" s ago, median "), "{said}");

    for quiet in [&["--heartbeat", "0s"][..], &["--heartbeat", "1ms", "-q"]] {
        let mut child = watch(root, "out.csv", quiet).spawn().unwrap();
        thread::sleep(Duration::from_millis(700));
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        let said = end(child);
        assert!(beats(&said).is_empty(), "{said}");
    }
}
