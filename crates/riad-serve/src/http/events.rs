//! What happens, as it happens.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    response::sse::{self, KeepAlive, Sse},
};
use futures_util::{Stream, StreamExt};
use tokio_stream::wrappers::BroadcastStream;

use crate::shared::Shared;

/// How often a line of comment goes out, so that nobody between takes the connection for dead.
const ALIVE: Duration = Duration::from_secs(10);

/// Events as they happen: `inspection`, `label`, `line` and `version`, each with the object as JSON
#[utoipa::path(
    get, path = "/v1/events", tag = "events",
    responses((status = 200, description = "Server-sent events", content_type = "text/event-stream", body = serde_json::Value))
)]
pub(super) async fn events(State(shared): State<Shared>) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let sent = BroadcastStream::new(shared.events.listen());
    // Who is too far behind goes on with what comes next, and sees by the numbers that something is missing.
    let events = sent.filter_map(|sent| async move {
        let sent = sent.ok()?;
        let event = sse::Event::default().id(sent.number.to_string()).event(sent.name);
        Some(Ok(event.data(&sent.data)))
    });
    // The service ends without waiting for those who listen.
    let ended = async move {
        while !shared.is_ending() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    Sse::new(events.take_until(Box::pin(ended))).keep_alive(KeepAlive::new().interval(ALIVE))
}
