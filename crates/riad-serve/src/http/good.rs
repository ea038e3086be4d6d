//! The good pictures that a line is made of.

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRequest, Multipart, Request, State},
    http::{HeaderMap, header},
    response::Response,
};
use riad::Size;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    answer::{Binary, Problem, Refused},
    blocking,
    body::broken,
    etag::Known,
    extract::{Path, Query},
    inspect::{name_of, received, shown},
    making::draft_of,
    pictures::{jpeg, screen_size, strip_size},
};
use crate::{
    draft::{BeingMade, Draft, Suspect, Taken},
    line::Picture,
    shared::Shared,
    store::GoodRow,
};

/// How many pictures a form may have.
const MOST: usize = 1000;

/// A good picture.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Good {
    /// Its number in this store.
    id: i64,
    /// What its sender calls it.
    name: String,
    bytes: u64,
    width: usize,
    height: usize,
    /// The address of a small one.
    thumbnail: String,
}

impl Good {
    fn of(line: &str, row: GoodRow) -> Self {
        Self {
            thumbnail: format!("/v1/lines/{line}/pictures/{}/thumbnail", row.number),
            id: row.number,
            name: row.name,
            bytes: row.bytes,
            width: row.width,
            height: row.height,
        }
    }
}

/// A file that is no picture of the line.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LeftOut {
    /// What its sender calls it.
    name: String,
    /// Why.
    reason: String,
}

/// What became of pictures that were sent.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Added {
    /// Those that the line has now. One that it had already counts once.
    taken: Vec<Good>,
    /// Those that are left out.
    left_out: Vec<LeftOut>,
    /// How the line goes.
    making: BeingMade,
}

impl Added {
    fn add(&mut self, line: &str, name: String, taken: Taken) {
        match taken {
            Taken::Picture(row) => self.taken.push(Good::of(line, row)),
            Taken::LeftOut(reason) => self.left_out.push(LeftOut { name, reason }),
        }
    }
}

/// Give a line good pictures to be made of
///
/// The body is a picture, or a form with files. Each is decoded once, and one that cannot be is left out and named.
#[utoipa::path(
    post, path = "/v1/lines/{line}/pictures", tag = "making",
    params(
        ("line" = String, Path, description = "The line's name"),
        ("X-Filename" = Option<String>, Header, description = "What the sender calls the picture (percent-encoded UTF-8)"),
    ),
    request_body(content((Binary = "application/octet-stream"), (Binary = "multipart/form-data"))),
    responses(
        (status = 200, body = Added), (status = 400, body = Problem), (status = 404, body = Problem), (status = 408, body = Problem),
        (status = 409, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem), (status = 507, body = Problem),
    )
)]
pub(super) async fn add(
    State(shared): State<Shared>,
    Path(line): Path<String>,
    request: Request,
) -> Result<Json<Added>, Refused> {
    let draft = draft_of(&shared, &line)?;
    let mut added = Added {
        taken: Vec::new(),
        left_out: Vec::new(),
        making: draft.state(),
    };
    let kind = request.headers().get(header::CONTENT_TYPE);
    let is_form = kind.is_some_and(|kind| kind.as_bytes().to_ascii_lowercase().starts_with(b"multipart/form-data"));
    if is_form {
        let form = Multipart::from_request(request, &()).await;
        let mut form = form.map_err(|error| Refused::of_request(error.status(), error.body_text()))?;
        let mut count = 0;
        while let Some(field) = form.next_field().await.map_err(broken)? {
            let Some(name) = field.file_name().map(shown) else {
                continue;
            };
            count += 1;
            if count > MOST {
                return Err(Refused::bad_request(format!(
                    "a form has at most {MOST} pictures here; send several"
                )));
            }
            let (picture, _room) = received(&shared, None, field, shared.most_bytes).await?;
            let taken = take(&shared, &draft, picture, &name).await?;
            added.add(&draft.name, name, taken);
        }
        if count == 0 {
            return Err(Refused::bad_request("the form has no file"));
        }
    } else {
        let name = name_of(request.headers()).unwrap_or_else(|| "picture".to_owned());
        let body = request.into_body().into_data_stream();
        let (picture, _room) = received(&shared, None, body, shared.most_bytes).await?;
        let taken = take(&shared, &draft, picture, &name).await?;
        added.add(&draft.name, name, taken);
    }
    added.making = draft.state();
    draft.tell(&shared.events);
    Ok(Json(added))
}

async fn take(shared: &Shared, draft: &Arc<Draft>, picture: Picture, name: &str) -> Result<Taken, Refused> {
    // What is in memory found no room on the disk.
    let Picture::File(file) = picture else {
        return Err(Refused::full());
    };
    let (shared, draft, name) = (shared.clone(), draft.clone(), name.to_owned());
    blocking(move || Ok(draft.take(&shared.store, &file, &name, shared.drafts.room)?)).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct From {
    /// Those with a larger number, to page on.
    after: Option<i64>,
    /// How many at most, from 1 to 500: 100 by default.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// Good pictures, and where the next ones are.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GoodPage {
    pictures: Vec<Good>,
    /// The address of the next page.
    next: Option<String>,
}

/// The good pictures of a line, in the order in which they came
#[utoipa::path(
    get, path = "/v1/lines/{line}/pictures", tag = "making", params(("line" = String, Path, description = "The line's name"), From),
    responses((status = 200, body = GoodPage), (status = 400, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub(super) async fn good(
    State(shared): State<Shared>,
    Path(line): Path<String>,
    Query(from): Query<From>,
) -> Result<Json<GoodPage>, Refused> {
    let draft = draft_of(&shared, &line)?;
    let limit = from.limit.unwrap_or(100);
    if !(1..=500).contains(&limit) {
        return Err(Refused::bad_request("limit is from 1 to 500"));
    }
    let name = draft.name.clone();
    let rows = blocking(move || Ok(shared.store.good_after(&draft.name, from.after.unwrap_or(0), limit)?)).await?;
    let last = rows.last().filter(|_| rows.len() == limit as usize);
    let next = last.map(|last| format!("/v1/lines/{name}/pictures?limit={limit}&after={}", last.number));
    let pictures = rows.into_iter().map(|row| Good::of(&name, row)).collect();
    Ok(Json(GoodPage { pictures, next }))
}

fn missing(id: i64) -> Refused {
    Refused::not_found(format!("this line has no good picture {id}"))
}

/// Take a good picture out again
#[utoipa::path(
    delete, path = "/v1/lines/{line}/pictures/{id}", tag = "making",
    params(("line" = String, Path, description = "The line's name"), ("id" = i64, Path, description = "The picture's number")),
    responses((status = 200, body = BeingMade), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub(super) async fn remove(
    State(shared): State<Shared>,
    Path((line, id)): Path<(String, i64)>,
) -> Result<Json<BeingMade>, Refused> {
    let draft = draft_of(&shared, &line)?;
    let state = blocking(move || match draft.remove(&shared.store, id)? {
        true => {
            draft.tell(&shared.events);
            Ok(draft.state())
        }
        false => Err(missing(id)),
    });
    Ok(Json(state.await?))
}

/// A small one of a good picture
#[utoipa::path(
    get, path = "/v1/lines/{line}/pictures/{id}/thumbnail", tag = "making",
    params(("line" = String, Path, description = "The line's name"), ("id" = i64, Path, description = "The picture's number")),
    responses((status = 200, content_type = "image/jpeg", body = Binary), (status = 304), (status = 404, body = Problem),
        (status = 409, body = Problem))
)]
pub(super) async fn good_thumbnail(
    State(shared): State<Shared>,
    Path((line, id)): Path<(String, i64)>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    shown_at(&shared, &line, id, (&headers, strip_size)).await
}

/// A good picture, as large as a screen
#[utoipa::path(
    get, path = "/v1/lines/{line}/pictures/{id}/image", tag = "making",
    params(("line" = String, Path, description = "The line's name"), ("id" = i64, Path, description = "The picture's number")),
    responses((status = 200, content_type = "image/jpeg", body = Binary), (status = 304), (status = 404, body = Problem),
        (status = 409, body = Problem))
)]
pub(super) async fn good_image(
    State(shared): State<Shared>,
    Path((line, id)): Path<(String, i64)>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    shown_at(&shared, &line, id, (&headers, screen_size)).await
}

/// A good picture of a size, unless the browser has it.
async fn shown_at(
    shared: &Shared,
    line: &str,
    id: i64,
    (headers, size): (&HeaderMap, fn(Size) -> Size),
) -> Result<Response, Refused> {
    let draft = draft_of(shared, line)?;
    let (store, name) = (shared.store.clone(), draft.name.clone());
    let picture = blocking(move || store.good_one(&name, id)?.ok_or_else(|| missing(id))).await?;
    // Another store may have another picture of this number, and another white level makes another picture of it.
    let of = picture.sha256.get(..16).unwrap_or_default();
    let known = Known::of(&format!("{of}-{}", draft.white_level().unwrap_or(0)), headers);
    if known.is_there {
        return Ok(known.unchanged());
    }
    // Drawing is nobody's hurry, and must not take the cores from the lines.
    let _turn = shared.drawing.acquire().await.map_err(|_| Refused::internal())?;
    let drawn = blocking(move || jpeg(&draft.drawn(&picture, size(picture.size()))?)).await?;
    Ok(known.with("image/jpeg", drawn))
}

/// Pictures to look at.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Suspects {
    suspects: Vec<Suspect>,
    /// How many pictures were looked at.
    looked_at: usize,
}

/// The good pictures that a person should look at before anything is learned from them, as `riad check` finds them
#[utoipa::path(
    get, path = "/v1/lines/{line}/suspects", tag = "making", params(("line" = String, Path, description = "The line's name")),
    responses((status = 200, body = Suspects), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub(super) async fn suspects(
    State(shared): State<Shared>,
    Path(line): Path<String>,
) -> Result<Json<Suspects>, Refused> {
    let draft = draft_of(&shared, &line)?;
    let _turn = shared.looking.acquire().await.map_err(|_| Refused::internal())?;
    let shared = shared.clone();
    let found = blocking(move || {
        let suspects = draft.suspects(&shared.store)?;
        Ok(Suspects {
            suspects: suspects.to_vec(),
            looked_at: draft.pictures(),
        })
    });
    Ok(Json(found.await?))
}
