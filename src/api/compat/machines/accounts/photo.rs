//! Pictures of people.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::multipart::MultipartError;
use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use utoipa::ToSchema;
use uuid::Uuid;

use super::user::{User, of_owner, user};
use crate::api::compat::machines::caller::Caller;
use crate::api::compat::machines::error::{Refusal, Refusals};
use crate::api::http::error::HttpError;
use crate::auth::AuthError;
use crate::dispatcher::{DispatchError, Dispatcher, PHOTO_BYTES, PhotoError};
use crate::model::AccountName;
use crate::protocol::{ErrorCode, WireError};

/// What may surround a picture in a body: other fields, and headers of parts.
const AROUND: usize = 64 * 1024;
/// How long a picture may be on its way.
const WITHIN: Duration = Duration::from_secs(60);

/// A picture.
#[derive(ToSchema)]
#[schema(as = machines::Photo)]
#[expect(dead_code, reason = "the shape is described here and read as a stream")]
pub(super) struct Photo {
    /// PNG, JPEG, WebP or GIF, at most 2 MiB.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// Where a picture is shown. The address is known to whoever was told it, and good until the picture changes.
pub(super) fn url_of(account: &AccountName, id: Uuid) -> String {
    format!("/api/user/photo/{}/{}", utf8_percent_encode(account.as_str(), NON_ALPHANUMERIC), id.simple())
}

/// Gives oneself a picture; with the header `with_file: false`, none.
#[utoipa::path(
    method(post, put),
    path = "/api/user/set_photo",
    tag = "machines",
    params(("with_file" = Option<bool>, Header, description = "false takes the picture away")),
    request_body(content = Photo, content_type = "multipart/form-data"),
    responses((status = 200, description = "Taken", body = User), Refusals)
)]
pub(super) async fn set(
    State(dispatcher): State<Dispatcher>,
    Caller(who): Caller,
    request: Request,
) -> Result<Json<User>, Refusal> {
    let picture = if is_without_file(request.headers()) { None } else { Some(picture(request).await?) };
    dispatcher.set_photo(&who, picture).await.map_err(of_photo)?;
    user(&dispatcher, &who).await
}

/// Shows a picture. No token is asked for, because a page's image sends none.
#[utoipa::path(
    get,
    path = "/api/user/photo/{account}/{id}",
    tag = "machines",
    params(("account" = String, Path), ("id" = String, Path)),
    responses((status = 200, description = "The picture", content_type = "image/*", body = Vec<u8>), Refusals)
)]
pub(super) async fn get(
    State(dispatcher): State<Dispatcher>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Refusal> {
    let Path((account, id)) = path?;
    let none = || HttpError::not_found("picture");
    let id = Uuid::try_parse(&id).map_err(|_| none())?;
    let (kind, blob) = dispatcher.photo(&account, id).await.map_err(of_photo)?.ok_or_else(none)?;
    let headers =
        [(header::CONTENT_TYPE, kind.content_type().to_owned()), (header::CONTENT_LENGTH, blob.bytes.to_string())];
    Ok((headers, Body::from_stream(blob.read(0..blob.bytes).await?)).into_response())
}

fn is_without_file(headers: &HeaderMap) -> bool {
    headers.get("with_file").is_some_and(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"false"))
}

/// The field `file` of a multipart body, whole: it is small.
async fn picture(mut request: Request) -> Result<Bytes, Refusal> {
    DefaultBodyLimit::max(PHOTO_BYTES + AROUND).apply(&mut request);
    let multipart = Multipart::from_request(request, &()).await.map_err(|error| {
        HttpError::from(WireError::bad_field("content-type", error.body_text()))
            .with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
    })?;
    let file = tokio::time::timeout(WITHIN, file(multipart)).await;
    file.map_err(|_| WireError::bad_field("file", "file did not come in time"))?
}

async fn file(mut multipart: Multipart) -> Result<Bytes, Refusal> {
    while let Some(field) = multipart.next_field().await.map_err(of_body)? {
        if field.name() == Some("file") {
            let bytes = field.bytes().await.map_err(of_body)?;
            return if bytes.len() > PHOTO_BYTES { Err(too_large().into()) } else { Ok(bytes) };
        }
    }
    Err(WireError::bad_field("file", "file is required: a field of a multipart body").into())
}

#[expect(clippy::needless_pass_by_value, reason = "what map_err passes on")]
fn of_body(error: MultipartError) -> Refusal {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large().into(),
        _ => WireError::bad_field("file", error.body_text()).into(),
    }
}

fn too_large() -> WireError {
    WireError::new(ErrorCode::TooLarge, format!("a picture has at most {PHOTO_BYTES} bytes")).field("file")
}

fn of_photo(error: PhotoError) -> Refusal {
    match error {
        PhotoError::Put(error) => error.into(),
        PhotoError::Dispatch(DispatchError::Auth(AuthError::NoAccount)) => of_owner(AuthError::NoAccount),
        PhotoError::Dispatch(error) => error.into(),
    }
}
