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

/// Room that an answer has already, because it would lie in memory before it is looked at here.
#[derive(Clone, Debug)]
pub(super) struct Room {
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Room {
    /// For an answer of so many bytes that is still to be read or made.
    ///
    /// # Errors
    /// If too many wait to be read.
    pub(super) fn of(answers: &Arc<Semaphore>, bytes: u64) -> Result<Option<Self>, Refused> {
        if bytes <= SMALL {
            return Ok(None);
        }
        let permit = room(answers, bytes).ok_or_else(Refused::unread)?;
        Ok(Some(Self {
            _permit: Arc::new(permit),
        }))
    }
}

/// Refuses a large answer if too many wait to be read.
pub(super) async fn within_room(State(shared): State<Shared>, request: Request, then: Next) -> Response {
    let response = then.run(request).await;
    held(&shared.answers, response)
        .await
        .unwrap_or_else(Refused::into_response)
}

/// An answer that has room until it is read.
async fn held(answers: &Arc<Semaphore>, mut response: Response) -> Result<Response, Refused> {
    // Events have no size: they are made as they are read.
    let Some(size) = response.body().size_hint().exact() else {
        return Ok(response);
    };
    let room = match response.extensions_mut().remove::<Room>() {
        Some(room) => Some(room),
        None => Room::of(answers, size)?,
    };
    let Some(room) = room else {
        return Ok(response);
    };
    let (head, body) = response.into_parts();
    match to_bytes(body, usize::MAX).await {
        Ok(bytes) => {
            let held = Held { bytes, _room: room };
            Ok(Response::from_parts(head, Body::from(Bytes::from_owner(held))))
        }
        Err(_) => Err(Refused::internal()),
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
    _room: Room,
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
            Room::of(&answers, size).ok().map(|room| {
                Bytes::from_owner(Held {
                    bytes: Bytes::from_static(b"map"),
                    _room: room.unwrap(),
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

    #[tokio::test]
    async fn an_answer_that_has_its_room_takes_no_other() {
        let answers = Arc::new(Semaphore::new(ROOM));
        let size = SMALL + 1;
        let room = Room::of(&answers, size).unwrap().unwrap();
        // Others have all that is left.
        let left = u32::try_from(answers.available_permits()).unwrap();
        let _others = answers.clone().try_acquire_many_owned(left).unwrap();
        assert_eq!(left as usize, ROOM - 257);
        let mut response = Response::new(Body::from(vec![0; size as usize]));
        response.extensions_mut().insert(room);
        let response = held(&answers, response).await.unwrap();
        assert_eq!(answers.available_permits(), 0);
        // It is free when the answer is read, and not before.
        drop(to_bytes(response.into_body(), usize::MAX).await.unwrap());
        assert_eq!(answers.available_permits(), 257);
        assert!(Room::of(&answers, SMALL).unwrap().is_none());
    }
}
