//! What a request is answered if it cannot be done.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, Object, RefOr, Schema, SchemaFormat, Type},
};

use crate::{Error, making::NotMade};

/// Why a request cannot be done.
#[derive(Debug)]
pub(crate) struct Refused {
    status: StatusCode,
    kind: Kind,
    words: String,
}

/// By whose fault, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    NotFound,
    BadRequest,
    Unauthorized,
    Forbidden,
    Conflict,
    Busy,
    TooLarge,
    Timeout,
    Unreadable,
    Full,
    Internal,
}

/// What is answered then.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// What is wrong, for people.
    error: String,
    /// By whose fault, for programs.
    kind: Kind,
}

impl Refused {
    fn new(status: StatusCode, kind: Kind, words: impl Into<String>) -> Self {
        let words = words.into();
        Self { status, kind, words }
    }

    /// The picture of an inspection was deleted, by the service or by somebody else.
    pub(crate) fn not_kept(id: i64) -> Self {
        Self::not_found(format!("the picture of inspection {id} is not kept any more"))
    }

    pub(crate) fn not_found(words: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, Kind::NotFound, words)
    }

    pub(crate) fn bad_request(words: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Kind::BadRequest, words)
    }

    /// What a request lacks.
    pub(crate) fn of_request(status: StatusCode, words: String) -> Self {
        match status {
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(status, Kind::TooLarge, words),
            _ => Self::bad_request(words),
        }
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            Kind::Unauthorized,
            "this service takes the token of its --token-file as `Authorization: Bearer TOKEN`",
        )
    }

    pub(crate) fn forbidden(words: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, Kind::Forbidden, words)
    }

    pub(crate) fn conflict(words: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, Kind::Conflict, words)
    }

    pub(crate) fn full() -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, Kind::Full, "the disk is full")
    }

    pub(crate) fn busy() -> Self {
        let words = "too many pictures wait; send this one again in a second";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Kind::Busy, words)
    }

    pub(crate) fn unread() -> Self {
        let words = "too many large answers wait to be read; read them, and ask again in a second";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Kind::Busy, words)
    }

    pub(crate) fn too_large(most: u64) -> Self {
        let words = format!("a picture has at most {most} bytes here");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, Kind::TooLarge, words)
    }

    pub(crate) fn unreadable(words: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, Kind::Unreadable, words)
    }

    pub(crate) fn late() -> Self {
        let words = "the picture was not judged within the time for a request; send it again";
        Self::new(StatusCode::GATEWAY_TIMEOUT, Kind::Timeout, words)
    }

    pub(crate) fn slow() -> Self {
        let words = "the picture did not arrive within the time for a request, or paused on its way";
        Self::new(StatusCode::REQUEST_TIMEOUT, Kind::Timeout, words)
    }

    pub(crate) fn internal() -> Self {
        let words = "this request met a fault of the program; the log has more";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Kind::Internal, words)
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        if error.is_full() {
            return Self::full();
        }
        tracing::error!("{error}");
        Self::internal()
    }
}

impl From<NotMade> for Refused {
    fn from(not_made: NotMade) -> Self {
        match not_made {
            NotMade::Wrong(words) => Self::bad_request(words),
            NotMade::Asked(words) => Self::conflict(words),
            NotMade::Busy => Self::conflict("another model is being made; wait until it is ready"),
            NotMade::Failed(error) => error.into(),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let problem = Problem {
            error: self.words,
            kind: self.kind,
        };
        let mut response = (self.status, Json(problem)).into_response();
        if self.kind == Kind::Busy {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.kind == Kind::Unauthorized {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

/// A file, as a description of the API says it.
pub(crate) struct Binary;

impl PartialSchema for Binary {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::Binary);
        Object::builder().schema_type(Type::String).format(Some(format)).into()
    }
}

impl ToSchema for Binary {}
