//! What pages have in common: their style, and what a browser may load.

use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};

/// The style of pages. A checkout may have other ends of lines than a browser reads, and hashes are of what it reads.
pub(crate) fn style() -> String {
    include_str!("../templates/report.css").replace('\r', "")
}

/// What a browser may load: pictures inside the file, and this style and script and no others.
pub(crate) fn content_policy(style: &str, script: Option<&str>) -> String {
    let script = script.map_or("'none'".to_owned(), |script| format!("'sha256-{}'", hash(script)));
    format!(
        "default-src 'none'; img-src data:; style-src 'sha256-{}'; script-src {script}; base-uri 'none'; form-action 'none'",
        hash(style)
    )
}

/// As a content security policy names an allowed text.
fn hash(text: &str) -> String {
    BASE64_STANDARD.encode(Sha256::digest(text))
}
