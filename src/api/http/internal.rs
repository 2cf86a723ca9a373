//! `/internal/files`: what lies on this dispatcher's disk, for the other dispatchers on the same store.
//!
//! To anyone else the route does not exist: a request without their secret is answered as one to an
//! unknown path, whoever's token it carries.

use std::collections::HashMap;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::HttpError;
use super::ranges::Part;
use crate::blobs::Listed;
use crate::dispatcher::Dispatcher;

/// A file, or a part of it.
pub(super) async fn get(
    State(dispatcher): State<Dispatcher>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let blob = dispatcher.blobs().for_neighbour(&headers, &path).await?.ok_or_else(HttpError::no_route)?;
    let part = Part::asked(&headers, blob.bytes, None)?;
    let body = Body::from_stream(blob.read(part.range.clone()).await?);
    Ok(part.response("application/octet-stream", body))
}

/// The files below a path.
pub(super) async fn list(
    State(dispatcher): State<Dispatcher>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<Json<Vec<Listed>>, HttpError> {
    let below = query.get("below").map(String::as_str).unwrap_or_default();
    let files = dispatcher.blobs().list_for_neighbour(&headers, below).await?;
    files.map(Json).ok_or_else(HttpError::no_route)
}
