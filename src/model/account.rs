//! Accounts and the tokens that act for them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::clock::Millis;
use crate::protocol::auth as wire;

/// An account's name: 1 to 64 characters without white space or control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountName(Arc<str>);

/// The string is not an account name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an account name is 1 to 64 characters without white space")]
pub struct InvalidAccountName;

impl AccountName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Who acts on an unauthenticated socket under `--open`.
    pub fn anonymous() -> Self {
        Self("anonymous".into())
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AccountName {
    type Err = InvalidAccountName;

    fn from_str(text: &str) -> Result<Self, InvalidAccountName> {
        if text.is_empty() || text.chars().count() > 64 || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(InvalidAccountName);
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for AccountName {
    type Error = InvalidAccountName;

    fn try_from(text: String) -> Result<Self, InvalidAccountName> {
        text.parse()
    }
}

impl From<AccountName> for String {
    fn from(name: AccountName) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// What an account or token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

impl From<wire::Role> for Role {
    fn from(role: wire::Role) -> Self {
        match role {
            wire::Role::User => Self::User,
            wire::Role::Admin => Self::Admin,
            wire::Role::Worker => Self::Worker,
            wire::Role::Plugin => Self::Plugin,
        }
    }
}

impl From<Role> for wire::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::User => Self::User,
            Role::Admin => Self::Admin,
            Role::Worker => Self::Worker,
            Role::Plugin => Self::Plugin,
        }
    }
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its name, unique.
    pub name: AccountName,
    /// What it may do.
    pub role: Role,
    /// Another name to log in with, unique where given.
    pub email: Option<String>,
    /// Argon2id, as a PHC string; none: no login by password.
    pub password_hash: Option<String>,
    /// Since when.
    pub created_at: Millis,
    /// Access tokens issued before this moment are no longer good.
    pub tokens_valid_from: Millis,
}

/// The public half of an API token: names it, and proves nothing.
pub type TokenId = String;

/// What is kept of an API token. The secret itself is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiToken {
    /// Its name.
    pub id: TokenId,
    /// SHA-256 of the secret half. The secret is random and long, so a fast hash is enough.
    pub secret_hash: [u8; 32],
    /// What it may do.
    pub role: Role,
    /// For whom it acts.
    pub account: AccountName,
    /// Since when.
    pub created_at: Millis,
    /// Until when.
    pub expires_at: Option<Millis>,
}
