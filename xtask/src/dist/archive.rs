//! Archives whose bytes depend on nothing but what is in them.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use liblzma::write::XzEncoder;
use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

/// The strongest compression of xz.
const STRONGEST: u32 = 9;

/// Every file below a folder, in order, and its path from there with forward slashes.
fn files(folder: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(here) = folders.pop() {
        for entry in fs::read_dir(&here).with_context(|| format!("cannot read {}", here.display()))? {
            let path = entry.with_context(|| format!("cannot read {}", here.display()))?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let below = path.strip_prefix(folder).unwrap_or(&path);
            let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
            let name = parts.join("/");
            found.push((path, name));
        }
    }
    found.sort_by(|a, b| a.1.cmp(&b.1));
    Ok(found)
}

/// Whether a file is to be started.
fn is_program(path: &Path) -> bool {
    path.file_stem().is_some_and(|name| name == "riad") && path.extension().is_none_or(|ending| ending == "exe")
}

/// `root/…` for each file below the folder, as a zip.
pub(super) fn zip(folder: &Path, root: &str, date: u64, to: &Path) -> Result<()> {
    let file = File::create(to).with_context(|| format!("cannot write {}", to.display()))?;
    let mut zip = ZipWriter::new(file);
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(9))
        .last_modified_time(zip_date(date)?);
    for (path, name) in files(folder)? {
        let mode = if is_program(&path) { 0o755 } else { 0o644 };
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        zip.start_file(format!("{root}/{name}"), options.unix_permissions(mode))?;
        zip.write_all(&bytes)?;
    }
    zip.finish()?;
    Ok(())
}

/// A zip's date, which has parts instead of seconds since 1970.
fn zip_date(date: u64) -> Result<DateTime> {
    let text = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(date)).to_string();
    let parts: Vec<u16> = text
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|part| part.parse().ok())
        .collect();
    let [year, rest @ ..] = parts.as_slice() else {
        anyhow::bail!("{text} is no date");
    };
    let part = |index: usize| {
        rest.get(index)
            .and_then(|part| u8::try_from(*part).ok())
            .unwrap_or_default()
    };
    DateTime::from_date_and_time(*year, part(0), part(1), part(2), part(3), part(4))
        .with_context(|| format!("a zip cannot hold the date {text}"))
}

/// `root/…` for each file below the folder, as a tar, compressed by xz.
pub(super) fn tar_xz(folder: &Path, root: &str, date: u64, to: &Path) -> Result<()> {
    let file = File::create(to).with_context(|| format!("cannot write {}", to.display()))?;
    let mut tar = tar::Builder::new(XzEncoder::new(file, STRONGEST));
    for (path, name) in files(folder)? {
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(if is_program(&path) { 0o755 } else { 0o644 });
        header.set_mtime(date);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, format!("{root}/{name}"), bytes.as_slice())?;
    }
    tar.into_inner()?.finish()?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let stage = folder.path().join("stage");
        fs::create_dir_all(stage.join("man")).unwrap();
        let at = |name: &str| folder.path().join(name);
        for round in ["1", "2"] {
            // Written anew, in another order, at another time.
            for name in if round == "1" {
                ["riad", "man/riad.1"]
            } else {
                ["man/riad.1", "riad"]
            } {
                let _ = fs::remove_file(stage.join(name));
                fs::write(stage.join(name), name).unwrap();
            }
            zip(&stage, "riad-1", 1_700_000_000, &at(&format!("{round}.zip"))).unwrap();
            tar_xz(&stage, "riad-1", 1_700_000_000, &at(&format!("{round}.tar.xz"))).unwrap();
        }
        for ending in ["zip", "tar.xz"] {
            let read = |round: &str| fs::read(at(&format!("{round}.{ending}"))).unwrap();
            assert_eq!(read("1"), read("2"), "{ending}");
        }
        let zip = zip::ZipArchive::new(File::open(at("1.zip")).unwrap()).unwrap();
        let mut names: Vec<_> = zip.file_names().map(Result::unwrap).collect();
        names.sort_unstable();
        assert_eq!(names, ["riad-1/man/riad.1", "riad-1/riad"]);
    }

    /// By `date -u -d @1700000000`.
    #[test]
    fn a_zip_has_the_date_in_parts() {
        let date = zip_date(1_700_000_000).unwrap();
        assert_eq!((date.year(), date.month(), date.day()), (2023, 11, 14));
        assert_eq!((date.hour(), date.minute(), date.second()), (22, 13, 20));
    }
}
