//! Jobs: submit, look up, list, cancel, talk to.

use std::borrow::Cow;
use std::sync::Arc;

use tracing::debug;

use super::{DispatchError, Dispatcher, accounts, audience, records};
use crate::auth::Identity;
use crate::hub::Outbox;
use crate::hub::{Follow, Watch};
use crate::hub::{Ring, follow::Source};
use crate::metrics;
use crate::model::job::is_over;
use crate::model::spec::{Gpus, millis};
use crate::model::{Job, JobSpec, Outcome, Role};
use crate::protocol::agent::{AgentInput, AgentJobOrder, AgentResize, CancelAttempt};
use crate::protocol::audit::AuditAction;
use crate::protocol::job::{Cancel, JobRecord, Reason, Status, Submit, Submitted};
use crate::protocol::limits::{PAGE, PAGE_MOST};
use crate::protocol::plugin::Hook;
use crate::protocol::{Chunk, Cursor, ErrorCode, JobRef, WireError, id};
use crate::store::jobs::{Cancelled, JobFilter, NewJob, QueueLimits};

/// Longest idempotency key, in bytes.
const KEY_MOST: usize = 256;

/// More GPUs than any machine holds: a job that asks for more waits for nothing.
const GPUS_MOST: u32 = 1_024;

/// The answer to a submit.
#[derive(Debug)]
pub struct Submission {
    /// For the submitter.
    pub reply: Submitted,
    /// Its place in the job's log, where it follows.
    pub follow: Option<Follow>,
}

impl Dispatcher {
    /// Puts a job into the queue. With `follower`, that connection follows it from its first entry.
    ///
    /// # Errors
    /// A wrong field, `unsatisfiable`, a plugin that refuses or is away, a full queue, or the store.
    pub async fn submit(
        &self,
        who: &Identity,
        submit: Submit,
        follower: Option<&Arc<Outbox>>,
    ) -> Result<Submission, DispatchError> {
        // Where a job runs inside a container, or is one, is for the frames about containers to say, which look who may.
        let reserved = [("container", submit.spec.container.is_some()), ("service", submit.spec.service.is_some())];
        if let Some((field, _)) = reserved.iter().find(|(_, given)| *given) {
            let message = format!("{field} is not for jobs; see the frames of type container");
            return Err(WireError::bad_field(*field, message).into());
        }
        self.submit_unchecked(who, submit, follower).await
    }

    /// The same for what may run inside a container.
    pub(super) async fn submit_unchecked(
        &self,
        who: &Identity,
        submit: Submit,
        follower: Option<&Arc<Outbox>>,
    ) -> Result<Submission, DispatchError> {
        let submission = self.store_submit(who, submit, follower).await;
        let result = match &submission {
            Ok(Submission { reply: Submitted { duplicate: false, .. }, .. }) => metrics::Submit::Accepted,
            Ok(Submission { reply: Submitted { duplicate: true, .. }, .. }) => metrics::Submit::Duplicate,
            Err(_) => metrics::Submit::Refused,
        };
        self.0.metrics.submits.of(result).inc();
        submission
    }

    async fn store_submit(
        &self,
        who: &Identity,
        submit: Submit,
        follower: Option<&Arc<Outbox>>,
    ) -> Result<Submission, DispatchError> {
        audience(who)?;
        let Submit { spec, key, follow: _ } = submit;
        let spec = self.checked(spec)?;
        check_satisfiable(&spec)?;
        if key.as_ref().is_some_and(|key| key.is_empty() || key.len() > KEY_MOST) {
            return Err(WireError::bad_field("key", format!("key must be 1 to {KEY_MOST} bytes")).into());
        }
        // Administrators are whoever runs the place, and everybody under `--open`.
        if who.role != Role::Admin {
            let count = self.0.submits.count(who.account.as_str());
            count.map_err(|retry_after| DispatchError::TooManySubmits { retry_after })?;
        }
        let asked = self.0.plugins.asked(Hook::JobSubmit);
        let spec = match asked.is_empty() {
            true => spec,
            // Boxed: a submit that asks nobody stays small.
            false => Box::pin(self.ask_about_job(asked, who, key.as_deref(), spec)).await?,
        };
        let limits = &self.0.settings.limits;
        let queue = QueueLimits { total: limits.queue, account: limits.account_queue };
        let spec = Arc::new(spec);
        let nonce = id::nonce(rand::random(), false);
        let new = NewJob { nonce, account: who.account.clone(), spec: Arc::clone(&spec), key };
        // Nothing that happens to the job is shown before this is dropped, so its first entry finds
        // the follower at the tail, and watchers hear of it first.
        let introduction = self.0.introductions.begin(nonce);
        let submitted = self.0.store.submit(new, queue).await?;
        let job = submitted.job;
        let reply =
            Submitted { job_id: job.id, task_id: job.id.number, status: job.status, duplicate: submitted.duplicate };
        let follow = follower.map(|outbox| {
            let source = if submitted.duplicate { Source::Store } else { Source::Tail };
            self.follow_from(job.id, job.status, Cursor::START, source, outbox)
        });
        if !submitted.duplicate {
            self.announce(&job);
        }
        drop(introduction);
        debug!(job = %job.id, account = %job.account, duplicate = submitted.duplicate, "job submitted");
        if !submitted.duplicate {
            self.is_ready(&spec.requires);
        }
        Ok(Submission { reply, follow })
    }

    /// A job that `who` may see.
    ///
    /// # Errors
    /// `not_found`, or the store.
    pub async fn job(&self, who: &Identity, job: JobRef) -> Result<Arc<Job>, DispatchError> {
        let audience = audience(who)?;
        let found = self.0.store.job(job).await?;
        found
            .filter(|found| {
                job.names(found.id)
                    && !found.id.is_container()
                    && audience.is_none_or(|account| account == found.account)
            })
            .ok_or(DispatchError::NotFound("job"))
    }

    /// A job's record, with its spec.
    ///
    /// # Errors
    /// As [`Dispatcher::job`].
    pub async fn get(&self, who: &Identity, job: JobRef) -> Result<JobRecord, DispatchError> {
        let job = self.job(who, job).await?;
        let mut record = records::job(&job, &self.facts_for(std::slice::from_ref(&job)));
        record.spec = Some(Box::new(job.spec.as_submitted()));
        Ok(record)
    }

    /// A page of jobs, newest first, and how many there are in all.
    ///
    /// # Errors
    /// As [`Dispatcher::list`].
    pub async fn newest_jobs(
        &self,
        who: &Identity,
        limit: Option<u32>,
        before: Option<JobRef>,
    ) -> Result<(Vec<Arc<Job>>, u64), DispatchError> {
        let account = audience(who)?;
        let count = self.0.store.count_jobs(account.as_ref()).await?.total();
        let before = before.map(JobRef::number);
        let jobs = self.0.store.jobs(JobFilter { account, status: None, before, limit: page_limit(limit)? }).await?;
        Ok((jobs, count))
    }

    /// Cancels a job; returns it as it stands: over if it was pending, else its worker is told.
    ///
    /// # Errors
    /// `not_found`, `conflict` where it is over, a wrong grace, or the store.
    pub async fn cancel(&self, who: &Identity, cancel: &Cancel) -> Result<JobRecord, DispatchError> {
        let job = self.job(who, cancel.job_id).await?;
        let grace_ms = millis("graceSecs", cancel.grace_secs, true)?;
        let cancelled = self.0.store.cancel(job.id.into(), grace_ms).await?.ok_or(DispatchError::NotFound("job"))?;
        let job = match cancelled {
            Cancelled::Ended(change) => {
                self.publish(&change).await;
                change.job
            }
            // Nobody can tell its worker: it is over now, and what comes of it later is refused.
            Cancelled::Running(job) if self.is_polled(&job).await? => {
                let outcome = Outcome::because(Reason::Cancelled, None);
                self.end_for_worker(job.id, job.attempt, outcome).await?;
                self.0.store.job(job.id.into()).await?.ok_or(DispatchError::NotFound("job"))?
            }
            Cancelled::Running(job) => {
                self.order_cancel(&job).await?;
                job
            }
            Cancelled::AlreadyOver(_) => return Err(DispatchError::Conflict("the job is over".to_owned())),
        };
        self.note_done(who, AuditAction::JobCancel, job.id, accounts::others(who, &job.account)).await;
        Ok(records::job(&job, &[]))
    }

    /// Tells the worker that holds `job` to end it. One that is away hears it when it is back.
    pub(super) async fn order_cancel(&self, job: &Job) -> Result<(), DispatchError> {
        let cancel = cancel_of(job);
        if self.0.handing.cancel(cancel, || self.0.fleet.holder(job.id)) {
            return Ok(());
        }
        // It may be on its way here, or be held by a worker that is connected elsewhere.
        self.order_worker(job, &AgentJobOrder::Cancel(cancel)).await.map(|_| ())
    }

    /// Writes to a running job's standard input.
    ///
    /// # Errors
    /// `not_found`; `conflict` where the job has no input, is over, or (worth a retry) does not run
    /// yet or its worker is away.
    pub async fn input(&self, who: &Identity, job: JobRef, bytes: &[u8], eof: bool) -> Result<(), DispatchError> {
        let job = self.running_job(who, job).await?;
        if !job.spec.stdin && job.spec.tty.is_none() {
            return Err(DispatchError::Conflict(
                "the job has no input: it was submitted without stdin or tty".to_owned(),
            ));
        }
        self.pass_input(&job, bytes, eof).await
    }

    /// Passes input on to the worker of a running job.
    pub(super) async fn pass_input(&self, job: &Job, bytes: &[u8], eof: bool) -> Result<(), DispatchError> {
        let (text, base64) =
            if bytes.is_empty() { (Some(Cow::Borrowed("")), None) } else { Chunk::of(bytes).into_fields() };
        let input = AgentJobOrder::Input(AgentInput { job_id: job.id, attempt: job.attempt, text, base64, eof });
        match self.0.fleet.holder(job.id) {
            // Waits for room: a fast typist is held up, not the worker's other orders.
            Some(agent) => {
                let frame = crate::protocol::codec::encode(&input);
                agent.outbox().push(crate::hub::Item::Frame(frame.into())).await.map_err(|_| away(job))
            }
            None => self.order_worker(job, &input).await?.then_some(()).ok_or_else(|| away(job)),
        }
    }

    /// Changes the size of a running job's terminal.
    ///
    /// # Errors
    /// As [`Dispatcher::input`].
    pub async fn resize(&self, who: &Identity, job: JobRef, cols: u16, rows: u16) -> Result<(), DispatchError> {
        check_size(cols, rows)?;
        let job = self.running_job(who, job).await?;
        if job.spec.tty.is_none() {
            return Err(DispatchError::Conflict("the job has no terminal: it was submitted without tty".to_owned()));
        }
        self.pass_size(&job, cols, rows).await
    }

    /// Passes a terminal's size on to the worker of a running job.
    pub(super) async fn pass_size(&self, job: &Job, cols: u16, rows: u16) -> Result<(), DispatchError> {
        let resize = AgentResize { job_id: job.id, attempt: job.attempt, cols, rows };
        self.order_worker(job, &AgentJobOrder::Resize(resize)).await?.then_some(()).ok_or_else(|| away(job))
    }

    /// Watches changes of status of the jobs that `who` may see.
    ///
    /// # Errors
    /// The role may not.
    pub fn watch_jobs(&self, who: &Identity, outbox: &Arc<Outbox>) -> Result<Watch, DispatchError> {
        Ok(self.0.hub.jobs.watch(audience(who)?, Ring::Jobs, outbox))
    }

    async fn running_job(&self, who: &Identity, job: JobRef) -> Result<Arc<Job>, DispatchError> {
        let job = self.job(who, job).await?;
        if is_over(job.status) {
            return Err(DispatchError::Conflict("the job is over".to_owned()));
        }
        if job.status == Status::Pending {
            return Err(DispatchError::NotYet("the job does not run yet".to_owned()));
        }
        Ok(job)
    }

    /// Facts of the workers where one of `jobs` waits for one, else none.
    pub(super) fn facts_for(&self, jobs: &[Arc<Job>]) -> Vec<crate::scheduler::Facts> {
        if jobs.iter().any(|job| job.status == Status::Pending) {
            self.0.fleet.facts(self.online_since(), self.instance())
        } else {
            Vec::new()
        }
    }
}

/// What tells a worker to end the current attempt of `job`.
pub(super) fn cancel_of(job: &Job) -> CancelAttempt {
    let grace_ms = job.cancel_grace_ms.unwrap_or_else(|| crate::base::clock::millis(job.spec.grace()));
    #[expect(clippy::cast_precision_loss, reason = "at most 10¹² milliseconds")]
    let grace_secs = grace_ms as f64 / 1000.0;
    CancelAttempt { job_id: job.id, attempt: job.attempt, grace_secs }
}

/// `limit` of a list as asked for.
pub(super) fn page_limit(limit: Option<u32>) -> Result<usize, WireError> {
    match limit {
        None => Ok(PAGE as usize),
        Some(0) => Err(WireError::bad_field("limit", "limit must be 1 or more")),
        Some(limit) => Ok(limit.min(PAGE_MOST) as usize),
    }
}

/// A terminal has at least one place for a letter.
pub(super) fn check_size(cols: u16, rows: u16) -> Result<(), WireError> {
    if cols == 0 || rows == 0 {
        let field = if cols == 0 { "cols" } else { "rows" };
        return Err(WireError::bad_field(field, format!("{field} must be 1 or more")));
    }
    Ok(())
}

fn away(job: &Job) -> DispatchError {
    let what = if job.id.is_container() { "container" } else { "job" };
    DispatchError::NotYet(format!("the {what}'s worker is away"))
}

pub(super) fn check_satisfiable(spec: &JobSpec) -> Result<(), WireError> {
    let (asked, field) = match &spec.requires.gpus {
        Gpus::Count(count) => (*count, "requires.gpus"),
        // Indices count from 0 and are sorted.
        Gpus::Ids(ids) => (ids.last().map_or(0, |id| id.saturating_add(1)), "requires.gpuIds"),
    };
    if asked > GPUS_MOST {
        let message = format!("no worker ever has {asked} GPUs; {GPUS_MOST} are the most");
        return Err(WireError::new(ErrorCode::Unsatisfiable, message).field(field));
    }
    Ok(())
}
