//! Login by password, and the limit on guessing.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock as _;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::{Auth, AuthError, Credential, Identity};

/// Logins of one account in a minute, good ones included.
const PER_MINUTE: NonZeroU32 = NonZeroU32::new(10).expect("10 is not 0");

/// Names whose tries are counted one by one; what comes on top shares one budget. About 1 MiB.
const NAMES: usize = 16 * 1024;

impl Auth {
    /// Logs in with a password: who it is, and an access token to come back with.
    ///
    /// # Errors
    /// `WrongPassword`, after the same time whatever was wrong; `TooManyLogins`; `Crypto`; `Store`.
    pub async fn login(&self, name_or_email: &str, password: &str) -> Result<(Identity, String), AuthError> {
        let account = self.0.store.account(name_or_email).await?;
        // By the account and not by what was typed: name and email share one budget.
        self.0.attempts.count(account.as_ref().map_or(name_or_email, |account| account.name.as_str()))?;
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

/// Counts logins by name, in bounded memory.
pub(super) struct Attempts {
    limiter: DefaultKeyedRateLimiter<Option<u64>>,
    /// Names are kept as hashes that nobody outside can compute.
    hasher: RandomState,
}

impl Attempts {
    pub(super) fn new() -> Self {
        Self { limiter: RateLimiter::keyed(Quota::per_minute(PER_MINUTE)), hasher: RandomState::new() }
    }

    /// Counts a login of `name`.
    ///
    /// # Errors
    /// `TooManyLogins`: not before that time.
    fn count(&self, name: &str) -> Result<(), AuthError> {
        if self.limiter.len() >= NAMES {
            self.limiter.retain_recent();
        }
        let key = (self.limiter.len() < NAMES).then(|| self.hasher.hash_one(name));
        self.limiter.check_key(&key).map_err(|until| AuthError::TooManyLogins {
            // Never 0, which would read as "at once".
            retry_after: until.wait_time_from(self.limiter.clock().now()).max(Duration::from_millis(1)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eleventh_try_in_a_minute_waits_and_others_do_not() {
        let attempts = Attempts::new();
        for _ in 0..PER_MINUTE.get() {
            attempts.count("ada").unwrap();
        }
        let Err(AuthError::TooManyLogins { retry_after }) = attempts.count("ada") else { panic!("not limited") };
        assert!(retry_after <= Duration::from_secs(6), "{retry_after:?}");
        attempts.count("grace").unwrap();
    }

    #[test]
    fn a_flood_of_names_does_not_grow_without_end() {
        let attempts = Attempts::new();
        for name in 0..NAMES + 100 {
            let _ = attempts.count(&name.to_string());
        }
        assert!(attempts.limiter.len() <= NAMES + 1, "{}", attempts.limiter.len());
    }
}
