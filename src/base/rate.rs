//! How often somebody may do something: a rate and a burst for each, in bounded memory.
//!
//! Guards: a flood of names costs no memory and starves nobody who is known; what comes on top of the names that are
//! counted one by one shares one budget. Not here: what is counted, and what a peer is told.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock as _;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// Names that are counted one by one: about 1 MiB.
const NAMES: usize = 16 * 1024;

/// See the module.
#[derive(Debug)]
pub struct Rate {
    limiter: DefaultKeyedRateLimiter<Option<u64>>,
    /// Names are kept as hashes that nobody outside can compute.
    hasher: RandomState,
}

impl Rate {
    /// So often a second for long, and so many at once.
    pub fn per_second(rate: NonZeroU32, burst: NonZeroU32) -> Self {
        Self::of(Quota::per_second(rate).allow_burst(burst))
    }

    /// So often a minute, all at once if need be.
    pub fn per_minute(rate: NonZeroU32) -> Self {
        Self::of(Quota::per_minute(rate))
    }

    fn of(quota: Quota) -> Self {
        Self { limiter: RateLimiter::keyed(quota), hasher: RandomState::new() }
    }

    /// Counts once for `name`.
    ///
    /// # Errors
    /// It was too often: how long to wait, never zero.
    pub fn count(&self, name: impl Hash) -> Result<(), Duration> {
        if self.limiter.len() >= NAMES {
            self.limiter.retain_recent();
        }
        let key = (self.limiter.len() < NAMES).then(|| self.hasher.hash_one(name));
        let now = self.limiter.clock().now();
        self.limiter.check_key(&key).map_err(|until| until.wait_time_from(now).max(Duration::from_millis(1)))
    }
}

/// What one customer of a provider has, to be counted as one: an address of version 4, or the 2⁶⁴ of version 6 around one.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn ten() -> NonZeroU32 {
        NonZeroU32::new(10).unwrap()
    }

    #[test]
    fn the_eleventh_in_a_minute_waits_and_others_do_not() {
        let rate = Rate::per_minute(ten());
        let (began, mut counted) = (Instant::now(), 0);
        let wait = loop {
            match rate.count("ada") {
                Ok(()) => counted += 1,
                Err(wait) => break wait,
            }
        };
        // Ten at once, and one more every six seconds.
        assert!((10..=11 + began.elapsed().as_secs() / 6).contains(&counted), "{counted} in {:?}", began.elapsed());
        assert!(wait <= Duration::from_secs(6), "{wait:?}");
        rate.count("grace").unwrap();
    }

    #[test]
    fn a_flood_of_names_does_not_grow_without_end() {
        let rate = Rate::per_second(ten(), ten());
        for name in 0..NAMES + 100 {
            let _ = rate.count(name);
        }
        assert!(rate.limiter.len() <= NAMES + 1, "{}", rate.limiter.len());
    }

    #[test]
    fn neighbours_in_a_network_of_ipv6_count_as_one() {
        let counted = |text: &str| network(text.parse().unwrap());
        assert_eq!(counted("2001:db8::1"), counted("2001:db8::ffff:1"));
        assert_ne!(counted("2001:db8::1"), counted("2001:db8:0:1::1"));
        assert_ne!(counted("192.0.2.1"), counted("192.0.2.2"));
        assert_eq!(counted("::ffff:192.0.2.1"), counted("192.0.2.1"));
    }
}
