//! Everything in Redis, for several dispatchers as one.
//!
//! Each change is one script (`lua/`), so it is atomic, and runs by Redis' own clock. Nothing is
//! remembered here but the connection: what one instance writes, every other sees. A job's keys
//! share a hash tag, that of its partition, so that Redis Cluster could hold them.
//!
//! Hot steps decide in Lua. Rare ones read a record, decide by [`super::transition`], and write it
//! back unless it has changed meanwhile.

mod archive;
pub mod bus;
mod check;
mod documents;
mod instances;
mod jobs;
mod link;
mod log;
mod packed;
mod peers;
mod recent;
mod record;
mod registry;
mod script;
mod submits;
#[cfg(test)]
mod tests;

pub use self::check::CheckError;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use redis::Value;

use self::link::Link;
use self::recent::Recent;
use self::script::{Call, Script};
use super::error::StoreError;
use crate::base::clock::{Clock, Millis};
use crate::base::secret::Secret;
use crate::model::Job;
use crate::protocol::JobId;

/// How to reach Redis, and how to use it.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// `redis://[user:password@]host:port[/db]`, or `rediss://` for TLS.
    pub url: Secret,
    /// What all keys begin with: several Gangline systems can share one Redis.
    pub prefix: String,
    /// Parts that jobs are spread over. Fixed once the first job was submitted.
    pub partitions: u32,
    /// Output kept per job, in bytes.
    pub output_bytes: u64,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct RedisStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    link: Link,
    options: RedisOptions,
    clock: Clock,
    submits: submits::Submits,
    /// Jobs that were claimed here, as they began.
    running: DashMap<JobId, Arc<Job>>,
    /// What this instance changed lately.
    recent: Arc<Recent>,
    /// Tells this process from others that use the same keys.
    instance: String,
    /// Counts submits without a key, which go to the partitions in turn.
    turn: AtomicU64,
}

impl RedisStore {
    /// A store that connects when it is first asked. `clock` counts only where it stands still: in tests.
    ///
    /// # Errors
    /// The URL makes no sense.
    pub fn new(options: RedisOptions, clock: Clock) -> Result<Self, StoreError> {
        let partitions = options.partitions.max(1);
        let options = RedisOptions { partitions, ..options };
        let recent = Arc::new(Recent::new(options.prefix.clone(), partitions));
        let link = Link::new(options.url.expose())?.bringing_back(Arc::clone(&recent), clock.clone());
        let submits = submits::Submits::default();
        let instance = uuid::Uuid::new_v4().to_string();
        Ok(Self(Arc::new(Inner {
            link,
            options,
            clock,
            submits,
            running: DashMap::new(),
            recent,
            instance,
            turn: AtomicU64::new(0),
        })))
    }

    /// What the keys of a partition begin with.
    fn base(&self, partition: u32) -> String {
        base(&self.0.options.prefix, partition)
    }

    /// What the keys begin with that belong to no job.
    fn shared(&self) -> String {
        format!("{}:{{shared}}", self.0.options.prefix)
    }

    fn partitions(&self) -> impl Iterator<Item = u32> {
        0..self.0.options.partitions
    }

    fn partition_of(&self, number: u64) -> u32 {
        partition_of(number, self.0.options.partitions)
    }

    fn next_partition(&self) -> u32 {
        self.partition_of(self.0.turn.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The time for scripts: empty for Redis' own.
    fn now(&self) -> String {
        script_time(&self.0.clock)
    }

    /// How often the server behind the URL turned out to be another than before: restarted, or replaced. Each time
    /// it may have lost what it was told last.
    pub fn servers_met(&self) -> u64 {
        self.0.link.servers_met()
    }

    /// See [`super::HealthStore::unsettled`].
    fn unsettled_for(&self) -> Duration {
        self.0.link.unsettled()
    }

    /// A call of `script` on a partition.
    fn call(&self, script: Script, partition: u32) -> Call {
        Call::new(script, &self.base(partition))
    }

    async fn run(&self, call: &Call) -> Result<Value, StoreError> {
        self.0.link.run(call).await
    }

    /// Runs `script` on every partition, and returns all that they answer.
    async fn on_all(&self, script: Script, args: impl Fn(Call) -> Call) -> Result<Vec<Value>, StoreError> {
        let calls: Vec<Call> = self.partitions().map(|partition| args(self.call(script, partition))).collect();
        futures_util::future::try_join_all(calls.iter().map(|call| self.run(call))).await
    }
}

/// What the keys of a partition begin with.
fn base(prefix: &str, partition: u32) -> String {
    format!("{prefix}:{{{partition}}}")
}

fn partition_of(number: u64, partitions: u32) -> u32 {
    // Numbers begin at 1. The remainder is below a u32.
    u32::try_from(number.saturating_sub(1) % u64::from(partitions)).unwrap_or(0)
}

fn script_time(clock: &Clock) -> String {
    clock.held().as_ref().map(Millis::to_string).unwrap_or_default()
}

fn corrupt(what: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(what.to_string())
}
