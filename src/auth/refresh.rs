//! Logins that last: refresh tokens, and the end of a login.
//!
//! A login that is to last has a document, which says how often it was refreshed. A refresh token carries that number and is
//! good for exactly one refresh, which makes the next one. A token that comes a second time was copied: nobody can tell who
//! of the two is its owner, so the login is over.
//!
//! A login that is over has a document, too, for as long as access tokens of it could still be good. Every instance looks
//! for it whenever such a token is shown.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::access::{Claims, Kind};
use super::login::LoginId;
use super::{Auth, AuthError, Credential, Identity, Revoked};
use crate::base::clock::{Millis, millis};
use crate::protocol::limits::EXPIRY_LEEWAY;
use crate::store::StoreError;
use crate::store::documents::{Collection, Document, DocumentWrite};

/// How long a login lasts that is not refreshed.
const REFRESH_WITHIN: Duration = Duration::from_secs(30 * 24 * 3600);

/// For clocks that differ, and for a token that is being made while its login ends.
const SLACK: Duration = Duration::from_secs(300);

/// How often a document is written that others change at the same time. Nobody changes a login but who has its tokens.
const WRITTEN_WITHIN: u32 = 16;

/// What is kept of a login.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
enum Login {
    /// It was refreshed so often: the one refresh token that carries this number is good.
    Lasting { turn: u64 },
    /// No token of it is good any more.
    Over,
}

/// The tokens of a login that lasts.
#[derive(Clone, PartialEq, Eq)]
pub struct Tokens {
    /// For requests and sockets.
    pub access: String,
    /// For the next refresh, and nothing else.
    pub refresh: String,
}

/// What came of a refresh token.
#[must_use = "sockets may rest on what was revoked"]
pub enum Refreshed {
    /// It was good: here are the next ones.
    Tokens(Tokens),
    /// It had been used before: its login is over.
    Reused(Revoked),
}

impl Auth {
    /// Logs in with a password for longer than an access token lives.
    ///
    /// # Errors
    /// As [`Auth::login`].
    pub async fn login_lasting(&self, name_or_email: &str, password: &str, from: IpAddr) -> Result<Tokens, AuthError> {
        let account = self.check_password(name_or_email, password, from).await?;
        let login = LoginId(Uuid::new_v4());
        let claims = Claims::refresh(&account, login, 0, self.0.clock.now(), REFRESH_WITHIN);
        // Its name is random, so that nothing can be there.
        self.write_login(login, None, &Login::Lasting { turn: 0 }, until(&claims)).await?;
        let (_, access) = self.issue(&account, login).await?;
        Ok(Tokens { access, refresh: self.keys().await?.sign(&claims)? })
    }

    /// Uses a refresh token up.
    ///
    /// # Errors
    /// `WrongToken`, `Expired`, `NotYetValid`, `Revoked` or `AccountGone`; `Crypto`; `Store`, after which the token may be
    /// used up.
    pub async fn refresh(&self, token: &str) -> Result<Refreshed, AuthError> {
        let now = self.0.clock.now();
        let keys = self.keys().await?;
        let shown = keys.read(Kind::Refresh, token, now)?;
        let account = self.holder(&shown).await?;
        let (login, turn) = (shown.login, shown.turn.ok_or(AuthError::WrongToken)?);
        for _ in 0..WRITTEN_WITHIN {
            let Some(kept) = self.login_document(login).await? else { return Err(AuthError::Revoked) };
            match read(&kept)? {
                Login::Over => return Err(AuthError::Revoked),
                Login::Lasting { turn: now_at } if now_at != turn => {
                    return Ok(Refreshed::Reused(self.end_login(login).await?));
                }
                Login::Lasting { .. } => (),
            }
            let next = Claims::refresh(&account, login, turn + 1, now, REFRESH_WITHIN);
            let lasting = Login::Lasting { turn: turn + 1 };
            if self.write_login(login, Some(kept.version), &lasting, until(&next)).await? {
                let (_, access) = self.issue(&account, login).await?;
                return Ok(Refreshed::Tokens(Tokens { access, refresh: keys.sign(&next)? }));
            }
        }
        Err(busy())
    }

    /// A new access token of the same login.
    ///
    /// # Errors
    /// `NotALogin` where the proof is no access token; `AccountGone`; `Crypto`; `Store`.
    pub async fn renew(&self, who: &Identity) -> Result<String, AuthError> {
        let Credential::Access { epoch: _, login } = who.credential else { return Err(AuthError::NotALogin) };
        let account = self.0.store.account(who.account.as_str()).await?.ok_or(AuthError::AccountGone)?;
        Ok(self.issue(&account, login).await?.1)
    }

    /// Ends the login that an identity rests on, with all its tokens. Nothing where none was needed.
    ///
    /// # Errors
    /// `NotALogin` for an API token: it is an administrator's to revoke, and programs may live on it. `Store`; harmless to
    /// repeat.
    pub async fn log_out(&self, who: &Identity) -> Result<Revoked, AuthError> {
        match &who.credential {
            Credential::Access { epoch: _, login } => self.end_login(*login).await,
            Credential::ApiToken(_) => Err(AuthError::NotALogin),
            Credential::Open => Ok(Revoked::default()),
        }
    }

    /// Whether a login is over.
    pub(super) async fn is_over(&self, login: LoginId) -> Result<bool, StoreError> {
        match self.login_document(login).await? {
            None => Ok(false),
            Some(kept) => Ok(matches!(read(&kept)?, Login::Over)),
        }
    }

    async fn end_login(&self, login: LoginId) -> Result<Revoked, AuthError> {
        let until = self.0.clock.now() + millis(self.0.access_token_ttl) + millis(EXPIRY_LEEWAY) + millis(SLACK);
        for _ in 0..WRITTEN_WITHIN {
            let kept = self.login_document(login).await?;
            if self.write_login(login, kept.map(|kept| kept.version), &Login::Over, until).await? {
                return Ok(Revoked::login(login));
            }
        }
        Err(busy())
    }

    async fn login_document(&self, login: LoginId) -> Result<Option<Document>, StoreError> {
        self.0.store.document(Collection::RefreshFamilies, &key(login)).await
    }

    async fn write_login(
        &self,
        login: LoginId,
        expected: Option<u64>,
        record: &Login,
        expires_at: Millis,
    ) -> Result<bool, AuthError> {
        let value = serde_json::to_string(record).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let write = DocumentWrite {
            collection: Collection::RefreshFamilies,
            key: key(login),
            expected,
            value: Some(value),
            expires_at: Some(expires_at),
        };
        Ok(self.0.store.write_documents(vec![write]).await?)
    }
}

fn key(login: LoginId) -> String {
    login.0.simple().to_string()
}

/// How long the document of a login is kept that can be refreshed with these claims.
fn until(claims: &Claims) -> Millis {
    claims.expires_at().saturating_add(millis(EXPIRY_LEEWAY))
}

fn read(kept: &Document) -> Result<Login, StoreError> {
    serde_json::from_str(&kept.value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn busy() -> AuthError {
    StoreError::Unavailable("a login changes all the time".to_owned()).into()
}
