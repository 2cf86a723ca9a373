//! Errors as HTTP answers: the one place where protocol codes meet HTTP statuses.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tracing::warn;

use crate::auth::AuthError;
use crate::blobs::{BlobError, PutError};
use crate::dispatcher::DispatchError;
use crate::protocol::{ErrorCode, WireError};
use crate::store::StoreError;

/// An answer that says what is wrong.
#[derive(Debug)]
pub(in crate::api) struct HttpError {
    status: StatusCode,
    // Boxed to keep every `Result` of this room small.
    error: Box<WireError>,
    header: Option<(HeaderName, HeaderValue)>,
}

/// The status that goes with a code.
fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::BadFrame | ErrorCode::UnknownType | ErrorCode::UnsupportedVersion => StatusCode::BAD_REQUEST,
        ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::Conflict | ErrorCode::StaleAttempt => StatusCode::CONFLICT,
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::LimitExceeded | ErrorCode::Unsatisfiable => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorCode::RateLimited | ErrorCode::QueueFull => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::StoreUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl HttpError {
    /// No such thing, or not the caller's to see.
    pub(in crate::api) fn not_found(what: &str) -> Self {
        WireError::new(ErrorCode::NotFound, format!("no such {what}")).into()
    }

    /// The role may not do this.
    pub(in crate::api) fn forbidden(why: &str) -> Self {
        WireError::new(ErrorCode::Forbidden, why).into()
    }

    /// No credentials.
    pub(in crate::api) fn unauthorized() -> Self {
        WireError::new(ErrorCode::Unauthorized, "a token is required: Authorization: Bearer …").into()
    }

    pub(in crate::api) fn no_route() -> Self {
        Self::not_found("route")
    }

    pub(in crate::api) fn method_not_allowed() -> Self {
        let error = WireError::new(ErrorCode::UnknownType, "this method is not allowed here");
        Self { status: StatusCode::METHOD_NOT_ALLOWED, ..error.into() }
    }

    /// No byte of the `Range` is among the `len` there are.
    pub(in crate::api) fn range_not_satisfiable(len: u64) -> Self {
        let error = WireError::new(ErrorCode::BadFrame, format!("the range begins beyond the {len} bytes there are"));
        let this = Self { status: StatusCode::RANGE_NOT_SATISFIABLE, ..error.field("range").into() };
        this.with(header::CONTENT_RANGE, &format!("bytes */{len}"))
    }

    fn with(mut self, name: HeaderName, value: &str) -> Self {
        self.header = HeaderValue::from_str(value).ok().map(|value| (name, value));
        self
    }
}

impl HttpError {
    /// With another status than goes with its code.
    pub(in crate::api) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// The answer's status.
    pub(in crate::api) fn status(&self) -> StatusCode {
        self.status
    }

    /// As an answer whose body another system's document prescribes.
    pub(in crate::api) fn answer(self, body: impl FnOnce(StatusCode, &WireError) -> Value) -> Response {
        let headers: HeaderMap = self.header.into_iter().collect();
        (self.status, headers, Json(body(self.status, &self.error))).into_response()
    }
}

impl HttpError {
    /// As an answer with the message under this name, and the field at fault where there is one.
    pub(in crate::api) fn worded(self, name: &'static str) -> Response {
        self.answer(|_, error| match &error.field {
            Some(field) => json!({ name: error.message, "field": field }),
            None => json!({ name: error.message }),
        })
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        self.answer(|_, error| json!({ "error": error }))
    }
}

impl From<DispatchError> for HttpError {
    fn from(error: DispatchError) -> Self {
        error.to_wire().into()
    }
}

impl From<WireError> for HttpError {
    fn from(error: WireError) -> Self {
        let status = status(error.code);
        let retry_after = error.retry_after_ms.map(|ms| ms.div_ceil(1000).to_string());
        let this = Self { status, error: Box::new(error), header: None };
        match (status, retry_after) {
            (StatusCode::UNAUTHORIZED, _) => this.with(header::WWW_AUTHENTICATE, "Bearer"),
            (_, Some(seconds)) => this.with(header::RETRY_AFTER, &seconds),
            (_, None) => this,
        }
    }
}

impl From<AuthError> for HttpError {
    fn from(error: AuthError) -> Self {
        error.to_wire().into()
    }
}

impl From<StoreError> for HttpError {
    fn from(error: StoreError) -> Self {
        // One mapping of the store's errors is enough.
        AuthError::Store(error).into()
    }
}

impl From<BlobError> for HttpError {
    fn from(error: BlobError) -> Self {
        warn!(%error, "a file could not be read");
        error.to_wire().into()
    }
}

impl From<PutError> for HttpError {
    fn from(error: PutError) -> Self {
        match &error {
            PutError::Blob(error) => warn!(%error, "a file could not be kept"),
            PutError::TooLarge { .. } | PutError::Body(_) => (),
        }
        error.to_wire().into()
    }
}

impl From<PathRejection> for HttpError {
    fn from(_: PathRejection) -> Self {
        WireError::new(ErrorCode::BadFrame, "the path is not UTF-8").into()
    }
}

impl From<QueryRejection> for HttpError {
    fn from(error: QueryRejection) -> Self {
        WireError::new(ErrorCode::BadFrame, error.body_text()).into()
    }
}
