//! Who may ask.
//!
//! Without a token the service listens at this machine's own address only, and answers only requests that name it so: else a page from
//! elsewhere, opened in a browser here, could ask through that browser. With a token, machines send it as a bearer token, and people
//! type it once and get a cookie.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{answer::Refused, extract::Form, page};
use crate::shared::Shared;

/// What nobody needs a token for: it tells nothing, or is how one gets in.
const OPEN: [&str; 4] = ["/login", "/healthz", "/assets/style.css", "/assets/icon.svg"];

/// Lets those through who may ask.
pub(super) async fn guard(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let (headers, path) = (request.headers(), request.uri().path());
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if shared.token.is_none() && !is_local(host) {
        let words = format!("this service has no token and answers only to names of this machine, not to {host:?}");
        return Refused::forbidden(words).into_response();
    }
    // A picture in a page from elsewhere would have no origin, but browsers say where the page is.
    let is_of = |name: &str, value: &str| {
        headers
            .get(name)
            .is_some_and(|said| said.as_bytes() == value.as_bytes())
    };
    if is_of("sec-fetch-site", "cross-site") && !is_of("sec-fetch-mode", "navigate") {
        return Refused::forbidden("a page from elsewhere asked for this").into_response();
    }
    let is_write = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if is_write && !comes_from_here(headers, host) {
        return Refused::forbidden("a page from elsewhere asked for this").into_response();
    }
    let is_open = OPEN.contains(&path);
    match &shared.token {
        Some(token) if !is_open && !token.is_in(headers) => {
            let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
            let is_person = path == "/" && accepts.is_some_and(|accepts| accepts.contains("text/html"));
            if is_person {
                return Redirect::to("/login").into_response();
            }
            Refused::unauthorized().into_response()
        }
        _ => next.run(request).await,
    }
}

/// Whether a host is this machine, by a name that no other machine can have.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost"
        || name
            .parse()
            .is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// Whether no browser says that a page from elsewhere asked. Programs say nothing.
fn comes_from_here(headers: &HeaderMap, host: &str) -> bool {
    match headers.get(header::ORIGIN).map(HeaderValue::to_str) {
        None => true,
        Some(Ok(origin)) => origin.split_once("://").is_some_and(|(_, from)| from == host),
        Some(Err(_)) => false,
    }
}

#[derive(Deserialize)]
pub(super) struct Typed {
    #[serde(default)]
    token: String,
}

/// The page on which a person types the token.
pub(super) async fn login() -> Response {
    page::login()
}

/// Gives a cookie for the right token.
pub(super) async fn log_in(State(shared): State<Shared>, Form(typed): Form<Typed>) -> Response {
    let Some(token) = &shared.token else {
        return Redirect::to("/").into_response();
    };
    if !token.is(typed.token.trim()) {
        return Redirect::to("/login#wrong").into_response();
    }
    let secure = if shared.has_tls { "; Secure" } else { "" };
    let cookie = format!(
        "{}; HttpOnly; SameSite=Strict; Path=/; Max-Age=31536000{secure}",
        token.cookie()
    );
    let mut response = Redirect::to("/").into_response();
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for host in [
            "localhost",
            "localhost:8642",
            "127.0.0.1:8642",
            "127.8.8.8",
            "[::1]:8642",
        ] {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "",
            "example.com",
            "localhost.example.com",
            "192.168.0.2:8642",
            "[::2]:8642",
            "127.0.0.1.example.com",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn a_page_from_elsewhere_is_told_by_its_origin() {
        let from = |origin: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ORIGIN, origin.parse().unwrap());
            comes_from_here(&headers, "127.0.0.1:8642")
        };
        assert!(comes_from_here(&HeaderMap::new(), "127.0.0.1:8642"));
        assert!(from("http://127.0.0.1:8642"));
        for other in [
            "http://127.0.0.1:80",
            "https://example.com",
            "null",
            "http://localhost:8642",
        ] {
            assert!(!from(other), "{other}");
        }
    }
}
