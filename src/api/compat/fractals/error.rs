//! Errors of this family: `{"error": "…"}`, and the field at fault where it is one.

use axum::response::{IntoResponse, Response};
use utoipa::{IntoResponses, ToSchema};

use crate::api::http::error::HttpError;

/// An answer of this family that says what is wrong.
#[derive(Debug)]
pub(super) struct Refusal(HttpError);

/// Its body, for the description of the routes.
#[derive(ToSchema)]
#[schema(as = fractals::Error)]
#[expect(dead_code, reason = "the shape is described here and built as JSON")]
pub(super) struct Error {
    /// What is wrong.
    error: String,
    /// The field at fault, where it is one.
    field: Option<String>,
}

/// How any route of this family may refuse, for the description of the routes.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "statuses are made where errors are; here they are described")]
pub(super) enum Refusals {
    /// The field at fault is named.
    #[response(status = 400)]
    Bad(#[to_schema] Error),
    /// No token, or a wrong one; no such account, or a wrong password.
    #[response(status = 401)]
    Unauthorized(#[to_schema] Error),
    /// Not for this role, or not from this page.
    #[response(status = 403)]
    Forbidden(#[to_schema] Error),
    /// No such thing, or not the caller's to see.
    #[response(status = 404)]
    NotFound(#[to_schema] Error),
    /// The name is taken, or the task is not finished.
    #[response(status = 409)]
    Conflict(#[to_schema] Error),
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(#[to_schema] Error),
    /// The body is no JSON by its header.
    #[response(status = 415)]
    NotJson(#[to_schema] Error),
    /// No worker could ever meet this.
    #[response(status = 422)]
    Unsatisfiable(#[to_schema] Error),
    /// Too much at once; `Retry-After` says when to come again.
    #[response(status = 429)]
    TooMany(#[to_schema] Error),
    /// The store cannot be reached.
    #[response(status = 503)]
    Unavailable(#[to_schema] Error),
}

impl<E: Into<HttpError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.0.worded("error")
    }
}
