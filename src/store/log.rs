//! Logs: one ordered list of entries per job.
//!
//! Invariants: cursors of one log rise without holes within an attempt; nothing is written
//! under an attempt that is not the job's running one; nothing follows `end`.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::error::{AppendError, StoreError};
use crate::base::clock::Millis;
use crate::model::{Entry, Job, Outcome};
use crate::protocol::job::Status;
use crate::protocol::{Attempt, Cursor, JobId, StreamName};

/// A chunk as a worker numbered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOutput {
    /// Its number, from 1.
    pub n: u64,
    /// Which stream.
    pub stream: StreamName,
    /// What the program wrote; not empty.
    pub bytes: Bytes,
    /// When.
    pub time: Millis,
}

/// What one attempt adds to its log.
#[derive(Debug, Clone)]
pub struct AttemptWrite {
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// Chunks, their numbers rising by one.
    pub output: Vec<NewOutput>,
    /// The end of the attempt and of the job, with its `n` and time, one past the last chunk.
    pub end: Option<(u64, Millis, Outcome)>,
}

/// What was written.
#[derive(Debug, Clone)]
pub struct Appended {
    /// The entries that were new, in order, with their offsets; repeats are not among them.
    pub entries: Vec<Entry>,
    /// The attempt's last `n` afterwards.
    pub last_n: u64,
    /// The job afterwards, where this ended it.
    pub ended: Option<Arc<Job>>,
}

/// What neither the store nor the worker has any more of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone {
    /// The last entry that is gone.
    pub n: u64,
    /// Bytes of standard output up to there.
    pub stdout: u64,
    /// Bytes of standard error up to there.
    pub stderr: u64,
}

/// A piece of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// Entries after the cursor that was asked for, in order.
    pub entries: Vec<Entry>,
    /// Entries after the cursor that were removed right before the first of `entries`, both ends included.
    /// Only output is ever removed, so they are all of one attempt.
    pub removed: Option<(Cursor, Cursor)>,
    /// The log's newest cursor; [`Cursor::START`] while it is empty.
    pub top: Cursor,
    /// The job's status.
    pub status: Status,
    /// Where the log is, if it is finished and was moved away: then there are no entries here.
    pub archived: Option<Archived>,
}

/// Where a finished log is that the store does not hold as such any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Archived {
    /// Among the files, under the job's id.
    File,
    /// Here: it is small, and packed as a file would be.
    Packed(Bytes),
}

/// See the module.
#[async_trait]
pub trait LogStore {
    /// Appends what attempts wrote, one result for each write.
    ///
    /// Chunks at or below the attempt's last `n` are dropped as repeats, so saying the same
    /// again after a lost answer is harmless; a repeat of the write whose `end` ended the job is no
    /// error either. Offsets are counted here, not taken from the worker. Over the output cap
    /// the oldest output of the job is removed, whole writes at a time and never the latest one;
    /// readers see that as [`LogPage::removed`].
    ///
    /// # Errors
    /// Outcome unknown for all of them; say the same again.
    async fn append(&self, writes: Vec<AttemptWrite>) -> Result<Vec<Result<Appended, AppendError>>, StoreError>;

    /// Entries after `after`, about `max_bytes` of output at the most but at least one entry if
    /// there is one. `Ok(None)`: no such job.
    ///
    /// # Errors
    /// Nothing was changed.
    async fn read(&self, job: JobId, after: Cursor, max_bytes: usize) -> Result<Option<LogPage>, StoreError>;

    /// Goes on after entries that the store has lost and nobody can say again. Readers see them as
    /// [`LogPage::removed`]. Changes nothing where the attempt's last `n` is there already.
    ///
    /// # Errors
    /// Inner: the attempt is not the job's running one. Harmless to repeat.
    async fn skip(&self, job: JobId, attempt: Attempt, gone: Gone) -> Result<Result<(), AppendError>, StoreError>;

    /// The last `n` that is stored of a running attempt: 0 where it has written nothing yet.
    ///
    /// # Errors
    /// Inner: the attempt is not the job's running one.
    async fn last_n(&self, job: JobId, attempt: Attempt) -> Result<Result<u64, AppendError>, StoreError>;
}
