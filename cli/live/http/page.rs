//! The page: one document with its style and its scripts inside, and a policy that lets nothing else run.

use std::sync::LazyLock;

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{Html, IntoResponse};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const ZONES: &str = include_str!("zones.js");

static PAGE: LazyLock<String> = LazyLock::new(|| {
    let page = include_str!("page.html");
    page.replacen("{{style}}", STYLE, 1).replacen("{{script}}", SCRIPT, 1).replacen("{{zones}}", ZONES, 1)
});

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)));
    let (style, script, zones) = (hash(STYLE), hash(SCRIPT), hash(ZONES));
    format!(
        "default-src 'none'; style-src {style}; script-src {script} {zones}; img-src 'self' data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// The page and its policy.
pub fn response() -> impl IntoResponse {
    // Base64 is a header value.
    let policy = HeaderValue::from_str(&POLICY).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    let headers: [(HeaderName, HeaderValue); 1] = [(header::CONTENT_SECURITY_POLICY, policy)];
    (headers, Html(PAGE.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_fetches_nothing_from_elsewhere() {
        assert!([STYLE, SCRIPT, ZONES].iter().all(|part| PAGE.contains(part)) && !PAGE.contains("{{"));
        assert!(!PAGE.contains("https://") && !PAGE.contains("innerHTML"));
        assert!(POLICY.starts_with("default-src 'none'"));
    }
}
