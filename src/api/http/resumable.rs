//! `/api/uploads/resumable`: uploads that can be interrupted, by the tus protocol, version 1.0.0.
//!
//! Core, creation, expiration and termination. See `docs/http/uploads.md`.

use std::time::{Duration, SystemTime};

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

use super::HttpError;
use super::caller::Caller;
use super::openapi::{Problem, Refused};
use super::uploads::refuse;
use crate::dispatcher::{DispatchError, Dispatcher, Progress};
use crate::protocol::{ErrorCode, WireError};

/// The version of the protocol that is spoken here.
const VERSION: &str = "1.0.0";
/// What is spoken beside its core.
const EXTENSIONS: &str = "creation,expiration,termination";

const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
const TUS_EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
const TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
/// Ours: the address of a complete upload, for a job's `fileUrl`.
const FILE_URL: HeaderName = HeaderName::from_static("gangline-file-url");

/// What the protocol can do here.
#[utoipa::path(
    options, path = "/api/uploads/resumable", tag = "files",
    responses((status = 204, description = "`Tus-Version`, `Tus-Extension` and `Tus-Max-Size` say it")),
)]
pub(super) async fn about(State(dispatcher): State<Dispatcher>) -> Response {
    let most = HeaderValue::from(dispatcher.settings().limits.upload_bytes);
    let mut response = spoken(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(TUS_VERSION, HeaderValue::from_static(VERSION));
    headers.insert(TUS_EXTENSION, HeaderValue::from_static(EXTENSIONS));
    headers.insert(TUS_MAX_SIZE, most);
    response
}

/// Begins an upload.
#[utoipa::path(
    post, path = "/api/uploads/resumable", tag = "files", security(("token" = [])),
    params(
        ("Tus-Resumable" = String, Header, description = "1.0.0"),
        ("Upload-Length" = String, Header, description = "Bytes there are to be"),
        ("Upload-Metadata" = Option<String>, Header, description = "`filename` and its value in base64"),
    ),
    responses(
        (status = 201, description = "`Location` is where its bytes go"),
        (status = 412, description = "Another version of the protocol", body = Problem),
        Refused,
    ),
)]
pub(super) async fn begin(
    State(dispatcher): State<Dispatcher>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    if let Some(other) = other_version(&headers) {
        return Ok(other);
    }
    let length = number(&headers, &UPLOAD_LENGTH)?;
    let filename = filename(&headers)?;
    let (id, progress) = dispatcher.begin_upload(&caller.0, filename, length).await?;
    let mut response = answer(StatusCode::CREATED, &progress);
    let location = HeaderValue::from_str(&format!("/api/uploads/resumable/{}", id.simple()));
    response.headers_mut().insert(header::LOCATION, location.expect("hexadecimal is a header value"));
    Ok(response)
}

/// Says how far an upload is.
#[utoipa::path(
    head, path = "/api/uploads/resumable/{id}", tag = "files", security(("token" = [])),
    params(
        ("id" = String, Path, description = "From `Location`"),
        ("Tus-Resumable" = String, Header, description = "1.0.0"),
    ),
    responses(
        (status = 200, description = "`Upload-Offset` of `Upload-Length` bytes have arrived"),
        (status = 412, description = "Another version of the protocol", body = Problem),
        Refused,
    ),
)]
pub(super) async fn progress(
    State(dispatcher): State<Dispatcher>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    if let Some(other) = other_version(&headers) {
        return Ok(other);
    }
    let progress = dispatcher.upload_progress(&caller.0, named(path)?).await?;
    let mut response = answer(StatusCode::OK, &progress);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Goes on with an upload.
#[utoipa::path(
    patch, path = "/api/uploads/resumable/{id}", tag = "files", security(("token" = [])),
    params(
        ("id" = String, Path, description = "From `Location`"),
        ("Tus-Resumable" = String, Header, description = "1.0.0"),
        ("Upload-Offset" = String, Header, description = "Where the body begins: as many bytes as have arrived"),
    ),
    request_body(
        content((String = "application/offset+octet-stream"), (String = "application/octet-stream")),
        description = "What comes next of the file",
    ),
    responses(
        (status = 204, description = "Taken; `Gangline-File-Url` is there once the upload is complete"),
        (status = 412, description = "Another version of the protocol", body = Problem),
        (status = 415, description = "The body must be application/offset+octet-stream", body = Problem),
        Refused,
    ),
)]
pub(super) async fn go_on(
    State(dispatcher): State<Dispatcher>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, HttpError> {
    let headers = request.headers();
    if let Some(other) = other_version(headers) {
        return Ok(other);
    }
    let id = named(path)?;
    // The first is the protocol's; the second says the same to those who do not know it.
    let is_right = |value: &HeaderValue| {
        ["application/offset+octet-stream", "application/octet-stream"]
            .iter()
            .any(|right| value.as_bytes().eq_ignore_ascii_case(right.as_bytes()))
    };
    if !headers.get(header::CONTENT_TYPE).is_some_and(is_right) {
        let error = WireError::bad_field("content-type", "the body must be application/offset+octet-stream");
        return Err(HttpError::from(error).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let offset = number(headers, &UPLOAD_OFFSET)?;
    let mut body = request.into_body().into_data_stream();
    // A task of its own: where the sender breaks off, this handler ends with the connection, and what has arrived is
    // still to be kept.
    let owner = dispatcher.shutdown().clone();
    let goes_on = owner.spawn(async move { (dispatcher.go_on_upload(&caller.0, id, offset, &mut body).await, body) });
    let broke = |_| DispatchError::NotYet("the server stops; go on where it has come to".to_owned());
    match goes_on.await.map_err(broke)? {
        (Ok(progress), _) => Ok(answer(StatusCode::NO_CONTENT, &progress)),
        (Err(error), rest) => Err(refuse(error, rest).await),
    }
}

/// Gives an upload up.
#[utoipa::path(
    delete, path = "/api/uploads/resumable/{id}", tag = "files", security(("token" = [])),
    params(
        ("id" = String, Path, description = "From `Location`"),
        ("Tus-Resumable" = String, Header, description = "1.0.0"),
    ),
    responses(
        (status = 204, description = "It is gone; what was complete stays"),
        (status = 412, description = "Another version of the protocol", body = Problem),
        Refused,
    ),
)]
pub(super) async fn end(
    State(dispatcher): State<Dispatcher>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    if let Some(other) = other_version(&headers) {
        return Ok(other);
    }
    dispatcher.end_upload(&caller.0, named(path)?).await?;
    Ok(spoken(StatusCode::NO_CONTENT))
}

/// The refusal of a client that speaks another version, or none.
fn other_version(headers: &HeaderMap) -> Option<Response> {
    if headers.get(TUS_RESUMABLE).is_some_and(|version| version == VERSION) {
        return None;
    }
    let error = WireError::new(ErrorCode::UnsupportedVersion, "Tus-Resumable must be 1.0.0").field("tus-resumable");
    let mut response = HttpError::from(error).with_status(StatusCode::PRECONDITION_FAILED).into_response();
    response.headers_mut().insert(TUS_VERSION, HeaderValue::from_static(VERSION));
    Some(response)
}

/// An answer without a body.
fn spoken(status: StatusCode) -> Response {
    (status, [(TUS_RESUMABLE, HeaderValue::from_static(VERSION))]).into_response()
}

fn answer(status: StatusCode, progress: &Progress) -> Response {
    let Progress { offset, length, expires_at, file_url } = progress;
    let mut response = spoken(status);
    let headers = response.headers_mut();
    headers.insert(UPLOAD_OFFSET, HeaderValue::from(*offset));
    headers.insert(UPLOAD_LENGTH, HeaderValue::from(*length));
    let expires = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_millis(*expires_at));
    headers.extend(HeaderValue::from_str(&expires).map(|expires| (UPLOAD_EXPIRES, expires)));
    let url = file_url.as_deref().map(HeaderValue::from_str);
    headers.extend(url.into_iter().flatten().map(|url| (FILE_URL, url)));
    response
}

fn named(path: Result<Path<String>, PathRejection>) -> Result<Uuid, HttpError> {
    let Path(id) = path?;
    Uuid::try_parse(&id).map_err(|_| HttpError::not_found("upload"))
}

/// A header that is a number.
fn number(headers: &HeaderMap, name: &HeaderName) -> Result<u64, HttpError> {
    let digits = headers.get(name).and_then(|value| value.to_str().ok()).filter(|value| {
        // `parse` alone would take a sign.
        !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit())
    });
    let Some(digits) = digits else {
        return Err(WireError::bad_field(name.as_str(), format!("{name} must be a whole number from 0")).into());
    };
    // What no number holds is more than any limit allows.
    Ok(digits.parse().unwrap_or(u64::MAX))
}

/// The file's name in `Upload-Metadata`: pairs of a key and a value in base64.
fn filename(headers: &HeaderMap) -> Result<String, HttpError> {
    let wrong =
        || WireError::bad_field(UPLOAD_METADATA.as_str(), "upload-metadata must be pairs: filename <base64>, …");
    let Some(metadata) = headers.get(UPLOAD_METADATA) else { return Ok("file".to_owned()) };
    let metadata = metadata.to_str().map_err(|_| wrong())?;
    for pair in metadata.split(',') {
        if let Some(("filename" | "name", value)) = pair.trim().split_once(' ') {
            let bytes = STANDARD.decode(value.trim()).map_err(|_| wrong())?;
            return Ok(String::from_utf8(bytes).map_err(|_| wrong())?);
        }
    }
    Ok("file".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_names_the_file() {
        let named = |metadata: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(UPLOAD_METADATA, HeaderValue::from_static(metadata));
            filename(&headers).ok()
        };
        assert_eq!(named("filename YS56aXA=").as_deref(), Some("a.zip"));
        assert_eq!(named("is_confidential,filename YS56aXA=, size MQ==").as_deref(), Some("a.zip"));
        assert_eq!(named("size MQ==").as_deref(), Some("file"));
        assert_eq!(named("filename ???"), None);
        assert_eq!(named("filename /w=="), None);
        assert_eq!(filename(&HeaderMap::new()).ok().as_deref(), Some("file"));
    }
}
