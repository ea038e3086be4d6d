//! The file that lines are added to. It is also the only record of finished images, so no second file can disagree with
//! it.
//!
//! A kill can leave the last line incomplete. The next start cuts it off and scores its image again. Lines are flushed
//! to the disk before a step that cannot be repeated without them, and otherwise within a second. Flushing each line
//! would make many small images wait for the disk.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use csv::StringRecord;
use riad_core::Region;
use same_file::Handle;
use serde::{Serialize, de::IgnoredAny};

use super::{
    folder::Identity,
    line::{Line, Outcome, Written},
};
use crate::{
    Error, Result,
    error::Cause,
    files::{with_suffix, write_whole},
};

/// The first line of a CSV file: the names of [`Line`]'s fields, and the regions behind them.
const HEADER: &str = "path,size,modified,score,p_value,verdict,threshold,rate,model,riad_version,error,regions\n";
/// How every line of JSON begins.
const JSON_START: &str = "{\"path\":";
/// What every line of JSON has.
const JSON_MARK: &[u8] = b"\"riad_version\":";

/// How long lines may wait to be on the disk while more of them come.
const SYNC_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    Jsonl,
}

/// A line of JSON.
#[derive(Serialize)]
struct Object<'a> {
    #[serde(flatten)]
    line: &'a Line,
    regions: Option<&'a [Region]>,
}

/// What a file of lines said when it was opened.
pub(super) struct Opened {
    pub(super) lines: Vec<(Identity, Outcome)>,
    /// Whether the last line was torn, and is cut off now.
    pub(super) is_torn: bool,
}

/// An open file of lines, kept from other processes until it is dropped.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    format: Format,
    file: File,
    /// When all lines were last on the disk.
    synced: Instant,
    /// Whether there are lines since.
    is_behind: bool,
    lock: File,
}

impl Journal {
    /// Opens the file, or makes it, and reads what the lines that are there say. A torn last line is cut off.
    ///
    /// # Errors
    /// Blames the arguments if the name ends in neither `.csv` nor `.jsonl`, another process has the file, or it was not
    /// written by this command.
    pub(super) fn open(path: &Path) -> Result<(Self, Opened)> {
        let format = match path.extension().and_then(|ending| ending.to_str()) {
            Some("csv") => Format::Csv,
            Some("jsonl") => Format::Jsonl,
            _ => {
                return Err(Error::request(format!(
                    "{} ends in neither .csv nor .jsonl, so its format is not known; choose another name",
                    path.display()
                )));
            }
        };
        let lock = lock(path)?;
        if !fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0) {
            let header = if format == Format::Csv { HEADER } else { "" };
            write_whole(path, header.as_bytes())?;
        }
        let cannot = Error::file("access", path);
        let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(cannot)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(cannot)?;
        let end = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        let (whole, torn) = bytes.split_at(end);
        if !is_ours(whole, torn, format) {
            return Err(Error::NotOurs { path: path.to_owned() });
        }
        let lines = read(whole, format).map_err(Error::damaged(path))?;
        if !torn.is_empty() {
            file.set_len(end as u64).map_err(cannot)?;
            file.seek(SeekFrom::End(0)).map_err(cannot)?;
        }
        let journal = Self {
            path: path.to_owned(),
            format,
            file,
            synced: Instant::now(),
            is_behind: false,
            lock,
        };
        let is_torn = !torn.is_empty();
        Ok((journal, Opened { lines, is_torn }))
    }

    /// Adds lines, which a kill does not take away. They are on the disk after [`Self::sync`].
    ///
    /// # Errors
    /// If they cannot be written, or the file is no longer where it was: nobody would find them.
    pub(super) fn append(&mut self, lines: &[Line]) -> Result<()> {
        if !has_name(&self.file, &self.path) {
            return Err(Error::Gone {
                path: self.path.clone(),
            });
        }
        let cannot = Error::file("write to", &self.path);
        let mut bytes = Vec::new();
        match self.format {
            Format::Csv => {
                let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(&mut bytes);
                for line in lines {
                    let regions = line.regions.as_ref().map(serde_json::to_string).transpose();
                    let regions = regions.map_err(Error::render("a line"))?;
                    writer.serialize((line, regions)).map_err(Error::render("a line"))?;
                }
                writer.flush().map_err(cannot)?;
            }
            Format::Jsonl => {
                for line in lines {
                    let regions = line.regions.as_deref();
                    serde_json::to_writer(&mut bytes, &Object { line, regions }).map_err(Error::render("a line"))?;
                    bytes.push(b'\n');
                }
            }
        }
        let whole = self.file.metadata().map_err(cannot)?.len();
        if let Err(error) = self.file.write_all(&bytes) {
            // A part of a line must not have the next one behind it.
            let _ = self.file.set_len(whole);
            let _ = self.file.seek(SeekFrom::End(0));
            return Err(cannot(error));
        }
        self.is_behind |= !bytes.is_empty();
        if self.synced.elapsed() >= SYNC_EVERY {
            self.sync()?;
        }
        Ok(())
    }

    /// Returns when all lines are on the disk, which a power cut does not take away.
    pub(super) fn sync(&mut self) -> Result<()> {
        if self.is_behind {
            let cannot = Error::file("write to", &self.path);
            self.file.sync_data().map_err(cannot)?;
            (self.synced, self.is_behind) = (Instant::now(), false);
        }
        Ok(())
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // Closing the file does not do it while a process that is just being started has it too.
        let _ = self.lock.unlock();
    }
}

/// Whether an open file still has its name, and no other one has it.
fn has_name(file: &File, path: &Path) -> bool {
    let open = file.try_clone().and_then(Handle::from_file);
    matches!((open, Handle::from_path(path)), (Ok(open), Ok(named)) if open == named)
}

/// Locks a file beside the output: on Windows nobody else could read a locked one.
fn lock(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::file("make", folder))?;
    }
    let lock = with_suffix(path, ".lock");
    // Not made anew: Windows may refuse that while another process has the lock.
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).open(&lock);
    let file = file.map_err(Error::file("make", &lock))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Busy { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(Error::file("lock", &lock)(error)),
    }
}

/// Whether it is we who wrote a file of `whole` lines and a `torn` one. What is not ours must not be cut.
fn is_ours(whole: &[u8], torn: &[u8], format: Format) -> bool {
    match format {
        Format::Csv => whole.starts_with(HEADER.as_bytes()),
        Format::Jsonl if whole.is_empty() => {
            let begins_alike = torn.iter().zip(JSON_START.as_bytes()).all(|(a, b)| a == b);
            // Others may end their files without an end of line.
            let is_whole = serde_json::from_slice::<IgnoredAny>(torn).is_ok();
            begins_alike && (!is_whole || has_mark(torn))
        }
        Format::Jsonl => {
            let first = whole.split(|&byte| byte == b'\n').next().unwrap_or_default();
            first.starts_with(JSON_START.as_bytes()) && has_mark(first)
        }
    }
}

/// Whether a line of JSON has what every line of ours has.
fn has_mark(line: &[u8]) -> bool {
    line.windows(JSON_MARK.len()).any(|part| part == JSON_MARK)
}

fn read(whole: &[u8], format: Format) -> Result<Vec<(Identity, Outcome)>, Cause> {
    match format {
        Format::Csv => {
            let mut reader = csv::Reader::from_reader(whole);
            let names = reader.headers()?.clone();
            let line = |record: csv::Result<StringRecord>| {
                let record = record?;
                // A quote that nothing closes would take in all lines that are added.
                if record.iter().any(|field| field.contains('\n')) {
                    let number = record.position().map_or(0, |position| position.line());
                    return Err(format!("line {number}: a field continues past the end of the line").into());
                }
                Ok(record.deserialize::<Written>(Some(&names))?.into())
            };
            reader.into_records().map(line).collect()
        }
        Format::Jsonl => {
            let lines = whole.split_inclusive(|&byte| byte == b'\n').enumerate();
            let line = |(index, line)| match serde_json::from_slice::<Written>(line) {
                Ok(line) => Ok(line.into()),
                Err(error) => Err(format!("line {}: {error}", index + 1).into()),
            };
            lines.map(line).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{super::line::Origin, *};

    fn lines() -> Vec<Line> {
        let identity = |path: &str, nanos| Identity {
            path: path.into(),
            size: 7,
            modified: SystemTime::UNIX_EPOCH + Duration::new(1_800_000_000, nanos),
        };
        let origin = |threshold, rate| Origin {
            threshold,
            rate,
            model: "0123456789ab".into(),
        };
        let region = Region {
            x: 1,
            y: 2,
            width: 3,
            height: 4,
            area: 5,
            peak: 0.1,
        };
        let mut first = Line::of(identity("a, \"b\"/1.png", 123_456_789), &origin(Some(0.05), Some(0.01)));
        (first.score, first.p_value) = (Some(0.1), Some(1.0 / 3.0));
        (first.verdict, first.regions) = (Some(crate::Verdict::Defective), Some(vec![region, region]));
        let mut second = Line::of(identity("2.png", 0), &origin(Some(-1e-3), Some(0.5)));
        (second.score, second.regions) = (Some(-1e-7), Some(Vec::new()));
        let mut third = Line::of(identity("ä/3.png", 1), &origin(None, None));
        third.error = Some("cannot decode 3.png: \"x\", cut off".into());
        vec![first, second, third]
    }

    fn said(lines: &[Line]) -> Vec<(Identity, Outcome)> {
        lines.iter().map(|line| (line.identity(), line.outcome())).collect()
    }

    #[test]
    fn regions_are_an_array_in_both_formats() {
        let folder = tempfile::tempdir().unwrap();
        let regions = r#"[{"x":1,"y":2,"width":3,"height":4,"area":5,"peak":0.1},{"x":1,"y":2,"width":3,"height":4,"area":5,"peak":0.1}]"#;
        for name in ["out.csv", "out.jsonl"] {
            let path = folder.path().join(name);
            Journal::open(&path).unwrap().0.append(&lines()).unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let found: Vec<String> = if name.ends_with("csv") {
                let rows = csv::Reader::from_reader(text.as_bytes()).into_records();
                rows.map(|row| row.unwrap()[11].to_owned()).collect()
            } else {
                let values = text
                    .lines()
                    .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
                assert!(
                    text.lines()
                        .next()
                        .unwrap()
                        .ends_with(&format!("\"regions\":{regions}}}")),
                    "{text}"
                );
                values
                    .map(|line| line["regions"].to_string().replace("null", ""))
                    .collect()
            };
            let parsed: serde_json::Value = serde_json::from_str(&found[0]).unwrap();
            assert_eq!(parsed, serde_json::from_str::<serde_json::Value>(regions).unwrap());
            assert_eq!(found[1..], ["[]", ""]);
        }
    }

    /// What was written comes back, and a kill within any byte loses the line that it tore, no other.
    #[test]
    fn a_file_cut_anywhere_is_read_up_to_its_last_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["out.csv", "new/out.jsonl"] {
            let path = folder.path().join(name);
            {
                let (mut journal, before) = Journal::open(&path).unwrap();
                assert!(before.lines.is_empty());
                journal.append(&lines()[..1]).unwrap();
                journal.append(&lines()[1..]).unwrap();
            }
            let bytes = fs::read(&path).unwrap();
            let header = if name.ends_with("csv") { 1 } else { 0 };
            let first = HEADER.len() * header;
            for cut in first..=bytes.len() {
                fs::write(&path, &bytes[..cut]).unwrap();
                let (mut journal, read) = Journal::open(&path).unwrap();
                let whole = bytes[..cut].iter().filter(|&&byte| byte == b'\n').count() - header;
                assert_eq!(read.lines, said(&lines()[..whole]), "{cut}");
                journal.append(&lines()[whole..]).unwrap();
                assert_eq!(fs::read(&path).unwrap(), bytes, "{cut}");
            }
        }
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        for (name, content, expected) in [
            ("a.csv", "path,score\n", "does not hold results"),
            ("b.csv", "path", "does not hold results"),
            ("c.jsonl", "{\n", "does not hold results"),
            ("d.jsonl", "[1, 2]", "does not hold results"),
            ("f.jsonl", "{\"path\":1,\"riad_version\":\"1\"}\n", "line 1"),
            ("g.csv", &format!("{HEADER}a,b\n"), "is damaged"),
            // Whole, but for the end of the line.
            ("k.jsonl", "{\"path\":\"a\",\"names\":[]}", "does not hold results"),
            // Closed by nothing, so that lines to come would belong to it.
            (
                "l.csv",
                &format!("{HEADER}a,1,2026-01-01T00:00:00Z,,,,,,,,,\"[\n"),
                "line 2: a field continues",
            ),
            (
                "m.csv",
                &format!("{HEADER}a,1,2026-01-01T00:00:00Z,,,,,,,,,\"[\nb,1,2026-01-0"),
                "line 2: a field continues",
            ),
            // Of other programs.
            (
                "i.csv",
                "path,size,modified,score,p_value,verdict,error\n",
                "does not hold results",
            ),
            ("j.jsonl", "{\"path\":\"a\",\"size\":1}\n", "does not hold results"),
            ("h.txt", "", "neither .csv nor .jsonl"),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            let error = Journal::open(&path).err().map(|error| format!("{error:#}")).unwrap();
            assert!(error.contains(expected), "{name}: {error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
    }

    /// As log rotation does.
    #[test]
    fn lines_are_not_added_to_a_file_that_nobody_finds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        let (mut journal, _) = Journal::open(&path).unwrap();
        journal.append(&lines()[..1]).unwrap();
        let other = folder.path().join("other.csv");
        for has_other in [false, true] {
            fs::rename(&path, &other).unwrap();
            if has_other {
                fs::write(&path, HEADER).unwrap();
            }
            let error = journal.append(&lines()[1..]).unwrap_err().to_string();
            assert!(error.contains("was moved or removed"), "{error}");
            fs::rename(&other, &path).unwrap();
            journal.append(&lines()[1..]).unwrap();
        }
    }

    #[test]
    fn one_process_writes_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        let open = Journal::open(&path).unwrap();
        let error = Journal::open(&path).err().unwrap();
        assert!(error.to_string().contains("another process writes to"), "{error}");
        drop(open);
        assert!(Journal::open(&path).is_ok());
    }
}
