//! A picture comes in.

use std::path::{Component, Path as FilePath, PathBuf, Prefix};

use axum::{
    Extension, Json,
    body::{Bytes, to_bytes},
    extract::{FromRequest, Multipart, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::Stream;
use riad::files::{sha256, sha256_of_bytes};
use serde::{Deserialize, Serialize};
use tempfile::TempPath;
use tokio::{
    fs::File,
    io::AsyncWriteExt,
    sync::{OwnedSemaphorePermit, oneshot},
    time::timeout_at,
};
use utoipa::{IntoParams, ToSchema};

use super::{
    MOST_JSON,
    answer::{Binary, Problem, Refused},
    blocking,
    body::{Begun, Broken, beginning, broken, next},
    extract::{Path, Query},
    line_of,
};
use crate::{
    Error,
    line::{Job, Judged, Line, Numbers, Picture, Refusal, copied, numbers},
    shared::Shared,
    store::{Inspection, Key, Origin, Stored, Verdict},
};

/// Letters of a key or a name that a sender may give.
const MOST_LETTERS: usize = 200;

/// How a picture is to be looked at.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct How {
    /// Also give the anomaly map's numbers, as the file of a NumPy array or a TIFF, in base64.
    maps: Option<Numbers>,
    /// `page` if a person only tries the picture: it counts nowhere.
    source: Option<Origin>,
}

/// A picture that lies on the service's machine.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    /// Its path, below a folder of `--allow`.
    #[schema(value_type = String)]
    path: PathBuf,
}

/// An inspection, and its map if that was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Inspected {
    #[serde(flatten)]
    inspection: Inspection,
    #[serde(skip_serializing_if = "Option::is_none")]
    map: Option<MapFile>,
}

/// A file with the anomaly map's numbers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MapFile {
    format: &'static str,
    base64: String,
}

/// A picture that came in.
pub(super) struct Came {
    pub(super) picture: Picture,
    pub(super) name: Option<String>,
}

/// Look at a picture
///
/// The body is the picture itself, a form with one file, or JSON with its path. With an `Idempotency-Key`, a request that is sent again
/// gets the first one's answer, and the picture counts once. Another picture with the same key is refused.
#[utoipa::path(
    post, path = "/v1/lines/{line}/inspect", tag = "inspections",
    params(
        ("line" = String, Path, description = "The line's name"), How,
        ("Idempotency-Key" = Option<String>, Header, description = "The sender's key for this picture"),
        ("X-Filename" = Option<String>, Header, description = "What the sender calls the picture"),
    ),
    request_body(content((Binary = "application/octet-stream"), (Named = "application/json"))),
    responses(
        (status = 200, body = Inspected), (status = 400, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 408, body = Problem), (status = 409, description = "Another picture had this Idempotency-Key", body = Problem),
        (status = 413, body = Problem),
        (status = 422, description = "The picture cannot be looked at; the reason says why", body = Inspected),
        (status = 503, body = Problem), (status = 504, body = Problem),
        (status = 507, description = "Judged, but not stored: the disk is full", body = Inspected),
    )
)]
pub(super) async fn inspect(
    State(shared): State<Shared>,
    Extension(begun): Extension<Begun>,
    Path(line): Path<String>,
    Query(how): Query<How>,
    request: Request,
) -> Result<Response, Refused> {
    let line = line_of(&shared, &line)?;
    let source = match how.source {
        None | Some(Origin::Http) => Origin::Http,
        Some(Origin::Page) => Origin::Page,
        Some(Origin::Folder) => {
            return Err(Refused::bad_request(
                "only the watched folder's pictures come from there",
            ));
        }
    };
    let key = text_of(request.headers(), "idempotency-key")?;
    let (came, room) = came_in(&shared, &line, request).await?;
    let (came, key, first) = sent_before(&shared, &line, came, key).await?;
    let judged = match first {
        Some(inspection) => Judged {
            inspection,
            map: None,
            not_stored: None,
        },
        None => judge(&shared, &line, (came, room), (source, key, how.maps), begun).await?,
    };
    let map = match (judged.map, how.maps) {
        (None, Some(format)) => map_again(&shared, &line, &judged.inspection, format).await?,
        (map, _) => map,
    };
    let is_full = judged.not_stored.is_some_and(|error: Error| error.is_full());
    Ok(answer(judged.inspection, map, how.maps, is_full))
}

/// The answer to a picture that was sent before with this key. Another picture with the same key is refused: it must not get the verdict
/// of the first. One that comes while the first is judged is [refused later](Refusal::Other).
pub(super) async fn sent_before(
    shared: &Shared,
    line: &std::sync::Arc<Line>,
    came: Came,
    key: Option<String>,
) -> Result<(Came, Option<Key>, Option<Inspection>), Refused> {
    let Some(text) = key else {
        return Ok((came, None, None));
    };
    let (line, store) = (line.clone(), shared.store.clone());
    blocking(move || {
        let picture = match &came.picture {
            Picture::File(path) => sha256(&[path]).map_err(Error::from)?,
            Picture::Memory { bytes, .. } => sha256_of_bytes(bytes),
        };
        let key = Key { text, picture };
        match store.of_key(&line.name, &key)? {
            Some(Stored::New(first) | Stored::Before(first)) => Ok((came, Some(key), Some(first))),
            Some(Stored::Other(first)) => Err(other_picture(first)),
            None => Ok((came, Some(key), None)),
        }
    })
    .await
}

fn other_picture(first: i64) -> Refused {
    Refused::conflict(format!(
        "inspection {first} has this Idempotency-Key and another picture; give each picture a key of its own"
    ))
}

/// The numbers of the map of a picture that was judged before, as long as it is kept.
async fn map_again(
    shared: &Shared,
    line: &std::sync::Arc<Line>,
    first: &Inspection,
    format: Numbers,
) -> Result<Option<Vec<u8>>, Refused> {
    let Some(picture) = first.picture.as_ref().map(|name| shared.store.pictures().path(name)) else {
        return Ok(None);
    };
    let _turn = shared.drawing.acquire().await.map_err(|_| Refused::internal())?;
    let (line, store, version) = (line.clone(), shared.store.clone(), first.version);
    blocking(move || {
        let found = line.detector(version, &store)?.inspect_file(&picture);
        Ok(found.ok().and_then(|found| numbers(format, &found)))
    })
    .await
}

/// Has a picture wait for its turn, and waits with it.
pub(super) async fn judge(
    shared: &Shared,
    line: &std::sync::Arc<Line>,
    (came, room): (Came, OwnedSemaphorePermit),
    (source, key, numbers): (Origin, Option<Key>, Option<Numbers>),
    begun: Begun,
) -> Result<Judged, Refused> {
    let (answer, answered) = oneshot::channel();
    let job = Job {
        line: line.clone(),
        picture: came.picture,
        received: begun.received,
        source,
        name: came.name,
        key,
        identity: None,
        deadline: Some(begun.deadline.into()),
        numbers,
        room: Some(room),
        answer,
    };
    if shared.queue.push(line.index, job).is_err() {
        shared.counters.busy();
        return Err(Refused::busy());
    }
    let judged = timeout_at(begun.deadline, answered).await;
    shared.counters.took(begun.at.elapsed());
    match judged {
        Ok(Ok(Ok(judged))) => match judged.not_stored {
            Some(error) if !error.is_full() => Err(error.into()),
            _ => Ok(judged),
        },
        Ok(Ok(Err(Refusal::Other(first)))) => Err(other_picture(first)),
        Ok(Ok(Err(Refusal::Panicked)) | Err(_)) => Err(Refused::internal()),
        Ok(Ok(Err(Refusal::Late))) | Err(_) => {
            shared.counters.late();
            Err(Refused::late())
        }
    }
}

fn answer(inspection: Inspection, map: Option<Vec<u8>>, numbers: Option<Numbers>, is_full: bool) -> Response {
    let status = match inspection.verdict {
        _ if is_full => StatusCode::INSUFFICIENT_STORAGE,
        Verdict::Error => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::OK,
    };
    let map = map.zip(numbers).map(|(bytes, numbers)| MapFile {
        format: match numbers {
            Numbers::Npy => "npy",
            Numbers::Tiff => "tiff",
        },
        base64: BASE64_STANDARD.encode(bytes),
    });
    (status, Json(Inspected { inspection, map })).into_response()
}

/// Room for one of the pictures of a line, or of those that lines are to be made of, that come in at once: each takes open files and room
/// on the disk.
pub(super) fn room(shared: &Shared, line: Option<&Line>) -> Result<OwnedSemaphorePermit, Refused> {
    let uploads = line.map_or(&shared.drafts.uploads, |line| &line.uploads);
    uploads.clone().try_acquire_owned().map_err(|_| {
        shared.counters.busy();
        Refused::busy()
    })
}

/// Brings the picture of a request into the store, where it has room until it is judged.
async fn came_in(
    shared: &Shared,
    line: &std::sync::Arc<Line>,
    request: Request,
) -> Result<(Came, OwnedSemaphorePermit), Refused> {
    let name = name_of(request.headers());
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/json" => {
            let body = to_bytes(request.into_body(), MOST_JSON).await;
            let body = body.map_err(|_| Refused::bad_request("the body is too long for a path in JSON"))?;
            let named: Named = serde_json::from_slice(&body)
                .map_err(|error| Refused::bad_request(format!("the body is no JSON with a path: {error}")))?;
            let room = room(shared, Some(line))?;
            let (shared, line) = (shared.clone(), line.clone());
            Ok((blocking(move || named_by(&shared, &line, &named.path)).await?, room))
        }
        "multipart/form-data" => {
            let form = Multipart::from_request(request, &()).await;
            let mut form = form.map_err(|error| Refused::bad_request(error.body_text()))?;
            while let Some(field) = form.next_field().await.map_err(broken)? {
                if field.file_name().is_none() {
                    continue;
                }
                let name = name.or_else(|| field.file_name().map(shown));
                let (picture, room) = received(shared, Some(line), field, shared.most_bytes).await?;
                return Ok((Came { picture, name }, room));
            }
            Err(Refused::bad_request("the form has no file"))
        }
        _ => {
            let body = request.into_body().into_data_stream();
            let (picture, room) = received(shared, Some(line), body, shared.most_bytes).await?;
            Ok((Came { picture, name }, room))
        }
    }
}

/// Writes what comes to a file, piece by piece, so that large pictures take no memory. If the disk is full, the rest is held in memory.
/// No more than `most` bytes are taken.
///
/// Without a line it is a picture that a line is to be made of.
pub(super) async fn received<E: Broken>(
    shared: &Shared,
    line: Option<&Line>,
    mut pieces: impl Stream<Item = Result<Bytes, E>> + Unpin,
    most: u64,
) -> Result<(Picture, OwnedSemaphorePermit), Refused> {
    let first = beginning(&mut pieces).await?;
    if first.is_empty() {
        return Err(Refused::bad_request("the body is empty; it must have a picture"));
    }
    let room = room(shared, line)?;
    let mut place = Place::new(shared, line).await?;
    let mut bytes = 0;
    let mut piece = Bytes::from(first);
    loop {
        bytes += piece.len() as u64;
        if bytes > most {
            return Err(Refused::too_large(shared.most_bytes));
        }
        place.write(&piece, shared, line).await?;
        match next(&mut pieces).await? {
            Some(next) => piece = next,
            None => return Ok((place.end(), room)),
        }
    }
}

/// Where a picture goes that is coming in.
enum Place {
    File { path: TempPath, file: File, written: usize },
    Memory(Vec<u8>, OwnedSemaphorePermit),
}

/// Room for one of the few pictures that are held in memory.
pub(super) fn room_in_memory(shared: &Shared) -> Result<OwnedSemaphorePermit, Refused> {
    shared.held.clone().try_acquire_owned().map_err(|_| Refused::busy())
}

impl Place {
    async fn new(shared: &Shared, line: Option<&Line>) -> Result<Self, Refused> {
        let begin = shared.clone();
        let made = tokio::task::spawn_blocking(move || begin.store.pictures().incoming()).await;
        let path = match made.map_err(|_| Refused::internal())? {
            Ok(path) => path,
            Err(error) => {
                if let Some(line) = line {
                    line.live().could_not_store();
                }
                return match line {
                    Some(_) if error.is_full() => Ok(Self::Memory(Vec::new(), room_in_memory(shared)?)),
                    // A picture that a line is to be made of is of no use if it is not kept.
                    _ => Err(error.into()),
                };
            }
        };
        match File::options().write(true).open(&path).await {
            Ok(file) => Ok(Self::File { path, file, written: 0 }),
            Err(cause) => Err(Error::file("write", path.to_path_buf())(cause).into()),
        }
    }

    async fn write(&mut self, piece: &[u8], shared: &Shared, line: Option<&Line>) -> Result<(), Refused> {
        let (path, file, written) = match self {
            Self::Memory(bytes, _) => {
                bytes.extend(piece);
                return Ok(());
            }
            Self::File { path, file, written } => (path, file, written),
        };
        // What is written is handed to the system before it counts.
        let done = match file.write_all(piece).await {
            Ok(()) => file.flush().await,
            failed => failed,
        };
        let Err(error) = done.map_err(Error::file("write", path.to_path_buf())) else {
            *written += piece.len();
            return Ok(());
        };
        let Some(line) = line else {
            return Err(error.into());
        };
        line.live().could_not_store();
        if !error.is_full() {
            return Err(error.into());
        }
        // What was written comes back into memory only if there is room for it.
        let room = room_in_memory(shared)?;
        let mut bytes = tokio::fs::read(&*path)
            .await
            .map_err(Error::file("read", path.to_path_buf()))?;
        bytes.truncate(*written);
        bytes.extend(piece);
        *self = Self::Memory(bytes, room);
        Ok(())
    }

    fn end(self) -> Picture {
        match self {
            Self::File { path, .. } => Picture::File(path),
            Self::Memory(bytes, room) => Picture::Memory { bytes, _room: room },
        }
    }
}

/// Copies a picture that lies in an allowed folder.
fn named_by(shared: &Shared, line: &Line, path: &FilePath) -> Result<Came, Refused> {
    let words = "only pictures below a folder of --allow can be named by their path";
    if !is_within_reach(path, &shared.allow) {
        return Err(Refused::forbidden(words));
    }
    // Links are followed before it is looked where it leads.
    let candidates = shared.allow.iter().map(|folder| folder.join(path));
    let mut found = None;
    for candidate in candidates {
        if let Ok(real) = std::fs::canonicalize(&candidate)
            && shared.allow.iter().any(|folder| real.starts_with(folder))
            && real.is_file()
        {
            found = Some(real);
            break;
        }
    }
    let Some(real) = found else {
        return Err(Refused::forbidden(words));
    };
    let size = std::fs::metadata(&real).map_err(Error::file("read", &real))?.len();
    if size > shared.most_bytes {
        return Err(Refused::too_large(shared.most_bytes));
    }
    let picture = match copied(line, &real, shared.most_bytes, (&shared.store, &shared.held)) {
        Ok(picture) => picture.ok_or_else(Refused::busy)?,
        // It has grown since.
        Err(Error::Request(_)) => return Err(Refused::too_large(shared.most_bytes)),
        Err(error) => return Err(error.into()),
    };
    let name = Some(shown(&path.to_string_lossy()));
    Ok(Came { picture, name })
}

/// Whether a path leads to no other drive or share than those of the folders. To look at a share, Windows sends its password's hash
/// there: a caller must not choose where to.
fn is_within_reach(path: &FilePath, folders: &[PathBuf]) -> bool {
    place(path).is_none_or(|wanted| folders.iter().any(|folder| place(folder).as_ref() == Some(&wanted)))
}

/// The drive or share that a path of Windows begins with, in small letters; `None` for others.
fn place(path: &FilePath) -> Option<String> {
    let Some(Component::Prefix(prefix)) = path.components().next() else {
        return None;
    };
    let place = match prefix.kind() {
        Prefix::Disk(drive) | Prefix::VerbatimDisk(drive) => char::from(drive).to_string(),
        Prefix::UNC(server, share) | Prefix::VerbatimUNC(server, share) => {
            [server, share].map(|part| part.to_string_lossy()).join("\\")
        }
        Prefix::Verbatim(_) | Prefix::DeviceNS(_) => prefix.as_os_str().to_string_lossy().into_owned(),
    };
    Some(place.to_lowercase())
}

/// What is percent-encoded, as a header must be for letters beyond ASCII. What is not stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits
            .filter(|_| *first == b'%')
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
        {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// What the sender calls the picture, if it says so.
pub(super) fn name_of(headers: &HeaderMap) -> Option<String> {
    let name = headers.get("x-filename")?;
    let name = shown(&decoded(&String::from_utf8_lossy(name.as_bytes())));
    (!name.is_empty()).then_some(name)
}

/// A header's text, if it is there.
pub(super) fn text_of(headers: &HeaderMap, name: &str) -> Result<Option<String>, Refused> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(value.as_bytes()).unwrap_or_default();
    if text.is_empty() || text.len() > MOST_LETTERS {
        let words = format!("{name} has 1 to {MOST_LETTERS} letters");
        return Err(Refused::bad_request(words));
    }
    Ok(Some(shown(text)))
}

/// A name as it is kept: of bounded length, without what moves a terminal's cursor.
pub(super) fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(MOST_LETTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_be_percent_encoded() {
        for (encoded, name) in [
            ("a%20b.png", "a b.png"),
            ("%C3%A4.png", "\u{e4}.png"),
            ("50%.png", "50%.png"),
            ("%ff", "%ff"),
        ] {
            assert_eq!(decoded(encoded), name);
        }
        assert_eq!(shown("a\u{1b}[31m\nb"), "a[31mb");
    }

    #[cfg(windows)]
    #[test]
    fn no_caller_chooses_another_drive_or_share() {
        let folders = [r"\\?\C:\pictures", r"\\?\UNC\nas\line"].map(PathBuf::from);
        for (path, expected) in [
            ("a.png", true),
            (r"today\a.png", true),
            (r"c:\pictures\a.png", true),
            (r"\\NAS\Line\a.png", true),
            (r"\\nas\other\a.png", false),
            (r"\\elsewhere\line\a.png", false),
            ("//elsewhere/line/a.png", false),
            (r"\\?\UNC\elsewhere\line\a.png", false),
            (r"d:\a.png", false),
            (r"\\.\COM1", false),
            (r"\\?\GLOBALROOT\Device\a", false),
        ] {
            assert_eq!(is_within_reach(FilePath::new(path), &folders), expected, "{path}");
        }
    }
}
