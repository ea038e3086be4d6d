//! The page for people: files that are part of the program.

use std::sync::LazyLock;

use axum::{
    http::HeaderMap,
    response::{IntoResponse, Response},
};

use super::{answer::Refused, etag::Known, extract::Path};

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
    "announce.js": "text/javascript; charset=utf-8",
    "answer.js": "text/javascript; charset=utf-8",
    "api.js": "text/javascript; charset=utf-8",
    "board.js": "text/javascript; charset=utf-8",
    "chart.js": "text/javascript; charset=utf-8",
    "check-step.js": "text/javascript; charset=utf-8",
    "confirm.js": "text/javascript; charset=utf-8",
    "counts.js": "text/javascript; charset=utf-8",
    "detail.js": "text/javascript; charset=utf-8",
    "dom.js": "text/javascript; charset=utf-8",
    "drop.js": "text/javascript; charset=utf-8",
    "facts.js": "text/javascript; charset=utf-8",
    "files.js": "text/javascript; charset=utf-8",
    "found-step.js": "text/javascript; charset=utf-8",
    "header.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "index.html": "text/html; charset=utf-8",
    "line-view.js": "text/javascript; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "login.html": "text/html; charset=utf-8",
    "loss-chart.js": "text/javascript; charset=utf-8",
    "main.js": "text/javascript; charset=utf-8",
    "maker.css": "text/css; charset=utf-8",
    "maker.js": "text/javascript; charset=utf-8",
    "new-line.js": "text/javascript; charset=utf-8",
    "order.js": "text/javascript; charset=utf-8",
    "overview.js": "text/javascript; charset=utf-8",
    "picture.js": "text/javascript; charset=utf-8",
    "pictures-step.js": "text/javascript; charset=utf-8",
    "plan-step.js": "text/javascript; charset=utf-8",
    "region-note.js": "text/javascript; charset=utf-8",
    "region-step.js": "text/javascript; charset=utf-8",
    "region.js": "text/javascript; charset=utf-8",
    "review.js": "text/javascript; charset=utf-8",
    "standing.js": "text/javascript; charset=utf-8",
    "state.js": "text/javascript; charset=utf-8",
    "strip.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "theme.js": "text/javascript; charset=utf-8",
    "toast.js": "text/javascript; charset=utf-8",
    "training-step.js": "text/javascript; charset=utf-8",
    "uploads.js": "text/javascript; charset=utf-8",
    "versions.js": "text/javascript; charset=utf-8",
    "views.css": "text/css; charset=utf-8",
    "words.js": "text/javascript; charset=utf-8",
};

/// By what a browser knows that it has a file already: files change only with the program.
static TAG: LazyLock<String> = LazyLock::new(|| {
    let all: Vec<u8> = ASSETS.iter().flat_map(|asset| asset.bytes).copied().collect();
    let mut digits = riad::files::sha256_of_bytes(&all);
    digits.truncate(16);
    digits
});

fn of(name: &str, headers: &HeaderMap) -> Option<Response> {
    let asset = ASSETS.iter().find(|asset| asset.name == name)?;
    let known = Known::of(&TAG, headers);
    Some(match known.is_there {
        true => known.unchanged(),
        false => known.with(asset.kind, asset.bytes),
    })
}

pub(super) async fn index(headers: HeaderMap) -> Response {
    of("index.html", &headers).unwrap_or_else(|| Refused::internal().into_response())
}

pub(super) fn login() -> Response {
    of("login.html", &HeaderMap::new()).unwrap_or_else(|| Refused::internal().into_response())
}

pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let found = of(&name, &headers).filter(|_| !name.ends_with(".html"));
    found.unwrap_or_else(|| Refused::not_found("the page has no such file").into_response())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn every_file_of_the_page_is_part_of_the_program() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
        let files = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let names = ASSETS.iter().map(|asset| asset.name.to_owned());
        assert_eq!(names.collect::<BTreeSet<_>>(), files.collect::<BTreeSet<_>>());
        let bytes: usize = ASSETS.iter().map(|asset| asset.bytes.len()).sum();
        assert!(bytes < 300_000, "the page has {bytes} bytes");
    }
}
