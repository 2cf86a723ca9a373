//! `POST /api/uploads` and `GET /uploads/…`: files for jobs to start from.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Json;
use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Path, Query, Request, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use futures_util::{Stream, StreamExt, stream};
use parking_lot::Mutex;
use serde::Serialize;

use super::HttpError;
use super::caller::Caller;
use super::disposition::attach;
use super::openapi::Refused;
use super::ranges::Part;
use crate::blobs::{PutError, Upload};
use crate::dispatcher::Dispatcher;
use crate::model::Role;
use crate::protocol::WireError;

/// A form with a file in it.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it says what the form looks like")]
struct FileForm {
    /// The file.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// Where an upload is kept.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UploadReply {
    /// Its address, for the `fileUrl` of a job.
    file_url: String,
    /// Its name.
    filename: String,
    /// Its length.
    bytes: u64,
}

/// What may come beside the file in a multipart body: other fields, headers of parts.
const BESIDE: u64 = 1024 * 1024;
/// Time for each field beside the file.
const FIELD_WITHIN: Duration = Duration::from_secs(60);
/// How much of a refused body is still read. A peer that gets its connection reset while it
/// sends often does not see the answer.
const DRAIN_BYTES: usize = 16 * 1024 * 1024;
/// And for how long.
const DRAIN_FOR: Duration = Duration::from_secs(5);

/// Takes a file: the field `file` of a multipart body, or the body itself with `?filename=`.
#[utoipa::path(
    post, path = "/api/uploads", tag = "files", security(("token" = [])),
    params(("filename" = Option<String>, Query, description = "The file's name; a raw body needs it")),
    request_body(
        content((FileForm = "multipart/form-data"), (String = "application/octet-stream")),
        description = "The field `file` of a form, or the file itself",
    ),
    responses((status = 200, description = "The file is kept", body = UploadReply), Refused),
)]
pub(super) async fn put(
    State(dispatcher): State<Dispatcher>,
    caller: Caller,
    query: Result<Query<HashMap<String, String>>, QueryRejection>,
    request: Request,
) -> Result<Json<UploadReply>, HttpError> {
    match caller.0.role {
        Role::User | Role::Admin => (),
        Role::Worker | Role::Plugin => return Err(HttpError::forbidden("uploads are made by those who submit jobs")),
    }
    let limit = dispatcher.settings().limits.upload_bytes;
    let blobs = dispatcher.blobs();
    let Upload { url, filename, bytes } = if is_multipart(request.headers()) {
        let Form { upload, fields: _ } = form(&dispatcher, request, &[]).await?;
        upload.ok_or_else(|| WireError::bad_field("file", "a multipart body must have a field named file"))?
    } else {
        let Query(query) = query?;
        let filename = query.get("filename").filter(|name| !name.is_empty());
        let Some(filename) = filename else {
            return Err(WireError::bad_field("filename", "a raw body needs ?filename=").into());
        };
        take(request, limit, async |body| blobs.put_upload(filename, body, limit).await).await?
    };
    Ok(Json(UploadReply { file_url: url, filename, bytes }))
}

/// Hands an upload out to whoever knows its address and has a token.
#[utoipa::path(
    get, path = "/uploads/{id}/{name}", tag = "files", security(("token" = [])),
    params(
        ("id" = String, Path, description = "From the upload's address"),
        ("name" = String, Path, description = "From the upload's address"),
    ),
    responses(
        (status = 200, description = "The file", content_type = "*/*"),
        (status = 206, description = "The part of it that `Range` asks for", content_type = "*/*"),
        Refused,
    ),
)]
pub(in crate::api) async fn get(
    State(dispatcher): State<Dispatcher>,
    _caller: Caller,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let Path((id, name)) = path?;
    let blob = dispatcher.blobs().upload(&id, &name).await?.ok_or_else(|| HttpError::not_found("upload"))?;
    let part = Part::asked(&headers, blob.bytes, None)?;
    let body = Body::from_stream(blob.read(part.range.clone()).await?);
    let mut response = part.response(blob.content_type, body);
    attach(response.headers_mut(), &name);
    Ok(response)
}

/// Passes the body of a request to `put`, unless it says by itself that it is over the limit.
pub(in crate::api) async fn take<T>(
    request: Request,
    limit: u64,
    put: impl AsyncFnOnce(&mut BodyDataStream) -> Result<T, PutError>,
) -> Result<T, HttpError> {
    let declared = declared(request.headers());
    let mut body = request.into_body().into_data_stream();
    let taken = match declared {
        Some(bytes) if limit < bytes => Err(PutError::TooLarge { limit }),
        Some(_) | None => put(&mut body).await,
    };
    match taken {
        Ok(taken) => Ok(taken),
        Err(error) => Err(refuse(error, body).await),
    }
}

/// What a request is refused with, once whoever sends it is likely to read that.
pub(super) async fn refuse<E>(error: impl Into<HttpError>, rest: impl Stream<Item = Result<Bytes, E>>) -> HttpError {
    let mut rest = std::pin::pin!(rest);
    let drain = async {
        let mut left = DRAIN_BYTES;
        while let Some(Ok(chunk)) = rest.next().await
            && let Some(less) = left.checked_sub(chunk.len())
        {
            left = less;
        }
    };
    // However it ends, the answer is the same.
    let _ = tokio::time::timeout(DRAIN_FOR, drain).await;
    error.into()
}

/// What a multipart body held.
pub(in crate::api) struct Form {
    /// Its field `file`, which is kept by now.
    pub(in crate::api) upload: Option<Upload>,
    /// The other fields that were wanted.
    pub(in crate::api) fields: HashMap<&'static str, String>,
}

/// Reads a multipart body: its field `file` goes to where uploads are kept, as it comes, and the `wanted` ones into memory.
/// Others are passed over.
///
/// # Errors
/// A field is there twice or is no text, the file is too large, or the body is broken.
pub(in crate::api) async fn form(
    dispatcher: &Dispatcher,
    request: Request,
    wanted: &[&'static str],
) -> Result<Form, HttpError> {
    let (parts, body) = request.into_parts();
    // Shared with whoever takes it apart, so that the rest is still there when that is given up.
    let body = Arc::new(Mutex::new(body.into_data_stream()));
    let read_on = |body: Arc<Mutex<BodyDataStream>>| stream::poll_fn(move |cx| body.lock().poll_next_unpin(cx));
    let request = Request::from_parts(parts, Body::from_stream(read_on(Arc::clone(&body))));
    match fields(dispatcher, request, wanted).await {
        Ok(form) => Ok(form),
        Err(error) => Err(refuse(error, read_on(body)).await),
    }
}

async fn fields(dispatcher: &Dispatcher, request: Request, wanted: &[&'static str]) -> Result<Form, HttpError> {
    let limit = dispatcher.settings().limits.upload_bytes;
    if declared(request.headers()).is_some_and(|bytes| limit.saturating_add(BESIDE) < bytes) {
        return Err(PutError::TooLarge { limit }.into());
    }
    let in_file = Arc::new(AtomicBool::new(false));
    let mut multipart = multipart(request, Arc::clone(&in_file)).await?;
    let mut form = Form { upload: None, fields: HashMap::new() };
    loop {
        let field = tokio::time::timeout(FIELD_WITHIN, multipart.next_field()).await.map_err(|_| late())?;
        let Some(mut field) = field.map_err(|error| PutError::Body(error.body_text()))? else { return Ok(form) };
        let name = field.name().unwrap_or_default().to_owned();
        let twice = || WireError::bad_field(name.clone(), format!("{name} is there twice"));
        if name == "file" {
            if form.upload.is_some() {
                return Err(twice().into());
            }
            in_file.store(true, Ordering::Relaxed);
            let filename = field.file_name().unwrap_or("file").to_owned();
            form.upload = Some(dispatcher.blobs().put_upload(&filename, &mut field, limit).await?);
            in_file.store(false, Ordering::Relaxed);
        } else if let Some(name) = wanted.iter().find(|wanted| **wanted == name) {
            // Bounded by what may come beside the file.
            let text = tokio::time::timeout(FIELD_WITHIN, field.text()).await.map_err(|_| late())?;
            let text = text.map_err(|error| WireError::bad_field(*name, format!("{name}: {}", error.body_text())))?;
            if form.fields.insert(name, text).is_some() {
                return Err(twice().into());
            }
        }
    }
}

fn late() -> PutError {
    PutError::Body("no field came in time".to_owned())
}

/// How long a body says that it is.
pub(in crate::api) fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

pub(in crate::api) fn is_multipart(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| value.trim_start().to_ascii_lowercase().starts_with("multipart/"))
}

/// Reads a multipart body of any size, but not without end outside of the file: the headers of a part are gathered
/// in memory.
async fn multipart(request: Request, in_file: Arc<AtomicBool>) -> Result<Multipart, HttpError> {
    let (parts, body) = request.into_parts();
    let mut beside = 0;
    let body = body.into_data_stream().map(move |chunk| {
        let chunk = chunk?;
        if !in_file.load(Ordering::Relaxed) {
            // Judged before this chunk is added: it may be the one that holds the beginning of the file.
            if beside > BESIDE {
                return Err(axum::Error::new("too much beside the file"));
            }
            beside += chunk.len() as u64;
        }
        Ok(chunk)
    });
    let mut request = Request::from_parts(parts, Body::from_stream(body));
    // The file itself is limited where it is written.
    DefaultBodyLimit::disable().apply(&mut request);
    Multipart::from_request(request, &())
        .await
        .map_err(|error| WireError::bad_field("content-type", error.body_text()).into())
}
