//! Login by password.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::api_token::Presented;
use super::{Auth, AuthError, Credential, Identity, attempts};
use crate::model::Account;

/// One login: every token that came of it, and of its refreshes, carries this, and ends with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LoginId(pub(super) Uuid);

impl Auth {
    /// Logs in with a password: who it is, and an access token to come back with. `from` is where the request came from.
    ///
    /// # Errors
    /// `WrongPassword`, after the same time whatever was wrong; `TooManyLogins`; `Crypto`; `Store`.
    pub async fn login(
        &self,
        name_or_email: &str,
        password: &str,
        from: IpAddr,
    ) -> Result<(Identity, String), AuthError> {
        let account = self.check_password(name_or_email, password, from).await?;
        self.issue(&account, LoginId(Uuid::new_v4())).await
    }

    /// Logs in with a password or, in its place, an API token of the account; for front doors that have one field for
    /// either. A token that is good is not counted as a try, as it is not elsewhere.
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
            return Ok(identity);
        }
        let (identity, _) = self.login(name_or_email, secret, from).await?;
        Ok(identity)
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
        };
        Ok((identity, token))
    }
}
