//! Errors in the shape of this family's document: `{"message": "…"}`, and its four sentences about tokens.

use axum::response::{IntoResponse, Response};
use utoipa::{IntoResponses, ToSchema};

use crate::api::http::error::HttpError;
use crate::auth::AuthError;
use crate::protocol::{ErrorCode, WireError};

/// An answer of this family that says what is wrong.
#[derive(Debug)]
pub(super) struct Refusal(HttpError);

/// Its body, for the description of the routes.
#[derive(ToSchema)]
#[schema(as = machines::Message)]
#[expect(dead_code, reason = "the shape is described here and built as JSON")]
pub(super) struct Message {
    /// What is wrong; one of the document's four sentences with a 401.
    message: String,
    /// The field at fault, where it is one.
    field: Option<String>,
}

/// How any route of this family may refuse, for the description of the routes.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "statuses are made where errors are; here they are described")]
pub(super) enum Refusals {
    /// The field at fault is named.
    #[response(status = 400)]
    Bad(#[to_schema] Message),
    /// No token, one that does not open the door, or a wrong password.
    #[response(status = 401)]
    Token(#[to_schema] Message),
    /// Not for this account, or not from this page.
    #[response(status = 403)]
    Forbidden(#[to_schema] Message),
    /// No such thing, or not the caller's to see.
    #[response(status = 404)]
    NotFound(#[to_schema] Message),
    /// It is in a state that does not allow this.
    #[response(status = 409)]
    Conflict(#[to_schema] Message),
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(#[to_schema] Message),
    /// The body is no JSON by its header.
    #[response(status = 415)]
    NotJson(#[to_schema] Message),
    /// No worker could ever meet this.
    #[response(status = 422)]
    Unsatisfiable(#[to_schema] Message),
    /// Too much at once; `Retry-After` says when to come again.
    #[response(status = 429)]
    TooMany(#[to_schema] Message),
    /// The store cannot be reached.
    #[response(status = 503)]
    Unavailable(#[to_schema] Message),
}

impl Refusal {
    /// There is no token in the request.
    pub(super) fn token_not_found() -> Self {
        Self::of_token("Token Not Found")
    }

    /// A token that does not open the door. What has nothing to do with the token stays what it is.
    pub(super) fn of_auth(error: AuthError) -> Self {
        match error {
            AuthError::WrongToken | AuthError::NotYetValid | AuthError::Revoked => Self::of_token("Invalid token"),
            AuthError::AccountGone => Self::of_token("User not include"),
            AuthError::Expired => Self::of_token("Token expired"),
            AuthError::WrongPassword
            | AuthError::TooManyLogins { .. }
            | AuthError::BadName(_)
            | AuthError::ReservedName
            | AuthError::BadEmail
            | AuthError::BadPassword
            | AuthError::PasswordLength
            | AuthError::BadProfile { .. }
            | AuthError::BadTtl
            | AuthError::NameTaken
            | AuthError::EmailTaken
            | AuthError::NoAccount
            | AuthError::NoToken
            | AuthError::NoSession
            | AuthError::BadTokenName
            | AuthError::BadRole
            | AuthError::NotALogin
            | AuthError::RegistrationClosed
            | AuthError::NotRevocable
            | AuthError::LastAdministrator
            | AuthError::Crypto
            | AuthError::Store(_) => Self(error.into()),
        }
    }

    fn of_token(message: &str) -> Self {
        Self(WireError::new(ErrorCode::Unauthorized, message).into())
    }
}

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
