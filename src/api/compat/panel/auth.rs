//! Logging in, and using a refresh token up.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::refusal::{Refusal, Refusals};
use crate::api::compat::json::Body;
use crate::api::http::caller::{bearer, check_origin};
use crate::api::http::error::HttpError;
use crate::auth::{self, Visitor};
use crate::dispatcher::Dispatcher;
use crate::protocol::WireError;

/// Who logs in, by email or by name.
#[derive(Deserialize, ToSchema)]
#[schema(as = panel::Credentials)]
pub(super) struct Credentials {
    /// Not needed beside `username`.
    email: Option<String>,
    /// Not needed beside `email`.
    #[serde(alias = "account")]
    username: Option<String>,
    password: String,
}

/// Tokens of a login.
#[derive(Serialize, ToSchema)]
#[schema(as = panel::Tokens)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tokens {
    /// For requests and sockets.
    access_token: String,
    /// For one refresh.
    refresh_token: String,
}

impl From<auth::Tokens> for Tokens {
    fn from(tokens: auth::Tokens) -> Self {
        let auth::Tokens { access, refresh } = tokens;
        Self { access_token: access, refresh_token: refresh }
    }
}

/// Logs in by email or by name.
#[utoipa::path(
    post,
    path = "/auth/login",
    tag = "panel",
    request_body = Credentials,
    responses((status = 200, description = "Logged in", body = Tokens), Refusals)
)]
pub(super) async fn login(
    State(dispatcher): State<Dispatcher>,
    from: Visitor,
    body: Result<Body<Credentials>, HttpError>,
) -> Result<Json<Tokens>, Refusal> {
    let Body(Credentials { email, username, password }) = body?;
    // An empty field of a form is as good as none.
    let given = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
    let Some(name) = given(&email).or_else(|| given(&username)) else {
        return Err(WireError::bad_field("email", "email or username is required").into());
    };
    Ok(Json(dispatcher.login_lasting(&name, &password, &from).await?.into()))
}

/// Uses a refresh token up for the next tokens. It is the bearer; a body is not read.
#[utoipa::path(
    method(get, post),
    path = "/auth/refresh",
    tag = "panel",
    responses((status = 200, description = "The next tokens", body = Tokens), Refusals)
)]
pub(super) async fn refresh(State(dispatcher): State<Dispatcher>, headers: HeaderMap) -> Result<Json<Tokens>, Refusal> {
    check_origin(&dispatcher, &headers)?;
    let token = bearer(&headers).filter(|token| !token.is_empty()).ok_or_else(HttpError::unauthorized)?;
    Ok(Json(dispatcher.refresh_login(token).await?.into()))
}
