//! `/api/auth/*`: logging in, registering, logging out.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::{Fields, optional, text};
use crate::api::compat::json::Body;
use crate::api::compat::machines::caller::Caller;
use crate::api::compat::machines::error::{Refusal, Refusals};
use crate::api::http::address::ClientAddress;
use crate::api::http::error::HttpError;
use crate::auth::{AuthError, NewAccount, Visitor};
use crate::dispatcher::Dispatcher;
use crate::model::AccountName;

/// Who logs in.
#[derive(Deserialize, ToSchema)]
#[schema(as = machines::Credentials)]
pub(super) struct Credentials {
    /// The account's name, or its email.
    #[serde(alias = "username", alias = "email")]
    account: String,
    password: String,
}

/// Who registers. Whatever else is said is kept as the profile.
#[derive(ToSchema)]
#[schema(as = machines::Registration)]
#[expect(dead_code, reason = "the shape is described here and read field by field")]
pub(super) struct Registration {
    /// 1 to 64 characters without white space.
    account: String,
    /// 1 to 1024 bytes.
    password: String,
    nickname: Option<String>,
    email: Option<String>,
    phone: Option<String>,
}

/// A token for the header `Authorization`.
#[derive(Serialize, ToSchema)]
#[schema(as = machines::AccessToken)]
pub(super) struct AccessToken {
    pub(super) access_token: String,
}

/// A new account.
#[derive(Serialize, ToSchema)]
#[schema(as = machines::Registered)]
pub(super) struct Registered {
    account: String,
}

/// Done.
#[derive(Serialize, ToSchema)]
#[schema(as = machines::Done)]
pub(super) struct Done {
    message: &'static str,
}

/// Logs in by name or by email.
#[utoipa::path(
    post,
    path = "/api/auth/login",
    tag = "machines",
    request_body = Credentials,
    responses((status = 200, description = "Logged in", body = AccessToken), Refusals)
)]
pub(super) async fn login(
    State(dispatcher): State<Dispatcher>,
    from: Visitor,
    body: Result<Body<Credentials>, HttpError>,
) -> Result<Json<AccessToken>, Refusal> {
    let Body(Credentials { account, password }) = body?;
    match dispatcher.login(&account, &password, &from).await {
        Ok((_, access_token)) => Ok(Json(AccessToken { access_token })),
        // This family's document tells the two apart, the others do not.
        Err(AuthError::WrongPassword) if !dispatcher.auth().is_known(&account).await? => {
            Err(AuthError::NoAccount.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Makes an account.
#[utoipa::path(
    post,
    path = "/api/auth/register",
    tag = "machines",
    request_body = Registration,
    responses((status = 200, description = "Registered", body = Registered), Refusals)
)]
pub(super) async fn register(
    State(dispatcher): State<Dispatcher>,
    ClientAddress(from): ClientAddress,
    body: Result<Body<Fields>, HttpError>,
) -> Result<Json<Registered>, Refusal> {
    let Body(mut fields) = body?;
    let account = text(&mut fields, &["account", "username"])?;
    let password = text(&mut fields, &["password"])?;
    let email = optional(&mut fields, &["email"])?;
    let new = NewAccount { account, email, password, profile: fields };
    let account: AccountName = dispatcher.register_account(new, from).await?;
    Ok(Json(Registered { account: account.into() }))
}

/// Ends the login that the token came of, everywhere at once. An API token comes of none, and stays.
#[utoipa::path(
    method(get, post),
    path = "/api/auth/logout",
    tag = "machines",
    responses((status = 200, description = "Logged out", body = Done), Refusals)
)]
pub(super) async fn logout(State(dispatcher): State<Dispatcher>, Caller(who): Caller) -> Result<Json<Done>, Refusal> {
    dispatcher.log_out(&who).await?;
    Ok(Json(Done { message: "logged out" }))
}

/// A fresh token of the same login.
#[utoipa::path(
    get,
    path = "/api/auth/session",
    tag = "machines",
    responses((status = 200, description = "A fresh token", body = AccessToken), Refusals)
)]
pub(super) async fn session(
    State(dispatcher): State<Dispatcher>,
    Caller(who): Caller,
) -> Result<Json<AccessToken>, Refusal> {
    let access_token = dispatcher.auth().renew(&who).await.map_err(Refusal::of_auth)?;
    Ok(Json(AccessToken { access_token }))
}
