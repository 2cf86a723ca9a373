//! A job that stays on a made-up worker, so that its log can be written at will.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::timeout;

use super::submitter::Submitter;
use super::target::Target;
use super::worker::{Attempt, Order, Worker};
use crate::protocol::After;
use crate::protocol::codec::encode;
use crate::protocol::job::{Follow, JobRequest};
use crate::protocol::spec::JobSpec;

/// Time for a job to get from its submit to the worker.
const ASSIGNED_WITHIN: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Held {
    pub(super) worker: Worker,
    job: String,
    attempt: u64,
}

impl Held {
    /// Submits a job and takes it.
    pub(super) async fn start(target: &Target) -> Result<Self> {
        let mut worker = Worker::register(target, 1).await?;
        let spec = JobSpec { command: Some("true".to_owned()), ..JobSpec::default() };
        let mut submitter = Submitter::connect(target, spec, false).await?;
        submitter.submit(1);
        let mut assigned = None;
        let wait = async {
            while submitter.taken == 0 {
                submitter.turn(|_| Ok(())).await?;
            }
            while assigned.is_none() {
                worker
                    .turn(|order, out| {
                        if let Order::Assign(attempt) = order {
                            attempt.accept(out);
                            assigned = Some((attempt.job.to_owned(), attempt.attempt));
                        }
                        Ok(())
                    })
                    .await?;
            }
            Ok::<_, anyhow::Error>(())
        };
        timeout(ASSIGNED_WITHIN, wait).await.context("the job was not assigned")??;
        let (job, attempt) = assigned.context("the job was not assigned")?;
        worker.hold(Attempt { job: &job, attempt });
        Ok(Self { worker, job, attempt })
    }

    /// The frame that follows it from its beginning.
    pub(super) fn follow(&self) -> Result<String> {
        Ok(encode(&JobRequest::Follow(Follow { job_id: self.job.parse()?, after: After::Start })))
    }

    /// Writes entry `n`. `text` needs no escapes; `frame` is room to write it in.
    pub(super) fn write(&mut self, n: u64, offset: u64, text: &str, frame: &mut Vec<u8>) {
        let attempt = Attempt { job: &self.job, attempt: self.attempt };
        attempt.output(n, offset, text, frame, self.worker.out());
    }

    /// Ends it after `n - 1` entries.
    pub(super) fn end(&mut self, n: u64) {
        Attempt { job: &self.job, attempt: self.attempt }.end(n, self.worker.out());
    }
}
