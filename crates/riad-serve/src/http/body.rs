//! Bodies that come in slowly.
//!
//! Room is scarce: it is open files, the disk, and memory for whole pictures. A sender that is slow from its first byte must not hold
//! any, or a few of them would refuse everybody else.

use std::time::{Duration, SystemTime};

use axum::{
    body::{Body, Bytes, HttpBody, to_bytes},
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::{Stream, StreamExt, stream::try_unfold};
use tokio::time::{Instant, timeout_at};

use super::answer::Refused;
use crate::shared::Shared;

/// How many bytes come in before a body gets room. Each connection may hold as many in memory.
pub(super) const BEGINNING: usize = 64 << 10;

/// How long a request may take that brings all pictures that a line is to be made of.
const MANY: Duration = Duration::from_secs(600);

/// When a request came: by a clock that nobody sets, and as it is written down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    pub(super) at: Instant,
    pub(super) received: SystemTime,
    /// Until when it is to be answered.
    pub(super) deadline: Instant,
}

/// Notes when each request [begins](Begun), and breaks off every body that has not come by its deadline.
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
        received: SystemTime::now(),
        deadline,
    });
    let is_short = request
        .body()
        .size_hint()
        .upper()
        .is_some_and(|bytes| bytes <= BEGINNING as u64);
    let in_time = |body: Body| {
        Body::from_stream(try_unfold(body.into_data_stream(), move |mut pieces| async move {
            match timeout_at(deadline, pieces.next()).await {
                Ok(piece) => Ok(piece.transpose()?.map(|piece| (piece, pieces))),
                Err(_) => Err(axum::Error::new("the body did not come within the time for a request")),
            }
        }))
    };
    if !is_short {
        return then.run(request.map(in_time)).await;
    }
    // A short one is taken whole. If nobody read it, and it came later than its head, the connection would have to be closed.
    let (head, body) = request.into_parts();
    match timeout_at(deadline, to_bytes(body, BEGINNING)).await {
        Ok(Ok(body)) => then.run(Request::from_parts(head, Body::from(body))).await,
        Ok(Err(_)) => Refused::bad_request("the body broke off").into_response(),
        Err(_) => Refused::slow().into_response(),
    }
}

/// What a body begins with: its first [`BEGINNING`] bytes or a little more, or the whole of a shorter one.
///
/// # Errors
/// If it breaks off, or has not come by the deadline.
pub(super) async fn beginning<E>(
    pieces: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
    begun: Begun,
) -> Result<Vec<u8>, Refused> {
    let mut bytes = Vec::new();
    while bytes.len() < BEGINNING
        && let Some(piece) = next(pieces, begun).await?
    {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// The next piece of a body, if there is one.
///
/// # Errors
/// As [`beginning`].
pub(super) async fn next<E>(
    pieces: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
    begun: Begun,
) -> Result<Option<Bytes>, Refused> {
    pieces
        .next()
        .await
        .transpose()
        .map_err(|_| match Instant::now() < begun.deadline {
            true => Refused::bad_request("the body broke off"),
            false => Refused::slow(),
        })
}
