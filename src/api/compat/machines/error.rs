//! Errors in the shape of this family's document: `{"message": "…"}`, and its four sentences about tokens.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use utoipa::ToSchema;

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
            | AuthError::NotALogin
            | AuthError::NotRevocable
            | AuthError::LastAdministrator
            | AuthError::Crypto
            | AuthError::Store(_) => Self(error.into()),
        }
    }

    /// The same with another status than usual.
    pub(super) fn as_status(self, status: StatusCode) -> Self {
        Self(self.0.as_status(status))
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
        self.0.answer(|_, error| match &error.field {
            Some(field) => json!({ "message": error.message, "field": field }),
            None => json!({ "message": error.message }),
        })
    }
}
