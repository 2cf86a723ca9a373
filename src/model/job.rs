//! A job's record and how it ends.

use std::sync::Arc;

use super::account::AccountName;
use super::spec::JobSpec;
use crate::base::clock::Millis;
use crate::protocol::job::{Reason, Status};
use crate::protocol::{Attempt, JobId, WorkerId};

/// What a store keeps of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Whose it is.
    pub account: AccountName,
    /// What it is asked to be.
    pub spec: Arc<JobSpec>,
    /// Where it stands.
    pub status: Status,
    /// Why it ended, or went back to the queue.
    pub reason: Option<Reason>,
    /// The latest attempt; 0 before the first. The fence: writes of an older one are refused.
    pub attempt: Attempt,
    /// Attempts that count against `maxAttempts`: those that were not rejected.
    pub charged: u32,
    /// How often workers refused it.
    pub rejections: u32,
    /// The worker of the latest attempt.
    pub worker: Option<WorkerId>,
    /// The GPUs it was given.
    pub gpu_ids: Vec<u32>,
    /// Exit code.
    pub exit_code: Option<i32>,
    /// What went wrong, in words.
    pub error_message: Option<String>,
    /// Submitted.
    pub created_at: Millis,
    /// The latest attempt began.
    pub started_at: Option<Millis>,
    /// Ended.
    pub completed_at: Option<Millis>,
    /// Bytes of standard output in the latest attempt.
    pub stdout_bytes: u64,
    /// Bytes of standard error in the latest attempt.
    pub stderr_bytes: u64,
    /// Grace, in milliseconds, of a cancel that was asked for while it ran.
    pub cancel_grace_ms: Option<u64>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Why.
    pub reason: Reason,
    /// Exit code.
    pub exit_code: Option<i32>,
    /// In words, where there is more to say.
    pub message: Option<String>,
}

impl Outcome {
    /// An end without an exit code.
    pub fn because(reason: Reason, message: Option<String>) -> Self {
        Self { reason, exit_code: None, message }
    }

    /// The status that follows: `completed` is exit code 0 and nothing else.
    pub fn status(&self) -> Status {
        match self.reason {
            Reason::Exit if self.exit_code == Some(0) => Status::Completed,
            Reason::Cancelled | Reason::Removed => Status::Cancelled,
            Reason::Exit
            | Reason::Signal
            | Reason::Timeout
            | Reason::QueueTimeout
            | Reason::WorkerLost
            | Reason::SpawnError
            | Reason::OutOfMemory
            | Reason::Rejected => Status::Failed,
        }
    }
}

/// Whether a status is final.
pub fn is_over(status: Status) -> bool {
    match status {
        Status::Pending | Status::Running => false,
        Status::Completed | Status::Failed | Status::Cancelled => true,
    }
}
