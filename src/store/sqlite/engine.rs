//! What the writer does: every change of a job, in the file and in memory.
//!
//! Runs inside a transaction that [`super::writer`] owns. Each operation first finds out whether it may be,
//! from memory where it can, and then writes; a failed write fails the transaction.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::ended::Ended;
use super::failure::{Run, corrupt};
use super::live::{Live, Pending, Running, Slot};
use super::rows::{self, End, Stored};
use super::segment::{self, Offsets};
use crate::base::clock::{Clock, Millis, millis};
use crate::model::{AccountName, Job, Outcome, ReadyClass};
use crate::protocol::job::{Reason, Status};
use crate::protocol::{Attempt, JobId, JobRef, WorkerId};
use crate::store::error::AppendError;
use crate::store::jobs::{AT_ONCE, Cancelled, Change, Claim, JobCounts, NewJob, QueueLimits, Submitted};
use crate::store::transition::{self, Fate};

/// Jobs that were submitted a short while ago and are kept in memory whole, because they are
/// claimed next where the queue is short; a long queue is read back from the file.
const FRESH_JOBS: usize = 4096;

/// Specs above this size are not worth the memory.
const FRESH_SPEC_BYTES: usize = 4096;

/// Why a submit may not be.
pub(super) enum Full {
    Queue,
    Account,
}

/// See the module.
pub(super) struct Engine {
    conn: Connection,
    pub(super) live: Live,
    pub(super) ended: Ended,
    fresh: Fresh,
    pub(super) clock: Clock,
    output_cap: u64,
    pub(super) counters: Counters,
    committed: Counters,
}

/// Numbers that a failed transaction must not keep.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counters {
    /// The number of the next job.
    pub(super) next: u64,
    /// Jobs that are over, and containers that are removed: what retention may take.
    pub(super) over: u64,
    /// Those of them that are containers.
    pub(super) removed: u64,
}

impl Engine {
    pub(super) fn new(
        conn: Connection,
        (live, ended, counters): (Live, Ended, Counters),
        clock: Clock,
        output_cap: u64,
    ) -> Self {
        Self { conn, live, ended, fresh: Fresh::default(), clock, output_cap, counters, committed: counters }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.conn
    }

    pub(super) fn commit(&mut self) {
        self.live.commit();
        self.ended.commit();
        self.committed = self.counters;
    }

    pub(super) fn rollback(&mut self) {
        self.live.rollback();
        self.ended.rollback();
        self.fresh = Fresh::default();
        self.counters = self.committed;
    }

    /// Closes the file.
    pub(super) fn close(self) {
        if let Err((_, error)) = self.conn.close() {
            tracing::warn!(%error, "the database did not close cleanly");
        }
    }

    /// `spec` is the job's spec in JSON.
    pub(super) fn submit(&mut self, new: &NewJob, spec: &str, limits: QueueLimits) -> Run<Result<Submitted, Full>> {
        if let Some(key) = &new.key {
            let known = rows::by_key(&self.conn, &new.account, key)?;
            if let Some(number) = known {
                let job = self.record(JobRef::Number(number))?;
                let job = job.ok_or_else(|| corrupt(format!("a key names job {number}, which is not there")))?;
                return Ok(Ok(Submitted { job, duplicate: true }));
            }
        }
        if self.live.pending_count() >= limits.total {
            return Ok(Err(Full::Queue));
        }
        if self.live.pending_count_of(&new.account) >= limits.account {
            return Ok(Err(Full::Account));
        }
        let now = self.clock.now();
        let number = self.counters.next;
        let job = Arc::new(transition::submitted(new, number, now));
        rows::insert(&self.conn, &job, new.key.as_deref(), spec)?;
        self.counters.next += 1;
        self.live.put(number, Some(self.pending(&job, now)));
        if spec.len() <= FRESH_SPEC_BYTES {
            self.fresh.insert(&job);
        }
        Ok(Ok(Submitted { job, duplicate: false }))
    }

    pub(super) fn ready(&self) -> Vec<ReadyClass> {
        self.live.ready()
    }

    /// How many jobs of each status there are, of one account or in all.
    pub(super) fn count_jobs(&self, account: Option<&AccountName>) -> JobCounts {
        let (pending, running) = self.live.count_of(account);
        JobCounts { pending, running, ..self.ended.of(account) }
    }

    pub(super) fn claim(&mut self, claim: &Claim) -> Run<Vec<Change>> {
        let now = self.clock.now();
        let best = self.live.best(claim.classes.iter().map(|(requires, _)| requires), claim.limit);
        let mut changes = Vec::with_capacity(best.len());
        for (number, class) in best {
            let mut job = self.pending_job(number)?.job;
            let kept = if job.attempt == 0 { 0 } else { segment::kept(&self.conn, number)? };
            transition::begin(&mut job, claim.worker.clone(), claim.classes[class].1.clone(), now);
            rows::update(&self.conn, &job, 0)?;
            let entry = transition::head_entry(&job).ok_or_else(|| corrupt("an attempt without a begin".to_owned()))?;
            let job = Arc::new(job);
            let running = Running {
                job: Arc::clone(&job),
                worker: claim.worker.clone(),
                deadline: after(now, claim.lease),
                last_n: 0,
                offsets: Offsets::default(),
                kept,
            };
            self.live.put(number, Some(Slot::Running(Box::new(running))));
            changes.push(Change { job, entry });
        }
        Ok(changes)
    }

    pub(super) fn reject(&mut self, id: JobId, attempt: Attempt, message: &str) -> Run<Result<Change, AppendError>> {
        let Some(running) = self.live.running(id, attempt) else { return Ok(Err(self.refusal(id, attempt)?)) };
        let (mut job, last_n) = (Job::clone(&running.record()), running.last_n);
        let fate = transition::rejected(&mut job, message);
        self.decide(job, last_n, fate).map(Ok)
    }

    pub(super) fn lose(&mut self, id: JobId, attempt: Attempt) -> Run<Result<Change, AppendError>> {
        let Some(running) = self.live.running(id, attempt) else { return Ok(Err(self.refusal(id, attempt)?)) };
        let (job, last_n) = (Job::clone(&running.record()), running.last_n);
        let fate = transition::lost(&job);
        self.decide(job, last_n, fate).map(Ok)
    }

    /// Has a container that is at rest go on: see [`JobStore::reopen`](crate::store::JobStore::reopen) and
    /// [`JobStore::retire`](crate::store::JobStore::retire).
    pub(super) fn go_on(&mut self, id: JobId, attempt: Attempt, fate: Fate) -> Run<Result<Change, AppendError>> {
        let refused = Ok(Err(self.refusal(id, attempt)?));
        if self.live.get(id.number).is_some() {
            return refused;
        }
        let Some(Stored { mut job, last_n }) = rows::named(&self.conn, id.into())? else { return refused };
        let Some((head, ended)) = transition::go_on(&mut job, attempt, last_n) else { return refused };
        let offsets = Offsets { stdout: job.stdout_bytes, stderr: job.stderr_bytes };
        segment::insert(&self.conn, id.number, head.as_slice(), Offsets::default())?;
        segment::insert(&self.conn, id.number, std::slice::from_ref(&ended), offsets)?;
        self.decide(job, last_n, fate).map(Ok)
    }

    pub(super) fn renew(
        &mut self,
        worker: &WorkerId,
        held: &[(JobId, Attempt)],
        lease: Duration,
    ) -> Vec<(JobId, Attempt)> {
        let deadline = after(self.clock.now(), lease);
        let mut lost = Vec::new();
        for &(id, attempt) in held {
            match self.live.running(id, attempt) {
                Some(running) if running.worker == *worker => self.live.renew(id.number, deadline),
                Some(_) | None => lost.push((id, attempt)),
            }
        }
        lost
    }

    pub(super) fn expire(&mut self) -> Run<Vec<Change>> {
        let now = self.clock.now();
        let mut changes = Vec::new();
        for number in self.live.lapsed(now, AT_ONCE) {
            let Some(Slot::Running(running)) = self.live.get(number) else { continue };
            let (job, last_n) = (Job::clone(&running.record()), running.last_n);
            let fate = transition::lost(&job);
            changes.push(self.decide(job, last_n, fate)?);
        }
        for number in self.live.overdue(now, AT_ONCE - changes.len()) {
            let Stored { job, last_n } = self.pending_job(number)?;
            changes.push(self.decide(job, last_n, Fate::Over(transition::waited_too_long()))?);
        }
        Ok(changes)
    }

    pub(super) fn start_anew(&mut self, lease: Duration) {
        let now = self.clock.now();
        self.live.start_anew(now, after(now, lease));
    }

    pub(super) fn cancel(&mut self, named: JobRef, grace_ms: Option<u64>) -> Run<Option<Cancelled>> {
        match self.live.get(named.number()) {
            Some(Slot::Pending(_)) => {
                let Stored { job, last_n } = self.pending_job(named.number())?;
                if !named.names(job.id) {
                    return Ok(None);
                }
                self.decide(job, last_n, Fate::Over(transition::cancelled()))
                    .map(|change| Some(Cancelled::Ended(change)))
            }
            Some(Slot::Running(running)) => {
                if !named.names(running.job.id) {
                    return Ok(None);
                }
                let mut running = running.clone();
                let mut job = Job::clone(&running.record());
                job.cancel_grace_ms = Some(grace_ms.unwrap_or_else(|| millis(job.spec.grace())));
                rows::update(&self.conn, &job, running.last_n)?;
                let job = Arc::new(job);
                running.job = Arc::clone(&job);
                self.live.put(named.number(), Some(Slot::Running(running)));
                Ok(Some(Cancelled::Running(job)))
            }
            None => {
                let stored = rows::named(&self.conn, named)?;
                Ok(stored.map(|stored| Cancelled::AlreadyOver(Arc::new(stored.job))))
            }
        }
    }

    pub(super) fn running_on(&self, worker: &WorkerId) -> Vec<Arc<Job>> {
        self.live.running_on(worker).map(|(_, running)| running.record()).collect()
    }

    pub(super) fn last_n(&self, id: JobId, attempt: Attempt) -> Run<Result<u64, AppendError>> {
        match self.live.running(id, attempt) {
            Some(running) => Ok(Ok(running.last_n)),
            None => Ok(Err(self.refusal(id, attempt)?)),
        }
    }

    /// Ends a job in the name of its attempt; the record stands as it did before the end.
    pub(super) fn end(&mut self, mut job: Job, n: u64, time: Millis, outcome: Outcome) -> Run<Change> {
        transition::end(&mut job, outcome, time);
        rows::update(&self.conn, &job, n)?;
        self.live.put(job.id.number, None);
        let removed = job.reason == Some(Reason::Removed);
        self.counters.over += u64::from(removed || !job.id.is_container());
        self.counters.removed += u64::from(removed);
        self.ended.add(End { id: job.id, account: job.account.clone(), status: job.status });
        let entry = transition::end_entry(&job, n).ok_or_else(|| corrupt("a job that ended and did not".to_owned()))?;
        Ok(Change { job: Arc::new(job), entry })
    }

    /// Lets the fate of a job that is not over happen now, as the log's next entry.
    fn decide(&mut self, mut job: Job, last_n: u64, fate: Fate) -> Run<Change> {
        let (now, n) = (self.clock.now(), last_n + 1);
        match fate {
            Fate::Over(outcome) => self.end(job, n, now, outcome),
            Fate::Requeued(reason) => {
                // The record holds the attempt's first entry no longer.
                let head = transition::head_entry(&job);
                segment::insert(&self.conn, job.id.number, head.as_slice(), Offsets::default())?;
                transition::requeue(&mut job, reason);
                let entry = transition::requeue_entry(&job, n, now);
                let offsets = Offsets { stdout: job.stdout_bytes, stderr: job.stderr_bytes };
                segment::insert(&self.conn, job.id.number, std::slice::from_ref(&entry), offsets)?;
                rows::update(&self.conn, &job, n)?;
                self.live.put(job.id.number, Some(self.pending(&job, now)));
                Ok(Change { job: Arc::new(job), entry })
            }
        }
    }

    /// A job's place in the queue from `now` on.
    fn pending(&self, job: &Job, now: Millis) -> Slot {
        Slot::Pending(Pending {
            nonce: job.id.nonce,
            attempt: job.attempt,
            priority: job.spec.priority,
            account: job.account.clone(),
            class: self.live.class(&job.spec.requires),
            since: now,
            limit: job.spec.queue_timeout_ms,
        })
    }

    /// A pending job's whole record.
    fn pending_job(&mut self, number: u64) -> Run<Stored> {
        if let Some(job) = self.fresh.take(number) {
            return Ok(Stored { job: Arc::unwrap_or_clone(job), last_n: 0 });
        }
        rows::by_number(&self.conn, number)?
            .filter(|stored| stored.job.status == Status::Pending)
            .ok_or_else(|| corrupt(format!("job {number} is in the queue and not in the file")))
    }

    /// A job's record as it stands.
    fn record(&self, named: JobRef) -> Run<Option<Arc<Job>>> {
        match self.live.get(named.number()) {
            Some(Slot::Running(running)) => Ok(named.names(running.job.id).then(|| running.record())),
            Some(Slot::Pending(_)) | None => Ok(rows::named(&self.conn, named)?.map(|stored| Arc::new(stored.job))),
        }
    }

    /// Why an attempt that does not run may not write.
    pub(super) fn refusal(&self, id: JobId, attempt: Attempt) -> Run<AppendError> {
        let stale = |current| AppendError::Stale { job: id, stale: attempt, current };
        let missing = AppendError::NotFound(id.into());
        Ok(match self.live.get(id.number) {
            Some(Slot::Pending(pending)) if pending.nonce == id.nonce => stale(pending.attempt),
            Some(Slot::Running(running)) if running.job.id == id => stale(running.job.attempt),
            Some(Slot::Pending(_) | Slot::Running(_)) => missing,
            None => rows::named(&self.conn, id.into())?.map_or(missing, |stored| stale(stored.job.attempt)),
        })
    }

    pub(super) fn output_cap(&self) -> u64 {
        self.output_cap
    }
}

/// `wait` from `now` on.
pub(super) fn after(now: Millis, wait: Duration) -> Millis {
    now.saturating_add(millis(wait))
}

/// The records of the latest submits.
#[derive(Default)]
struct Fresh {
    jobs: HashMap<u64, Arc<Job>>,
    order: VecDeque<u64>,
}

impl Fresh {
    fn insert(&mut self, job: &Arc<Job>) {
        if self.order.len() >= FRESH_JOBS
            && let Some(oldest) = self.order.pop_front()
        {
            self.jobs.remove(&oldest);
        }
        self.order.push_back(job.id.number);
        self.jobs.insert(job.id.number, Arc::clone(job));
    }

    fn take(&mut self, number: u64) -> Option<Arc<Job>> {
        self.jobs.remove(&number)
    }
}
