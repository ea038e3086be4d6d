//! `cargo xtask fetch-visa` and `fetch-btad` from outside: what they have of their own beside `fetch-mvtec`.

#![allow(clippy::unwrap_used)] // the helpers are not marked as tests

mod support;

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;
use std::process::{Command, Output};

use support::{Reply, Server, Tar};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

fn xtask(command: &str, out: &Path, args: &[&str]) -> Output {
    Command::new(assert_cmd::cargo::cargo_bin!("xtask"))
        .args([command, "--retry-wait", "0", "--out"])
        .arg(out)
        .args(args)
        .output()
        .unwrap()
}

fn unpack(command: &str, out: &Path, file_name: &str, archive: &[u8], args: &[&str]) -> Output {
    let path = out.join(file_name);
    fs::write(&path, archive).unwrap();
    let output = xtask(command, out, &[&["--archive", path.to_str().unwrap()], args].concat());
    fs::remove_file(path).unwrap();
    output
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn assert_fetched(output: &Output, messages: &[&str]) {
    let text = text(output);
    assert!(output.status.success(), "{text}");
    for message in messages {
        assert!(text.contains(message), "no {message:?} in:\n{text}");
    }
}

/// That it failed so, and left nothing.
#[track_caller]
fn assert_failed(output: &Output, out: &Path, messages: &[&str]) {
    let text = text(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for message in messages {
        assert!(text.contains(message), "no {message:?} in:\n{text}");
    }
    assert!(!text.contains("panicked"), "{text}");
    assert_eq!(names(out), [".download"], "{text}");
    assert_eq!(names(&out.join(".download")), ["lock"], "{text}");
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn count(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

/// VisA's *capsules*: 602 normal images, 100 anomalies and their masks.
fn capsules() -> Tar {
    [
        ("Images/Normal", "JPG", 602),
        ("Images/Anomaly", "JPG", 100),
        ("Masks/Anomaly", "png", 100),
    ]
    .iter()
    .flat_map(|(folder, ending, count)| (0..*count).map(move |i| format!("capsules/Data/{folder}/{i:03}.{ending}")))
    .fold(Tar::new().file("LICENSE-DATASET", b"CC BY 4.0"), |tar, name| {
        tar.file(&name, b"")
    })
}

#[test]
fn visa_comes_with_its_splits() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path();
    let archive = capsules().file("split_csv/1cls.csv", b"object").finish();
    let output = unpack("fetch-visa", out, "mine.tar", &archive, &[]);
    assert_fetched(
        &output,
        &[
            "VisA is licensed under CC BY 4.0",
            "holds 1 of 12 categories, 702 images",
        ],
    );
    assert_eq!(names(out), [".download", "capsules", "split_csv"]);
    assert_eq!(count(&out.join("capsules/Data/Images/Normal")), 602);

    // What is there is kept; a category that the archive lacks is named.
    let output = unpack("fetch-visa", out, "mine.tar", &archive, &["--category", "capsules"]);
    assert_fetched(&output, &["capsules: already complete", "split_csv: already complete"]);
    let output = unpack("fetch-visa", out, "mine.tar", &archive, &["--category", "candle"]);
    assert!(
        text(&output).contains("holds no candle, only capsules, split_csv"),
        "{}",
        text(&output)
    );
}

#[test]
fn visa_without_its_splits_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path();
    let output = unpack("fetch-visa", out, "mine.tar", &capsules().finish(), &[]);
    assert_failed(&output, out, &["holds no split_csv, only capsules"]);
    let archive = capsules().file("split_csv/2cls_highshot.csv", b"object").finish();
    let output = unpack("fetch-visa", out, "mine.tar", &archive, &[]);
    assert_failed(
        &output,
        out,
        &[
            "does not hold all of split_csv",
            "1cls.csv holds 0 files where VisA has 1",
        ],
    );
}

#[test]
fn one_archive_is_downloaded_resumed_and_held_against_its_hash() {
    let visa = capsules().file("split_csv/1cls.csv", b"object").finish();
    let btad = btad("BTech_Dataset_transformed/").finish();
    for (command, file, archive, page, hash) in [
        (
            "fetch-visa",
            "/VisA_20220922.tar",
            visa,
            "https://github.com/amazon-science/spot-diff",
            "2eb8690c803ab37de0324772964100169ec8ba1fa3f7e94291c9ca673f40f362",
        ),
        (
            "fetch-btad",
            "/btad.zip",
            btad,
            "https://github.com/pankajmishra000/VT-ADL",
            "461c9387e515bfed41ecaae07c50cf6b10def647b36c9e31d239ab2736b10d2a",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(move |number, request| {
            let reply = Reply::file(request, &archive, "\"1\"");
            if number == 0 { reply.cut(3000) } else { reply }
        });
        let output = xtask(command, folder.path(), &["--mirror", &server.url]);
        let by_hand = format!("cargo xtask {command} --archive PATH{file}");
        assert_failed(
            &output,
            folder.path(),
            &[&format!("not the published {hash}"), "it was deleted", page, &by_hand],
        );
        let requests = server.requests();
        assert!(requests.iter().all(|request| request.path == file), "{requests:?}");
        assert_eq!(requests[1].range_start(), Some(3000));
    }
}

/// A zip file under construction.
struct Zip(ZipWriter<Cursor<Vec<u8>>>);

impl Zip {
    fn new() -> Self {
        Self(ZipWriter::new(Cursor::new(Vec::new())))
    }

    fn file(mut self, name: &str, data: &[u8]) -> Self {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        self.0.start_file(name, options).unwrap();
        self.0.write_all(data).unwrap();
        self
    }

    fn finish(self) -> Vec<u8> {
        self.0.finish().unwrap().into_inner()
    }
}

/// BTAD's *01* below `top`: 400 + 21 + 49 images, and 49 masks.
fn btad(top: &str) -> Zip {
    [
        ("train/ok", "bmp", 400),
        ("test/ok", "bmp", 21),
        ("test/ko", "bmp", 49),
        ("ground_truth/ko", "png", 49),
    ]
    .iter()
    .flat_map(|(folder, ending, count)| (0..*count).map(move |i| format!("01/{folder}/{i:04}.{ending}")))
    .fold(Zip::new().file("__MACOSX/._01", b""), |zip, name| {
        zip.file(&format!("{top}{name}"), name.as_bytes())
    })
}

#[test]
fn btad_is_unzipped_without_the_folder_around_it() {
    for top in ["BTech_Dataset_transformed/", ""] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path();
        let output = unpack("fetch-btad", out, "mine.zip", &btad(top).finish(), &[]);
        assert_fetched(
            &output,
            &["ask them before any other use", "holds 1 of 3 categories, 470 images"],
        );
        assert_eq!(names(out), [".download", "01"]);
        assert_eq!(count(&out.join("01/ground_truth/ko")), 49);
        assert_eq!(
            fs::read_to_string(out.join("01/test/ko/0007.bmp")).unwrap(),
            "01/test/ko/0007.bmp"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let archive = btad("other/").finish();
    let output = unpack("fetch-btad", folder.path(), "mine.zip", &archive, &[]);
    assert_failed(
        &output,
        folder.path(),
        &["holds no category of BTAD, only __MACOSX, other"],
    );
}

#[test]
fn hostile_zip_files_are_refused_whole() {
    let with = |name: &str| btad("").file(name, b"").finish();
    let mut link = btad("");
    link.0
        .add_symlink("01/train/ok/link.bmp", "/etc/passwd", SimpleFileOptions::default())
        .unwrap();
    let mode = 0o020_644_u16.to_le_bytes();
    let device = patched(with("01/device"), 40, &mode);
    let many = (0..20_001).fold(Zip::new(), |zip, i| zip.file(&format!("01/train/ok/{i}.bmp"), b""));
    let long_names = (0..300).fold(Zip::new(), |zip, i| zip.file(&format!("01/{i:060000}.bmp"), b""));
    let large = btad("").file("01/bomb.bmp", &vec![0; (64 << 20) + 1]).finish();
    let bomb = btad("").file("01/bomb.bmp", &[0; 1 << 20]).finish();
    let lying = |size: u32| patched(bomb.clone(), 24, &size.to_le_bytes());
    let whole = btad("").finish();
    let other_checksum = patched(whole.clone(), 16, &[0; 4]);

    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("parent", with("01/../../escaped.bmp"), "climbs out of its folder"),
        ("parent-first", with("../escaped.bmp"), "climbs out of its folder"),
        ("absolute", with("/escaped.bmp"), "has an absolute path"),
        ("backslash", with("01\\..\\escaped.bmp"), "not portable"),
        ("drive", with("C:/escaped.bmp"), "not portable"),
        ("link", link.finish(), "is of the kind 120000"),
        ("device", device, "is of the kind 20000"),
        ("large-file", large, "64.00 MiB"),
        ("claims-less", lying(100), "damaged or cut short"),
        ("claims-more", lying(2 << 20), "damaged or cut short"),
        ("claims-most", lying(u32::MAX - 1), "64.00 MiB"),
        ("many-files", many.finish(), "one entry more than 20000"),
        ("long-names", long_names.finish(), "header larger than any real"),
        ("cut", whole[..whole.len() - 100].to_vec(), "damaged or cut short"),
        ("start-alone", b"PK\x03\x04".to_vec(), "damaged or cut short"),
        ("changed", other_checksum, "damaged or cut short"),
        ("page", b"<html>".to_vec(), "but a web page"),
        (
            "rar",
            b"Rar!\x1A\x07".to_vec(),
            "neither a .tar.xz nor a .tar nor a .zip file",
        ),
        (
            "few",
            Zip::new().file("01/train/ok/0.bmp", b"").finish(),
            "1 files where BTAD has 400",
        ),
    ];
    for (name, archive, message) in cases {
        let parent = tempfile::tempdir().unwrap();
        let out = parent.path().join("a/b");
        fs::create_dir_all(&out).unwrap();
        let output = unpack("fetch-btad", &out, &format!("{name}.zip"), &archive, &[]);
        assert_failed(&output, &out, &[message]);
        assert!(!parent.path().join("escaped.bmp").exists() && !parent.path().join("a/escaped.bmp").exists());
    }
}

/// Overwrites `bytes` at an offset in the last entry of a zip file's directory.
fn patched(mut zip: Vec<u8>, offset: usize, bytes: &[u8]) -> Vec<u8> {
    let entry = zip.windows(4).rposition(|bytes| bytes == b"PK\x01\x02").unwrap();
    zip[entry + offset..][..bytes.len()].copy_from_slice(bytes);
    zip
}
