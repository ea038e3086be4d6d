//! The file that lines are added to. It is also the memory of what was done, so there is no second file that could
//! disagree with it.
//!
//! A kill can leave the last line torn; it is cut off on the next start, and its image is scored again. Lines are on the
//! disk before anything is done that could not be done again without them.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::folder::Identity;
use riad::files::{with_suffix, write_whole};

use crate::{shell::shell_quoted, usage};

/// The first line of a CSV file: the names of [`Line`]'s fields.
const HEADER: &str = "path,size,modified,score,p_value,verdict,error\n";
/// How every line of JSON begins.
const JSON_START: &str = "{\"path\":";

/// What is known of an image: a score, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Line {
    path: String,
    size: u64,
    #[serde(with = "rfc3339")]
    modified: std::time::SystemTime,
    pub(super) score: Option<f32>,
    pub(super) p_value: Option<f64>,
    pub(super) verdict: Option<Verdict>,
    pub(super) error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Good,
    Defective,
}

impl Line {
    /// A line that says nothing yet.
    pub(super) fn of(identity: Identity) -> Self {
        let Identity { path, size, modified } = identity;
        Self {
            path,
            size,
            modified,
            score: None,
            p_value: None,
            verdict: None,
            error: None,
        }
    }

    pub(super) fn identity(&self) -> Identity {
        Identity {
            path: self.path.clone(),
            size: self.size,
            modified: self.modified,
        }
    }

    pub(super) fn is_defective(&self) -> bool {
        self.verdict == Some(Verdict::Defective)
    }
}

/// Times as people read them, to the nanosecond, so that they come back equal.
mod rfc3339 {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_rfc3339_nanos(*time))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        humantime::parse_rfc3339(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    Jsonl,
}

/// An open file of lines, kept from other processes until it is dropped.
pub(super) struct Journal {
    path: PathBuf,
    format: Format,
    file: File,
    _lock: File,
}

impl Journal {
    /// Opens the file, or makes it, and reads the lines that are there. A torn last line is cut off.
    ///
    /// # Errors
    /// Blames the arguments if the name ends in neither `.csv` nor `.jsonl`, another process has the file, or it was not
    /// written by this command.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Line>)> {
        let format = match path.extension().and_then(|ending| ending.to_str()) {
            Some("csv") => Format::Csv,
            Some("jsonl") => Format::Jsonl,
            _ => {
                return Err(usage(format!(
                    "{} ends in neither .csv nor .jsonl, so it is not clear what to write; choose a name for --out",
                    path.display()
                )));
            }
        };
        let lock = lock(path)?;
        if !fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0) {
            let header = if format == Format::Csv { HEADER } else { "" };
            write_whole(path, header.as_bytes())?;
        }
        let cannot = || format!("cannot access {}", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .with_context(cannot)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).with_context(cannot)?;
        let end = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        let (whole, torn) = bytes.split_at(end);
        if !is_ours(whole, torn, format) {
            return Err(usage(format!(
                "{} holds something else than the results of riad watch; choose another file with --out",
                path.display()
            )));
        }
        let lines = read(whole, format).with_context(|| {
            format!(
                "{} is damaged; mend it, or choose another file with --out",
                path.display()
            )
        })?;
        if !torn.is_empty() {
            warn!("{}: the last line is torn; its image is scored again", path.display());
            file.set_len(end as u64).with_context(cannot)?;
            file.seek(SeekFrom::End(0)).with_context(cannot)?;
        }
        let journal = Self {
            path: path.to_owned(),
            format,
            file,
            _lock: lock,
        };
        Ok((journal, lines))
    }

    /// Adds lines, and returns when they are on the disk.
    pub(super) fn append(&mut self, lines: &[Line]) -> Result<()> {
        let cannot = || format!("cannot write to {}", self.path.display());
        let mut bytes = Vec::new();
        match self.format {
            Format::Csv => {
                let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(&mut bytes);
                lines
                    .iter()
                    .try_for_each(|line| writer.serialize(line))
                    .with_context(cannot)?;
                writer.flush().with_context(cannot)?;
            }
            Format::Jsonl => {
                for line in lines {
                    serde_json::to_writer(&mut bytes, line).with_context(cannot)?;
                    bytes.push(b'\n');
                }
            }
        }
        self.file
            .write_all(&bytes)
            .and_then(|()| self.file.sync_data())
            .with_context(cannot)
    }
}

/// Locks a file beside the output: on Windows nobody else could read a locked one.
fn lock(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let lock = with_suffix(path, ".lock");
    let file = File::create(&lock).with_context(|| format!("cannot make {}", lock.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(usage(format!(
            "another riad watch writes to {}; end it, or choose another file with --out",
            shell_quoted(path)
        ))),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", lock.display())),
    }
}

/// Whether it is we who wrote a file of `whole` lines and a `torn` one. What is not ours must not be cut.
fn is_ours(whole: &[u8], torn: &[u8], format: Format) -> bool {
    match format {
        Format::Csv => whole.starts_with(HEADER.as_bytes()),
        Format::Jsonl if whole.is_empty() => torn.iter().zip(JSON_START.as_bytes()).all(|(a, b)| a == b),
        Format::Jsonl => whole.starts_with(JSON_START.as_bytes()),
    }
}

fn read(whole: &[u8], format: Format) -> Result<Vec<Line>> {
    match format {
        Format::Csv => Ok(csv::Reader::from_reader(whole)
            .deserialize()
            .collect::<Result<_, _>>()?),
        Format::Jsonl => {
            let lines = whole.split_inclusive(|&byte| byte == b'\n').enumerate();
            let line = |(index, line)| match serde_json::from_slice(line) {
                Ok(line) => Ok(line),
                Err(error) => bail!("line {}: {error}", index + 1),
            };
            lines.map(line).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn lines() -> Vec<Line> {
        let identity = |path: &str, nanos| Identity {
            path: path.into(),
            size: 7,
            modified: SystemTime::UNIX_EPOCH + Duration::new(1_800_000_000, nanos),
        };
        vec![
            Line {
                score: Some(0.1),
                p_value: Some(1.0 / 3.0),
                verdict: Some(Verdict::Defective),
                ..Line::of(identity("a, \"b\"/1.png", 123_456_789))
            },
            Line {
                score: Some(-1e-7),
                ..Line::of(identity("2.png", 0))
            },
            Line {
                error: Some("cannot decode 3.png: \"x\", cut off".into()),
                ..Line::of(identity("ä/3.png", 1))
            },
        ]
    }

    /// What was written comes back, and a kill within any byte loses the line that it tore, no other.
    #[test]
    fn a_file_cut_anywhere_is_read_up_to_its_last_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["out.csv", "new/out.jsonl"] {
            let path = folder.path().join(name);
            {
                let (mut journal, before) = Journal::open(&path).unwrap();
                assert!(before.is_empty());
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
                assert_eq!(read, lines()[..whole], "{cut}");
                journal.append(&lines()[whole..]).unwrap();
                assert_eq!(fs::read(&path).unwrap(), bytes, "{cut}");
            }
        }
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        for (name, content, expected) in [
            ("a.csv", "path,score\n", "something else"),
            ("b.csv", "path", "something else"),
            ("c.jsonl", "{\n", "something else"),
            ("d.jsonl", "[1, 2]", "something else"),
            ("f.jsonl", "{\"path\":1}\n", "line 1"),
            (
                "g.csv",
                "path,size,modified,score,p_value,verdict,error\na,b\n",
                "is damaged",
            ),
            ("h.txt", "", "neither .csv nor .jsonl"),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            let error = Journal::open(&path).err().map(|error| format!("{error:#}")).unwrap();
            assert!(error.contains(expected), "{name}: {error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
    }

    #[test]
    fn one_process_writes_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        let open = Journal::open(&path).unwrap();
        let error = Journal::open(&path).err().unwrap();
        assert!(error.to_string().contains("another riad watch"), "{error}");
        drop(open);
        assert!(Journal::open(&path).is_ok());
    }
}
