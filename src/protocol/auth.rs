//! Frames of type `auth`: proving who one is, one's own logins and tokens, and administering who may.
//!
//! Not here: the record of who did what (`audit`).

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::audit::{AuditLog, AuditQuery};
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
        "userRole" => UserRole(UserRole),
        "passwordChange" => PasswordChange(PasswordChange),
        "sessionList" => SessionList(SessionList),
        "sessionEnd" => SessionEnd(SessionEnd),
        "tokenCreate" => TokenCreate(TokenCreate),
        "tokenList" => TokenList(Nothing),
        "tokenRevoke" => TokenRevoke(TokenRevoke),
        "audit" => Audit(AuditQuery),
    }
}

impl AuthRequest {
    /// Those that are for administrators alone.
    pub const OF_ADMINISTRATORS: &'static [&'static str] =
        &["userAdd", "userList", "userRemove", "userPassword", "userRole"];
}

verbs! {
    /// Dispatcher to client.
    pub enum AuthEvent: Auth {
        "ok" => Ok(AuthReply) by read_ok,
        "expiring" => Expiring(Expiring),
        "users" => Users(UsersReply),
        "token" => Token(TokenReply),
        "tokens" => Tokens(TokensReply),
        "sessions" => Sessions(SessionsReply),
        "auditLog" => AuditLog(AuditLog),
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

/// `userAdd`. Administrators only, as all that is named after users.
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

/// `userRole`: gives an account another role; its logins end, and its API tokens that may do more than the new role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserRole {
    /// The account.
    #[serde(alias = "name", alias = "username")]
    pub account: String,
    /// `user` or `admin`.
    pub role: Role,
}

/// `passwordChange`: another password of one's own. All logins end; the connection goes on with the one of the reply.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PasswordChange {
    /// The one until now.
    pub present: String,
    /// The new one.
    pub password: String,
}

impl std::fmt::Debug for PasswordChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordChange(…)")
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
    /// What its owner calls it, at most 64 characters.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "label")]
    pub name: Option<String>,
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
    /// What its owner calls it.
    #[serde(default)]
    pub name: Option<String>,
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

/// `sessionList`: the logins by password that still last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SessionList {
    /// One's own unless given. Administrators may name any account, or `*` for all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

/// Logins by password, the latest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionsReply {
    /// At most 1,000.
    pub sessions: Vec<SessionRecord>,
}

/// What is shown of a login by password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionRecord {
    /// Names it for `sessionEnd`.
    pub id: String,
    /// Who has logged in.
    pub account: String,
    /// When, in milliseconds.
    pub created_at: u64,
    /// When its tokens were last made anew, in milliseconds.
    pub last_used_at: u64,
    /// When its last token runs out, in milliseconds.
    pub expires_at: u64,
    /// The address that it came from.
    pub from: IpAddr,
    /// What the program that logged in says it is.
    pub user_agent: Option<String>,
    /// Whether this connection rests on it.
    pub current: bool,
}

/// `sessionEnd`: ends a login everywhere, as logging out does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionEnd {
    /// Which one.
    pub id: String,
}
