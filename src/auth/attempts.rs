//! How often one may try to log in: limits on guessing, for all front doors together.
//!
//! Tries at one account are counted in the store, so that guessing at several dispatchers gains nothing. Tries from one
//! address are counted in memory, by each dispatcher for itself: they only bound what a flood of names may cost.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::api_token::hex;
use super::{Auth, AuthError};
use crate::base::clock::{Clock, Millis};
use crate::base::rate::network;
use crate::store::documents::{Collection, DocumentWrite};
use crate::store::{Store, StoreError};

/// Logins of one account in a minute, good ones included, but for those that are given back.
const PER_ACCOUNT: u64 = 10;
/// The time in which one more is allowed.
const INTERVAL: Millis = 60_000 / PER_ACCOUNT;

/// Logins and registrations from one address in a minute. Many people may share one, behind a proxy.
pub(super) const PER_ADDRESS: NonZeroU32 = NonZeroU32::new(1_000).expect("1,000 is not 0");

/// How often a count is tried that others change at the same time. Each loss is a try of someone else's, counted or given
/// back, and no more than ten are counted and not given back at a time.
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
    let counted = change(store, clock, name, |now, forgotten_at| {
        let too_early = (forgotten_at + INTERVAL).saturating_sub(now + PER_ACCOUNT * INTERVAL);
        if too_early > 0 {
            return Err(AuthError::TooManyLogins { retry_after: Duration::from_millis(too_early) });
        }
        Ok(forgotten_at + INTERVAL)
    });
    if counted.await? {
        return Ok(());
    }
    Err(AuthError::TooManyLogins { retry_after: Duration::from_millis(INTERVAL) })
}

/// Takes back what [`count`] has counted of a login of `name` that turned out to be right. Where too many others
/// log in at the same time it stays counted, as it does after an error.
///
/// # Errors
/// `Store`.
pub(super) async fn give_back(store: &dyn Store, clock: &Clock, name: &str) -> Result<(), AuthError> {
    change(store, clock, name, |now, forgotten_at| Ok(forgotten_at.saturating_sub(INTERVAL).max(now))).await?;
    Ok(())
}

/// Writes when the tries of `name` are forgotten, which `next` makes of the present time and of when they were to be
/// until now: at present, where there are none. False: others were quicker each time, and nothing was written.
async fn change(
    store: &dyn Store,
    clock: &Clock,
    name: &str,
    next: impl Fn(Millis, Millis) -> Result<Millis, AuthError>,
) -> Result<bool, AuthError> {
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
        let tries = Tries { forgotten_at: next(now, tries.map_or(now, |tries| tries.forgotten_at.max(now)))? };
        let value = serde_json::to_string(&tries).map_err(|_| AuthError::Crypto)?;
        let write = DocumentWrite {
            collection: Collection::LoginAttempts,
            key: key.clone(),
            expected: kept.map(|kept| kept.version),
            value: Some(value).filter(|_| tries.forgotten_at > now),
            expires_at: Some(tries.forgotten_at),
        };
        if store.write_documents(vec![write]).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Auth {
    /// Counts a login or a registration from an address.
    ///
    /// # Errors
    /// `TooManyLogins`: not before that time.
    pub(super) fn count_address(&self, from: IpAddr) -> Result<(), AuthError> {
        let counted = self.0.addresses.count(network(from));
        counted.map_err(|retry_after| AuthError::TooManyLogins { retry_after })
    }
}
