//! How authentication and its administration fail, and what a peer is told of it.

use std::time::Duration;

use crate::base::clock::millis;
use crate::model::account::InvalidAccountName;
use crate::protocol::{ErrorCode, WireError};
use crate::store::StoreError;

/// Why someone was not let in, or a change of accounts was refused. Nothing was changed, unless
/// it is `Store`.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuthError {
    /// No such token, a wrong secret, a wrong signature, or no token at all.
    #[error("wrong token")]
    WrongToken,
    /// It was good once.
    #[error("the token has expired")]
    Expired,
    /// Issued later than now, by more than clocks may differ.
    #[error("the token is from the future")]
    NotYetValid,
    /// Its login is over, or its account has a new password.
    #[error("the token was revoked")]
    Revoked,
    /// Its account was removed.
    #[error("the token's account is gone")]
    AccountGone,
    /// No such account, an account without a password, or a wrong one: deliberately one answer.
    #[error("wrong account or password")]
    WrongPassword,
    /// The account was tried too often, too many tries came from one address, or too many logins are under way.
    #[error("too many logins; try again later")]
    TooManyLogins {
        /// When trying again makes sense.
        retry_after: Duration,
    },
    /// Not a name.
    #[error(transparent)]
    BadName(#[from] InvalidAccountName),
    /// A name that means something else.
    #[error("the name is reserved")]
    ReservedName,
    /// Not an email.
    #[error("an email is at most 254 characters with an '@' inside and no white space")]
    BadEmail,
    /// Too short or too long.
    #[error("a password is 8 to 1024 bytes long")]
    BadPassword,
    /// The same, where the older systems' rule counts.
    #[error("a password is 1 to 1024 bytes long")]
    PasswordLength,
    /// Something about oneself that cannot be kept.
    #[error("{field} {why}")]
    BadProfile {
        /// What.
        field: String,
        /// Why not.
        why: &'static str,
    },
    /// A token that would end at once, or after the end of time.
    #[error("ttlSecs must be 1 to 10000000000")]
    BadTtl,
    /// Another account has this name.
    #[error("the account name is taken")]
    NameTaken,
    /// Another account has this email.
    #[error("the email is taken")]
    EmailTaken,
    /// No such account.
    #[error("no such account")]
    NoAccount,
    /// No such login, or another's.
    #[error("no such session")]
    NoSession,
    /// What a token is called cannot be kept.
    #[error("a token's name is 1 to 64 characters without control characters")]
    BadTokenName,
    /// A role that accounts are not given.
    #[error("role must be user or admin")]
    BadRole,
    /// No such API token.
    #[error("no such token")]
    NoToken,
    /// What came of no login was to be renewed.
    #[error("an API token is no login; it stays as it is until it is revoked")]
    NotALogin,
    /// Only administrators add accounts here.
    #[error("registration is closed here; an administrator adds accounts")]
    RegistrationClosed,
    /// An access token was to be revoked.
    #[error("an access token ends with its account's password; only API tokens can be revoked one by one")]
    NotRevocable,
    /// Nobody could administer the server any more.
    #[error("the last administrator cannot be removed, and stays one")]
    LastAdministrator,
    /// Hashing or signing failed; never a matter of the input.
    #[error("internal error")]
    Crypto,
    /// Outcome unknown.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AuthError {
    /// What a peer is told.
    pub fn to_wire(&self) -> WireError {
        let (code, field) = match self {
            Self::WrongToken
            | Self::Expired
            | Self::NotYetValid
            | Self::Revoked
            | Self::AccountGone
            | Self::WrongPassword => (ErrorCode::Unauthorized, None),
            Self::TooManyLogins { retry_after } => {
                return WireError::new(ErrorCode::RateLimited, self.to_string()).retry_after(millis(*retry_after));
            }
            Self::BadName(_) | Self::ReservedName => (ErrorCode::BadFrame, Some("account")),
            Self::BadEmail => (ErrorCode::BadFrame, Some("email")),
            Self::BadPassword | Self::PasswordLength => (ErrorCode::BadFrame, Some("password")),
            Self::BadProfile { field, why: _ } => (ErrorCode::BadFrame, Some(field.as_str())),
            Self::BadTtl => (ErrorCode::BadFrame, Some("ttlSecs")),
            Self::BadTokenName => (ErrorCode::BadFrame, Some("name")),
            Self::BadRole => (ErrorCode::BadFrame, Some("role")),
            Self::NoSession => (ErrorCode::NotFound, Some("id")),
            Self::NotRevocable => (ErrorCode::BadFrame, Some("token")),
            Self::NameTaken | Self::LastAdministrator => (ErrorCode::Conflict, Some("account")),
            Self::EmailTaken => (ErrorCode::Conflict, Some("email")),
            Self::NotALogin | Self::RegistrationClosed => (ErrorCode::Forbidden, None),
            Self::NoAccount => (ErrorCode::NotFound, Some("account")),
            Self::NoToken => (ErrorCode::NotFound, Some("token")),
            Self::Crypto => (ErrorCode::Internal, None),
            // What exactly the store says is for the log, not for peers.
            Self::Store(StoreError::Unavailable(_)) => {
                return WireError::new(ErrorCode::StoreUnavailable, "the store cannot be reached");
            }
            Self::Store(StoreError::Corrupt(_)) => return WireError::new(ErrorCode::Internal, "internal error"),
        };
        let error = WireError::new(code, self.to_string());
        match field {
            Some(field) => error.field(field),
            None => error,
        }
    }
}
