//! `/api/user/*`: what people say of themselves.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::auth::AccessToken;
use super::body::Fields;
use super::photo::url_of;
use crate::api::compat::json::Body;
use crate::api::compat::machines::caller::Caller;
use crate::api::compat::machines::error::{Refusal, Refusals};
use crate::api::http::error::HttpError;
use crate::auth::{AuthError, Credential, Identity, Visitor};
use crate::dispatcher::{Dispatcher, PasswordChanged};
use crate::model::Account;
use crate::protocol::auth::Role;

/// What is shown of an account to its owner.
#[derive(Serialize, ToSchema)]
#[schema(as = machines::User)]
pub(super) struct User {
    /// The account's name.
    id: String,
    /// The same.
    account: String,
    #[schema(value_type = String)]
    role: Role,
    nickname: Option<Value>,
    email: Option<String>,
    phone: Option<Value>,
    /// Where the picture is.
    photo: Option<String>,
    /// Whatever else was said.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    profile: Fields,
}

/// What someone says of themselves; whatever else is said is kept, too. `null` takes a thing back.
#[derive(ToSchema)]
#[schema(as = machines::Profile)]
#[expect(dead_code, reason = "the shape is described here and read field by field")]
pub(super) struct Profile {
    nickname: Option<String>,
    email: Option<String>,
    phone: Option<String>,
}

/// A new password, and the one until now.
#[derive(Deserialize, ToSchema)]
#[schema(as = machines::PasswordChange)]
pub(super) struct PasswordChange {
    /// The one until now.
    #[serde(alias = "old_password", alias = "oldPassword")]
    password: String,
    /// 1 to 1024 bytes.
    #[serde(alias = "newPassword")]
    new_password: String,
}

impl From<Account> for User {
    fn from(account: Account) -> Self {
        let Account {
            name,
            role,
            email,
            password_hash: _,
            created_at: _,
            tokens_valid_from: _,
            revision: _,
            mut profile,
            photo,
        } = account;
        Self {
            id: name.to_string(),
            account: name.to_string(),
            role: role.into(),
            nickname: profile.remove("nickname"),
            email,
            phone: profile.remove("phone"),
            photo: photo.map(|photo| url_of(&name, photo.id)),
            profile,
        }
    }
}

/// Who the token's owner is.
#[utoipa::path(
    get,
    path = "/api/user/info",
    tag = "machines",
    responses((status = 200, description = "The token's owner", body = User), Refusals)
)]
pub(super) async fn info(State(dispatcher): State<Dispatcher>, Caller(who): Caller) -> Result<Json<User>, Refusal> {
    user(&dispatcher, &who).await
}

/// Says something of oneself.
#[utoipa::path(
    post,
    path = "/api/user/set_profile",
    tag = "machines",
    request_body = Profile,
    responses((status = 200, description = "Noted", body = User), Refusals)
)]
pub(super) async fn set_profile(
    State(dispatcher): State<Dispatcher>,
    Caller(who): Caller,
    body: Result<Body<Fields>, HttpError>,
) -> Result<Json<User>, Refusal> {
    let Body(fields) = body?;
    dispatcher.set_profile(&who, &fields).await.map_err(of_owner)?;
    user(&dispatcher, &who).await
}

/// Changes the password, which ends all logins; the answer's token is of a new one.
#[utoipa::path(
    post,
    path = "/api/user/set_password",
    tag = "machines",
    request_body = PasswordChange,
    responses((status = 200, description = "Changed", body = AccessToken), Refusals)
)]
pub(super) async fn set_password(
    State(dispatcher): State<Dispatcher>,
    Caller(who): Caller,
    from: Visitor,
    body: Result<Body<PasswordChange>, HttpError>,
) -> Result<Json<AccessToken>, Refusal> {
    let Body(PasswordChange { password, new_password }) = body?;
    let changed = dispatcher.change_password(&who, &password, new_password, &from).await;
    let PasswordChanged { identity: _, token, former } = changed.map_err(of_owner)?;
    dispatcher.revoke(former).await?;
    Ok(Json(AccessToken { access_token: token }))
}

/// What the owner of an account is shown of it.
pub(super) async fn user(dispatcher: &Dispatcher, who: &Identity) -> Result<Json<User>, Refusal> {
    match dispatcher.auth().account(&who.account).await {
        Ok(account) => Ok(Json(account.into())),
        Err(AuthError::NoAccount) if who.credential == Credential::Open => Ok(Json(User {
            id: who.account.to_string(),
            account: who.account.to_string(),
            role: who.role.into(),
            nickname: None,
            email: None,
            phone: None,
            photo: None,
            profile: Fields::new(),
        })),
        Err(error) => Err(of_owner(error)),
    }
}

/// An account that is not there is that of the token.
pub(super) fn of_owner(error: AuthError) -> Refusal {
    match error {
        AuthError::NoAccount => Refusal::of_auth(AuthError::AccountGone),
        error => error.into(),
    }
}
