//! Logins that are refreshed and ended, with the sockets that rest on them.

use super::{DispatchError, Dispatcher};
use crate::auth::{AuthError, Identity, Refreshed, Tokens};

impl Dispatcher {
    /// Uses a refresh token up for the next tokens. One that had been used before ends its login, everywhere.
    ///
    /// # Errors
    /// The token is no good, or was used before; the store.
    pub async fn refresh_login(&self, token: &str) -> Result<Tokens, DispatchError> {
        match self.auth().refresh(token).await? {
            Refreshed::Tokens(tokens) => Ok(tokens),
            Refreshed::Reused(revoked) => {
                self.revoke(revoked).await?;
                Err(AuthError::Revoked.into())
            }
        }
    }

    /// Ends the login that an identity rests on, everywhere at once.
    ///
    /// # Errors
    /// `forbidden` for an API token; the store, harmless to repeat.
    pub async fn log_out(&self, who: &Identity) -> Result<(), DispatchError> {
        let revoked = self.auth().log_out(who).await?;
        self.revoke(revoked).await
    }
}
