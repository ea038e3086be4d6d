//! What callers must show.

use axum::http::{HeaderMap, header};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

const COOKIE: &str = "riad";

/// A token, and the cookie that stands for it.
#[derive(Clone)]
pub(crate) struct Token {
    token: String,
    cookie: String,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Logs are read by others.
        f.write_str("Token")
    }
}

impl Token {
    /// What callers must show.
    pub(crate) fn new(token: String) -> Self {
        // Who reads the cookie does not learn the token, and another token makes it void.
        let cookie = match Hmac::<Sha256>::new_from_slice(token.as_bytes()) {
            Ok(mut mac) => {
                mac.update(b"riad serve: cookie");
                let digits = mac.finalize().into_bytes();
                digits.iter().map(|byte| format!("{byte:02x}")).collect()
            }
            Err(_) => String::new(),
        };
        Self { token, cookie }
    }

    /// Whether this is the token.
    pub(crate) fn is(&self, given: &str) -> bool {
        is_equal(given, &self.token)
    }

    /// What a browser is to keep.
    pub(crate) fn cookie(&self) -> String {
        format!("{COOKIE}={}", self.cookie)
    }

    /// Whether a request shows it.
    pub(crate) fn is_in(&self, headers: &HeaderMap) -> bool {
        let bearer = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        let cookies = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let mut cookies = cookies
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        let cookie = cookies.find(|(name, _)| *name == COOKIE).map(|(_, value)| value);
        bearer.is_some_and(|given| self.is(given)) || cookie.is_some_and(|given| is_equal(given, &self.cookie))
    }
}

/// Takes as long for a nearly right one as for any other.
fn is_equal(given: &str, expected: &str) -> bool {
    !expected.is_empty() && bool::from(given.as_bytes().ct_eq(expected.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_as_bearer_and_as_cookie() {
        let token = Token::new("correct horse".to_owned());
        let with = |name: header::HeaderName, value: String| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            token.is_in(&headers)
        };
        assert!(with(header::AUTHORIZATION, "Bearer correct horse".into()));
        assert!(with(header::COOKIE, format!("a=b; riad={}", token.cookie)));
        assert!(!with(header::AUTHORIZATION, "Bearer correct hors".into()));
        assert!(!with(header::AUTHORIZATION, "Basic correct horse".into()));
        assert!(!with(header::COOKIE, "riad=correct horse".into()));
        assert!(!with(header::COOKIE, format!("driad={}", token.cookie)));
        assert!(!token.is_in(&HeaderMap::new()));
    }
}
