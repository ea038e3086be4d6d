//! Bodies that come in slowly.
//!
//! Room is scarce: it is open files, the disk, and memory for whole pictures. A sender that is slow from its first byte must not hold
//! any, or a few of them would refuse everybody else.

use std::{error::Error, iter::successors, sync::Arc, time::Duration};

use axum::{
    body::{Body, BodyDataStream, Bytes, HttpBody, to_bytes},
    extract::{Request, State, multipart::MultipartError},
    http::header,
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::{Stream, StreamExt, stream::try_unfold};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout, timeout_at},
};

use super::{PICTURES, answer::Refused};
use crate::{clock::Moment, shared::Shared};

/// How many bytes come in before a body gets room. Each connection may hold as many in memory.
pub(super) const BEGINNING: usize = 64 << 10;

/// How long a body may pause. Whoever sends nothing for so long gives its room back to others, however much time its request has left.
const PAUSE: Duration = Duration::from_secs(5);

/// How long a request may take that brings all pictures that a line is to be made of.
const MANY: Duration = Duration::from_secs(600);

/// When a request came: by a clock that nobody sets, and as it is written down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    pub(super) at: Instant,
    pub(super) received: Moment,
    /// Until when it is to be answered.
    pub(super) deadline: Instant,
}

/// The next piece of a body did not come in time.
#[derive(Debug, thiserror::Error)]
#[error("the body did not come within the time for a request, or paused for {} s", PAUSE.as_secs())]
struct Late;

/// Notes when each request [begins](Begun), and breaks off every body that has not come by its deadline or pauses for too long.
pub(super) async fn in_time(State(shared): State<Shared>, mut request: Request, then: Next) -> Response {
    let at = Instant::now();
    let has_many = request.uri().path().ends_with("/pictures");
    let deadline = at
        + if has_many {
            shared.deadline.max(MANY)
        } else {
            shared.deadline
        };
    request.extensions_mut().insert(Begun {
        at,
        received: Moment::now(),
        deadline,
    });
    let is_short = request
        .body()
        .size_hint()
        .upper()
        .is_some_and(|bytes| bytes <= BEGINNING as u64);
    if !is_short {
        let (head, body) = request.into_parts();
        let coming = Arc::new(Mutex::new(Coming {
            pieces: body.into_data_stream(),
            is_coming: !head.headers.contains_key(header::EXPECT),
        }));
        let in_time = try_unfold(coming.clone(), move |coming| async move {
            let until = deadline.min(Instant::now() + PAUSE);
            let piece = timeout_at(until, async { coming.lock().await.next().await }).await;
            match piece {
                Ok(piece) => Ok(piece.transpose()?.map(|piece| (piece, coming))),
                Err(_) => Err(axum::Error::new(Late)),
            }
        });
        let response = then.run(Request::from_parts(head, Body::from_stream(in_time))).await;
        if response.status().is_client_error() || response.status().is_server_error() {
            let most = shared.most_bytes.saturating_mul(PICTURES as u64);
            let _ = timeout_at(deadline, async { coming.lock().await.discard(most).await }).await;
        }
        return response;
    }
    // A short one is taken whole. If nobody read it, and it came later than its head, the connection would have to be closed.
    let (head, body) = request.into_parts();
    match timeout_at(deadline, to_bytes(body, BEGINNING)).await {
        Ok(Ok(body)) => then.run(Request::from_parts(head, Body::from(body))).await,
        Ok(Err(_)) => Refused::bad_request("the body broke off").into_response(),
        Err(_) => Refused::slow().into_response(),
    }
}

/// A body on its way.
struct Coming {
    pieces: BodyDataStream,
    /// Whether its sender sends. Some wait until they hear that the body is read (`Expect: 100-continue`).
    is_coming: bool,
}

impl Coming {
    async fn next(&mut self) -> Option<Result<Bytes, axum::Error>> {
        self.is_coming = true;
        self.pieces.next().await
    }

    /// Reads what is left of a body that was refused, up to so many bytes. Many senders read no answer before they have sent all, and
    /// lose it if the connection is closed before that.
    async fn discard(&mut self, most: u64) {
        let mut bytes = 0;
        while self.is_coming
            && bytes <= most
            && let Ok(Some(Ok(piece))) = timeout(PAUSE, self.pieces.next()).await
        {
            bytes += piece.len() as u64;
        }
    }
}

/// What keeps a body from being read to its end.
pub(super) trait Broken: Error + 'static {
    /// What is answered then, if it is not that it came too slowly.
    fn refused(self) -> Refused;
}

impl Broken for axum::Error {
    fn refused(self) -> Refused {
        Refused::bad_request("the body broke off")
    }
}

impl Broken for MultipartError {
    fn refused(self) -> Refused {
        Refused::of_request(self.status(), self.body_text())
    }
}

/// What is answered if a body cannot be read to its end.
pub(super) fn broken(error: impl Broken) -> Refused {
    let mut causes = successors(Some(&error as &(dyn Error + 'static)), |&cause| cause.source());
    let is_late = causes.any(|cause| cause.is::<Late>());
    match is_late {
        true => Refused::slow(),
        false => error.refused(),
    }
}

/// What a body begins with: its first [`BEGINNING`] bytes or a little more, or the whole of a shorter one.
///
/// # Errors
/// If it breaks off or comes too slowly.
pub(super) async fn beginning<E: Broken>(
    pieces: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
) -> Result<Vec<u8>, Refused> {
    let mut bytes = Vec::new();
    while bytes.len() < BEGINNING
        && let Some(piece) = next(pieces).await?
    {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// The next piece of a body, if there is one.
///
/// # Errors
/// As [`beginning`].
pub(super) async fn next<E: Broken>(
    pieces: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
) -> Result<Option<Bytes>, Refused> {
    pieces.next().await.transpose().map_err(broken)
}
