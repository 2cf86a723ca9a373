//! JSON bodies of requests: read whole, and refused in words that name the field.

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use crate::api::http::error::HttpError;
use crate::api::http::uploads::declared;
use crate::protocol::codec::typed;
use crate::protocol::{ErrorCode, WireError};

/// The longest body that is read unless a route says otherwise, in bytes.
const MOST: usize = 1024 * 1024;

/// The body of a request, as far as it is what `T` needs; unknown fields are passed over. No body at all reads as `{}`, so
/// that what is missing is named.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Body<T> {
    type Rejection = HttpError;

    async fn from_request(request: Request, _: &S) -> Result<Self, HttpError> {
        read(request, MOST).await.map(Self)
    }
}

/// Reads a body of at most so many bytes.
///
/// # Errors
/// 400 with the field that is wrong or missing, 413, 415.
pub(super) async fn read<T: DeserializeOwned>(request: Request, most: usize) -> Result<T, HttpError> {
    if !is_json(request.headers()) {
        let error = WireError::bad_field("content-type", "the body must be application/json");
        return Err(HttpError::from(error).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let too_large = || WireError::new(ErrorCode::TooLarge, format!("the body is larger than {most} bytes"));
    if declared(request.headers()).is_some_and(|declared| declared > most as u64) {
        return Err(too_large().into());
    }
    let body = to_bytes(request.into_body(), most).await.map_err(|_| too_large())?;
    let text = std::str::from_utf8(&body).map_err(|_| WireError::bad_field("body", "the body is not UTF-8"))?;
    let text = if text.trim().is_empty() { "{}" } else { text };
    Ok(typed(text)?)
}

/// Whether a body is JSON by its headers. None says nothing, as programs that were written by hand do.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else { return true };
    let essence = content_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json") || essence.to_ascii_lowercase().ends_with("+json")
}
