//! Login by password, and the limit on guessing.

use std::num::NonZeroU32;

use super::{Auth, AuthError, Credential, Identity};

/// Logins of one account in a minute, good ones included.
pub(super) const PER_MINUTE: NonZeroU32 = NonZeroU32::new(10).expect("10 is not 0");

impl Auth {
    /// Logs in with a password: who it is, and an access token to come back with.
    ///
    /// # Errors
    /// `WrongPassword`, after the same time whatever was wrong; `TooManyLogins`; `Crypto`; `Store`.
    pub async fn login(&self, name_or_email: &str, password: &str) -> Result<(Identity, String), AuthError> {
        let account = self.0.store.account(name_or_email).await?;
        // By the account and not by what was typed: name and email share one budget.
        let name = account.as_ref().map_or(name_or_email, |account| account.name.as_str());
        self.0.attempts.count(name).map_err(|retry_after| AuthError::TooManyLogins { retry_after })?;
        let kept = account.as_ref().and_then(|account| account.password_hash.clone());
        let good = self.0.passwords.verify(password.to_owned(), kept).await?;
        let Some(account) = account.filter(|_| good) else { return Err(AuthError::WrongPassword) };

        let (token, claims) = self.keys().await?.issue(&account, self.0.clock.now(), self.0.access_token_ttl)?;
        let identity = Identity {
            account: account.name,
            role: account.role,
            expires_at: Some(claims.expires_at()),
            credential: Credential::Access { epoch: claims.epoch },
        };
        Ok((identity, token))
    }
}
