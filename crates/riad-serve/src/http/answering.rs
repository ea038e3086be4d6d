//! Answers that are read slowly.
//!
//! A large answer lies in memory until its reader has taken it. Many that take nothing must not take all memory: so large answers have
//! room together, and [connections](crate::connections) that take nothing for a while are closed.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes, HttpBody, to_bytes},
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::Refused;
use crate::shared::Shared;

/// Answers up to this size need no room: as many as there are connections fit into memory.
const SMALL: u64 = 256 << 10;

/// What one permit stands for.
const UNIT: u64 = 1 << 10;

/// Room for the large answers that wait to be read: 512 MiB.
pub(super) const ROOM: usize = 512 << 10;

/// Refuses a large answer if too many wait to be read.
pub(super) async fn within_room(State(shared): State<Shared>, request: Request, then: Next) -> Response {
    let response = then.run(request).await;
    // Events have no size: they are made as they are read.
    let large = response.body().size_hint().exact().filter(|bytes| *bytes > SMALL);
    let Some(size) = large else {
        return response;
    };
    let Some(room) = room(&shared.answers, size) else {
        return Refused::unread().into_response();
    };
    let (head, body) = response.into_parts();
    match to_bytes(body, usize::MAX).await {
        Ok(bytes) => {
            let held = Held { bytes, _room: room };
            Response::from_parts(head, Body::from(Bytes::from_owner(held)))
        }
        Err(_) => Refused::internal().into_response(),
    }
}

/// Room for so many bytes. An answer that is larger than all room is let through alone.
fn room(answers: &Arc<Semaphore>, bytes: u64) -> Option<OwnedSemaphorePermit> {
    let units = u32::try_from(bytes.div_ceil(UNIT).min(ROOM as u64)).ok()?;
    answers.clone().try_acquire_many_owned(units).ok()
}

/// An answer with its room, which is free again when the last byte is handed to the system.
struct Held {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unread_answers_have_an_end() {
        const MIB: u64 = 1 << 20;
        let answers = Arc::new(Semaphore::new(ROOM));
        let hold = |size| {
            room(&answers, size).map(|room| {
                Bytes::from_owner(Held {
                    bytes: Bytes::from_static(b"map"),
                    _room: room,
                })
            })
        };
        let mut unread: Vec<_> = std::iter::from_fn(|| hold(100 * MIB)).collect();
        assert_eq!(unread.len(), 5);
        assert!(hold(13 * MIB).is_none() && hold(12 * MIB).is_some());
        // A part of it is still to be sent.
        let rest = unread.pop().map(|mut answer| answer.split_off(1));
        assert!(hold(100 * MIB).is_none());
        drop(rest);
        assert!(hold(100 * MIB).is_some());
        assert!(hold(u64::MAX).is_none());
        unread.clear();
        assert!(hold(u64::MAX).is_some());
    }
}
