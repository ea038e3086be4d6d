//! How the pictures of a line that is being made are looked at: where, and what is white.

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::HeaderMap,
    response::Response,
};

use super::{
    answer::{Binary, Problem, Refused},
    blocking,
    etag::Known,
    extract::{self, Path},
    making::draft_of,
};
use crate::{
    Error,
    draft::{BeingMade, White},
    shared::Shared,
};

/// Look for defects only where a mask is not black, as `riad train --roi` does. What was learned before is forgotten
///
/// The mask has the proportions of the pictures.
#[utoipa::path(
    put, path = "/v1/lines/{line}/region", tag = "making", params(("line" = String, Path, description = "The line's name")),
    request_body(content((Binary = "image/png"), (Binary = "application/octet-stream"))),
    responses(
        (status = 200, body = BeingMade), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, description = "It does not fit a picture, or cannot be changed now", body = Problem),
        (status = 413, body = Problem), (status = 507, body = Problem)
    )
)]
pub(super) async fn set_region(
    State(shared): State<Shared>,
    Path(line): Path<String>,
    mask: Result<Bytes, BytesRejection>,
) -> Result<Json<BeingMade>, Refused> {
    let (draft, mask) = (draft_of(&shared, &line)?, mask?);
    // A mask may be as large as a picture.
    let _turn = shared.looking.acquire().await.map_err(|_| Refused::internal())?;
    let shared = shared.clone();
    let state = blocking(move || {
        let file = shared.store.pictures().incoming()?;
        std::fs::write(&file, &mask).map_err(Error::file("write", file.to_path_buf()))?;
        draft.set_region(&shared.store, Some(&file))?;
        draft.tell(&shared.events);
        Ok(draft.state())
    });
    Ok(Json(state.await?))
}

/// Look for defects everywhere again. What was learned before is forgotten
#[utoipa::path(
    delete, path = "/v1/lines/{line}/region", tag = "making", params(("line" = String, Path, description = "The line's name")),
    responses((status = 200, body = BeingMade), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub(super) async fn remove_region(
    State(shared): State<Shared>,
    Path(line): Path<String>,
) -> Result<Json<BeingMade>, Refused> {
    let draft = draft_of(&shared, &line)?;
    let state = blocking(move || {
        draft.set_region(&shared.store, None)?;
        draft.tell(&shared.events);
        Ok(draft.state())
    });
    Ok(Json(state.await?))
}

/// The mask of the region where defects are looked for, white inside, of the size of the pictures
#[utoipa::path(
    get, path = "/v1/lines/{line}/region", tag = "making", params(("line" = String, Path, description = "The line's name")),
    responses(
        (status = 200, content_type = "image/png", body = Binary), (status = 304),
        (status = 404, description = "There is no such line, or defects are looked for everywhere", body = Problem),
        (status = 409, body = Problem)
    )
)]
pub(super) async fn region(
    State(shared): State<Shared>,
    Path(line): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let draft = draft_of(&shared, &line)?;
    let region = draft
        .region()
        .ok_or_else(|| Refused::not_found(format!("line {line} looks for defects everywhere")))?;
    let known = Known::of(region.tag(), &headers);
    if known.is_there {
        return Ok(known.unchanged());
    }
    Ok(known.with("image/png", region.png().to_vec()))
}

/// Say which sample value is white in the files of a line, as `riad train --white-level` does. What was learned before is forgotten
#[utoipa::path(
    put, path = "/v1/lines/{line}/white-level", tag = "making", params(("line" = String, Path, description = "The line's name")),
    request_body = White,
    responses(
        (status = 200, body = BeingMade), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, description = "A picture contradicts it, or it cannot be changed now", body = Problem)
    )
)]
pub(super) async fn set_white_level(
    State(shared): State<Shared>,
    Path(line): Path<String>,
    extract::Json(white): extract::Json<White>,
) -> Result<Json<BeingMade>, Refused> {
    let draft = draft_of(&shared, &line)?;
    let _turn = shared.looking.acquire().await.map_err(|_| Refused::internal())?;
    let shared = shared.clone();
    let state = blocking(move || {
        draft.set_white_level(&shared.store, white)?;
        draft.tell(&shared.events);
        Ok(draft.state())
    });
    Ok(Json(state.await?))
}
