//! Lines and how they go.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    answer::{Problem, Refused},
    blocking,
    extract::Path,
    line_of,
};
use crate::{draft::BeingMade, events::Event, line::LineState, shared::Shared};

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Lines {
    lines: Vec<LineState>,
    /// Lines that are being made, and judge nothing yet.
    being_made: Vec<BeingMade>,
}

/// All lines, and those that are being made
#[utoipa::path(get, path = "/v1/lines", tag = "lines", responses((status = 200, body = Lines)))]
pub(super) async fn all(State(shared): State<Shared>) -> Json<Lines> {
    let lines = shared
        .lines
        .all()
        .iter()
        .map(|line| line.state(shared.queue.waiting(line.index)))
        .collect();
    let being_made = shared.drafts.being_made().iter().map(|draft| draft.state()).collect();
    Json(Lines { lines, being_made })
}

/// One line
#[utoipa::path(
    get, path = "/v1/lines/{line}", tag = "lines", params(("line" = String, Path, description = "The line's name")),
    responses((status = 200, body = LineState), (status = 404, body = Problem))
)]
pub(super) async fn one(State(shared): State<Shared>, Path(line): Path<String>) -> Result<Json<LineState>, Refused> {
    let line = line_of(&shared, &line)?;
    Ok(Json(line.state(shared.queue.waiting(line.index))))
}

/// Begin a shift: its counts start at 0
#[utoipa::path(
    post, path = "/v1/lines/{line}/shift", tag = "lines", params(("line" = String, Path, description = "The line's name")),
    responses((status = 200, body = LineState), (status = 404, body = Problem))
)]
pub(super) async fn shift(State(shared): State<Shared>, Path(line): Path<String>) -> Result<Json<LineState>, Refused> {
    let line = line_of(&shared, &line)?;
    let state = blocking(move || {
        line.begin_shift(&shared.store)?;
        let state = line.state(shared.queue.waiting(line.index));
        shared.events.send(Event::Line, &state);
        Ok(state)
    });
    Ok(Json(state.await?))
}
