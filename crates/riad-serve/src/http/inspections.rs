//! Inspections that were made.

use std::time::SystemTime;

use axum::{
    Json,
    extract::{RawQuery, State},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    answer::{Problem, Refused},
    blocking,
    extract::{self, Path, Query},
    line_of,
};
use crate::{
    events::Event,
    shared::Shared,
    store::{Dot, Filter, Inspection, Label, parse_time, to_millis},
};

/// Inspections, and where the next ones are.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page {
    inspections: Vec<Inspection>,
    /// The address of the next page.
    next: Option<String>,
}

/// Inspections of a line, the newest first
#[utoipa::path(
    get, path = "/v1/lines/{line}/inspections", tag = "inspections",
    params(("line" = String, Path, description = "The line's name"), Filter),
    responses((status = 200, body = Page), (status = 400, body = Problem), (status = 404, body = Problem))
)]
pub(super) async fn list(
    State(shared): State<Shared>,
    Path(line): Path<String>,
    Query(filter): Query<Filter>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page>, Refused> {
    let line = line_of(&shared, &line)?;
    let time = |text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => parse_time(text)
            .map(Some)
            .ok_or_else(|| Refused::bad_request(format!("{text:?} is no time such as 2026-11-29T06:00:00Z"))),
    };
    let limit = filter.limit.unwrap_or(50);
    if !(1..=500).contains(&limit) {
        return Err(Refused::bad_request("limit is from 1 to 500"));
    }
    let (from, to) = (time(&filter.from)?, time(&filter.to)?);
    let name = line.name.clone();
    let inspections = blocking(move || Ok(shared.store.inspections(&line.name, &filter, from, to)?)).await?;
    let next = inspections
        .last()
        .filter(|_| inspections.len() == limit as usize)
        .map(|last| {
            let query = query.unwrap_or_default();
            let others = query
                .split('&')
                .filter(|pair| !pair.is_empty() && !pair.starts_with("before="));
            let query: Vec<_> = others
                .map(str::to_owned)
                .chain([format!("before={}", last.id)])
                .collect();
            format!("/v1/lines/{name}/inspections?{}", query.join("&"))
        });
    Ok(Json(Page { inspections, next }))
}

/// One inspection
#[utoipa::path(
    get, path = "/v1/lines/{line}/inspections/{id}", tag = "inspections",
    params(("line" = String, Path, description = "The line's name"), ("id" = i64, Path, description = "The inspection's number")),
    responses((status = 200, body = Inspection), (status = 404, body = Problem))
)]
pub(super) async fn one(
    State(shared): State<Shared>,
    Path((line, id)): Path<(String, i64)>,
) -> Result<Json<Inspection>, Refused> {
    let line = line_of(&shared, &line)?;
    blocking(move || found(shared.store.inspection(&line.name, id)?, id))
        .await
        .map(Json)
}

pub(super) fn found(inspection: Option<Inspection>, id: i64) -> Result<Inspection, Refused> {
    inspection.ok_or_else(|| Refused::not_found(format!("this line has no inspection {id}")))
}

/// What a person says.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    /// `good`, `defective`, or null to take a label away.
    label: Option<Label>,
}

/// Say what a picture really shows. No label moves a threshold by itself
#[utoipa::path(
    put, path = "/v1/lines/{line}/inspections/{id}/label", tag = "inspections",
    params(("line" = String, Path, description = "The line's name"), ("id" = i64, Path, description = "The inspection's number")),
    request_body = Said,
    responses((status = 200, body = Inspection), (status = 400, body = Problem), (status = 404, body = Problem))
)]
pub(super) async fn label(
    State(shared): State<Shared>,
    Path((line, id)): Path<(String, i64)>,
    extract::Json(said): extract::Json<Said>,
) -> Result<Json<Inspection>, Refused> {
    let line = line_of(&shared, &line)?;
    let labelled = blocking(move || {
        let now = to_millis(SystemTime::now());
        let labelled = {
            let line = line.clone();
            move |inspection: &Inspection, answers| line.live().labelled(inspection, answers)
        };
        let inspection = found(shared.store.label(&line.name, id, said.label, now, labelled)?, id)?;
        shared.events.send(Event::Label, &inspection);
        let state = line.state(shared.queue.waiting(line.index));
        shared.events.send(Event::Line, &state);
        Ok(inspection)
    });
    labelled.await.map(Json)
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Last {
    /// How many at most, from 1 to 10,000: 500 by default.
    #[param(minimum = 1, maximum = 10_000)]
    limit: Option<u32>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Scores {
    scores: Vec<Dot>,
}

/// The last scores of a line, the oldest first, for a chart
#[utoipa::path(
    get, path = "/v1/lines/{line}/scores", tag = "inspections",
    params(("line" = String, Path, description = "The line's name"), Last),
    responses((status = 200, body = Scores), (status = 400, body = Problem), (status = 404, body = Problem))
)]
pub(super) async fn scores(
    State(shared): State<Shared>,
    Path(line): Path<String>,
    Query(last): Query<Last>,
) -> Result<Json<Scores>, Refused> {
    let line = line_of(&shared, &line)?;
    let limit = last.limit.unwrap_or(500);
    if !(1..=10_000).contains(&limit) {
        return Err(Refused::bad_request("limit is from 1 to 10000"));
    }
    let scores = blocking(move || Ok(shared.store.dots(&line.name, limit)?)).await?;
    Ok(Json(Scores { scores }))
}
