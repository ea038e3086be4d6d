//! Versions of a line's model.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    answer::{Problem, Refused},
    blocking,
    extract::{self, Path},
    line_of,
};
use crate::{
    Error,
    events::Event,
    line::LineState,
    review::{self, How, Version},
    shared::Shared,
};

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Versions {
    versions: Vec<Version>,
}

/// The versions of a line's model, the newest first
#[utoipa::path(
    get, path = "/v1/lines/{line}/versions", tag = "review", params(("line" = String, Path, description = "The line's name")),
    responses((status = 200, body = Versions), (status = 404, body = Problem))
)]
pub(super) async fn list(State(shared): State<Shared>, Path(line): Path<String>) -> Result<Json<Versions>, Refused> {
    let line = line_of(&shared, &line)?;
    let versions = blocking(move || Ok(review::versions(&line, &shared.store)?)).await?;
    Ok(Json(Versions { versions }))
}

/// What a version is to be made of.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    how: How,
    /// Numbers of labelled inspections.
    inspections: Vec<i64>,
}

/// Make a version from labelled pictures; the line goes on with the one that it has
#[utoipa::path(
    post, path = "/v1/lines/{line}/versions", tag = "review", params(("line" = String, Path, description = "The line's name")),
    request_body = Wanted,
    responses((status = 202, body = Version), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, description = "The selection does not do, or another version is being made", body = Problem))
)]
pub(super) async fn make(
    State(shared): State<Shared>,
    Path(line): Path<String>,
    extract::Json(wanted): extract::Json<Wanted>,
) -> Result<(StatusCode, Json<Version>), Refused> {
    let line = line_of(&shared, &line)?;
    let version = blocking(move || {
        let to = (&shared.store, &shared.events);
        Ok(review::make(
            &shared.making,
            &line,
            to,
            wanted.how,
            &wanted.inspections,
        )?)
    })
    .await?;
    Ok((StatusCode::ACCEPTED, Json(version)))
}

/// Use a version from the next picture on
#[utoipa::path(
    post, path = "/v1/lines/{line}/versions/{version}/use", tag = "review",
    params(("line" = String, Path, description = "The line's name"), ("version" = u32, Path, description = "The version's number")),
    responses((status = 200, body = LineState), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub(super) async fn use_one(
    State(shared): State<Shared>,
    Path((line, version)): Path<(String, u32)>,
) -> Result<Json<LineState>, Refused> {
    let line = line_of(&shared, &line)?;
    let state = blocking(move || {
        let versions = review::versions(&line, &shared.store)?;
        let Some(found) = versions.into_iter().find(|one| one.version == version) else {
            return Err(Refused::not_found(format!(
                "line {} has no version {version}",
                line.name
            )));
        };
        if found.state != "ready" {
            return Err(Refused::conflict(format!(
                "version {version} is not ready: it is {}",
                found.state
            )));
        }
        match line.switch(version, &shared.store) {
            Err(Error::Riad(error @ (riad::Error::TooFew { .. } | riad::Error::NotCalibrated { .. }))) => {
                return Err(Refused::conflict(error.to_string()));
            }
            switched => switched?,
        }
        for version in review::versions(&line, &shared.store)? {
            review::tell(&line, &shared.events, version);
        }
        let state = line.state(shared.queue.waiting(line.index));
        shared.events.send(Event::Line, &state);
        Ok(state)
    });
    Ok(Json(state.await?))
}
