//! Errors in the family's shape, and who asks.

use std::collections::HashMap;

use axum::extract::FromRequestParts;
use axum::extract::rejection::QueryRejection;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::api::http::caller::Caller;
use crate::api::http::error::HttpError;
use crate::auth::Identity;
use crate::dispatcher::Dispatcher;
use crate::model::Role;
use crate::protocol::{ErrorCode, WireError};

/// `{"error", "statusCode"}`.
#[derive(Debug)]
pub(super) struct Refusal(HttpError);

impl Refusal {
    pub(super) fn method_not_allowed() -> Self {
        Self(HttpError::method_not_allowed())
    }

    /// 404 in the document's words.
    pub(super) fn not_found(what: &str) -> Self {
        WireError::new(ErrorCode::NotFound, format!("{what} not found")).into()
    }

    /// 400 for fields that are missing or wrong; the message names them.
    pub(super) fn field(field: &str, message: impl Into<String>) -> Self {
        WireError::bad_field(field, message).into()
    }

    /// Itself, unless it says that something was not found: then in the document's words.
    pub(super) fn or_not_found(self, what: &str) -> Self {
        if self.0.status() == axum::http::StatusCode::NOT_FOUND { Self::not_found(what) } else { self }
    }
}

impl<E: Into<HttpError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.0.answer(|status, error| {
            // There is no place for the field's name but the message.
            let message = match &error.field {
                Some(field) if !error.message.contains(field.as_str()) => format!("{field}: {}", error.message),
                Some(_) | None => error.message.clone(),
            };
            json!({ "error": message, "statusCode": status.as_u16() })
        })
    }
}

/// Whoever sent the request.
pub(super) struct Asker(pub(super) Identity);

impl FromRequestParts<Dispatcher> for Asker {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, dispatcher: &Dispatcher) -> Result<Self, Refusal> {
        let Caller(who) = Caller::from_request_parts(parts, dispatcher).await?;
        Ok(Self(who))
    }
}

impl Asker {
    /// For routes on which jobs are submitted.
    ///
    /// # Errors
    /// 403: the role submits none.
    pub(super) fn submits(self) -> Result<Identity, Refusal> {
        match self.0.role {
            Role::User | Role::Admin => Ok(self.0),
            Role::Worker | Role::Plugin => Err(HttpError::forbidden("jobs are submitted by users").into()),
        }
    }
}

/// The parameters of a query.
pub(super) type Parameters = Result<axum::extract::Query<HashMap<String, String>>, QueryRejection>;

/// A parameter by any of its spellings; an empty one is none.
pub(super) fn parameter<'a>(query: &'a HashMap<String, String>, spellings: &[&str]) -> Option<&'a str> {
    spellings.iter().find_map(|name| query.get(*name)).map(String::as_str).filter(|value| !value.is_empty())
}

/// `limit` of a list.
///
/// # Errors
/// 400: no whole number from 1.
pub(super) fn limit(query: &HashMap<String, String>) -> Result<Option<u32>, Refusal> {
    let wrong = || Refusal::field("limit", "limit must be a whole number from 1");
    match parameter(query, &["limit"]) {
        None => Ok(None),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => match digits.trim_start_matches('0') {
            "" => Err(wrong()),
            // More digits than a number has is more than there can be of anything.
            digits => Ok(Some(digits.parse().unwrap_or(u32::MAX))),
        },
        Some(_) => Err(wrong()),
    }
}
