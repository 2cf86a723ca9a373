//! Access tokens and refresh tokens: JWTs, signed with HS256 by a key that the store keeps.

use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::AuthError;
use super::login::LoginId;
use crate::base::clock::{Millis, millis};
use crate::model::{Account, AccountName};
use crate::protocol::limits::EXPIRY_LEEWAY;

/// Issuer and audience: a token of another service that happens to share the key means nothing here.
const SERVICE: &str = "gangline";

/// How far in the future a token may have been issued: the skew between two dispatchers' clocks.
const ISSUE_SKEW: Duration = Duration::from_secs(60);

/// Signs tokens and reads them.
///
/// A token carries the account's `tokens_valid_from` as it stood when the password was
/// checked, and is good while the two are equal. A change of the password moves the account's,
/// and so ends every older token, without a race against logins under way and without a list.
pub(super) struct Keys {
    sign: EncodingKey,
    check: DecodingKey,
    access: Validation,
    refresh: Validation,
}

/// What a token is for. One kind is never taken for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Requests and sockets.
    Access,
    /// The next access token.
    Refresh,
}

impl Kind {
    fn audience(self) -> &'static str {
        match self {
            Self::Access => SERVICE,
            Self::Refresh => "gangline-refresh",
        }
    }

    fn validation(self) -> Validation {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[SERVICE]);
        validation.set_audience(&[self.audience()]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Times are judged in `read`, by the clock of the server and not by that of the crate.
        validation.validate_exp = false;
        validation
    }
}

/// What a token says. The role is not in it: the account's own counts.
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
    /// Which login it came of.
    #[serde(rename = "sid")]
    pub(super) login: LoginId,
    /// Of a refresh token: how often the login was refreshed before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) turn: Option<u64>,
}

impl Claims {
    fn new(kind: Kind, account: &Account, login: LoginId, now: Millis, ttl: Duration) -> Self {
        Self {
            iss: SERVICE.to_owned(),
            aud: kind.audience().to_owned(),
            sub: account.name.clone(),
            iat: now / 1000,
            exp: now.saturating_add(millis(ttl)).div_ceil(1000),
            jti: Uuid::new_v4(),
            epoch: account.tokens_valid_from,
            login,
            turn: None,
        }
    }

    /// Those of a refresh token.
    pub(super) fn refresh(account: &Account, login: LoginId, turn: u64, now: Millis, ttl: Duration) -> Self {
        Self { turn: Some(turn), ..Self::new(Kind::Refresh, account, login, now, ttl) }
    }

    /// When the token runs out.
    pub(super) fn expires_at(&self) -> Millis {
        self.exp.saturating_mul(1000)
    }
}

impl Keys {
    /// With the store's key.
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self {
            sign: EncodingKey::from_secret(&key),
            check: DecodingKey::from_secret(&key),
            access: Kind::Access.validation(),
            refresh: Kind::Refresh.validation(),
        }
    }

    /// An access token for `account`, as read when its password was checked, with its claims.
    ///
    /// # Errors
    /// `Crypto`: never with a 32-byte key.
    pub(super) fn issue(
        &self,
        account: &Account,
        login: LoginId,
        now: Millis,
        ttl: Duration,
    ) -> Result<(String, Claims), AuthError> {
        let claims = Claims::new(Kind::Access, account, login, now, ttl);
        Ok((self.sign(&claims)?, claims))
    }

    /// The token that says so.
    ///
    /// # Errors
    /// `Crypto`: never with a 32-byte key.
    pub(super) fn sign(&self, claims: &Claims) -> Result<String, AuthError> {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &self.sign).map_err(|_| AuthError::Crypto)
    }

    /// The claims of a token that this key signed and that is good at `now`, as far as it can
    /// tell by itself.
    ///
    /// # Errors
    /// `WrongToken`, `Expired` or `NotYetValid`.
    pub(super) fn read(&self, kind: Kind, token: &str, now: Millis) -> Result<Claims, AuthError> {
        // Every way to be no token of ours looks the same to a peer.
        let validation = match kind {
            Kind::Access => &self.access,
            Kind::Refresh => &self.refresh,
        };
        let claims: Claims =
            jsonwebtoken::decode(token, &self.check, validation).map_err(|_| AuthError::WrongToken)?.claims;
        if claims.iat.saturating_mul(1000) > now.saturating_add(millis(ISSUE_SKEW)) {
            return Err(AuthError::NotYetValid);
        }
        if claims.expires_at().saturating_add(millis(EXPIRY_LEEWAY)) < now {
            return Err(AuthError::Expired);
        }
        Ok(claims)
    }
}
