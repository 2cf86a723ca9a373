//! Whether a Redis may be trusted with jobs: looked at before the first of them is.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;

use super::RedisStore;
use crate::base::clock::{Clock, Millis, millis};
use crate::store::HealthStore;
use crate::store::error::StoreError;

/// Oldest version whose scripts and streams do what the scripts here ask for.
const OLDEST: u32 = 7;

/// A difference of clocks that people would notice in times, and tokens in their expiry.
const SKEW: Duration = Duration::from_secs(5);

/// Why a Redis cannot be used as it is.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It does not answer (yet): worth another try.
    #[error(transparent)]
    Unavailable(#[from] StoreError),
    /// It would lose jobs, or not understand what it is asked.
    #[error("Redis cannot be used as it is: {0}")]
    Unfit(String),
}

#[async_trait]
impl HealthStore for RedisStore {
    async fn check(&self) -> Result<(), StoreError> {
        // Written, because a Redis that cannot keep what it is told refuses writes and nothing else.
        let mut command = redis::cmd("SET");
        command.arg(self.shared_key("probe")).arg(1);
        self.one::<String>(command).await.map(|_| ())
    }

    fn unsettled(&self) -> Duration {
        self.unsettled_for()
    }

    fn lives(&self) -> u64 {
        self.servers_met()
    }
}

impl RedisStore {
    /// Looks at version, eviction, persistence, clock and partitions; returns what is odd but can be lived with.
    ///
    /// # Errors
    /// See [`CheckError`].
    pub async fn fitness(&self, clock: &Clock) -> Result<Vec<String>, CheckError> {
        if let Some(why) = self.0.link.refused().await {
            return Err(CheckError::Unfit(format!("it does not let this dispatcher in: {why}")));
        }
        let info: String = self.one(redis::cmd("INFO")).await?;
        let info: HashMap<&str, &str> = info.lines().filter_map(|line| line.trim().split_once(':')).collect();
        let said = |name: &str| info.get(name).copied().unwrap_or_default();
        let unfit = |why: String| Err(CheckError::Unfit(why));

        let version = said("redis_version");
        let major = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
        if major < OLDEST {
            return unfit(format!("it is version {version:?}; version {OLDEST} or later is needed"));
        }
        if said("role") == "slave" {
            return unfit("it is a replica, which cannot be written to; name the primary".to_owned());
        }
        let policy = said("maxmemory_policy");
        if policy != "noeviction" {
            return unfit(format!(
                "its maxmemory-policy is {policy:?}, so it may throw jobs away; set it to noeviction"
            ));
        }
        let mut odd = Vec::new();
        if said("aof_enabled") != "1" {
            odd.push(
                "Redis keeps no append-only file: what was answered is lost when it restarts; set appendonly yes"
                    .to_owned(),
            );
        } else if said("aof_last_write_status") == "err" {
            odd.push("Redis cannot write its append-only file".to_owned());
        }
        let theirs = self.store_now().await?;
        let ours: Millis = clock.now();
        let skew = theirs.abs_diff(ours);
        if clock.held().is_none() && skew > millis(SKEW) {
            odd.push(format!("the clock of Redis differs from this machine's by {skew} ms; leases are by its clock, times of tokens by ours"));
        }
        self.check_partitions().await?;
        Ok(odd)
    }

    /// The number of partitions is part of every job's number: the first dispatcher sets it.
    async fn check_partitions(&self) -> Result<(), CheckError> {
        let ours = self.0.options.partitions;
        let mut pipeline = redis::pipe();
        let key = self.shared_key("partitions");
        pipeline.cmd("SETNX").arg(&key).arg(ours).ignore().cmd("GET").arg(&key);
        let (kept,): (u32,) = self.0.link.query(&pipeline).await?;
        if kept == ours {
            return Ok(());
        }
        Err(CheckError::Unfit(format!(
            "its jobs are in {kept} partitions, and this dispatcher was told {ours}; start it with --redis-partitions {kept}"
        )))
    }
}
