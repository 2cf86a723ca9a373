//! Full-jitter exponential backoff.
//!
//! Every wait is drawn evenly from zero to a ceiling that doubles, the first one included:
//! a thousand workers that lose the same dispatcher must not come back in the same second.

use std::time::Duration;

use rand::RngExt;

/// A sequence of waits; [`Backoff::reset`] starts it again after a success.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    ceiling: Duration,
}

impl Backoff {
    /// Waits of up to `first`, then up to twice that, and so on, never above `most`.
    pub fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, ceiling: first }
    }

    /// The next wait.
    pub fn next_wait(&mut self) -> Duration {
        let wait = self.ceiling.mul_f64(rand::rng().random_range(0.0..=1.0));
        self.ceiling = (self.ceiling * 2).min(self.most);
        wait
    }

    /// Begins again with short waits.
    pub fn reset(&mut self) {
        self.ceiling = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_under_a_doubling_ceiling() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(400));
        for most in [100, 200, 400, 400] {
            assert!(backoff.next_wait() <= Duration::from_millis(most));
        }
        backoff.reset();
        assert!(backoff.next_wait() <= Duration::from_millis(100));
    }
}
