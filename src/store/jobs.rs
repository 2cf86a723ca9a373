//! Jobs: the queue, leases and every change of status.
//!
//! Invariants: at most one live lease per job; attempts only grow; a job that is over never
//! changes again; every change of status but the submit itself is an entry of the job's log,
//! written in the same step.
//!
//! A container is a job whose attempts are its starts. It is over after each of them, and may be [put
//! back](JobStore::reopen); lists and counts of jobs pass over it.

use std::time::Duration;

use async_trait::async_trait;

use super::error::{AppendError, StoreError, SubmitError};
use crate::model::{AccountName, Entry, Job, JobSpec, Outcome, ReadyClass, Requires};
use crate::protocol::job::Status;
use crate::protocol::{Attempt, JobId, JobRef, WorkerId};
use std::sync::Arc;

/// Rejections after which a job ends `failed/rejected`.
pub const MAX_REJECTIONS: u32 = 5;

/// Changes that one call of [`JobStore::expire`] or [`JobStore::retain`] makes at the most: some milliseconds of
/// work.
pub const AT_ONCE: usize = 500;

/// A job to be.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// The random half of its id.
    pub nonce: u32,
    /// Whose it is.
    pub account: AccountName,
    /// What it is asked to be.
    pub spec: Arc<JobSpec>,
    /// Idempotency key, per account.
    pub key: Option<String>,
}

/// How many jobs may be pending.
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    /// In all.
    pub total: u64,
    /// Of one account.
    pub account: u64,
}

/// The answer to a submit.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// The job as it stands.
    pub job: Arc<Job>,
    /// Whether the key named a job that was there before.
    pub duplicate: bool,
}

/// A worker asks for jobs.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The worker.
    pub worker: WorkerId,
    /// Classes it may take from, each with the GPUs that a job of the class is given. Jobs are
    /// popped over all of them: highest priority first, then lowest number.
    pub classes: Vec<(Requires, Vec<u32>)>,
    /// Jobs at the most.
    pub limit: usize,
    /// How long the leases last without renewal.
    pub lease: Duration,
}

/// A change of status: the job afterwards, and the log entry that says so.
#[derive(Debug, Clone)]
pub struct Change {
    /// The job as it stands after the change.
    pub job: Arc<Job>,
    /// The entry; its cursor is the job's newest.
    pub entry: Entry,
}

/// What a cancel did.
#[derive(Debug, Clone)]
pub enum Cancelled {
    /// The job was pending and is over.
    Ended(Change),
    /// The job runs; its worker must be told. The wish is kept in the record.
    Running(Arc<Job>),
    /// The job was over before.
    AlreadyOver(Arc<Job>),
}

/// Which jobs a list shows.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Of this account only.
    pub account: Option<AccountName>,
    /// Of this status only.
    pub status: Option<Status>,
    /// Older than the job of this number.
    pub before: Option<u64>,
    /// Jobs at the most.
    pub limit: usize,
}

/// How many jobs of each status there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobCounts {
    /// They wait.
    pub pending: u64,
    /// They run.
    pub running: u64,
    /// They ended with exit code 0.
    pub completed: u64,
    /// They ended otherwise.
    pub failed: u64,
    /// They ended because someone asked.
    pub cancelled: u64,
}

impl JobCounts {
    /// All of them.
    pub fn total(self) -> u64 {
        let Self { pending, running, completed, failed, cancelled } = self;
        pending + running + completed + failed + cancelled
    }

    /// How many have this status.
    pub fn of_mut(&mut self, status: Status) -> &mut u64 {
        match status {
            Status::Pending => &mut self.pending,
            Status::Running => &mut self.running,
            Status::Completed => &mut self.completed,
            Status::Failed => &mut self.failed,
            Status::Cancelled => &mut self.cancelled,
        }
    }
}

/// Which finished jobs are kept.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Not longer than this after their end.
    pub age: Duration,
    /// Not more than this many.
    pub jobs: u64,
}

/// See the module.
#[async_trait]
pub trait JobStore {
    /// Adds a job to the queue and numbers it.
    ///
    /// Idempotent with a key: the same key of the same account gives the same job back, for as
    /// long as the job is kept. Without one a repeat is a second job.
    ///
    /// # Errors
    /// See [`SubmitError`].
    async fn submit(&self, job: NewJob, limits: QueueLimits) -> Result<Submitted, SubmitError>;

    /// The classes that have jobs waiting, in no order.
    ///
    /// # Errors
    /// Nothing was changed.
    async fn ready(&self) -> Result<Vec<ReadyClass>, StoreError>;

    /// Pops jobs for a worker: each goes to `running` with the next attempt, gets a lease and
    /// the log entry `a-0`, in one step.
    ///
    /// # Errors
    /// Outcome unknown. Jobs that were claimed show up in [`JobStore::running_on`].
    async fn claim(&self, claim: Claim) -> Result<Vec<Change>, StoreError>;

    /// Puts a running job back that its worker refused, without charging the attempt; on the
    /// fifth rejection the job ends `failed/rejected` with `message`. A job that is to be cancelled ends
    /// `cancelled` instead.
    ///
    /// # Errors
    /// Inner: the attempt is stale. A repeat after a lost answer is refused so, harmlessly.
    async fn reject(
        &self,
        job: JobId,
        attempt: Attempt,
        message: String,
    ) -> Result<Result<Change, AppendError>, StoreError>;

    /// Renews the leases of the `held` attempts that `worker` has, and no others; returns those that are not its
    /// own any more.
    ///
    /// # Errors
    /// Harmless to repeat.
    async fn renew(
        &self,
        worker: &WorkerId,
        held: &[(JobId, Attempt)],
        lease: Duration,
    ) -> Result<Vec<(JobId, Attempt)>, StoreError>;

    /// Gives an attempt up because its worker is lost: the job ends `failed/worker_lost`, or goes
    /// back to the queue if it may run again. A job that is to be cancelled ends `cancelled`.
    ///
    /// Back in the queue, it waits anew: its queue limit counts from now.
    ///
    /// # Errors
    /// Inner: the attempt is stale. A repeat is refused so, harmlessly.
    async fn lose(&self, job: JobId, attempt: Attempt) -> Result<Result<Change, AppendError>, StoreError>;

    /// Does what time demands: gives up attempts whose lease has run out, as [`JobStore::lose`]
    /// does, and ends pending jobs over their queue limit. A bounded number at a call.
    ///
    /// # Errors
    /// Harmless to repeat; what was done is done.
    async fn expire(&self) -> Result<Vec<Change>, StoreError>;

    /// Begins all leases, which then last `lease`, and all queue limits anew, as opening a store does: there
    /// was an outage, and nobody could renew or claim.
    ///
    /// # Errors
    /// Harmless to repeat.
    async fn start_anew(&self, lease: Duration) -> Result<(), StoreError>;

    /// Ends a pending job `cancelled`, or notes the wish in a running one. `grace_ms` overrides
    /// the job's own; a later cancel overrides an earlier one.
    ///
    /// # Errors
    /// Harmless to repeat. `Ok(None)`: no such job.
    async fn cancel(&self, job: JobRef, grace_ms: Option<u64>) -> Result<Option<Cancelled>, StoreError>;

    /// One job.
    ///
    /// # Errors
    /// Nothing was changed.
    async fn job(&self, job: JobRef) -> Result<Option<Arc<Job>>, StoreError>;

    /// Jobs, newest first, containers aside. Pages are stable: a job that is added later is on no later page.
    ///
    /// # Errors
    /// Nothing was changed.
    async fn jobs(&self, filter: JobFilter) -> Result<Vec<Arc<Job>>, StoreError>;

    /// How many jobs of each status there are in all, or of one account, containers aside. Costs nothing that grows with
    /// the number of jobs.
    ///
    /// # Errors
    /// Nothing was changed.
    async fn count_jobs(&self, account: Option<&AccountName>) -> Result<JobCounts, StoreError>;

    /// The jobs that run on `worker` now.
    ///
    /// # Errors
    /// Nothing was changed.
    async fn running_on(&self, worker: &WorkerId) -> Result<Vec<Arc<Job>>, StoreError>;

    /// Puts a container whose latest start has ended back into the queue: its next attempt is its next start.
    ///
    /// # Errors
    /// Inner: it is no container, or `attempt` is not its latest or has not ended. A repeat is refused so, harmlessly.
    async fn reopen(&self, container: JobId, attempt: Attempt) -> Result<Result<Change, AppendError>, StoreError>;

    /// Ends a container whose latest start has ended for good, with the log entry that says so. Like a finished job
    /// it is removed when its time has come; before this, it is kept for ever.
    ///
    /// # Errors
    /// As [`JobStore::reopen`].
    async fn retire(&self, container: JobId, attempt: Attempt) -> Result<Result<Change, AppendError>, StoreError>;

    /// Removes finished jobs that need not be kept, oldest end first, with their logs and keys.
    /// A bounded number at a call, so that a backlog never holds other work up; returns what
    /// was removed, empty once there is nothing to do.
    ///
    /// # Errors
    /// Harmless to repeat.
    async fn retain(&self, retention: Retention) -> Result<Vec<JobId>, StoreError>;
}

/// Why an end without a worker's word came about.
pub fn lost_outcome() -> Outcome {
    Outcome::because(
        crate::protocol::job::Reason::WorkerLost,
        Some("the worker was lost while it ran the job".to_owned()),
    )
}
