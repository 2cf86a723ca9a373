//! Access tokens: JWTs, signed with HS256 by a key that the store keeps.

use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::AuthError;
use crate::base::clock::{Millis, millis};
use crate::model::{Account, AccountName};
use crate::protocol::limits::EXPIRY_LEEWAY;

/// Issuer and audience: a token of another service that happens to share the key means nothing here.
const SERVICE: &str = "gangline";

/// How far in the future a token may have been issued: the skew between two dispatchers' clocks.
const ISSUE_SKEW: Duration = Duration::from_secs(60);

/// Signs access tokens and reads them.
///
/// A token carries the account's `tokens_valid_from` as it stood when the password was
/// checked, and is good while the two are equal. A change of the password moves the account's,
/// and so ends every older token, without a race against logins under way and without a list.
pub(super) struct Keys {
    sign: EncodingKey,
    check: DecodingKey,
    validation: Validation,
}

/// What an access token says. The role is not in it: the account's own counts.
#[derive(Serialize, Deserialize)]
pub(super) struct Claims {
    iss: String,
    aud: String,
    /// The account.
    pub(super) sub: AccountName,
    /// Issued, in seconds.
    iat: u64,
    /// Good until, in seconds.
    exp: u64,
    /// Makes two tokens of one second differ.
    jti: Uuid,
    /// See [`Keys`]; in milliseconds.
    pub(super) epoch: Millis,
}

impl Claims {
    /// When the token runs out.
    pub(super) fn expires_at(&self) -> Millis {
        self.exp.saturating_mul(1000)
    }
}

impl Keys {
    /// With the store's key.
    pub(super) fn new(key: [u8; 32]) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[SERVICE]);
        validation.set_audience(&[SERVICE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Times are judged in `read`, by the clock of the server and not by that of the crate.
        validation.validate_exp = false;
        Self { sign: EncodingKey::from_secret(&key), check: DecodingKey::from_secret(&key), validation }
    }

    /// A token for `account`, as read when its password was checked, with its claims.
    ///
    /// # Errors
    /// `Crypto`: never with a 32-byte key.
    pub(super) fn issue(&self, account: &Account, now: Millis, ttl: Duration) -> Result<(String, Claims), AuthError> {
        let claims = Claims {
            iss: SERVICE.to_owned(),
            aud: SERVICE.to_owned(),
            sub: account.name.clone(),
            iat: now / 1000,
            exp: now.saturating_add(millis(ttl)).div_ceil(1000),
            jti: Uuid::new_v4(),
            epoch: account.tokens_valid_from,
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.sign);
        Ok((token.map_err(|_| AuthError::Crypto)?, claims))
    }

    /// The claims of a token that this key signed and that is good at `now`, as far as it can
    /// tell by itself.
    ///
    /// # Errors
    /// `WrongToken`, `Expired` or `NotYetValid`.
    pub(super) fn read(&self, token: &str, now: Millis) -> Result<Claims, AuthError> {
        // Every way to be no token of ours looks the same to a peer.
        let claims: Claims =
            jsonwebtoken::decode(token, &self.check, &self.validation).map_err(|_| AuthError::WrongToken)?.claims;
        if claims.iat.saturating_mul(1000) > now.saturating_add(millis(ISSUE_SKEW)) {
            return Err(AuthError::NotYetValid);
        }
        if claims.expires_at().saturating_add(millis(EXPIRY_LEEWAY)) < now {
            return Err(AuthError::Expired);
        }
        Ok(claims)
    }
}
