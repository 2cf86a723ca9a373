//! What polling workers bring back: a job's whole output and its end, in one write.

use bytes::Bytes;

use super::polling::runs_jobs;
use super::{DispatchError, Dispatcher};
use crate::auth::Identity;
use crate::base::clock::Millis;
use crate::model::job::is_over;
use crate::model::{Job, Outcome};
use crate::protocol::job::{Reason, Status};
use crate::protocol::limits::CHUNK_BYTES;
use crate::protocol::{Attempt, JobId, JobRef, StreamName, WorkerId};
use crate::store::StoreError;
use crate::store::error::AppendError;
use crate::store::log::{AttemptWrite, NewOutput};

/// What came of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BroughtBack {
    /// Its script ran.
    Exit {
        /// All of its standard output.
        stdout: String,
        /// All of its standard error.
        stderr: String,
        /// Its exit code.
        code: i32,
    },
    /// Something went wrong before or beside the script.
    Failure {
        /// In words.
        message: String,
    },
}

impl Dispatcher {
    /// Ends a job with what a polling worker brings back. The same said twice is answered the same.
    ///
    /// # Errors
    /// The role may not; `not_found`; `forbidden` where the job is not the worker's, nor was asked for anonymously from
    /// where it is; `conflict` where the job ended otherwise meanwhile; or the store.
    pub async fn bring_back(
        &self,
        who: &Identity,
        job: JobRef,
        worker: &WorkerId,
        result: BroughtBack,
    ) -> Result<JobId, DispatchError> {
        runs_jobs(who)?;
        let found = self.0.store.job(job).await?.filter(|found| job.names(found.id));
        let job = found.ok_or(DispatchError::NotFound("job"))?;
        if !self.may_bring_back(&job, worker).await? {
            return Err(DispatchError::Forbidden("Worker is not assigned to this job"));
        }
        let now = self.0.clock.now();
        let (output, outcome) = entries(&result, now);
        if is_over(job.status) {
            return if is_same(&job, &result, &outcome) { Ok(job.id) } else { Err(too_late(&job)) };
        }
        let n = output.len() as u64 + 1;
        let write = AttemptWrite { job: job.id, attempt: job.attempt, output, end: Some((n, now, outcome.clone())) };
        match self.append_whole(write).await? {
            Ok(()) => {
                if let Some(given) = &job.worker {
                    self.polling_worker_changed(given, 0);
                }
                Ok(job.id)
            }
            // It ended between the look and the write.
            Err(_) => match self.0.store.job(job.id.into()).await? {
                Some(ended) if is_over(ended.status) && is_same(&ended, &result, &outcome) => Ok(ended.id),
                Some(ended) => Err(too_late(&ended)),
                None => Err(DispatchError::NotFound("job")),
            },
        }
    }

    /// Ends an attempt in the place of its worker; `None`: it was overtaken.
    pub(super) async fn end_for_worker(
        &self,
        job: JobId,
        attempt: Attempt,
        outcome: Outcome,
    ) -> Result<Option<()>, DispatchError> {
        let Ok(last_n) = self.0.store.last_n(job, attempt).await? else { return Ok(None) };
        let end = Some((last_n + 1, self.0.clock.now(), outcome));
        Ok(self.append_whole(AttemptWrite { job, attempt, output: Vec::new(), end }).await?.ok())
    }

    async fn append_whole(&self, write: AttemptWrite) -> Result<Result<(), AppendError>, StoreError> {
        let mut results = self.0.store.append(vec![write.clone()]).await?;
        match results.pop() {
            Some(Ok(appended)) => {
                self.appended(&write, &appended);
                Ok(Ok(()))
            }
            Some(Err(error)) => Ok(Err(error)),
            None => Err(StoreError::Corrupt("a write without an answer".to_owned())),
        }
    }

    async fn may_bring_back(&self, job: &Job, worker: &WorkerId) -> Result<bool, StoreError> {
        let Some(given) = &job.worker else { return Ok(false) };
        let Some(bringer) = self.polling_worker(worker).await? else { return Ok(false) };
        if given == worker {
            return Ok(true);
        }
        let asked_from = self.asked_anonymously_from(job).await?;
        Ok(asked_from.is_some() && asked_from == bringer.ip)
    }
}

/// The chunks of a result, and how the job ends.
fn entries(result: &BroughtBack, now: Millis) -> (Vec<NewOutput>, Outcome) {
    match result {
        BroughtBack::Exit { stdout, stderr, code } => {
            let streams = [(StreamName::Stdout, stdout), (StreamName::Stderr, stderr)];
            let chunks = streams.into_iter().flat_map(|(stream, text)| chunks(text).map(move |chunk| (stream, chunk)));
            let output = (1..).zip(chunks).map(|(n, (stream, chunk))| NewOutput {
                n,
                stream,
                bytes: Bytes::copy_from_slice(chunk.as_bytes()),
                time: now,
            });
            (output.collect(), Outcome { reason: Reason::Exit, exit_code: Some(*code), message: None })
        }
        BroughtBack::Failure { message } => {
            (Vec::new(), Outcome::because(Reason::SpawnError, Some(message.to_owned())))
        }
    }
}

/// Pieces of a text that begin and end between characters, none of them empty.
fn chunks(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (chunk, after) = rest.split_at(rest.floor_char_boundary(CHUNK_BYTES));
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// Whether this result is what ended the job.
fn is_same(job: &Job, result: &BroughtBack, outcome: &Outcome) -> bool {
    let written = match result {
        BroughtBack::Exit { stdout, stderr, code: _ } => (stdout.len() as u64, stderr.len() as u64),
        BroughtBack::Failure { message: _ } => (0, 0),
    };
    job.reason == Some(outcome.reason)
        && job.exit_code == outcome.exit_code
        && job.error_message == outcome.message
        && (job.stdout_bytes, job.stderr_bytes) == written
}

fn too_late(job: &Job) -> DispatchError {
    let why = match job.status {
        Status::Cancelled => "Job was cancelled",
        Status::Pending | Status::Running => "Job is being run again",
        Status::Completed | Status::Failed => "Job is over, with another result",
    };
    DispatchError::Conflict(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_cut_between_characters() {
        let text = "ö".repeat(CHUNK_BYTES);
        let cut: Vec<&str> = chunks(&text).collect();
        assert_eq!(cut.concat(), text);
        assert!(cut.len() == 2 && cut.iter().all(|chunk| chunk.len() <= CHUNK_BYTES));
        let odd = format!("a{}", "ö".repeat(CHUNK_BYTES / 2));
        assert_eq!(chunks(&odd).map(str::len).collect::<Vec<_>>(), [CHUNK_BYTES - 1, 2]);
        assert_eq!(chunks("").count(), 0);
    }
}
