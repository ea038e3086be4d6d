//! The page for people: files that are part of the program.

use axum::{
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::answer::Refused;

struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

macro_rules! assets {
    ($($name:literal: $kind:literal),* $(,)?) => {
        &[$(Asset { name: $name, kind: $kind, bytes: include_bytes!(concat!("../../page/", $name)) }),*]
    };
}

const ASSETS: &[Asset] = assets! {
    "index.html": "text/html; charset=utf-8",
    "login.html": "text/html; charset=utf-8",
};

fn of(name: &str, status: StatusCode) -> Option<Response> {
    let asset = ASSETS.iter().find(|asset| asset.name == name)?;
    Some((status, [(header::CONTENT_TYPE, asset.kind)], asset.bytes).into_response())
}

pub(super) async fn index() -> Response {
    of("index.html", StatusCode::OK).unwrap_or_else(|| Refused::internal().into_response())
}

pub(super) fn login(status: StatusCode) -> Response {
    of("login.html", status).unwrap_or_else(|| Refused::internal().into_response())
}

pub(super) async fn asset(Path(name): Path<String>) -> Response {
    of(&name, StatusCode::OK).unwrap_or_else(|| Refused::not_found("the page has no such file").into_response())
}
