//! Lines that are made from nothing: begun, trained, and put to use.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    answer::{Problem, Refused},
    blocking,
    extract::{self, Path, Query},
};
use crate::{
    draft::{BeingMade, Draft, Plan, Plans, Stage},
    events::Event,
    line::LineState,
    shared::Shared,
};

/// The line of a name that is made here.
pub(super) fn draft_of(shared: &Shared, name: &str) -> Result<Arc<Draft>, Refused> {
    shared.drafts.find(name).ok_or_else(|| match shared.lines.find(name) {
        Some(_) => Refused::conflict(format!(
            "line {name} was given to the service when it was started; it was not made here"
        )),
        None => Refused::not_found(format!("there is no line {name:?}")),
    })
}

/// What a line is to be called.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Called {
    /// Letters, digits, `-` and `_`.
    name: String,
}

/// Begin to make a line from good pictures. It judges nothing until it is put to use
#[utoipa::path(
    post, path = "/v1/lines", tag = "making", request_body = Called,
    responses((status = 201, body = BeingMade), (status = 400, body = Problem), (status = 409, body = Problem))
)]
pub(super) async fn begin(
    State(shared): State<Shared>,
    extract::Json(called): extract::Json<Called>,
) -> Result<(StatusCode, Json<BeingMade>), Refused> {
    let state = blocking(move || {
        let taken: Vec<_> = shared.lines.all().iter().map(|line| line.name.clone()).collect();
        let draft = shared.drafts.begin(&called.name, &taken, &shared.store)?;
        shared.events.send(Event::Lines, &());
        Ok(draft.state())
    });
    Ok((StatusCode::CREATED, Json(state.await?)))
}

/// How the making of a line goes or went
#[utoipa::path(
    get, path = "/v1/lines/{line}/making", tag = "making", params(("line" = String, Path, description = "The line's name")),
    responses((status = 200, body = BeingMade), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub(super) async fn made(State(shared): State<Shared>, Path(line): Path<String>) -> Result<Json<BeingMade>, Refused> {
    Ok(Json(draft_of(&shared, &line)?.state()))
}

/// Delete a line that was made here and has judged no picture, with its pictures and models
#[utoipa::path(
    delete, path = "/v1/lines/{line}", tag = "making", params(("line" = String, Path, description = "The line's name")),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub(super) async fn delete(State(shared): State<Shared>, Path(line): Path<String>) -> Result<StatusCode, Refused> {
    let draft = draft_of(&shared, &line)?;
    blocking(move || {
        let (lines, making) = (&shared.lines, &shared.making);
        shared.drafts.delete(&draft, lines, making, &shared.store)?;
        shared.events.send(Event::Lines, &());
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only networks for images of this height and width, from 32 to 512 pixels.
    #[param(minimum = 32, maximum = 512)]
    size: Option<usize>,
}

/// The ways to train a line's model, with the time that each takes on this machine. The first answer takes a while: speeds are measured
#[utoipa::path(
    get, path = "/v1/lines/{line}/plans", tag = "making", params(("line" = String, Path, description = "The line's name"), Which),
    responses(
        (status = 200, body = Plans), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, description = "It has too few pictures, or something else is being made", body = Problem)
    )
)]
pub(super) async fn plans(
    State(shared): State<Shared>,
    Path(line): Path<String>,
    Query(which): Query<Which>,
) -> Result<Json<Plans>, Refused> {
    let draft = draft_of(&shared, &line)?;
    let _turn = shared.looking.acquire().await.map_err(|_| Refused::internal())?;
    let shared = shared.clone();
    let plans = blocking(move || {
        let begin = || shared.making.begin(&draft.name);
        let speeds = (shared.drafts.measured(), shared.lines.compute());
        Ok(draft.plans(which.size, speeds, begin, &shared.store)?)
    });
    Ok(Json(plans.await?))
}

/// Train a line's model in the background, or go on with a training of the same plan that was broken off or failed
#[utoipa::path(
    post, path = "/v1/lines/{line}/train", tag = "making", params(("line" = String, Path, description = "The line's name")),
    request_body = Plan,
    responses(
        (status = 202, body = BeingMade), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, description = "It has too few pictures, or something else is being made", body = Problem)
    )
)]
pub(super) async fn train(
    State(shared): State<Shared>,
    Path(line): Path<String>,
    extract::Json(plan): extract::Json<Plan>,
) -> Result<(StatusCode, Json<BeingMade>), Refused> {
    let draft = draft_of(&shared, &line)?;
    let state = blocking(move || {
        let to = (&shared.store, &shared.events);
        Ok(draft.train(plan, &shared.making, to, shared.lines.compute())?)
    });
    Ok((StatusCode::ACCEPTED, Json(state.await?)))
}

/// Stop the training of a line's model. Nothing is lost: it can go on
#[utoipa::path(
    delete, path = "/v1/lines/{line}/train", tag = "making", params(("line" = String, Path, description = "The line's name")),
    responses((status = 202, body = BeingMade), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub(super) async fn stop(
    State(shared): State<Shared>,
    Path(line): Path<String>,
) -> Result<(StatusCode, Json<BeingMade>), Refused> {
    let draft = draft_of(&shared, &line)?;
    // A version of the line may be in the making instead.
    if draft.state().state == Stage::Training {
        shared.making.stop(&draft.name);
    }
    Ok((StatusCode::ACCEPTED, Json(draft.state())))
}

/// Put a line to use whose model is trained: it judges pictures from now on
#[utoipa::path(
    post, path = "/v1/lines/{line}/use", tag = "making", params(("line" = String, Path, description = "The line's name")),
    responses((status = 200, body = LineState), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub(super) async fn put_on_line(
    State(shared): State<Shared>,
    Path(line): Path<String>,
) -> Result<Json<LineState>, Refused> {
    let draft = draft_of(&shared, &line)?;
    let state = blocking(move || {
        let line = draft.put_on_line(&shared.lines, &shared.store)?;
        draft.tell(&shared.events);
        shared.events.send(Event::Lines, &());
        Ok(line.state(shared.queue.waiting(line.index)))
    });
    Ok(Json(state.await?))
}
