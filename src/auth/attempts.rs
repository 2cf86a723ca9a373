//! How often one may try to log in: limits on guessing, for all front doors together.
//!
//! Tries at one account are counted in the store, so that guessing at several dispatchers gains nothing. Tries from one
//! address are counted in memory, by each dispatcher for itself: they only bound what a flood of names may cost.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::AuthError;
use super::api_token::hex;
use crate::base::clock::{Clock, Millis};
use crate::store::documents::{Collection, DocumentWrite};
use crate::store::{Store, StoreError};

/// Logins of one account in a minute, good ones included.
const PER_ACCOUNT: u64 = 10;
/// The time in which one more is allowed.
const INTERVAL: Millis = 60_000 / PER_ACCOUNT;

/// Logins and registrations from one address in a minute. Many people may share one, behind a proxy.
pub(super) const PER_ADDRESS: NonZeroU32 = NonZeroU32::new(1_000).expect("1,000 is not 0");

/// How often a count is tried that others change at the same time. Each loss is a try of someone else's, so that beyond
/// the first ten the limit is reached.
const COUNTED_WITHIN: u32 = 2 * PER_ACCOUNT as u32;

/// What is kept of an account's tries.
#[derive(Serialize, Deserialize)]
struct Tries {
    /// When all of them are forgotten, if no more come: each adds an interval.
    forgotten_at: Millis,
}

/// Counts a login of `name`, which may be nobody's.
///
/// # Errors
/// `TooManyLogins`: not before that time; `Store`.
pub(super) async fn count(store: &dyn Store, clock: &Clock, name: &str) -> Result<(), AuthError> {
    // A hash is short, whatever was typed.
    let key = hex(&Sha256::digest(name.as_bytes()));
    for _ in 0..COUNTED_WITHIN {
        let now = clock.now();
        let kept = store.document(Collection::LoginAttempts, &key).await?;
        let tries: Option<Tries> = match &kept {
            None => None,
            Some(kept) => {
                Some(serde_json::from_str(&kept.value).map_err(|error| StoreError::Corrupt(error.to_string()))?)
            }
        };
        let forgotten_at = tries.map_or(now, |tries| tries.forgotten_at.max(now));
        let too_early = (forgotten_at + INTERVAL).saturating_sub(now + PER_ACCOUNT * INTERVAL);
        if too_early > 0 {
            return Err(AuthError::TooManyLogins { retry_after: Duration::from_millis(too_early) });
        }
        let tries = Tries { forgotten_at: forgotten_at + INTERVAL };
        let write = DocumentWrite {
            collection: Collection::LoginAttempts,
            key: key.clone(),
            expected: kept.map(|kept| kept.version),
            value: Some(serde_json::to_string(&tries).map_err(|_| AuthError::Crypto)?),
            expires_at: Some(tries.forgotten_at),
        };
        if store.write_documents(vec![write]).await? {
            return Ok(());
        }
    }
    Err(AuthError::TooManyLogins { retry_after: Duration::from_millis(INTERVAL) })
}
