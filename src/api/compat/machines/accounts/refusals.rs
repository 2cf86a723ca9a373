//! What the account routes may answer with that is no success.

use utoipa::IntoResponses;

use crate::api::compat::machines::error::Message;

/// For the description of the routes.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "described, not built")]
pub(super) enum Refusals {
    /// A field is wrong or missing, and named.
    #[response(status = 400)]
    Wrong(#[to_schema] Message),
    /// A wrong password, or one of the four sentences about tokens.
    #[response(status = 401)]
    Unauthorized(#[to_schema] Message),
    /// The page's origin, or an API token where only a login will do.
    #[response(status = 403)]
    Forbidden(#[to_schema] Message),
    /// No such account, or no such picture.
    #[response(status = 404)]
    NotFound(#[to_schema] Message),
    /// The name or the email is taken.
    #[response(status = 409)]
    Conflict(#[to_schema] Message),
    /// The body or the picture is too large.
    #[response(status = 413)]
    TooLarge(#[to_schema] Message),
    /// The body is of another kind by its headers.
    #[response(status = 415)]
    WrongKind(#[to_schema] Message),
    /// Too many logins; `Retry-After` says how long to wait.
    #[response(status = 429)]
    TooMany(#[to_schema] Message),
    /// The store does not answer.
    #[response(status = 503)]
    Unavailable(#[to_schema] Message),
}
