//! The file that lines are added to. It is also the memory of what was done, so there is no second file that could
//! disagree with it.
//!
//! A kill can leave the last line torn; it is cut off on the next start, and its image is scored again. Lines are on the
//! disk before anything is done that could not be done again without them.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, Result, bail};
use riad_core::Region;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::folder::Identity;
use crate::{
    files::{shell_quoted, with_suffix, write_whole},
    usage,
};

/// The first line of a CSV file: the names of [`Line`]'s fields, and the regions behind them.
const HEADER: &str = "path,size,modified,score,p_value,verdict,threshold,rate,model,riad_version,error,regions\n";
/// How every line of JSON begins.
const JSON_START: &str = "{\"path\":";
/// What every line of JSON has. Lines of older versions do not.
const JSON_MARK: &[u8] = b"\"riad_version\":";

/// What all lines of one start have in common, by which those of another start are told apart.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) threshold: Option<f32>,
    /// The false-positive rate that was asked for.
    pub(super) rate: Option<f64>,
    /// The first digits of the checkpoint's SHA-256.
    pub(super) model: String,
}

/// What is to be written of an image: a score, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Line {
    path: String,
    size: u64,
    #[serde(serialize_with = "rfc3339::serialize")]
    modified: SystemTime,
    pub(super) score: Option<f32>,
    pub(super) p_value: Option<f64>,
    pub(super) verdict: Option<Verdict>,
    threshold: Option<f32>,
    rate: Option<f64>,
    model: String,
    riad_version: &'static str,
    pub(super) error: Option<String>,
    /// What is above the threshold. Each format has its own way to write it.
    #[serde(skip)]
    pub(super) regions: Option<Vec<Region>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Good,
    Defective,
}

impl Line {
    /// A line that says nothing of the image yet.
    pub(super) fn of(identity: Identity, origin: &Origin) -> Self {
        let Identity { path, size, modified } = identity;
        Self {
            path,
            size,
            modified,
            score: None,
            p_value: None,
            verdict: None,
            threshold: origin.threshold,
            rate: origin.rate,
            model: origin.model.clone(),
            riad_version: env!("CARGO_PKG_VERSION"),
            error: None,
            regions: None,
        }
    }

    pub(super) fn identity(&self) -> Identity {
        Identity {
            path: self.path.clone(),
            size: self.size,
            modified: self.modified,
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        Outcome::of(self.verdict, self.error.is_some())
    }
}

/// What a line says in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Good, or not judged.
    Scored,
    Defective,
    /// It could not be scored.
    Failed,
}

impl Outcome {
    fn of(verdict: Option<Verdict>, has_error: bool) -> Self {
        match verdict {
            _ if has_error => Self::Failed,
            Some(Verdict::Defective) => Self::Defective,
            Some(Verdict::Good) | None => Self::Scored,
        }
    }
}

/// What is needed of a line that is in the file. The rest would take memory.
#[derive(Deserialize)]
struct Written {
    path: String,
    size: u64,
    #[serde(deserialize_with = "rfc3339::deserialize")]
    modified: SystemTime,
    verdict: Option<Verdict>,
    error: Option<String>,
}

impl From<Written> for (Identity, Outcome) {
    fn from(written: Written) -> Self {
        let outcome = Outcome::of(written.verdict, written.error.is_some());
        let Written {
            path, size, modified, ..
        } = written;
        (Identity { path, size, modified }, outcome)
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

/// A line of JSON.
#[derive(Serialize)]
struct Object<'a> {
    #[serde(flatten)]
    line: &'a Line,
    regions: Option<&'a [Region]>,
}

/// An open file of lines, kept from other processes until it is dropped.
pub(super) struct Journal {
    path: PathBuf,
    format: Format,
    file: File,
    _lock: File,
}

impl Journal {
    /// Opens the file, or makes it, and reads what the lines that are there say. A torn last line is cut off.
    ///
    /// # Errors
    /// Blames the arguments if the name ends in neither `.csv` nor `.jsonl`, another process has the file, or it was not
    /// written by this command.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<(Identity, Outcome)>)> {
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
                for line in lines {
                    let regions = line.regions.as_ref().map(serde_json::to_string).transpose();
                    writer.serialize((line, regions?)).with_context(cannot)?;
                }
                writer.flush().with_context(cannot)?;
            }
            Format::Jsonl => {
                for line in lines {
                    let regions = line.regions.as_deref();
                    serde_json::to_writer(&mut bytes, &Object { line, regions }).with_context(cannot)?;
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
        Format::Jsonl => {
            let first = whole.split(|&byte| byte == b'\n').next().unwrap_or_default();
            let has_mark = first.windows(JSON_MARK.len()).any(|part| part == JSON_MARK);
            first.starts_with(JSON_START.as_bytes()) && has_mark
        }
    }
}

fn read(whole: &[u8], format: Format) -> Result<Vec<(Identity, Outcome)>> {
    match format {
        Format::Csv => Ok(csv::Reader::from_reader(whole)
            .deserialize::<Written>()
            .map(|line| line.map(Into::into))
            .collect::<Result<_, _>>()?),
        Format::Jsonl => {
            let lines = whole.split_inclusive(|&byte| byte == b'\n').enumerate();
            let line = |(index, line)| match serde_json::from_slice::<Written>(line) {
                Ok(line) => Ok(line.into()),
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
        vec![
            Line {
                score: Some(0.1),
                p_value: Some(1.0 / 3.0),
                verdict: Some(Verdict::Defective),
                regions: Some(vec![region, region]),
                ..Line::of(identity("a, \"b\"/1.png", 123_456_789), &origin(Some(0.05), Some(0.01)))
            },
            Line {
                score: Some(-1e-7),
                regions: Some(Vec::new()),
                ..Line::of(identity("2.png", 0), &origin(Some(-1e-3), Some(0.5)))
            },
            Line {
                error: Some("cannot decode 3.png: \"x\", cut off".into()),
                ..Line::of(identity("ä/3.png", 1), &origin(None, None))
            },
        ]
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
                assert_eq!(read, said(&lines()[..whole]), "{cut}");
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
            ("f.jsonl", "{\"path\":1,\"riad_version\":\"1\"}\n", "line 1"),
            ("g.csv", &format!("{HEADER}a,b\n"), "is damaged"),
            // Of older versions.
            (
                "i.csv",
                "path,size,modified,score,p_value,verdict,error\n",
                "something else",
            ),
            ("j.jsonl", "{\"path\":\"a\",\"size\":1}\n", "something else"),
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
