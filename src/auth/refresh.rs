//! Logins that last: refresh tokens, and the end of a login.
//!
//! A login that is to last has a document, which says how often it was refreshed. A refresh token carries that number and is
//! good for exactly one refresh, which makes the next one. A token that comes a second time was copied: nobody can tell who
//! of the two is its owner, so the login is over.
//!
//! A login that is over has a document, too, for as long as access tokens of it could still be good. Every instance looks
//! for it whenever such a token is shown.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::access::{Claims, Kind};
use super::login::{LoginId, WRITTEN_WITHIN, busy};
use super::{Auth, AuthError, Credential, Identity, Revoked, Visitor};
use crate::base::clock::{Millis, millis};
use crate::model::AccountName;
use crate::protocol::limits::EXPIRY_LEEWAY;
use crate::store::StoreError;
use crate::store::documents::{Collection, Document, DocumentWrite};

/// How long a login lasts that is not refreshed.
const REFRESH_WITHIN: Duration = Duration::from_secs(30 * 24 * 3600);

/// For clocks that differ, and for a token that is being made while its login ends.
const SLACK: Duration = Duration::from_secs(300);

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
    pub async fn login_lasting(
        &self,
        name_or_email: &str,
        password: &str,
        from: &Visitor,
    ) -> Result<(Identity, Tokens), AuthError> {
        let account = self.check_password(name_or_email, password, from.address).await?;
        let login = LoginId::new();
        let claims = Claims::refresh(&account, login, 0, self.0.clock.now(), REFRESH_WITHIN);
        // Its name is random, so that nothing can be there.
        let lasting = write(login, None, &Login::Lasting { turn: 0 }, until(&claims))?;
        self.write_begun(&account, login, from, claims.expires_at(), Some(lasting)).await?;
        let (identity, access) = self.issue(&account, login).await?;
        Ok((identity.at(from.address), Tokens { access, refresh: self.keys().await?.sign(&claims)? }))
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
                    return Ok(Refreshed::Reused(self.end_login(&account.name, login).await?));
                }
                Login::Lasting { .. } => (),
            }
            let next = Claims::refresh(&account, login, turn + 1, now, REFRESH_WITHIN);
            let lasting = write(login, Some(kept.version), &Login::Lasting { turn: turn + 1 }, until(&next))?;
            let mut sign_ins = self.sign_ins(&account.name).await?;
            sign_ins.renew(login, now, next.expires_at());
            if self.0.store.write_documents(vec![lasting, sign_ins.into_write()?]).await? {
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
        let (renewed, token) = self.issue(&account, login).await?;
        for _ in 0..WRITTEN_WITHIN {
            let mut sign_ins = self.sign_ins(&account.name).await?;
            // It has ended just now, or began before a hundred others.
            if !sign_ins.has(login) {
                return Ok(token);
            }
            sign_ins.renew(login, self.0.clock.now(), renewed.expires_at.unwrap_or(Millis::MAX));
            if self.0.store.write_documents(vec![sign_ins.into_write()?]).await? {
                return Ok(token);
            }
        }
        Err(busy())
    }

    /// Ends the login that an identity rests on, with all its tokens. Nothing where none was needed.
    ///
    /// # Errors
    /// `NotALogin` for an API token: it is an administrator's to revoke, and programs may live on it. `Store`; harmless to
    /// repeat.
    pub async fn log_out(&self, who: &Identity) -> Result<Revoked, AuthError> {
        match &who.credential {
            Credential::Access { epoch: _, login } => self.end_login(&who.account, *login).await,
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

    /// Ends a login of an account.
    pub(super) async fn end_login(&self, account: &AccountName, login: LoginId) -> Result<Revoked, AuthError> {
        let until = self.0.clock.now() + millis(self.0.access_token_ttl) + millis(EXPIRY_LEEWAY) + millis(SLACK);
        for _ in 0..WRITTEN_WITHIN {
            let kept = self.login_document(login).await?;
            let over = write(login, kept.map(|kept| kept.version), &Login::Over, until)?;
            let mut sign_ins = self.sign_ins(account).await?;
            sign_ins.end(login);
            if self.0.store.write_documents(vec![over, sign_ins.into_write()?]).await? {
                return Ok(Revoked::login(login));
            }
        }
        Err(busy())
    }

    async fn login_document(&self, login: LoginId) -> Result<Option<Document>, StoreError> {
        self.0.store.document(Collection::RefreshFamilies, &login.to_string()).await
    }
}

fn write(
    login: LoginId,
    expected: Option<u64>,
    record: &Login,
    expires_at: Millis,
) -> Result<DocumentWrite, StoreError> {
    let value = serde_json::to_string(record).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    Ok(DocumentWrite {
        collection: Collection::RefreshFamilies,
        key: login.to_string(),
        expected,
        value: Some(value),
        expires_at: Some(expires_at),
    })
}

/// How long the document of a login is kept that can be refreshed with these claims.
fn until(claims: &Claims) -> Millis {
    claims.expires_at().saturating_add(millis(EXPIRY_LEEWAY))
}

fn read(kept: &Document) -> Result<Login, StoreError> {
    serde_json::from_str(&kept.value).map_err(|error| StoreError::Corrupt(error.to_string()))
}
