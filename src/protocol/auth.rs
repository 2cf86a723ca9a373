//! Frames of type `auth`: proving who one is, and administering who may.

use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::codec::{Acknowledged, Nothing, typed, verbs};
use super::error::WireError;

/// What an account or token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Submits jobs and sees its own.
    User,
    /// Does everything.
    Admin,
    /// Runs jobs.
    Worker,
    /// Answers hooks.
    Plugin,
}

verbs! {
    /// Client to dispatcher. `login` is what a frame without `opt` means.
    pub enum AuthRequest: Auth {
        "login" => Login(Login),
        "userAdd" => UserAdd(UserAdd),
        "userList" => UserList(Nothing),
        "userRemove" => UserRemove(NamedUser),
        "userPassword" => UserPassword(UserPassword),
        "tokenCreate" => TokenCreate(TokenCreate),
        "tokenList" => TokenList(Nothing),
        "tokenRevoke" => TokenRevoke(TokenRevoke),
    }
}

verbs! {
    /// Dispatcher to client.
    pub enum AuthEvent: Auth {
        "ok" => Ok(AuthReply) by read_ok,
        "expiring" => Expiring(Expiring),
        "users" => Users(UsersReply),
        "token" => Token(TokenReply),
        "tokens" => Tokens(TokensReply),
    }
}

/// `auth`: a token, or an account with its password.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Login {
    /// An access token or an API token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Account name or email.
    #[serde(skip_serializing_if = "Option::is_none", alias = "username", alias = "email")]
    pub account: Option<String>,
    /// Its password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("account", &self.account).finish_non_exhaustive()
    }
}

/// `ok`: the reply to a login, or, with `of`, to any other verb that has none of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum AuthReply {
    /// The socket is authenticated.
    Login(AuthOk),
    /// The verb was carried out.
    Done(Acknowledged),
}

fn read_ok(data: &str) -> Result<AuthReply, WireError> {
    #[derive(Deserialize)]
    struct Probe {
        of: Option<IgnoredAny>,
    }
    match typed(data)? {
        Probe { of: None } => typed(data).map(AuthReply::Login),
        Probe { of: Some(_) } => typed(data).map(AuthReply::Done),
    }
}

/// The socket is authenticated.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthOk {
    /// Who.
    pub account: String,
    /// As what.
    pub role: Role,
    /// Until when, in milliseconds; null for ever.
    pub expires_at: Option<u64>,
    /// After a login with a password: an access token to come back with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl std::fmt::Debug for AuthOk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthOk").field("account", &self.account).field("role", &self.role).finish_non_exhaustive()
    }
}

/// The token runs out soon: send `auth` again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Expiring {
    /// When, in milliseconds.
    pub expires_at: u64,
}

/// `userAdd`. Administrators only, as all that follows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserAdd {
    /// The new account's name.
    #[serde(alias = "name", alias = "username")]
    pub account: String,
    /// `user` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Another name to log in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Without one the account can only be used by tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

impl std::fmt::Debug for UserAdd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserAdd").field("account", &self.account).field("role", &self.role).finish_non_exhaustive()
    }
}

/// Names an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NamedUser {
    /// Its name.
    #[serde(alias = "name", alias = "username")]
    pub account: String,
}

/// `userPassword`: sets a password; every token of the account that a password made ends.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserPassword {
    /// The account.
    #[serde(alias = "name", alias = "username")]
    pub account: String,
    /// Its new password.
    pub password: String,
}

impl std::fmt::Debug for UserPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserPassword").field("account", &self.account).finish_non_exhaustive()
    }
}

/// Accounts by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsersReply {
    /// All of them.
    pub users: Vec<UserRecord>,
}

/// What is shown of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserRecord {
    /// Its name.
    pub account: String,
    /// What it may do.
    pub role: Role,
    /// Its email.
    pub email: Option<String>,
    /// Since when, in milliseconds.
    pub created_at: u64,
}

/// `tokenCreate`: an API token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenCreate {
    /// What it may do.
    pub role: Role,
    /// Whose jobs it submits; the asker's own account unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// How long it lives, in seconds; for ever unless given.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "ttl_secs")]
    pub ttl_secs: Option<u64>,
}

/// A new API token. It is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenReply {
    /// The token itself.
    pub token: String,
    /// What is kept of it.
    pub record: TokenRecord,
}

impl std::fmt::Debug for TokenReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenReply").field("record", &self.record).finish_non_exhaustive()
    }
}

/// API tokens, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokensReply {
    /// All of them.
    pub tokens: Vec<TokenRecord>,
}

/// What is shown of an API token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenRecord {
    /// Names it for `tokenRevoke`.
    pub id: String,
    /// What it may do.
    pub role: Role,
    /// Whose jobs it submits.
    pub account: String,
    /// Since when, in milliseconds.
    pub created_at: u64,
    /// Until when, in milliseconds.
    pub expires_at: Option<u64>,
}

/// `tokenRevoke`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenRevoke {
    /// The token's id, or the token itself.
    #[serde(alias = "id")]
    pub token: String,
}

impl std::fmt::Debug for TokenRevoke {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenRevoke(…)")
    }
}
