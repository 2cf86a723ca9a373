//! What the store has taken and may still lose: when it is over, workers are told that they may forget it.
//!
//! A store that dies meanwhile has lost it, so it must be seen to live after that time; one that has come back as another
//! makes all of this void. Told in rounds, not one by one, so that a job costs one more frame and no timer. Bounded by what one
//! connection writes within a round and the time that the store needs.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::protocol::{Attempt, JobId};
use crate::store::Store;

/// How much later than need be a worker may hear of it.
const ROUND: Duration = Duration::from_millis(500);

/// Names an attempt.
type Key = (JobId, Attempt);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Settling {
    rounds: VecDeque<Round>,
    /// What was told last, of attempts that go on.
    told: HashMap<Key, u64>,
}

#[derive(Debug)]
struct Round {
    /// When all of it is settled, if the store lives then.
    due: Instant,
    /// Which of its lives that was.
    life: u64,
    writes: HashMap<Key, Write>,
}

#[derive(Debug, Clone, Copy)]
struct Write {
    n: u64,
    ends: bool,
}

impl Settling {
    /// Notes that everything up to `n` was stored just now; returns what is settled of the attempt.
    pub(super) fn add(&mut self, now: Instant, store: &dyn Store, key: Key, n: u64, ends: bool) -> u64 {
        let (unsettled, life) = (store.unsettled(), store.lives());
        if unsettled.is_zero() {
            return n;
        }
        let write = Write { n, ends };
        match self.rounds.back_mut().filter(|round| now + unsettled <= round.due && round.life == life) {
            Some(round) => drop(round.writes.insert(key, write)),
            None => {
                let due = now + unsettled + ROUND;
                self.rounds.push_back(Round { due, life, writes: HashMap::from([(key, write)]) });
            }
        }
        self.told.get(&key).copied().unwrap_or(0)
    }

    /// When there is something to tell; never, while there is nothing.
    pub(super) async fn due(&self) {
        match self.rounds.front() {
            Some(round) => tokio::time::sleep_until(round.due).await,
            None => std::future::pending().await,
        }
    }

    /// What is settled: attempts, and up to where. `seen`: since then the store was seen to live this life.
    pub(super) fn settled(&mut self, seen: Instant, life: u64) -> Vec<(Key, u64)> {
        let mut settled = Vec::new();
        self.rounds.retain(|round| round.life == life);
        while let Some(round) = self.rounds.pop_front_if(|round| round.due <= seen) {
            for (key, Write { n, ends }) in round.writes {
                if ends {
                    self.told.remove(&key);
                } else {
                    self.told.insert(key, n);
                }
                settled.push((key, n));
            }
        }
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = (JobId { number: 1, nonce: 0 }, 1);

    fn round(due: Instant, life: u64, n: u64, ends: bool) -> Round {
        Round { due, life, writes: HashMap::from([(KEY, Write { n, ends })]) }
    }

    #[test]
    fn what_is_stored_is_settled_later_and_told_once() {
        let (now, later) = (Instant::now(), Instant::now() + ROUND);
        let rounds = VecDeque::from([round(now, 3, 5, false), round(later, 3, 7, true)]);
        let mut settling = Settling { rounds, told: HashMap::new() };
        assert_eq!(settling.settled(now, 3), [(KEY, 5)]);
        assert_eq!(settling.told[&KEY], 5);
        assert_eq!(settling.settled(later, 3), [(KEY, 7)]);
        assert!(settling.told.is_empty() && settling.rounds.is_empty());
    }

    #[test]
    fn what_an_earlier_life_took_is_not_settled() {
        let now = Instant::now();
        let rounds = VecDeque::from([round(now, 0, 5, false), round(now, 1, 3, false)]);
        let mut settling = Settling { rounds, told: HashMap::new() };
        assert_eq!(settling.settled(now, 1), [(KEY, 3)]);
    }
}
