//! HTTP beside the WebSocket: health, files, raw output, the dashboard.
//!
//! Every answer that is no file is JSON, errors as `{"error": {…}}` with the fields of an `error`
//! frame. Bodies stream in both directions, so that memory does not grow with the size of a file.
//! Not here: frames (`api::ws`), what a role may do with jobs (`dispatcher`).

pub(super) mod address;
pub(super) mod artifacts;
pub(super) mod caller;
mod dashboard;
pub(super) mod disposition;
pub(super) mod error;
mod health;
mod internal;
mod openapi;
mod output;
pub(super) mod ranges;
mod resumable;
pub(super) mod uploads;

use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::get;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::rate::Rate;
use crate::blobs::NEIGHBOURS_ROUTE;
use crate::dispatcher::Dispatcher;

use self::error::HttpError;
use self::openapi::Documents;
use super::compat;

/// All routes but the WebSocket's, those of the older systems too. Routes that are added to it later answer a wrong method by
/// themselves.
pub fn router(dispatcher: Dispatcher) -> Router {
    let limits = &dispatcher.settings().limits;
    let requests = Arc::new(Rate::per_second(limits.requests_per_second, limits.request_burst));
    let door = Door { dispatcher: dispatcher.clone(), requests };
    let (routes, api) = OpenApiRouter::with_openapi(openapi::Base::openapi())
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .routes(routes!(uploads::put))
        .routes(routes!(uploads::get))
        .routes(routes!(resumable::about, resumable::begin))
        .routes(routes!(resumable::progress, resumable::go_on, resumable::end))
        .routes(routes!(output::get))
        .routes(routes!(artifacts::list))
        .routes(routes!(artifacts::get, artifacts::put))
        .merge(compat::routes())
        .split_for_parts();
    let documents = Router::new()
        .route("/openapi.json", get(openapi::openapi))
        .route("/asyncapi.json", get(openapi::asyncapi))
        .with_state(Documents::new(api));
    routes
        .merge(documents)
        .merge(dashboard::routes())
        .route(NEIGHBOURS_ROUTE, get(internal::list))
        .route(&format!("{NEIGHBOURS_ROUTE}/{{*path}}"), get(internal::get))
        .method_not_allowed_fallback(async || HttpError::method_not_allowed())
        .fallback(async || HttpError::no_route())
        .layer(axum::middleware::map_response(never_guess))
        .layer(axum::middleware::from_fn_with_state(door, address::limit))
        .layer(axum::middleware::from_fn_with_state(dispatcher.clone(), count))
        .with_state(dispatcher)
}

/// What stands at the door: who has asked how often lately.
#[derive(Clone)]
struct Door {
    dispatcher: Dispatcher,
    requests: Arc<Rate>,
}

/// Counts what is answered, by the pattern of its route: paths hold ids.
async fn count(State(dispatcher): State<Dispatcher>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    dispatcher.metrics().request(route, response.status().as_u16());
    response
}

/// What a job wrote is never to be taken for something else than it is declared as.
async fn never_guess(mut response: Response) -> Response {
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
