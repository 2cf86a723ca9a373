//! `/sign-up` and `/sign-in`.

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

use super::error::{Refusal, Refusals};
use crate::api::compat::json::Body;
use crate::api::http::address::ClientAddress;
use crate::api::http::caller::check_origin;
use crate::api::http::error::HttpError;
use crate::auth::{NewAccount, Visitor};
use crate::dispatcher::Dispatcher;

/// Name and password.
#[derive(Deserialize, ToSchema)]
#[schema(as = fractals::Credentials)]
pub(super) struct Credentials {
    /// The account; where it signs in, its email will do.
    #[serde(alias = "account", alias = "email")]
    username: String,
    password: String,
}

/// Who is signed up.
#[derive(Serialize, ToSchema)]
#[schema(as = fractals::SignedUp)]
pub(super) struct SignedUp {
    username: String,
}

/// What a password buys.
#[derive(Serialize, ToSchema)]
#[schema(as = fractals::SignedIn)]
pub(super) struct SignedIn {
    /// The token for all other routes.
    jwt: String,
    /// The same once more.
    token: String,
    /// The account.
    username: String,
}

/// Makes an account.
#[utoipa::path(
    post,
    path = "/sign-up",
    tag = "fractals",
    request_body = Credentials,
    responses((status = 201, description = "The account is there", body = SignedUp), Refusals)
)]
pub(super) async fn sign_up(
    State(dispatcher): State<Dispatcher>,
    ClientAddress(from): ClientAddress,
    headers: HeaderMap,
    body: Result<Body<Credentials>, HttpError>,
) -> Result<(StatusCode, Json<SignedUp>), Refusal> {
    check_origin(&dispatcher, &headers)?;
    let Body(Credentials { username, password }) = body?;
    let new = NewAccount { account: username.clone(), email: None, password, profile: BTreeMap::new() };
    dispatcher.register_account(new, from).await?;
    Ok((StatusCode::CREATED, Json(SignedUp { username })))
}

/// Gives a token for a name and a password, which come in the body or as HTTP Basic.
#[utoipa::path(
    method(get, post),
    path = "/sign-in",
    tag = "fractals",
    request_body = Option<Credentials>,
    responses((status = 200, description = "A token", body = SignedIn), Refusals)
)]
pub(super) async fn sign_in(
    State(dispatcher): State<Dispatcher>,
    from: Visitor,
    request: Request,
) -> Result<Json<SignedIn>, Refusal> {
    check_origin(&dispatcher, request.headers())?;
    let Credentials { username, password } = match basic(request.headers()) {
        Some(credentials) => credentials,
        None => Body::from_request(request, &dispatcher).await?.0,
    };
    let (who, token) = dispatcher.login(&username, &password, &from).await?;
    Ok(Json(SignedIn { jwt: token.clone(), token, username: who.account.to_string() }))
}

/// Name and password of an `Authorization: Basic` header.
fn basic(headers: &HeaderMap) -> Option<Credentials> {
    let (scheme, encoded) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(encoded.trim()).ok())??;
    let text = String::from_utf8(decoded).ok()?;
    let (username, password) = text.split_once(':')?;
    Some(Credentials { username: username.to_owned(), password: password.to_owned() })
}
