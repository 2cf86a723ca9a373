//! This instance's live connections: what is on its way to each, and what rings when.
//!
//! Followers pull. A [`Tail`] holds the newest entries of one followed log, ready to send; an
//! [`Outbox`] is one connection's side: a bounded queue of replies, and the set of logs that have
//! rung. Nothing here is pushed to a reader beyond that ring, so a slow reader costs nothing.
//!
//! Not here: reading the store (the connection's writer does it when the tail has moved on),
//! and who may see what (`dispatcher`).

pub mod feed;
pub mod follow;
pub mod frames;
pub mod outbox;
pub mod tail;

use std::sync::Arc;

use dashmap::DashMap;

pub use feed::{Feed, Watch};
pub use follow::Follow;
pub use outbox::{Item, Outbox, Ring};
pub use tail::{Attached, Pulled, Sendable, Tail};

use crate::model::Entry;
use crate::protocol::JobId;

/// Followed logs and feeds of this instance.
#[derive(Debug, Default)]
pub struct Hub {
    tails: DashMap<JobId, Arc<Tail>>,
    /// Changes of status of jobs.
    pub jobs: Feed,
    /// Changes of status and usage of workers.
    pub workers: Feed,
    /// Changes of status of containers.
    pub containers: Feed,
}

impl Hub {
    /// A hub without connections.
    pub fn new() -> Self {
        Self::default()
    }

    /// A place at the tail of a log. Read the store only after this, so that no entry can fall
    /// between.
    pub fn attach(&self, job: JobId, outbox: &Arc<Outbox>) -> Attached {
        // The place is taken while the map's entry is held: a `release` can then not forget a tail
        // that somebody is just coming to.
        let tail = self.tails.entry(job).or_insert_with(|| Arc::new(Tail::new(job)));
        Attached::new(Arc::clone(&tail), outbox)
    }

    /// Passes entries on that the store has just taken, in their order.
    pub fn publish(&self, job: JobId, entries: &[Entry]) {
        // Cloned out of the map: the ring below must not run under a shard's lock.
        if let Some(tail) = self.tail(job) {
            tail.push(entries);
        }
    }

    /// Passes entries on that another instance says the store has taken; `false`: there is no such
    /// tail, or entries before them are missing.
    pub fn receive(&self, job: JobId, entries: Vec<Sendable>) -> bool {
        self.tail(job).is_none_or(|tail| tail.receive(entries))
    }

    /// The tail of a log, if it is followed.
    pub fn tail(&self, job: JobId) -> Option<Arc<Tail>> {
        self.tails.get(&job).map(|tail| Arc::clone(&tail))
    }

    /// Forgets a log's tail if nobody follows it any more, and says whether it did.
    pub fn release(&self, job: JobId) -> bool {
        self.tails.remove_if(&job, |_, tail| !tail.has_followers()).is_some()
    }

    /// Forgets the tails that nobody follows: those whose follower never came to its connection's
    /// writer, which is what calls [`Hub::release`].
    pub fn forget_unfollowed(&self) {
        self.tails.retain(|_, tail| tail.has_followers());
    }

    /// Followers of all logs.
    pub fn followers(&self) -> usize {
        self.tails.iter().map(|tail| tail.followers()).sum()
    }

    /// The logs that are followed now.
    pub fn followed_logs(&self) -> Vec<JobId> {
        self.tails.iter().map(|tail| *tail.key()).collect()
    }

    /// How many logs are followed now.
    pub fn followed(&self) -> usize {
        self.tails.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EntryKind;
    use crate::protocol::{Cursor, StreamName};

    const JOB: JobId = JobId { number: 1, nonce: 0 };

    #[test]
    fn who_comes_while_another_goes_is_not_forgotten() {
        let hub = Arc::new(Hub::new());
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    hub.release(JOB);
                }
            });
            for n in 1..20_000 {
                let outbox = Arc::new(Outbox::default());
                let attached = hub.attach(JOB, &outbox);
                let kind = EntryKind::Output { stream: StreamName::Stdout, offset: 0, bytes: "x".into() };
                hub.publish(JOB, &[Entry { at: Cursor::new(1, n), time: 0, kind }]);
                assert!(outbox.take_now().is_some(), "round {n}: the follower was not rung");
                drop(attached);
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }
}
