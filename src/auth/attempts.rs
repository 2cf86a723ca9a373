//! How often one may try to log in: limits on guessing, for all front doors together.
//!
//! Tries at one account are counted in the store, so that guessing at several dispatchers gains nothing. Tries from one
//! address are counted in memory, by each dispatcher for itself: they only bound what a flood of names may cost.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock as _;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
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
const PER_ADDRESS: NonZeroU32 = NonZeroU32::new(1_000).expect("1,000 is not 0");

/// Addresses that are counted one by one; what comes on top shares one budget. About 1 MiB.
const ADDRESSES: usize = 16 * 1024;

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

/// Counts tries by address, in bounded memory.
pub(super) struct Addresses {
    limiter: DefaultKeyedRateLimiter<Option<u64>>,
    /// Addresses are kept as hashes that nobody outside can compute.
    hasher: RandomState,
}

impl Addresses {
    pub(super) fn new() -> Self {
        Self { limiter: RateLimiter::keyed(Quota::per_minute(PER_ADDRESS)), hasher: RandomState::new() }
    }

    /// Counts a try from an address.
    ///
    /// # Errors
    /// `TooManyLogins`: not before that time.
    pub(super) fn count(&self, from: IpAddr) -> Result<(), AuthError> {
        if self.limiter.len() >= ADDRESSES {
            self.limiter.retain_recent();
        }
        let key = (self.limiter.len() < ADDRESSES).then(|| self.hasher.hash_one(network(from)));
        self.limiter.check_key(&key).map_err(|until| AuthError::TooManyLogins {
            // Never 0, which would read as "at once".
            retry_after: until.wait_time_from(self.limiter.clock().now()).max(Duration::from_millis(1)),
        })
    }
}

/// What one customer of a provider has: an address of version 4, or 64 bits of one of version 6.
fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn an_address_has_its_budget_and_others_have_theirs() {
        let addresses = Addresses::new();
        let here = IpAddr::from(Ipv4Addr::LOCALHOST);
        for _ in 0..PER_ADDRESS.get() {
            addresses.count(here).unwrap();
        }
        let same = IpAddr::from(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
        let Err(AuthError::TooManyLogins { retry_after }) = addresses.count(same) else { panic!("not limited") };
        assert!(retry_after <= Duration::from_millis(60), "{retry_after:?}");
        addresses.count(Ipv6Addr::LOCALHOST.into()).unwrap();
    }

    #[test]
    fn a_flood_of_addresses_does_not_grow_without_end() {
        let addresses = Addresses::new();
        for address in 0..ADDRESSES as u32 + 100 {
            let _ = addresses.count(Ipv4Addr::from_bits(address).into());
        }
        assert!(addresses.limiter.len() <= ADDRESSES + 1, "{}", addresses.limiter.len());
    }
}
