//! Errors of this family, whose document shows none: `{"message": "…"}`, as its web framework had it.

use axum::response::{IntoResponse, Response};
use utoipa::{IntoResponses, ToSchema};

use crate::api::http::error::HttpError;

/// An answer of this family that says what is wrong.
#[derive(Debug)]
pub(super) struct Refusal(HttpError);

impl<E: Into<HttpError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.0.worded("message")
    }
}

/// Its body, for the description of the routes.
#[derive(ToSchema)]
#[schema(as = panel::Message)]
#[expect(dead_code, reason = "the shape is described here and built as JSON")]
pub(super) struct Message {
    /// What is wrong.
    message: String,
    /// The field at fault, where it is one.
    field: Option<String>,
}

/// What every route of the family may answer with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "described, not built")]
pub(super) enum Refusals {
    /// A field is wrong or missing, and named.
    #[response(status = 400)]
    Wrong(#[to_schema] Message),
    /// A wrong password, or a refresh token that is not good any more.
    #[response(status = 401)]
    Unauthorized(#[to_schema] Message),
    /// The page's origin.
    #[response(status = 403)]
    Forbidden(#[to_schema] Message),
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(#[to_schema] Message),
    /// The body is not JSON by its headers.
    #[response(status = 415)]
    NotJson(#[to_schema] Message),
    /// Too many logins; `Retry-After` says how long to wait.
    #[response(status = 429)]
    TooMany(#[to_schema] Message),
    /// The store does not answer.
    #[response(status = 503)]
    Unavailable(#[to_schema] Message),
}
