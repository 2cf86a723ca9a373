//! The rules by which a job's record changes, shared by the engines that keep it.
//!
//! Pure: no clock, no I/O. Each rule takes the record as it stands; what happens to queue, leases
//! and log besides is the engine's business.

use std::sync::Arc;

use super::jobs::{MAX_REJECTIONS, NewJob, lost_outcome};
use crate::base::clock::Millis;
use crate::model::job::is_over;
use crate::model::{Entry, EntryKind, Job, Outcome};
use crate::protocol::job::{Reason, Status};
use crate::protocol::{Attempt, Cursor, JobId, WorkerId};

/// What becomes of a job whose worker gave it up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It waits again, for this reason if it was not its own wish.
    Requeued(Option<Reason>),
    /// It is over.
    Over(Outcome),
}

/// What becomes of a running job whose worker is lost. A cancel that was asked for has its way.
pub(super) fn lost(job: &Job) -> Fate {
    if job.cancel_grace_ms.is_some() {
        return Fate::Over(cancelled());
    }
    match job.spec.requeue {
        Some(runs) if job.charged < runs => Fate::Requeued(Some(Reason::WorkerLost)),
        Some(_) | None => Fate::Over(lost_outcome()),
    }
}

/// Takes the attempt back that a worker refused, and says what becomes of the job.
pub(super) fn rejected(job: &mut Job, message: &str) -> Fate {
    job.charged = job.charged.saturating_sub(1);
    job.rejections += 1;
    if job.cancel_grace_ms.is_some() {
        Fate::Over(cancelled())
    } else if job.rejections >= MAX_REJECTIONS {
        Fate::Over(Outcome::because(Reason::Rejected, Some(message.to_owned())))
    } else {
        Fate::Requeued(Some(Reason::Rejected))
    }
}

/// The end that a cancel brings.
pub(super) fn cancelled() -> Outcome {
    Outcome::because(Reason::Cancelled, None)
}

/// The end of a job that waited too long.
pub(super) fn waited_too_long() -> Outcome {
    Outcome::because(Reason::QueueTimeout, Some("no worker took the job within its queue limit".to_owned()))
}

/// A job as it enters the queue.
pub(super) fn submitted(new: &NewJob, number: u64, now: Millis) -> Job {
    Job {
        id: JobId { number, nonce: new.nonce },
        account: new.account.clone(),
        spec: Arc::clone(&new.spec),
        status: Status::Pending,
        reason: None,
        attempt: 0,
        charged: 0,
        rejections: 0,
        worker: None,
        gpu_ids: Vec::new(),
        exit_code: None,
        error_message: None,
        created_at: now,
        started_at: None,
        completed_at: None,
        stdout_bytes: 0,
        stderr_bytes: 0,
        cancel_grace_ms: None,
    }
}

/// The next attempt begins.
pub(super) fn begin(job: &mut Job, worker: WorkerId, gpu_ids: Vec<u32>, now: Millis) {
    job.status = Status::Running;
    job.reason = None;
    job.attempt += 1;
    job.charged += 1;
    job.worker = Some(worker);
    job.gpu_ids = gpu_ids;
    job.started_at = Some(now);
    job.stdout_bytes = 0;
    job.stderr_bytes = 0;
}

/// The job goes back to the queue, and nobody has it.
pub(super) fn requeue(job: &mut Job, reason: Option<Reason>) {
    job.status = Status::Pending;
    job.reason = reason;
    job.worker = None;
    job.gpu_ids = Vec::new();
    job.started_at = None;
}

/// The job is over.
pub(super) fn end(job: &mut Job, outcome: Outcome, time: Millis) {
    job.status = outcome.status();
    job.reason = Some(outcome.reason);
    job.exit_code = outcome.exit_code;
    job.error_message = outcome.message;
    job.completed_at = Some(time);
}

/// The end that the removal of a container brings.
pub(super) fn removed() -> Outcome {
    Outcome::because(Reason::Removed, None)
}

/// Has a container go on whose latest start has ended. Whatever its record says of that start alone is gone from it;
/// returned are the entries that it stood for: the first, where it did, and the last, whose number is `n`.
/// None where it is no container, `attempt` is not its latest or has not ended, or it was removed.
pub(super) fn go_on(job: &mut Job, attempt: Attempt, n: u64) -> Option<(Option<Entry>, Entry)> {
    if !job.id.is_container() || job.attempt != attempt || job.reason == Some(Reason::Removed) {
        return None;
    }
    let (head, ended) = (head_entry(job), end_entry(job, n)?);
    (job.charged, job.rejections, job.cancel_grace_ms) = (0, 0, None);
    (job.exit_code, job.error_message, job.started_at, job.completed_at) = (None, None, None, None);
    Some((head, ended))
}

/// The entry `a-0` that the latest attempt began with; `None` while the job waits.
pub(super) fn head_entry(job: &Job) -> Option<Entry> {
    let time = job.started_at?;
    Some(Entry {
        at: Cursor::new(job.attempt, 0),
        time,
        kind: EntryKind::Status { status: Status::Running, worker: job.worker.clone(), reason: None },
    })
}

/// The entry with which the job went back to the queue.
pub(super) fn requeue_entry(job: &Job, n: u64, time: Millis) -> Entry {
    Entry {
        at: Cursor::new(job.attempt, n),
        time,
        kind: EntryKind::Status { status: Status::Pending, worker: None, reason: job.reason },
    }
}

/// The last entry, `n` its number; `None` while the job is not over.
pub(super) fn end_entry(job: &Job, n: u64) -> Option<Entry> {
    let (Some(time), Some(reason), true) = (job.completed_at, job.reason, is_over(job.status)) else {
        return None;
    };
    Some(Entry {
        at: Cursor::new(job.attempt, n),
        time,
        kind: EntryKind::End {
            status: job.status,
            exit_code: job.exit_code,
            reason,
            message: job.error_message.clone(),
        },
    })
}

/// Whether `outcome` is what ended the job.
pub(super) fn ended_by(job: &Job, outcome: &Outcome) -> bool {
    is_over(job.status)
        && job.reason == Some(outcome.reason)
        && job.exit_code == outcome.exit_code
        && job.error_message == outcome.message
}
