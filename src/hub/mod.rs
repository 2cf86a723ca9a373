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
mod frames;
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
}

impl Hub {
    /// A hub without connections.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tail of a log, made if nobody followed it yet. Read the store only after this, so
    /// that no entry can fall between.
    pub fn tail(&self, job: JobId) -> Arc<Tail> {
        Arc::clone(&self.tails.entry(job).or_insert_with(|| Arc::new(Tail::new(job))))
    }

    /// Passes entries on that the store has just taken, in their order.
    pub fn publish(&self, job: JobId, entries: &[Entry]) {
        // Cloned out of the map: the ring below must not run under a shard's lock.
        let tail = self.tails.get(&job).map(|tail| Arc::clone(&tail));
        if let Some(tail) = tail {
            tail.push(entries);
        }
    }

    /// Forgets a log's tail if nobody follows it any more.
    pub fn release(&self, job: JobId) {
        self.tails.remove_if(&job, |_, tail| !tail.has_followers());
    }

    /// Logs that are followed now.
    pub fn followed(&self) -> usize {
        self.tails.len()
    }
}
