//! Is it up, is it ready, how much is there: for load balancers, Prometheus and the curious.

use std::fmt::Write;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde_json::json;

use super::HttpError;
use crate::dispatcher::Dispatcher;

/// How long the store may take to say that it is there: well below a load balancer's patience.
const STORE_WITHIN: Duration = Duration::from_secs(2);

/// What a browser is shown.
const FRONT_PAGE: &str = include_str!("front_page.html");

/// The front page is one document: it loads nothing, runs nothing, and nobody may frame it.
const FRONT_PAGE_POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");

/// The process is up.
pub(super) async fn healthz() -> &'static str {
    "ok"
}

/// Work may be sent here: the store answers and can be written, and the dispatcher is not about to stop.
pub(super) async fn readyz(State(dispatcher): State<Dispatcher>) -> Response {
    if dispatcher.shutdown().draining().is_cancelled() {
        return not_ready("draining");
    }
    match tokio::time::timeout(STORE_WITHIN, dispatcher.check_store()).await {
        Ok(Ok(())) => Json(json!({ "status": "ready" })).into_response(),
        Ok(Err(_)) | Err(_) => not_ready("store unavailable"),
    }
}

fn not_ready(status: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": status }))).into_response()
}

/// Counts, in the text format of Prometheus. They name nobody, so no token is asked for.
pub(super) async fn metrics(State(dispatcher): State<Dispatcher>) -> Result<Response, HttpError> {
    let pending: usize = dispatcher.store().ready().await?.iter().map(|class| class.len).sum();
    let workers = dispatcher.store().workers().await?.len();
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, labels: &str, value: usize| {
        // Writing to a string cannot fail.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name}{labels} {value}\n");
    };
    let version = concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}");
    gauge("gangline_build_info", "The version that runs.", version, 1);
    gauge("gangline_jobs_pending", "Jobs that wait for a worker.", "", pending);
    gauge("gangline_workers", "Workers that are known, offline ones included.", "", workers);
    gauge("gangline_followed_logs", "Logs that are followed through this instance.", "", dispatcher.hub().followed());
    let content_type: (HeaderName, _) = (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4"));
    Ok(([content_type], text).into_response())
}

/// Says what this is.
pub(super) async fn front_page() -> impl IntoResponse {
    ([(header::CONTENT_SECURITY_POLICY, FRONT_PAGE_POLICY)], Html(FRONT_PAGE))
}
