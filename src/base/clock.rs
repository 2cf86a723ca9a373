//! The time of day, as the rest of the crate may see it.
//!
//! A [`Clock`] is handed in, never read from a global, so that a test can hold time still
//! and move it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch: the only unit of time on the wire and in the store.
pub type Millis = u64;

/// A source of the current time.
#[derive(Debug, Clone, Default)]
pub struct Clock(Source);

#[derive(Debug, Clone, Default)]
enum Source {
    #[default]
    System,
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// A clock that stands at `start` until [`Clock::advance`] moves it.
    pub fn manual(start: Millis) -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(start))))
    }

    /// The current time.
    pub fn now(&self) -> Millis {
        match &self.0 {
            // A machine whose clock stands before 1970 reads as 0: wrong, but not a panic.
            Source::System => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis),
            Source::Manual(at) => at.load(Ordering::SeqCst),
        }
    }

    /// The current time of a manual clock; none for the system's.
    pub fn held(&self) -> Option<Millis> {
        match &self.0 {
            Source::System => None,
            Source::Manual(at) => Some(at.load(Ordering::SeqCst)),
        }
    }

    /// Moves a manual clock forward; a system clock is left alone.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(at) = &self.0 {
            at.fetch_add(millis(by), Ordering::SeqCst);
        }
    }
}

/// A duration in whole milliseconds, saturating.
pub fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
