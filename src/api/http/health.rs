//! Is it up, is it ready, how much is there: for load balancers, Prometheus and the curious.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::dispatcher::Dispatcher;
use crate::metrics::CONTENT_TYPE;

/// How long the store may take to say that it is there: well below a load balancer's patience.
const STORE_WITHIN: Duration = Duration::from_secs(2);

/// The process is up.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, description = "`ok`", body = String)))]
pub(super) async fn healthz() -> &'static str {
    "ok"
}

/// Work may be sent here.
///
/// The store answers and can be written, and the dispatcher is not about to stop.
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses(
        (status = 200, description = "It may", body = serde_json::Value),
        (status = 503, description = "It may not, and why", body = serde_json::Value),
    ),
)]
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

/// For Prometheus. They name nobody, so no token is asked for.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, description = "Metrics", body = String)))]
pub(super) async fn metrics(State(dispatcher): State<Dispatcher>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE))], dispatcher.measure().await)
}
