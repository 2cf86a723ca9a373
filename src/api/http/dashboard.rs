//! The dashboard: the page at `/` and the files that it loads.
//!
//! They come from Vite, are part of the binary, and hold nothing of anybody, so no token is asked for: what the page shows it
//! fetches as everyone else does. It may load nothing from elsewhere and run nothing that was written into it.
//! A binary that was built without it says how it is built.
//! Not here: any address beside those files. The page keeps where it is behind `#`, so there are no deep paths.

use std::borrow::Cow;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rust_embed::{Embed, EmbeddedFile};

use super::error::HttpError;
use super::ranges::has_already;
use crate::dispatcher::Dispatcher;

/// What Vite built. A debug build reads it from the disk, so that a change of the page compiles no Rust and tests see the
/// page that there is; only release builds carry it, and `build.rs` says when it has changed.
#[derive(Embed)]
#[folder = "dashboard/dist/site"]
#[allow_missing = true]
struct Site;

/// What is shown in place of a dashboard that was not built. It loads nothing and runs nothing.
const WITHOUT: &str = include_str!("front_page.html");
const WITHOUT_POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");

/// Stands in the page where the nonce of its style elements belongs, which the terminal makes while it runs.
const NONCE: &str = "__NONCE__";

/// Of what a page could ask the browser for, the dashboard asks for nothing.
const PERMISSIONS: HeaderValue =
    HeaderValue::from_static("camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()");

/// A year, the most that is understood: names under `assets` hold a hash of the content.
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Kept, but asked for again each time.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

/// Compressed copies that Vite puts beside a file where they are smaller, the smallest first: encoding and ending.
const ENCODINGS: [(HeaderValue, &str); 2] =
    [(HeaderValue::from_static("br"), ".br"), (HeaderValue::from_static("gzip"), ".gz")];

/// The page and its files.
pub(super) fn routes() -> Router<Dispatcher> {
    let file = get(async |uri: Uri, headers: HeaderMap| file(uri.path(), &headers));
    Router::new()
        .route("/", get(async || page(Site::get("index.html"))))
        .route("/icon.svg", file.clone())
        .route("/assets/{*path}", file)
}

/// The page, each time with another nonce. So no two answers are the same, and there is no `ETag`: a copy that a browser
/// kept would come with the nonce of another answer.
fn page(index: Option<EmbeddedFile>) -> Response {
    let mut response = match index {
        None => ([(header::CONTENT_SECURITY_POLICY, WITHOUT_POLICY)], Html(WITHOUT)).into_response(),
        Some(index) => {
            let nonce = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>());
            let html = String::from_utf8_lossy(&index.data).replace(NONCE, &nonce);
            ([(header::CONTENT_SECURITY_POLICY, policy(&nonce))], Html(html)).into_response()
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, ASK_AGAIN);
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
    headers.insert(HeaderName::from_static("permissions-policy"), PERMISSIONS);
    response
}

/// Everything from here, nothing from elsewhere; pictures also from what the page itself fetched with its token.
fn policy(nonce: &str) -> HeaderValue {
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' blob:; connect-src 'self'; \
         font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("letters, digits and signs are a header value")
}

/// A file at the path of its address, as small as the browser takes it.
fn file(path: &str, asked: &HeaderMap) -> Response {
    let name = path.trim_start_matches('/');
    let Some(content_type) = content_type(name) else { return HttpError::no_route().into_response() };
    let Some((encoding, file)) = smallest(name, asked) else { return HttpError::no_route().into_response() };
    let etag = URL_SAFE_NO_PAD.encode(file.metadata.sha256_hash());
    let mut response = if has_already(asked, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = body(file.data).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        response.headers_mut().extend(encoding.map(|encoding| (header::CONTENT_ENCODING, encoding)));
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, if name.starts_with("assets/") { FOREVER } else { ASK_AGAIN });
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(header::ETAG, HeaderValue::try_from(format!("\"{etag}\"")).expect("base64 is a header value"));
    response
}

/// The type of what Vite writes; nothing for what is not to be had under its own name, such as the page and compressed copies.
fn content_type(name: &str) -> Option<&'static str> {
    match name.rsplit_once('.')?.1 {
        // On the disk of a debug build it would lead to other files than its address says.
        _ if name.contains("..") => None,
        "css" => Some("text/css; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        "woff2" => Some("font/woff2"),
        _ => None,
    }
}

/// A file in the first encoding that the browser takes and that there is, or as it is.
fn smallest(name: &str, asked: &HeaderMap) -> Option<(Option<HeaderValue>, EmbeddedFile)> {
    let copies = ENCODINGS.into_iter().filter(|(encoding, _)| accepts(asked, encoding));
    let mut copies =
        copies.filter_map(|(encoding, ending)| Some((Some(encoding), Site::get(&format!("{name}{ending}"))?)));
    copies.next().or_else(|| Some((None, Site::get(name)?)))
}

/// Whether `Accept-Encoding` names this one, and not to refuse it.
fn accepts(asked: &HeaderMap, encoding: &HeaderValue) -> bool {
    let lists = asked.get_all(header::ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|entry| {
        let (name, weight) = entry.split_once(';').unwrap_or((entry, ""));
        let weight = weight.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f32>);
        encoding == name.trim() && weight.is_ok_and(|weight| weight > 0.0)
    })
}

/// What is part of the binary is sent from where it is.
fn body(data: Cow<'static, [u8]>) -> Body {
    Body::from(match data {
        Cow::Borrowed(data) => Bytes::from_static(data),
        Cow::Owned(data) => Bytes::from(data),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_binary_without_the_dashboard_says_how_it_is_built() {
        let response = page(None);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_SECURITY_POLICY], WITHOUT_POLICY);
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        for said in ["Node.js", "make build", "/ws"] {
            assert!(text.contains(said), "{said}");
        }
    }

    #[test]
    fn an_encoding_is_used_only_where_it_is_taken() {
        for (list, br, gzip) in [
            ("gzip, deflate, br, zstd", true, true),
            ("gzip;q=0.5, br ; q=0", false, true),
            ("br;q=1.0", true, false),
            ("brotli, x-gzip", false, false),
            ("gzip;q=nonsense", false, false),
            ("*", false, false),
            ("", false, false),
        ] {
            let mut asked = HeaderMap::new();
            asked.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(list));
            assert_eq!(ENCODINGS.map(|(encoding, _)| accepts(&asked, &encoding)), [br, gzip], "{list}");
        }
    }

    #[test]
    fn only_what_the_page_loads_has_an_address() {
        assert!(content_type("assets/index-B15L5iVa.js").is_some());
        for name in
            ["index.html", "assets/index-B15L5iVa.js.br", "assets/index.css.gz", "assets", "assets/../icon.svg", ""]
        {
            assert_eq!(content_type(name), None, "{name}");
        }
    }
}
