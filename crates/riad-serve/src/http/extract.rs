//! What is taken out of a request. What does not fit is answered in the words of [`Refused`].

use axum::extract::{
    FromRequest, FromRequestParts,
    rejection::{BytesRejection, FormRejection, JsonRejection, PathRejection, QueryRejection},
};

use super::answer::Refused;

/// The parts of the address.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Refused))]
pub(super) struct Path<T>(pub(super) T);

/// What stands behind the question mark.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Refused))]
pub(super) struct Query<T>(pub(super) T);

/// The body as JSON.
#[derive(FromRequest)]
#[from_request(via(axum::Json), rejection(Refused))]
pub(super) struct Json<T>(pub(super) T);

/// The body as a form's fields.
#[derive(FromRequest)]
#[from_request(via(axum::Form), rejection(Refused))]
pub(super) struct Form<T>(pub(super) T);

macro_rules! refuses {
    ($($rejection:ty),*) => {
        $(impl From<$rejection> for Refused {
            fn from(rejection: $rejection) -> Self {
                Self::of_request(rejection.status(), rejection.body_text())
            }
        })*
    };
}

refuses!(BytesRejection, FormRejection, JsonRejection, QueryRejection);

impl From<PathRejection> for Refused {
    /// What is no number is the number of nothing.
    fn from(_: PathRejection) -> Self {
        Self::not_found("there is nothing at this address")
    }
}
