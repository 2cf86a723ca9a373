//! Who may come in: accounts, passwords, API tokens and access tokens.
//!
//! Two kinds of token prove who one is. An *API token* (`gl_<id>_<secret>`) lives in the store
//! until it expires or is revoked. An *access token* (a JWT) is what a password buys: it is
//! signed, lives for an hour or so, and ends early when its login does, the password changes or the account goes.
//! A login that is to last longer has a *refresh token* beside it, which is good for one more of each.
//!
//! Invariants: no secret is stored, logged or part of an error; what failed in a login cannot
//! be told from its message nor from its duration; every operation that ends credentials returns
//! a [`Revoked`], so that the caller can close the sockets that rest on them.
//! Not here: which role may do what (`dispatcher` and the front doors), closing sockets (`api`).

mod access;
mod accounts;
mod api_token;
mod attempts;
mod bootstrap;
mod error;
mod login;
mod origin;
mod password;
mod people;
mod refresh;
mod sign_ins;
#[cfg(test)]
mod tests;
mod visitor;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OnceCell};

use self::access::{Claims, Keys, Kind};
use self::api_token::Presented;
use self::attempts::PER_ADDRESS;
use self::password::Passwords;
use crate::base::clock::{Clock, Millis, millis};
use crate::base::rate::Rate;
use crate::model::{Account, AccountName, Role, TokenId};
use crate::protocol::limits::EXPIRY_LEEWAY;
use crate::store::Store;

pub use self::accounts::Revoked;
pub use self::bootstrap::{ADMIN_TOKEN_FILE, BootstrapError, PLUGIN_TOKEN_FILE, WORKER_TOKEN_FILE};
pub use self::error::AuthError;
pub use self::login::LoginId;
pub use self::origin::origin_allowed;
pub use self::people::NewAccount;
pub use self::refresh::{Refreshed, Tokens};
pub use self::sign_ins::Whose;
pub use self::visitor::Visitor;

/// Checks credentials and administers them. Clones share everything.
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    clock: Clock,
    access_token_ttl: Duration,
    /// Read from the store at the first use.
    keys: OnceCell<Keys>,
    passwords: Passwords,
    /// Logins and registrations, by address.
    addresses: Rate,
    /// Held while an account is read, judged and written: two administrators who remove each
    /// other at the same moment must not both succeed. Async, because the store is.
    changes: Mutex<()>,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").finish_non_exhaustive()
    }
}

/// Who someone proved to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The account.
    pub account: AccountName,
    /// What it may do.
    pub role: Role,
    /// When the proof runs out; none: never.
    pub expires_at: Option<Millis>,
    /// What the proof rests on.
    pub credential: Credential,
    /// The address that it came from, where a front door has said so: for the record of who did what, and nothing else.
    pub from: Option<IpAddr>,
}

/// What an [`Identity`] rests on, to be matched against a [`Revoked`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// An API token.
    ApiToken(TokenId),
    /// An access token.
    Access {
        /// The account's `tokens_valid_from` when the password was checked; a change of the password moves on from it.
        epoch: Millis,
        /// The login that it came of.
        login: LoginId,
    },
    /// None was needed.
    Open,
}

impl Identity {
    /// Who acts without a token under `--open`.
    pub fn anonymous() -> Self {
        Self {
            account: AccountName::anonymous(),
            role: Role::Admin,
            expires_at: None,
            credential: Credential::Open,
            from: None,
        }
    }

    /// The same, come from this address.
    pub fn at(self, from: IpAddr) -> Self {
        Self { from: Some(from), ..self }
    }

    /// When a socket that rests on this must be closed: its end, with the clock skew that is forgiven.
    pub fn closes_at(&self) -> Option<Millis> {
        self.expires_at.map(|end| end.saturating_add(millis(EXPIRY_LEEWAY)))
    }
}

impl Auth {
    /// Over the accounts of `store`. Access tokens live for `access_token_ttl`.
    pub fn new(store: Arc<dyn Store>, clock: Clock, access_token_ttl: Duration) -> Self {
        Self(Arc::new(Inner {
            store,
            clock,
            access_token_ttl,
            keys: OnceCell::new(),
            passwords: Passwords::new(),
            addresses: Rate::per_minute(PER_ADDRESS),
            changes: Mutex::new(()),
        }))
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// `WrongToken`, `Expired`, `NotYetValid`, `Revoked` or `AccountGone`; `Store` where it could not be found out.
    pub async fn authenticate(&self, token: &str) -> Result<Identity, AuthError> {
        match Presented::parse(token) {
            Some(presented) => self.authenticate_api_token(&presented).await,
            None => self.authenticate_access_token(token).await,
        }
    }

    /// Whether what an identity rests on has not been revoked since. Asked once its socket can be found
    /// by a [`Revoked`], so that none falls between proof and socket.
    ///
    /// # Errors
    /// `Revoked`; `Store` where it could not be found out.
    pub async fn check_again(&self, identity: &Identity) -> Result<(), AuthError> {
        let good = match &identity.credential {
            Credential::ApiToken(id) => self.0.store.token(id).await?.is_some(),
            Credential::Access { epoch, login } => {
                let (account, over) =
                    tokio::try_join!(self.0.store.account(identity.account.as_str()), self.is_over(*login))?;
                !over && account.is_some_and(|now| now.name == identity.account && now.tokens_valid_from == *epoch)
            }
            Credential::Open => true,
        };
        if good { Ok(()) } else { Err(AuthError::Revoked) }
    }

    async fn authenticate_api_token(&self, presented: &Presented<'_>) -> Result<Identity, AuthError> {
        let kept = self.0.store.token(presented.id).await?.ok_or(AuthError::WrongToken)?;
        if !presented.is(&kept) {
            return Err(AuthError::WrongToken);
        }
        // No leeway here: one clock made the token and judges it.
        if kept.expires_at.is_some_and(|end| end <= self.0.clock.now()) {
            return Err(AuthError::Expired);
        }
        Ok(Identity {
            account: kept.account,
            role: kept.role,
            expires_at: kept.expires_at,
            credential: Credential::ApiToken(kept.id),
            from: None,
        })
    }

    async fn authenticate_access_token(&self, token: &str) -> Result<Identity, AuthError> {
        let claims = self.keys().await?.read(Kind::Access, token, self.0.clock.now())?;
        let (account, over) = tokio::try_join!(self.holder(&claims), async { Ok(self.is_over(claims.login).await?) })?;
        if over {
            return Err(AuthError::Revoked);
        }
        Ok(Identity {
            account: account.name,
            role: account.role,
            expires_at: Some(claims.expires_at()),
            credential: Credential::Access { epoch: claims.epoch, login: claims.login },
            from: None,
        })
    }

    /// The account that a token speaks of, unless that has ended the token.
    async fn holder(&self, claims: &Claims) -> Result<Account, AuthError> {
        let account = self.0.store.account(claims.sub.as_str()).await?.ok_or(AuthError::AccountGone)?;
        // The second half is a guard against an account whose email is another's former name.
        if account.tokens_valid_from != claims.epoch || account.name != claims.sub {
            return Err(AuthError::Revoked);
        }
        Ok(account)
    }

    async fn keys(&self) -> Result<&Keys, AuthError> {
        let keys = self.0.keys.get_or_try_init(async || self.0.store.signing_key(rand::random()).await.map(Keys::new));
        Ok(keys.await?)
    }
}
