//! `/api/jobs/{job}/artifacts`: what the latest attempt of a job left behind.

use std::collections::HashMap;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::HttpError;
use super::caller::Caller;
use super::disposition::attach;
use super::openapi::Refused;
use super::ranges::{Part, has_already};
use super::uploads::take;
use crate::blobs::{Artifact, ArtifactPath};
use crate::dispatcher::Dispatcher;
use crate::model::{Job, Role};
use crate::protocol::job::Status;
use crate::protocol::{Attempt, ErrorCode, WireError};

/// Lists the artifacts of a job's latest attempt.
#[utoipa::path(
    get, path = "/api/jobs/{job}/artifacts", tag = "files", security(("token" = [])),
    params(("job" = String, Path, description = "Id or number of the job")),
    responses((status = 200, description = "The artifacts", body = serde_json::Value), Refused),
)]
pub(super) async fn list(
    State(dispatcher): State<Dispatcher>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, HttpError> {
    let Path(job) = path?;
    let job = caller.job(&dispatcher, &job).await?;
    let artifacts = dispatcher.blobs().artifacts(job.id, job.attempt).await?;
    Ok(Json(json!({ "artifacts": artifacts.iter().map(record).collect::<Vec<_>>() })))
}

/// Hands an artifact out.
#[utoipa::path(
    get, path = "/api/jobs/{job}/artifacts/{*path}", tag = "files", security(("token" = [])),
    params(
        ("job" = String, Path, description = "Id or number of the job"),
        ("path" = String, Path, description = "Path of the artifact in the job's workspace"),
    ),
    responses(
        (status = 200, description = "The file", content_type = "*/*"),
        (status = 206, description = "The part of it that `Range` asks for", content_type = "*/*"),
        (status = 304, description = "`If-None-Match` names its `ETag`"),
        Refused,
    ),
)]
pub(super) async fn get(
    State(dispatcher): State<Dispatcher>,
    caller: Caller,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let Path((job, path)) = path?;
    let job = caller.job(&dispatcher, &job).await?;
    let path: ArtifactPath = path.parse().map_err(|_| HttpError::not_found("artifact"))?;
    serve(&dispatcher, &job, &path, &headers).await
}

/// An artifact of a job's latest attempt, or the part of it that the request asks for.
///
/// # Errors
/// 404 where there is none of this path, 416, or it cannot be read.
pub(in crate::api) async fn serve(
    dispatcher: &Dispatcher,
    job: &Job,
    path: &ArtifactPath,
    headers: &HeaderMap,
) -> Result<Response, HttpError> {
    let found = dispatcher.blobs().artifact(job.id, job.attempt, path).await?;
    let (artifact, blob) = found.ok_or_else(|| HttpError::not_found("artifact"))?;

    let etag = HeaderValue::from_str(&format!("\"{}\"", artifact.sha256)).expect("hexadecimal is a header value");
    if has_already(headers, &artifact.sha256) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let part = Part::asked(headers, artifact.bytes, Some(&artifact.sha256))?;
    let body = Body::from_stream(blob.read(part.range.clone()).await?);
    let mut response = part.response(artifact.content_type, body);
    response.headers_mut().insert(header::ETAG, etag);
    attach(response.headers_mut(), artifact.path.file_name());
    Ok(response)
}

/// Takes an artifact from the worker that runs the job.
#[utoipa::path(
    put, path = "/api/jobs/{job}/artifacts/{*path}", tag = "files", security(("token" = [])),
    params(
        ("job" = String, Path, description = "Id or number of the job"),
        ("path" = String, Path, description = "Path of the artifact in the job's workspace"),
        ("attempt" = u32, Query, description = "The attempt that it is of"),
    ),
    request_body(content = String, content_type = "application/octet-stream", description = "The file itself"),
    responses((status = 201, description = "It is kept", body = serde_json::Value), Refused),
)]
pub(super) async fn put(
    State(dispatcher): State<Dispatcher>,
    caller: Caller,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<HashMap<String, String>>, QueryRejection>,
    request: Request,
) -> Result<(StatusCode, Json<Value>), HttpError> {
    match caller.0.role {
        Role::Worker | Role::Admin => (),
        Role::User | Role::Plugin => return Err(HttpError::forbidden("artifacts are added by workers")),
    }
    let (Path((job, path)), Query(query)) = (path?, query?);
    let job = caller.job(&dispatcher, &job).await?;
    let path: ArtifactPath = path
        .parse()
        .map_err(|error: crate::blobs::InvalidArtifactPath| WireError::bad_field("path", error.to_string()))?;
    let attempt: Attempt = query
        .get("attempt")
        .and_then(|attempt| attempt.parse().ok())
        .ok_or_else(|| WireError::bad_field("attempt", "?attempt= must be the number of the attempt"))?;
    if attempt != job.attempt || job.status != Status::Running {
        let message = format!("attempt {attempt} of {} is over; the job is at attempt {}", job.id, job.attempt);
        return Err(WireError::new(ErrorCode::StaleAttempt, message).into());
    }
    let limit = dispatcher.settings().limits.upload_bytes;
    let blobs = dispatcher.blobs();
    let put = async |body: &mut _| blobs.put_artifact(job.id, attempt, &path, body, limit).await;
    let artifact = take(request, limit, put).await?;
    Ok((StatusCode::CREATED, Json(record(&artifact))))
}

fn record(artifact: &Artifact) -> Value {
    let Artifact { path, bytes, content_type, sha256 } = artifact;
    json!({ "path": path.as_str(), "bytes": bytes, "contentType": content_type, "sha256": sha256 })
}
