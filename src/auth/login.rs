//! Login by password.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use tracing::warn;
use uuid::Uuid;

use super::api_token::Presented;
use super::{Auth, AuthError, Credential, Identity, Visitor, attempts};
use crate::base::clock::Millis;
use crate::model::Account;
use crate::store::StoreError;
use crate::store::documents::DocumentWrite;

/// How often what is kept of a login is written while others change it at the same time. Only logins of the same account do.
pub(super) const WRITTEN_WITHIN: u32 = 16;

/// One login: every token that came of it, and of its refreshes, carries this, and ends with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LoginId(pub(super) Uuid);

impl LoginId {
    pub(super) fn new() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for LoginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl Auth {
    /// Logs in with a password: who it is, and an access token to come back with.
    ///
    /// # Errors
    /// `WrongPassword`, after the same time whatever was wrong; `TooManyLogins`; `Crypto`; `Store`.
    pub async fn login(
        &self,
        name_or_email: &str,
        password: &str,
        from: &Visitor,
    ) -> Result<(Identity, String), AuthError> {
        let account = self.check_password(name_or_email, password, from.address).await?;
        self.begin(&account, from).await
    }

    /// Begins a login of an account whose password was checked.
    pub(super) async fn begin(&self, account: &Account, from: &Visitor) -> Result<(Identity, String), AuthError> {
        let login = LoginId::new();
        let (identity, token) = self.issue(account, login).await?;
        // An access token always runs out.
        let expires_at = identity.expires_at.unwrap_or(Millis::MAX);
        self.write_begun(account, login, from, expires_at, None).await?;
        Ok((identity.at(from.address), token))
    }

    /// Writes a login down that lasts until then, together with what else is to be written of it.
    pub(super) async fn write_begun(
        &self,
        account: &Account,
        login: LoginId,
        from: &Visitor,
        expires_at: Millis,
        more: Option<DocumentWrite>,
    ) -> Result<(), AuthError> {
        for _ in 0..WRITTEN_WITHIN {
            let mut sign_ins = self.sign_ins(&account.name).await?;
            sign_ins.begin(login, account, from, self.0.clock.now(), expires_at);
            let writes = more.iter().cloned().chain([sign_ins.into_write()?]).collect();
            if self.0.store.write_documents(writes).await? {
                return Ok(());
            }
        }
        Err(busy())
    }

    /// Logs in with a password or, in its place, an API token of the account; for front doors that have one field for
    /// either, and are knocked at for every file. What is right is not counted as a try: a token never, a password
    /// only until it is known to be right, so that many guesses at once gain nothing.
    ///
    /// # Errors
    /// As [`Auth::login`].
    pub async fn login_with_either(
        &self,
        name_or_email: &str,
        secret: &str,
        from: IpAddr,
    ) -> Result<Identity, AuthError> {
        if let Some(presented) = Presented::parse(secret)
            && let Ok(identity) = self.authenticate_api_token(&presented).await
            && identity.account.as_str() == name_or_email
        {
            return Ok(identity.at(from));
        }
        let account = self.check_password(name_or_email, secret, from).await?;
        if let Err(error) = attempts::give_back(&*self.0.store, &self.0.clock, account.name.as_str()).await {
            // Of the minute's ten there is one less, which is no reason to refuse this one.
            warn!(%error, account = %account.name, "a login that was right stays counted");
        }
        // Nothing is handed out that could come back, so there is no login to write down.
        let (identity, _) = self.issue(&account, LoginId::new()).await?;
        Ok(identity.at(from))
    }

    /// Whose password this is.
    ///
    /// # Errors
    /// As [`Auth::login`].
    pub(super) async fn check_password(
        &self,
        name_or_email: &str,
        password: &str,
        from: IpAddr,
    ) -> Result<Account, AuthError> {
        self.count_address(from)?;
        let account = self.0.store.account(name_or_email).await?;
        // By the account and not by what was typed: name and email share one budget.
        let name = account.as_ref().map_or(name_or_email, |account| account.name.as_str());
        attempts::count(&*self.0.store, &self.0.clock, name).await?;
        let kept = account.as_ref().and_then(|account| account.password_hash.clone());
        let good = self.0.passwords.verify(password.to_owned(), kept).await?;
        account.filter(|_| good).ok_or(AuthError::WrongPassword)
    }

    /// An access token of a login.
    ///
    /// # Errors
    /// `Crypto`; `Store`.
    pub(super) async fn issue(&self, account: &Account, login: LoginId) -> Result<(Identity, String), AuthError> {
        let (token, claims) = self.keys().await?.issue(account, login, self.0.clock.now(), self.0.access_token_ttl)?;
        let identity = Identity {
            account: account.name.clone(),
            role: account.role,
            expires_at: Some(claims.expires_at()),
            credential: Credential::Access { epoch: claims.epoch, login },
            from: None,
        };
        Ok((identity, token))
    }
}

/// Others were quicker each time.
pub(super) fn busy() -> AuthError {
    StoreError::Unavailable("a login changes all the time".to_owned()).into()
}
