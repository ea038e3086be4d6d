//! `cargo xtask fetch-mvtec` from outside: a real process against a server on this machine.

#![allow(clippy::unwrap_used)] // the helpers are not marked as tests

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use support::{Reply, Server, Tar, file_header, xz};
use tar::EntryType;

/// Images in train/good, test/good and test/<defects>, the smallest category.
const TOOTHBRUSH: [usize; 3] = [60, 12, 30];

fn toothbrush() -> Tar {
    Tar::new().category("toothbrush", TOOTHBRUSH)
}

fn xtask(out: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("xtask"));
    command
        .args(["fetch-mvtec", "--retry-wait", "0", "--out"])
        .arg(out)
        .args(args);
    command
}

fn fetch(out: &Path, url: &str) -> Output {
    xtask(out, &["--category", "toothbrush", "--mirror", url])
        .output()
        .unwrap()
}

fn unpack(out: &Path, file_name: &str, archive: &[u8], args: &[&str]) -> Output {
    let path = out.join(file_name);
    fs::write(&path, archive).unwrap();
    xtask(out, &["--archive", path.to_str().unwrap()])
        .args(args)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn assert_fetched(output: &Output, out: &Path) {
    assert!(output.status.success(), "{}", text(output));
    assert_eq!(fs::read_dir(out.join("toothbrush/train/good")).unwrap().count(), 60);
    assert_eq!(
        fs::read_dir(out.join("toothbrush/ground_truth/defective"))
            .unwrap()
            .count(),
        30
    );
    assert_only_the_lock_is_left(out);
}

#[track_caller]
fn assert_only_the_lock_is_left(out: &Path) {
    let left: Vec<_> = fs::read_dir(out.join(".download"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left, ["lock"]);
}

#[track_caller]
fn assert_failed(output: &Output, out: &Path, messages: &[&str]) {
    let text = text(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for message in messages {
        assert!(text.contains(message), "no {message:?} in:\n{text}");
    }
    assert!(!text.contains("panicked"), "{text}");
    assert!(!out.join("toothbrush").exists(), "a failed fetch left a category");
}

const BY_HAND: [&str; 3] = [
    "https://www.mvtec.com/research-teaching/datasets/mvtec-ad/downloads",
    "--archive PATH/",
    "--mirror URL",
];

#[test]
fn fetches_a_category_states_the_licence_and_keeps_it_the_next_time() {
    let out = tempfile::tempdir().unwrap();
    let archive = toothbrush().finish_xz();
    let server = Server::start(move |_, request| Reply::file(request, &archive, "\"1\""));
    let output = fetch(out.path(), &server.url);
    assert_fetched(&output, out.path());
    assert!(text(&output).starts_with("MVTec AD is licensed under CC BY-NC-SA 4.0"));
    assert!(text(&output).contains("no SHA-256 is published"), "{}", text(&output));
    assert_eq!(server.requests()[0].path, "/toothbrush.tar.xz");

    let again = fetch(out.path(), &server.url);
    assert_fetched(&again, out.path());
    assert!(text(&again).contains("already complete"), "{}", text(&again));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn goes_on_where_a_dropped_connection_has_stopped() {
    let out = tempfile::tempdir().unwrap();
    let archive = toothbrush().finish_xz();
    let length = archive.len();
    // Ten drops in a row: headway must reset the count of failures.
    let server = Server::start(move |number, request| {
        let reply = Reply::file(request, &archive, "\"1\"");
        if number < 10 { reply.cut(4000) } else { reply }
    });
    assert_fetched(&fetch(out.path(), &server.url), out.path());
    let requests = server.requests();
    assert_eq!(requests.len(), 11);
    assert!(length > 44_000);
    for (i, request) in requests.iter().enumerate().skip(1) {
        assert_eq!(request.range_start(), Some(4000 * i));
        assert_eq!(request.headers["if-range"], "\"1\"");
    }
}

#[test]
fn starts_anew_where_the_server_ignores_ranges() {
    let out = tempfile::tempdir().unwrap();
    let archive = toothbrush().finish_xz();
    let server = Server::start(move |number, _| {
        let reply = Reply::whole(&archive, "\"1\"");
        if number == 0 { reply.cut(9000) } else { reply }
    });
    let output = fetch(out.path(), &server.url);
    assert_fetched(&output, out.path());
    assert!(text(&output).contains("starting anew"), "{}", text(&output));
}

#[test]
fn starts_anew_where_the_file_has_changed() {
    let out = tempfile::tempdir().unwrap();
    let old = toothbrush().file("toothbrush/readme.txt", &[7; 5000]).finish_xz();
    let new = toothbrush().finish_xz();
    let server = Server::start(move |number, request| match number {
        0 => Reply::file(request, &old, "\"old\"").cut(9000),
        _ => Reply::file(request, &new, "\"new\""),
    });
    assert_fetched(&fetch(out.path(), &server.url), out.path());
    assert_eq!(server.requests()[1].headers["if-range"], "\"old\"");
    assert!(!out.path().join("toothbrush/readme.txt").exists());
}

#[test]
fn does_not_trust_a_server_that_continues_with_another_version() {
    let out = tempfile::tempdir().unwrap();
    let archive = toothbrush().finish_xz();
    let server = Server::start(move |number, request| match number {
        0 => Reply::file(request, &archive, "\"old\"").cut(9000),
        // Ignores If-Range, as some servers do, and sends the rest of a new file.
        1 => {
            let mut request = request.clone();
            request.headers.remove("if-range");
            Reply::file(&request, &archive, "\"new\"")
        }
        _ => Reply::file(request, &archive, "\"new\""),
    });
    let output = fetch(out.path(), &server.url);
    assert_fetched(&output, out.path());
    assert_eq!(server.requests().len(), 3);
    assert_eq!(server.requests()[2].range_start(), None);
}

#[test]
fn resumes_after_being_killed() {
    let out = tempfile::tempdir().unwrap();
    let archive = toothbrush().finish_xz();
    let server = Server::start(move |number, request| {
        let reply = Reply::file(request, &archive, "\"1\"");
        if number == 0 { reply.cut(20_000).hang() } else { reply }
    });
    let mut child = xtask(out.path(), &["--category", "toothbrush", "--mirror", &server.url])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let part = out.path().join(".download/toothbrush.tar.xz.part");
    while fs::metadata(&part).map_or(0, |m| m.len()) < 20_000 {
        assert!(child.try_wait().unwrap().is_none(), "ended before it was killed");
        thread::sleep(Duration::from_millis(10));
    }
    let second = fetch(out.path(), &server.url);
    assert_failed(&second, out.path(), &["another fetch-mvtec is at work"]);
    child.kill().unwrap();
    child.wait().unwrap();

    let output = fetch(out.path(), &server.url);
    assert_fetched(&output, out.path());
    assert_eq!(server.requests()[1].range_start(), Some(20_000));
}

#[test]
fn a_kill_between_the_last_byte_and_the_rename_costs_no_request() {
    let out = tempfile::tempdir().unwrap();
    let archive = toothbrush().finish_xz();
    let server = Server::start(|_, _| Reply::status(500));
    let work = out.path().join(".download");
    fs::create_dir_all(work.join("unpacked/toothbrush")).unwrap();
    fs::write(work.join("toothbrush.tar.xz.part"), &archive).unwrap();
    let sidecar = format!(
        r#"{{"url":"{}/toothbrush.tar.xz","length":{}}}"#,
        server.url,
        archive.len()
    );
    fs::write(work.join("toothbrush.tar.xz.part.json"), sidecar).unwrap();
    assert_fetched(&fetch(out.path(), &server.url), out.path());
    assert!(server.requests().is_empty());
}

#[test]
fn survives_a_server_that_is_out_of_order_for_a_while() {
    let out = tempfile::tempdir().unwrap();
    let archive = toothbrush().finish_xz();
    let server = Server::start(move |number, request| match number {
        0 => Reply::status(500),
        1 => Reply::status(503),
        _ => Reply::file(request, &archive, "\"1\""),
    });
    assert_fetched(&fetch(out.path(), &server.url), out.path());
}

#[test]
fn gives_up_on_a_server_that_stays_out_of_order() {
    let out = tempfile::tempdir().unwrap();
    let server = Server::start(|_, _| Reply::status(500));
    let output = fetch(out.path(), &server.url);
    assert_failed(&output, out.path(), &BY_HAND);
    assert_eq!(server.requests().len(), 6);
}

#[test]
fn a_404_tells_what_to_do_by_hand_at_once() {
    let out = tempfile::tempdir().unwrap();
    let server = Server::start(|_, _| Reply::status(404));
    let output = fetch(out.path(), &server.url);
    assert_failed(&output, out.path(), &BY_HAND);
    assert_failed(
        &output,
        out.path(),
        &[
            "/toothbrush.tar.xz answers 404 Not Found",
            "toothbrush was not downloaded",
        ],
    );
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn no_server_tells_what_to_do_by_hand() {
    let out = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    assert_failed(&fetch(out.path(), &url), out.path(), &BY_HAND);
}

#[test]
fn a_wrong_hash_deletes_the_download() {
    let out = tempfile::tempdir().unwrap();
    let archive = Tar::new().category("bottle", [209, 20, 63]).finish_xz();
    let server = Server::start(move |_, request| Reply::file(request, &archive, "\"1\""));
    let output = xtask(out.path(), &["--category", "bottle", "--mirror", &server.url])
        .output()
        .unwrap();
    let published = "not the published 726512129cb3b1f47d4f6cd7c7fc9170db7fc209132249c788fec06029cb5dc3";
    assert_failed(&output, out.path(), &BY_HAND);
    assert_failed(&output, out.path(), &[published, "it was deleted"]);
    assert!(!out.path().join("bottle").exists());
    assert_only_the_lock_is_left(out.path());
}

#[test]
fn all_categories_come_in_one_archive_and_the_rest_of_them_one_by_one() {
    let out = tempfile::tempdir().unwrap();
    let archive = toothbrush().finish_xz();
    let server = Server::start(move |_, request| match request.path.as_str() {
        "/toothbrush.tar.xz" => Reply::file(request, &archive, "\"1\""),
        _ => Reply::status(404),
    });
    let all = ["--mirror", &server.url];
    assert_failed(
        &xtask(out.path(), &all).output().unwrap(),
        out.path(),
        &["mvtec_anomaly_detection was not"],
    );
    assert_fetched(&fetch(out.path(), &server.url), out.path());
    let rest = xtask(out.path(), &all).output().unwrap();
    assert!(text(&rest).contains("bottle was not downloaded"), "{}", text(&rest));
    let paths: Vec<_> = server.requests().into_iter().map(|r| r.path).collect();
    assert_eq!(
        paths,
        [
            "/mvtec_anomaly_detection.tar.xz",
            "/toothbrush.tar.xz",
            "/bottle.tar.xz"
        ]
    );
}

#[test]
fn a_truncated_xz_with_a_matching_length_is_refused_and_deleted() {
    let out = tempfile::tempdir().unwrap();
    let archive = toothbrush().finish_xz();
    let server = Server::start(move |_, request| Reply::file(request, &archive[..archive.len() - 20], "\"1\""));
    let output = fetch(out.path(), &server.url);
    assert_failed(&output, out.path(), &["is damaged or cut short", "it was deleted"]);
    assert_only_the_lock_is_left(out.path());
}

#[test]
fn a_content_length_beyond_the_body_is_a_broken_connection() {
    let out = tempfile::tempdir().unwrap();
    let archive = toothbrush().finish_xz();
    let server = Server::start(move |_, _| {
        let mut reply = Reply::whole(&archive, "\"1\"");
        reply.headers[0].1 = (archive.len() + 100).to_string();
        reply
    });
    let output = fetch(out.path(), &server.url);
    assert_failed(&output, out.path(), &["the connection broke off", "was not downloaded"]);
}

#[test]
fn a_content_length_beyond_all_archives_is_refused() {
    let out = tempfile::tempdir().unwrap();
    let server = Server::start(|_, _| {
        let mut reply = Reply::whole(b"xz", "\"1\"");
        reply.headers[0].1 = (1_u64 << 60).to_string();
        reply
    });
    assert_failed(
        &fetch(out.path(), &server.url),
        out.path(),
        &["is larger than 8.00 GiB"],
    );
}

#[test]
fn a_web_page_in_place_of_the_archive_is_named_so() {
    let out = tempfile::tempdir().unwrap();
    let server = Server::start(|_, request| Reply::file(request, b"<!DOCTYPE html><p>Please log in</p>", "\"1\""));
    let output = fetch(out.path(), &server.url);
    assert_failed(&output, out.path(), &["but a web page", "it was deleted"]);
    assert_failed(&output, out.path(), &BY_HAND);
}

#[test]
fn an_archive_with_too_few_images_is_refused() {
    let out = tempfile::tempdir().unwrap();
    let archive = Tar::new().category("toothbrush", [59, 12, 30]).finish_xz();
    let output = unpack(out.path(), "toothbrush.tar.xz", &archive, &[]);
    assert_failed(
        &output,
        out.path(),
        &["does not hold all of toothbrush", "59 files where MVTec AD has 60"],
    );
}

#[test]
fn a_local_archive_is_unpacked_as_far_as_it_goes() {
    let out = tempfile::tempdir().unwrap();
    let archive = toothbrush()
        .category("transistor", [213, 60, 40])
        .file("readme.txt", b"beside")
        .finish();
    let output = unpack(out.path(), "some.tar", &archive, &["--category", "cable"]);
    assert_failed(&output, out.path(), &["holds no cable, only toothbrush, transistor"]);
    let output = unpack(out.path(), "some.tar", &archive, &[]);
    assert_fetched(&output, out.path());
    assert!(
        text(&output).contains("holds 2 of 15 categories, 415 images"),
        "{}",
        text(&output)
    );
    assert!(!out.path().join("readme.txt").exists());
    assert_eq!(
        fs::read(out.path().join("toothbrush/license.txt")).unwrap(),
        b"CC BY-NC-SA 4.0"
    );
}

#[test]
fn an_incomplete_folder_is_left_for_its_owner() {
    let out = tempfile::tempdir().unwrap();
    fs::create_dir_all(out.path().join("toothbrush/train/good")).unwrap();
    let output = unpack(out.path(), "toothbrush.tar", &toothbrush().finish(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("move or delete it"), "{}", text(&output));
    assert!(out.path().join("toothbrush/train/good").exists());
}

#[test]
fn wrong_usage_exits_with_2() {
    let out = tempfile::tempdir().unwrap();
    for (args, message) in [
        (["--category", "toothbrushes"], "possible values"),
        (["--mirror", "data/mvtec"], "for a file on this machine use --archive"),
        (["--retries", "many"], "invalid digit"),
    ] {
        let output = xtask(out.path(), &args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        assert!(text(&output).contains(message), "{}", text(&output));
    }
}

/// Everything that an archive could try to leave its folder, or to fill the disk or the memory.
#[test]
fn hostile_archives_are_refused_whole() {
    let with = |header| toothbrush().entry(header, &[]).finish();
    let link = |kind, target: &str| {
        let mut header = file_header("toothbrush/train/good/link.png", 0);
        header.set_entry_type(kind);
        header.set_link_name(target).unwrap();
        header
    };
    let kind = |kind| {
        let mut header = file_header("toothbrush/device", 0);
        header.set_entry_type(kind);
        header
    };
    // The long name of the next file: 64 MiB of one letter, which xz packs into 10 kB.
    let mut long_name = file_header("././@LongLink", 64 << 20);
    long_name.set_entry_type(EntryType::GNULongName);
    let many = (0..20_001).fold(Tar::new(), |tar, i| {
        tar.file(&format!("toothbrush/train/good/{i}.png"), b"")
    });

    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "parent",
            with(file_header("toothbrush/../../escaped.png", 0)),
            "climbs out of its folder",
        ),
        (
            "parent-first",
            with(file_header("../escaped.png", 0)),
            "climbs out of its folder",
        ),
        ("absolute", with(file_header("/escaped.png", 0)), "has an absolute path"),
        (
            "backslash",
            with(file_header("toothbrush\\..\\escaped.png", 0)),
            "not portable",
        ),
        ("symlink", with(link(EntryType::Symlink, "/etc")), "Symlink"),
        (
            "hardlink",
            with(link(EntryType::Link, "toothbrush/license.txt")),
            "Link",
        ),
        ("fifo", with(kind(EntryType::Fifo)), "Fifo"),
        ("character-device", with(kind(EntryType::Char)), "Char"),
        ("sparse", with(kind(EntryType::GNUSparse)), "damaged"),
        (
            "twice",
            toothbrush().file("toothbrush/license.txt", b"").finish(),
            "comes twice",
        ),
        (
            "large-file",
            toothbrush()
                .file("toothbrush/bomb.png", &vec![0; (64 << 20) + 1])
                .finish_xz(),
            "64.00 MiB",
        ),
        ("many-files", many.finish_xz(), "one entry more than 20000"),
        (
            "long-name",
            Tar::new().entry(long_name, &vec![b'a'; 64 << 20]).finish_xz(),
            "header larger than any real",
        ),
        ("zip", b"PK\x03\x04".to_vec(), "damaged or cut short"),
        ("empty", Vec::new(), "(it is empty)"),
        ("cut", toothbrush().finish()[..9999].to_vec(), "damaged or cut short"),
        ("garbage", xz(&[0xAB; 4096]), "damaged"),
        (
            "nothing",
            Tar::new().file("readme.txt", b"").finish(),
            "holds no category of MVTec AD, only readme.txt",
        ),
    ];
    for (name, archive, message) in cases {
        let parent = tempfile::tempdir().unwrap();
        let out = parent.path().join("a/b");
        fs::create_dir_all(&out).unwrap();
        let output = unpack(&out, &format!("{name}.tar"), &archive, &[]);
        assert_failed(&output, &out, &[message]);
        assert_only_the_lock_is_left(&out);
        assert!(!parent.path().join("escaped.png").exists() && !parent.path().join("a/escaped.png").exists());
        fs::remove_file(out.join(format!("{name}.tar"))).unwrap();
        assert_eq!(
            fs::read_dir(&out).unwrap().count(),
            1,
            "{name} left something in the folder"
        );
    }
}
