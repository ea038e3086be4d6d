//! One file over HTTP, resumable at any instant.
//!
//! The bytes grow in `<file>.part`; beside it `<file>.part.json` says which version of which address they belong to. An
//! interrupted download goes on with `Range`, guarded by `If-Range`: a server whose file has changed, or that does not
//! know ranges, answers with the whole file, and the download starts anew. Only a complete file gets its real name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use indicatif::HumanBytes;
use serde::{Deserialize, Serialize};
use ureq::http::{HeaderMap, StatusCode};

use super::disk::{self, DiskError};
use super::progress::Progress;

/// Larger than every archive that is fetched here (MVTec AD's has 4.9 GB): a server that announces or sends more serves something else.
const MAX_ARCHIVE_BYTES: u64 = 8 << 30;

/// A server that sends nothing for this long has stalled; the download is then resumed like a dropped one.
const STALL: Duration = Duration::from_secs(60);

/// How often a download that makes no headway is tried again, and how long it waits before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retries {
    /// Failures in a row, without one new byte between them, that are forgiven.
    pub(crate) count: u32,
    /// Wait before the first of them; it doubles with each.
    pub(crate) wait: Duration,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum DownloadError {
    /// The server answers, but not with the file.
    #[error("{url} answers {status}")]
    Refused { url: String, status: StatusCode },
    /// The server cannot be reached, or drops the connection again and again.
    #[error("{url}: {cause}")]
    Unreachable { url: String, cause: String },
    #[error("{url} is larger than {}, so it is not the archive", HumanBytes(MAX_ARCHIVE_BYTES))]
    TooLarge { url: String },
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("cannot write {}: {source}", .path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl DownloadError {
    /// Whether it would help to get the file in another way.
    pub(crate) fn is_the_servers(&self) -> bool {
        !matches!(self, Self::Disk(_) | Self::Write { .. })
    }
}

/// Why one attempt ended without the file.
enum Setback {
    /// Worth another attempt.
    Again(String),
    Final(DownloadError),
}

impl From<DownloadError> for Setback {
    fn from(error: DownloadError) -> Self {
        Self::Final(error)
    }
}

/// What is known of the file that `.part` is the beginning of.
#[derive(Debug, Serialize, Deserialize)]
struct Version {
    url: String,
    etag: Option<String>,
    last_modified: Option<String>,
    length: Option<u64>,
}

impl Version {
    fn of(url: &str, headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        Self {
            url: url.to_owned(),
            etag: text("etag"),
            last_modified: text("last-modified"),
            length: text("content-length").and_then(|v| v.parse().ok()),
        }
    }

    /// What `If-Range` may compare. Weak entity tags are not allowed there (RFC 9110, 13.1.5).
    fn validator(&self) -> Option<&str> {
        self.etag
            .as_deref()
            .filter(|tag| !tag.starts_with("W/"))
            .or(self.last_modified.as_deref())
    }
}

/// A download from `url` to `file`.
pub(crate) struct Download<'a> {
    pub(crate) url: &'a str,
    /// Where the complete file ends up; the folder exists.
    pub(crate) file: &'a Path,
    /// What the progress line calls it.
    pub(crate) label: &'a str,
    /// Bytes that must stay free beside the archive, as a multiple of its size in per cent: room to unpack it.
    pub(crate) reserve_percent: u64,
    pub(crate) retries: Retries,
}

impl Download<'_> {
    /// Downloads the file, going on where an earlier attempt, in this process or another, has stopped.
    ///
    /// # Errors
    /// The `.part` file stays in place after every error, so that the next call resumes.
    pub(crate) fn run(&self) -> Result<(), DownloadError> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(STALL))
            .timeout_per_read(Some(STALL))
            .user_agent(concat!("riad-xtask/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        let mut failures = 0;
        let mut answered = false;
        loop {
            let before = self.part_length();
            let cause = match self.attempt(&agent, &mut answered) {
                Ok(()) => return self.finish(),
                Err(Setback::Final(error)) => return Err(error),
                Err(Setback::Again(cause)) => cause,
            };
            failures = if self.part_length() > before { 1 } else { failures + 1 };
            // A machine without a network need not wait long to hear so.
            let forgiven = if answered {
                self.retries.count
            } else {
                self.retries.count.min(1)
            };
            if failures > forgiven {
                return Err(DownloadError::Unreachable {
                    url: self.url.to_owned(),
                    cause,
                });
            }
            let wait = self.retries.wait * 2_u32.saturating_pow(failures - 1);
            eprintln!("{}: {cause}; trying again in {} s", self.label, wait.as_secs_f32());
            thread::sleep(wait);
        }
    }

    fn part(&self) -> PathBuf {
        with_suffix(self.file, ".part")
    }

    fn sidecar(&self) -> PathBuf {
        with_suffix(self.file, ".part.json")
    }

    fn part_length(&self) -> u64 {
        fs::metadata(self.part()).map_or(0, |m| m.len())
    }

    /// The version that `.part` belongs to, if it can be resumed at all.
    fn resumable(&self) -> Option<Version> {
        let version: Version = serde_json::from_slice(&fs::read(self.sidecar()).ok()?).ok()?;
        let fits = version.length.is_none_or(|length| self.part_length() <= length);
        (version.url == self.url && self.part_length() > 0 && fits).then_some(version)
    }

    /// Forgets what has been downloaded.
    fn start_anew(&self) -> Result<(), DownloadError> {
        for path in [self.part(), self.sidecar()] {
            remove_if_there(&path).map_err(|source| DownloadError::Write { path, source })?;
        }
        Ok(())
    }

    /// One request, and the body into `.part`. Sets `answered` once the server has sent a response.
    fn attempt(&self, agent: &ureq::Agent, answered: &mut bool) -> Result<(), Setback> {
        let have = self.part_length();
        let earlier = self.resumable();
        if earlier.as_ref().is_some_and(|v| v.length == Some(have)) {
            return Ok(()); // killed between the last byte and the rename
        }
        let mut request = agent.get(self.url);
        if let Some(version) = &earlier {
            request = request.header("range", format!("bytes={have}-"));
            if let Some(validator) = version.validator() {
                request = request.header("if-range", validator);
            }
        }
        let response = request.call().map_err(|e| self.setback(&e))?;
        *answered = true;
        let status = response.status();
        let version = Version::of(self.url, response.headers());
        match (status, earlier) {
            (StatusCode::PARTIAL_CONTENT, Some(earlier)) => {
                if !continues(&earlier, have, response.headers()) {
                    self.start_anew()?;
                    return Err(Setback::Again(
                        "the file on the server has changed, starting anew".into(),
                    ));
                }
                eprintln!("{}: resuming after {}", self.label, HumanBytes(have));
                self.receive(response.into_body().into_reader(), have, earlier.length)
            }
            (StatusCode::OK, earlier) => {
                if earlier.is_some() {
                    eprintln!(
                        "{}: the server sends the file from its beginning, starting anew",
                        self.label
                    );
                }
                self.start_anew()?;
                let length = version.length;
                self.write_sidecar(&version)?;
                self.receive(response.into_body().into_reader(), 0, length)
            }
            (StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PARTIAL_CONTENT, _) => {
                self.start_anew()?;
                Err(Setback::Again(format!("the server answers {status}, starting anew")))
            }
            _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(Setback::Again(format!("the server answers {status}")))
            }
            _ => Err(DownloadError::Refused {
                url: self.url.to_owned(),
                status,
            }
            .into()),
        }
    }

    /// Appends `body` to the `have` bytes of `.part`.
    fn receive(&self, mut body: impl Read, have: u64, length: Option<u64>) -> Result<(), Setback> {
        let path = self.part();
        let write_error = |source| DownloadError::Write {
            path: path.clone(),
            source,
        };
        if let Some(length) = length {
            if length > MAX_ARCHIVE_BYTES {
                return Err(DownloadError::TooLarge {
                    url: self.url.to_owned(),
                }
                .into());
            }
            let dir = path.parent().unwrap_or(Path::new("."));
            disk::ensure_space(dir, length - have.min(length) + length * self.reserve_percent / 100)
                .map_err(DownloadError::from)?;
        }
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(write_error)?;
        let mut progress = Progress::start(self.label, have, length);
        let mut received = have;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let n = match body.read(&mut buffer) {
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Setback::Again(format!("the connection broke off ({e})"))),
            };
            if n == 0 {
                break;
            }
            received += n as u64;
            if received > MAX_ARCHIVE_BYTES {
                self.start_anew()?;
                return Err(DownloadError::TooLarge {
                    url: self.url.to_owned(),
                }
                .into());
            }
            file.write_all(&buffer[..n]).map_err(write_error)?;
            progress.set(received);
        }
        if length.is_some_and(|length| received < length) {
            return Err(Setback::Again("the connection broke off".into()));
        }
        file.sync_all().map_err(write_error)?;
        Ok(())
    }

    /// Gives the complete file its name.
    fn finish(&self) -> Result<(), DownloadError> {
        fs::rename(self.part(), self.file)
            .and_then(|()| remove_if_there(&self.sidecar()))
            .map_err(|source| DownloadError::Write {
                path: self.file.to_owned(),
                source,
            })
    }

    fn write_sidecar(&self, version: &Version) -> Result<(), DownloadError> {
        let path = self.sidecar();
        let write = || -> io::Result<()> { serde_json::to_writer(File::create(&path)?, version).map_err(Into::into) };
        write().map_err(|source| DownloadError::Write {
            path: path.clone(),
            source,
        })
    }

    /// Sorts an error of the transport: only an address that cannot work is not worth another attempt.
    fn setback(&self, error: &ureq::Error) -> Setback {
        let cause = match error {
            ureq::Error::Io(e) => format!("no connection ({e})"),
            other => other.to_string(),
        };
        match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::Tls(_) | ureq::Error::TooManyRedirects => {
                Setback::Final(DownloadError::Unreachable {
                    url: self.url.to_owned(),
                    cause,
                })
            }
            _ => Setback::Again(cause),
        }
    }
}

/// Whether a `206` with these headers goes on after the first `have` bytes of `earlier`. A server without validators is
/// taken at its word where the total length is the same; the checks on the complete archive are the net below.
fn continues(earlier: &Version, have: u64, headers: &HeaderMap) -> bool {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    // "bytes 100-299/300"
    let Some(range) = header("content-range").and_then(|v| v.strip_prefix("bytes ")) else {
        return false;
    };
    let Some((span, total)) = range.split_once('/') else {
        return false;
    };
    let start = span.split_once('-').and_then(|(start, _)| start.parse::<u64>().ok());
    let same_length = earlier.length.is_none_or(|length| total.parse() == Ok(length));
    let same_tag = match (earlier.etag.as_deref(), header("etag")) {
        (Some(a), Some(b)) => a == b,
        _ => true,
    };
    start == Some(have) && same_length && same_tag
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Removes a file that may be absent already.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
