//! What a browser has already.

use axum::{
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};

/// Something that a browser may keep and asks about each time: whether it still has the right one. An address is not enough to know it by,
/// as another store, or another program, may have something else there.
pub(super) struct Known {
    about: [(HeaderName, String); 2],
    /// Whether the browser has it.
    pub(super) is_there: bool,
}

impl Known {
    /// By what it is told from everything else that may have its address. It has no quotation mark.
    pub(super) fn of(tag: &str, headers: &HeaderMap) -> Self {
        let tag = format!("\"{tag}\"");
        let asked = headers.get(header::IF_NONE_MATCH);
        Self {
            is_there: asked.is_some_and(|known| known.as_bytes() == tag.as_bytes()),
            about: [
                (header::ETAG, tag),
                (header::CACHE_CONTROL, "private, no-cache".to_owned()),
            ],
        }
    }

    /// That the browser has it.
    pub(super) fn unchanged(self) -> Response {
        (StatusCode::NOT_MODIFIED, self.about).into_response()
    }

    /// What the browser does not have.
    pub(super) fn with(self, kind: &'static str, body: impl IntoResponse) -> Response {
        (self.about, [(header::CONTENT_TYPE, kind)], body).into_response()
    }
}
