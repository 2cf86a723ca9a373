//! Clients: register, log in, say how many workloads one is ready for.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::refusal::{Refusal, Refusals};
use crate::api::compat::json::Body;
use crate::api::http::address::ClientAddress;
use crate::api::http::caller::Caller;
use crate::api::http::error::HttpError;
use crate::auth::Visitor;
use crate::dispatcher::{Dispatcher, NewClient};
use crate::protocol::WireError;

/// What stands for a password that was taken.
const MASK: &str = "********";

/// Somebody who registers; also the echo of it, with the password masked.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = broker::Client)]
#[serde(rename_all = "camelCase")]
pub(super) struct Client {
    email: String,
    /// 1 to 1024 bytes.
    #[serde(alias = "passord")]
    password: String,
    #[serde(alias = "pub_key")]
    pub_key: String,
    /// `address:port`.
    address: String,
}

/// Who logs in.
#[derive(Deserialize, ToSchema)]
#[schema(as = broker::Credentials)]
pub(super) struct Credentials {
    #[serde(alias = "account", alias = "username")]
    email: String,
    /// `passord`, as the old document spells it, is the same.
    #[serde(alias = "passord")]
    password: String,
}

/// What a login is answered with.
#[derive(Serialize, ToSchema)]
#[schema(as = broker::ApiKey)]
pub(super) struct ApiKey {
    token: String,
}

/// What a client is ready for now.
#[derive(Serialize, ToSchema)]
#[schema(as = broker::Ready)]
pub(super) struct Ready {
    available: u32,
}

/// Registers a client.
#[utoipa::path(
    post,
    path = "/client",
    tag = "broker",
    request_body = Client,
    responses((status = 201, description = "Registered; the password is masked", body = Client), Refusals)
)]
pub(super) async fn register(
    State(dispatcher): State<Dispatcher>,
    ClientAddress(from): ClientAddress,
    body: Result<Body<Client>, HttpError>,
) -> Result<(StatusCode, Json<Client>), Refusal> {
    let Body(Client { email, password, pub_key, address }) = body?;
    let client = NewClient { email: email.clone(), password, pub_key: pub_key.clone(), address: address.clone() };
    dispatcher.register_client(client, from).await?;
    Ok((StatusCode::CREATED, Json(Client { email, password: MASK.to_owned(), pub_key, address })))
}

/// Gives an API key for a password.
#[utoipa::path(
    post,
    path = "/login",
    tag = "broker",
    request_body = Credentials,
    responses((status = 200, description = "The API key, good for an hour unless configured otherwise", body = ApiKey), Refusals)
)]
pub(super) async fn login(
    State(dispatcher): State<Dispatcher>,
    from: Visitor,
    body: Result<Body<Credentials>, HttpError>,
) -> Result<Json<ApiKey>, Refusal> {
    let Body(Credentials { email, password }) = body?;
    let (_, token) = dispatcher.login(&email, &password, &from).await?;
    Ok(Json(ApiKey { token }))
}

/// Says how many workloads the client is ready for.
#[utoipa::path(
    post,
    path = "/client/signal/{available}",
    tag = "broker",
    params(("available" = u32, Path, description = "A whole number, 0 for none")),
    responses((status = 200, description = "Noted", body = Ready), Refusals)
)]
pub(super) async fn signal(
    State(dispatcher): State<Dispatcher>,
    caller: Result<Caller, HttpError>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Ready>, Refusal> {
    let Caller(who) = caller?;
    let Path(available) = path?;
    let available = whole(&available)?;
    dispatcher.offer(&who, available).await?;
    Ok(Json(Ready { available }))
}

/// Digits and nothing else: what parses as a number may have a sign.
fn whole(text: &str) -> Result<u32, WireError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.ok_or_else(|| {
        WireError::bad_field("available", format!("available must be a whole number, 0 to {}", u32::MAX))
    })
}
