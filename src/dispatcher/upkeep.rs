//! What nobody waits for: finished logs that leave the store, and files that need not be kept.
//!
//! Where dispatchers share a store, one of them does it at a time: the one that holds the task. A
//! second one that believes so for a moment does no harm, because every step may be repeated.
//!
//! One loop. Not here: how a log is moved (`logs`), which jobs are removed (`reaper`).

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, info, warn};

use super::logs::MoveError;
use super::{DispatchError, Dispatcher};
use crate::protocol::JobId;
use crate::store::{RedisStore, StoreError};

/// How often finished logs and removed jobs are looked for.
const TICK: Duration = Duration::from_secs(1);

/// How long the task is another's after its holder fell silent.
const HELD_FOR: Duration = Duration::from_secs(10);

/// Logs and removed jobs of one look.
const AT_ONCE: usize = 256;

/// Of those, so many at the same time: to S3 each is some requests one after the other.
const TOGETHER: usize = 8;

/// Failures after which a look ends: it is not the single log that is at fault.
const FAILURES: usize = 8;

/// Wait after such a look.
const WAIT: Duration = Duration::from_secs(15);

/// How often uploads that are too old are looked for.
const UPLOADS_EVERY: Duration = Duration::from_secs(3600);

/// How often the audit log is cut to its length and put in order.
const AUDIT_EVERY: Duration = Duration::from_secs(600);

/// The task that one instance does at a time.
const TASK: &str = "upkeep";

/// Runs until everything must end.
pub(super) async fn run(dispatcher: Dispatcher) {
    let cut = dispatcher.shutdown().cut().clone();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let now = Instant::now();
    let mut upkeep = Upkeep { dispatcher: &dispatcher, quiet_until: now, uploads_at: now, audit_at: now };
    loop {
        tokio::select! {
            biased;
            () = cut.cancelled() => return,
            _ = ticks.tick() => (),
        }
        // May be dropped half-way: whatever it had begun is begun again by who comes next.
        if let Some(Err(error)) = cut.run_until_cancelled(upkeep.pass()).await {
            debug!(%error, "a look at what need not be kept failed");
        }
    }
}

struct Upkeep<'a> {
    dispatcher: &'a Dispatcher,
    /// After failures nothing is moved until then.
    quiet_until: Instant,
    /// When uploads are looked at next.
    uploads_at: Instant,
    /// When the audit log is looked at next.
    audit_at: Instant,
}

impl Upkeep<'_> {
    async fn pass(&mut self) -> Result<(), DispatchError> {
        let inner = &self.dispatcher.0;
        if let (Some(neighbours), Some(url)) = (inner.blobs.neighbours(), &inner.settings.advertise) {
            neighbours.announce(url).await?;
        }
        let keeper = self.dispatcher.is_keeper().await?;
        if Instant::now() >= self.uploads_at && (keeper || !inner.blobs.is_shared()) {
            self.uploads_at = Instant::now() + UPLOADS_EVERY;
            if let Err(error) = inner.blobs.forget_uploads(inner.settings.limits.retention_age).await {
                warn!(%error, "old uploads could not be removed");
            }
        }
        if keeper && Instant::now() >= self.audit_at {
            self.audit_at = Instant::now() + AUDIT_EVERY;
            self.dispatcher.tidy_audit().await?;
        }
        let Some(peers) = inner.peers.as_ref().filter(|_| keeper) else { return Ok(()) };
        self.remove_files(&peers.store).await?;
        if Instant::now() >= self.quiet_until {
            self.move_logs(&peers.store).await?;
        }
        Ok(())
    }

    /// Removes the files of jobs that were removed.
    async fn remove_files(&self, shared: &RedisStore) -> Result<(), StoreError> {
        let began = Instant::now();
        loop {
            let removed = shared.removed(AT_ONCE).await?;
            let found = removed.len();
            self.dispatcher.tell_removed(&removed);
            let done = stream::iter(removed).map(async |job| self.dispatcher.remove_files(job).await.then_some(job));
            let done: Vec<JobId> = done.buffer_unordered(TOGETHER).filter_map(async |job| job).collect().await;
            shared.forget_removed(&done).await?;
            // Finished logs are not to wait for all of them.
            if found < AT_ONCE || done.len() < found || began.elapsed() > HELD_FOR {
                return Ok(());
            }
        }
    }

    /// Moves finished logs until there are none that are old enough.
    async fn move_logs(&mut self, shared: &RedisStore) -> Result<(), StoreError> {
        let (mut moved, began) = (0, Instant::now());
        loop {
            let jobs = shared.finished(self.dispatcher.0.settings.archive_after, AT_ONCE).await?;
            let found = jobs.len();
            let mut moves = stream::iter(jobs).map(|job| self.move_log(shared, job)).buffer_unordered(TOGETHER);
            let mut failures = 0;
            while let Some(result) = moves.next().await {
                match result {
                    Ok(()) => moved += 1,
                    Err(MoveError::Gone) => (),
                    Err(error) => {
                        failures += 1;
                        warn!(%error, "a finished log stays in the store for now");
                    }
                }
                if failures == FAILURES {
                    break;
                }
            }
            drop(moves);
            if failures > 0 {
                self.quiet_until = Instant::now() + WAIT;
            }
            // Files of removed jobs are not to wait for all of them.
            if failures > 0 || found == 0 || began.elapsed() > HELD_FOR {
                if moved > 0 {
                    info!(moved, took = ?began.elapsed(), "finished logs have left the store");
                }
                return Ok(());
            }
        }
    }

    async fn move_log(&self, shared: &RedisStore, job: JobId) -> Result<(), MoveError> {
        // Renewed with each: a large log takes a while.
        if shared.hold(TASK, HELD_FOR).await? {
            self.dispatcher.move_log(shared, job).await
        } else {
            Err(MoveError::Gone)
        }
    }
}

impl Dispatcher {
    /// Whether this instance looks after what is finished; alone on its store it always does.
    pub(super) async fn is_keeper(&self) -> Result<bool, StoreError> {
        match &self.0.peers {
            Some(peers) => peers.store.hold(TASK, HELD_FOR).await,
            None => Ok(true),
        }
    }

    /// Removes the files of a job that was removed; `false`: they are still there.
    pub(super) async fn remove_files(&self, job: JobId) -> bool {
        let removed = self.0.blobs.delete_job(job).await;
        if let Err(error) = &removed {
            warn!(%error, %job, "files of a removed job could not be removed");
        }
        removed.is_ok()
    }
}
