//! Errors in the shape of this family's document: `{"error": "…"}`.

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
        self.0.worded("error")
    }
}

/// Its body, for the description of the routes.
#[derive(ToSchema)]
#[schema(as = broker::Failure)]
#[expect(dead_code, reason = "the shape is described here and built as JSON")]
pub(super) struct Failure {
    /// What is wrong.
    error: String,
    /// The field at fault, where it is one.
    field: Option<String>,
}

/// What every route of the family may answer with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "described, not built")]
pub(super) enum Refusals {
    /// A field is wrong or missing, and named.
    #[response(status = 400)]
    Wrong(#[to_schema] Failure),
    /// No token, a wrong one, or a wrong password.
    #[response(status = 401)]
    Unauthorized(#[to_schema] Failure),
    /// The role, the page's origin, or another's session.
    #[response(status = 403)]
    Forbidden(#[to_schema] Failure),
    /// No such session, or it is over.
    #[response(status = 404)]
    NotFound(#[to_schema] Failure),
    /// The email is known, the account is no client, or there are too few.
    #[response(status = 409)]
    Conflict(#[to_schema] Failure),
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(#[to_schema] Failure),
    /// The body is not JSON by its headers.
    #[response(status = 415)]
    NotJson(#[to_schema] Failure),
    /// Too many logins; `Retry-After` says how long to wait.
    #[response(status = 429)]
    TooMany(#[to_schema] Failure),
    /// The store does not answer.
    #[response(status = 503)]
    Unavailable(#[to_schema] Failure),
}
