//! What is answered over HTTP.

mod answer;
mod answering;
mod auth;
mod body;
mod etag;
mod events;
mod extract;
mod good;
mod inference;
mod inspect;
mod inspections;
mod lines;
mod looking;
mod making;
mod metrics;
mod page;
mod pictures;
mod pixels;
mod versions;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::DefaultBodyLimit,
    http::{HeaderValue, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::sync::Semaphore;
use tower_http::{catch_panic::CatchPanicLayer, set_header::SetResponseHeaderLayer};
use utoipa::OpenApi;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt},
    routes,
};

use self::answer::Refused;
use crate::{
    draft::MOST_MASK,
    line::{Line, Numbers},
    shared::Shared,
    store::{Labelled, Origin},
};

/// The page may load what is ours and nothing else, and nobody may put it into a page of theirs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Room for large answers that wait to be read.
pub(crate) fn answers() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(answering::ROOM))
}

/// How many of the largest pictures a form may have.
const PICTURES: usize = 16;

/// How long the body of a request that is no picture may be.
const MOST_JSON: usize = 1 << 20;

#[derive(OpenApi)]
#[openapi(
    components(schemas(Labelled, Numbers, Origin, pictures::Purpose)),
    info(
        title = "riad serve",
        description = "Finds defects in pictures of products. Times are RFC 3339 in UTC. If a service has a token, requests carry it as \
                   `Authorization: Bearer TOKEN`."
    )
)]
struct Description;

/// All that is answered.
pub(crate) fn router(shared: Shared) -> Router {
    // A form has a little around the picture.
    let most = usize::try_from(shared.most_bytes)
        .unwrap_or(usize::MAX)
        .saturating_add(MOST_JSON);
    let pictures = DefaultBodyLimit::max(most);
    let several = DefaultBodyLimit::max(most.saturating_mul(PICTURES));
    let (api, mut description) = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(lines::all, making::begin))
        .routes(routes!(lines::one, making::delete))
        .routes(routes!(lines::shift))
        .routes(UtoipaMethodRouterExt::layer(routes!(inspect::inspect), pictures))
        .routes(UtoipaMethodRouterExt::layer(routes!(inference::infer), pictures))
        .routes(routes!(inference::server))
        .routes(routes!(inference::live))
        .routes(routes!(inference::ready))
        .routes(routes!(inference::model))
        .routes(routes!(inference::model_ready))
        .routes(routes!(making::made))
        .routes(routes!(making::plans))
        .routes(routes!(making::train, making::stop))
        .routes(routes!(making::put_on_line))
        .routes(UtoipaMethodRouterExt::layer(routes!(good::add), several))
        .routes(routes!(good::good))
        .routes(routes!(good::remove))
        .routes(routes!(good::good_thumbnail))
        .routes(routes!(good::good_image))
        .routes(UtoipaMethodRouterExt::layer(
            routes!(looking::region, looking::set_region, looking::remove_region),
            DefaultBodyLimit::max(MOST_MASK),
        ))
        .routes(routes!(looking::set_white_level))
        .routes(routes!(good::suspects))
        .routes(routes!(inspections::list))
        .routes(routes!(inspections::one))
        .routes(routes!(inspections::label))
        .routes(routes!(inspections::scores))
        .routes(routes!(pictures::image))
        .routes(routes!(pictures::thumbnail))
        .routes(routes!(pictures::heat_map))
        .routes(routes!(pictures::overlay))
        .routes(routes!(pictures::numbers))
        .routes(routes!(versions::list))
        .routes(routes!(versions::make))
        .routes(routes!(versions::use_one))
        .routes(routes!(events::events))
        .routes(routes!(metrics::health))
        .routes(routes!(metrics::ready))
        .routes(routes!(metrics::metrics))
        .split_for_parts();
    env!("CARGO_PKG_VERSION").clone_into(&mut description.info.version);
    let description = Arc::new(description);
    let header = |name, value| SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value));
    api.route(
        "/openapi.json",
        get(move || async move { Json(description.as_ref().clone()) }),
    )
    .route("/login", get(auth::login).post(auth::log_in))
    .route("/", get(page::index))
    .route("/assets/{name}", get(page::asset))
    .fallback(|| async { Refused::not_found("there is nothing at this address") })
    .method_not_allowed_fallback(method_not_allowed)
    .layer(DefaultBodyLimit::max(MOST_JSON))
    .layer(middleware::from_fn_with_state(shared.clone(), answering::within_room))
    .layer(middleware::from_fn_with_state(shared.clone(), body::in_time))
    .layer(middleware::from_fn_with_state(shared.clone(), auth::guard))
    .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
        Refused::internal().into_response()
    }))
    .layer(header(header::CONTENT_SECURITY_POLICY, POLICY))
    .layer(header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
    .layer(header(header::REFERRER_POLICY, "same-origin"))
    .layer(header(header::CACHE_CONTROL, "no-store"))
    .with_state(shared)
}

async fn method_not_allowed() -> Response {
    let mut response = Refused::bad_request("this address does not take that method").into_response();
    *response.status_mut() = axum::http::StatusCode::METHOD_NOT_ALLOWED;
    response
}

/// The line of a name.
fn line_of(shared: &Shared, name: &str) -> Result<Arc<Line>, Refused> {
    if let Some(line) = shared.lines.find(name) {
        return Ok(line);
    }
    Err(match shared.drafts.find(name) {
        Some(draft) => Refused::conflict(draft.why_not()),
        None => Refused::not_found(format!("there is no line {name:?}")),
    })
}

/// Does something that waits for the disk or computes.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Refused> + Send + 'static) -> Result<T, Refused> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(Refused::internal()))
}
