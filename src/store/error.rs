//! How a store fails.

use crate::protocol::{Attempt, JobId, JobRef};

/// The store did not answer, or not with yes or no. Whether the operation took place is unknown.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, is full, or is closing; later may be better.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// It holds something that cannot be read.
    #[error("store corrupt: {0}")]
    Corrupt(String),
}

/// A submit that was refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SubmitError {
    /// As many jobs are pending as may be; nothing was written.
    #[error("the queue is full ({limit} jobs)")]
    QueueFull {
        /// The limit.
        limit: u64,
    },
    /// As many jobs of the account are pending as may be; nothing was written.
    #[error("the account's part of the queue is full ({limit} jobs)")]
    AccountQueueFull {
        /// The limit.
        limit: u64,
    },
    /// Outcome unknown; with a key, submit again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A write of an attempt that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The attempt is over or was superseded; nothing was written.
    #[error("attempt {stale} of {job} is over; the job is at attempt {current}")]
    Stale {
        /// The job.
        job: JobId,
        /// The attempt that wrote.
        stale: Attempt,
        /// The job's latest attempt.
        current: Attempt,
    },
    /// Entries are missing before the first one; nothing was written.
    #[error("entry {got} would leave a hole: {expect} is next")]
    Gap {
        /// What must come next.
        expect: u64,
        /// What came.
        got: u64,
    },
    /// No such job.
    #[error("no job {0}")]
    NotFound(JobRef),
}
