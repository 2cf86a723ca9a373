//! The queue, leases and changes of status.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::Value;

use super::record::{self, Stored};
use super::script::{Script, digest};
use super::{RedisStore, corrupt};
use crate::base::clock::{Millis, millis};
use crate::model::{AccountName, Entry, EntryKind, Job, ReadyClass, Requires};
use crate::protocol::job::Status;
use crate::protocol::{Attempt, Cursor, JobId, JobRef, WorkerId};
use crate::store::error::{AppendError, StoreError, SubmitError};
use crate::store::jobs::{
    AT_ONCE, Cancelled, Change, Claim, JobCounts, JobFilter, JobStore, NewJob, QueueLimits, Retention, Submitted,
};
use crate::store::transition::{self, Fate};

/// Tries to change a record that others change at the same time. Each that is in vain means that another went through.
const TRIES: u32 = 32;

/// Leases that another instance has looked at so lately were looked after all the time. Each does so twice a second.
const LOOKED_AFTER_WITHIN: Duration = Duration::from_secs(2);

/// Records of running jobs that are kept: more than run on the workers of one instance.
const REMEMBERED: usize = 64 * 1024;

/// Records that a list looks at in one script, a fraction of a millisecond of Redis' time.
const LOOK_AT: usize = 500;

impl RedisStore {
    /// The partition of an account's idempotency key.
    pub(super) fn partition_of_key(&self, account: &str, key: &str) -> u32 {
        let name = digest(&format!("{account} {key}"));
        // A digest begins with hexadecimal digits.
        let number = u64::from_str_radix(&name[..8], 16).unwrap_or(0);
        self.partition_of(number + 1)
    }

    /// The record of a number, and the time.
    pub(super) async fn load(&self, number: u64) -> Result<(Millis, Option<Stored>), StoreError> {
        let call = self.call(Script::Load, self.partition_of(number)).arg(self.now()).arg(number);
        let [now, fields] = record::fixed(self.run(&call).await?)?;
        Ok((record::number(now)?, record::stored(number, fields)?))
    }

    /// Writes `after` over a record as it was read, with an entry where there is one; `None`: it has
    /// changed meanwhile. `stood_for`: the entry for which the record stands no longer.
    async fn commit(
        &self,
        before: &Stored,
        mut after: Job,
        now: Millis,
        stood_for: Option<&Entry>,
        entry: impl FnOnce(&Job, u64) -> Option<Entry>,
    ) -> Result<Option<Job>, StoreError> {
        let Job { id: JobId { number, .. }, spec, .. } = &after;
        let number = *number;
        let entry = entry(&after, before.last_n + 1);
        // The record stands for the last entry of a job that is over.
        let logged = entry.as_ref().filter(|entry| matches!(entry.kind, EntryKind::Status { .. }));
        let logged = logged.map(record::entry_json);
        let requires = serde_json::to_string(&spec.requires).map_err(corrupt)?;
        let mut call = self.call(Script::Commit, self.partition_of(number));
        call = call.arg(number).arg(before.version).arg(now);
        call = call.arg(logged.unwrap_or_default()).arg(u8::from(entry.is_some()));
        call = call.arg(stood_for.map(record::entry_json).unwrap_or_default());
        call = call.arg(digest(&requires)).arg(requires).arg(spec.priority);
        call = call.arg(spec.queue_timeout_ms.map(|limit| limit.to_string()).unwrap_or_default());
        for (field, value) in record::changes(&before.job, &after) {
            call = call.arg(field).arg(value);
        }
        let mut answer = record::array(self.run(&call).await?)?.into_iter();
        let mut next = || answer.next().ok_or_else(|| corrupt("an answer to a change that is too short"));
        match record::text(next()?)?.as_str() {
            "ok" => {
                let _n: u64 = record::number(next()?)?;
                // It may have written while it was being decided about.
                (after.stdout_bytes, after.stderr_bytes) = (record::number(next()?)?, record::number(next()?)?);
                Ok(Some(after))
            }
            _ => Ok(None),
        }
    }

    /// Has the fate of a job come about; `None`: the record has changed meanwhile.
    async fn decide(&self, before: &Stored, job: Job, fate: Fate, now: Millis) -> Result<Option<Change>, StoreError> {
        self.go_on(before, job, None, fate, now).await
    }

    /// The same for a job whose record stood for its last entry.
    async fn go_on(
        &self,
        before: &Stored,
        job: Job,
        stood_for: Option<&Entry>,
        fate: Fate,
        now: Millis,
    ) -> Result<Option<Change>, StoreError> {
        let mut after = job;
        match fate {
            Fate::Requeued(reason) => transition::requeue(&mut after, reason),
            Fate::Over(outcome) => transition::end(&mut after, outcome, now),
        }
        let mut written = None;
        let entry = |job: &Job, n| {
            written = match job.status {
                Status::Pending => Some(transition::requeue_entry(job, n, now)),
                Status::Running | Status::Completed | Status::Failed | Status::Cancelled => {
                    transition::end_entry(job, n)
                }
            };
            written.clone()
        };
        let Some(job) = self.commit(before, after, now, stood_for, entry).await? else { return Ok(None) };
        let entry = written.ok_or_else(|| corrupt("a change of status without an entry"))?;
        let job = Arc::new(job);
        self.0.recent.changed(Arc::clone(&job), entry.clone());
        Ok(Some(Change { job, entry }))
    }

    /// Changes a running attempt as `rule` says.
    async fn change_running(
        &self,
        id: JobId,
        attempt: Attempt,
        rule: impl Fn(&mut Job) -> Fate,
    ) -> Result<Result<Change, AppendError>, StoreError> {
        for _ in 0..TRIES {
            let (now, stored) = self.load(id.number).await?;
            let Some(stored) = record::named(stored, id.into()) else {
                return Ok(Err(AppendError::NotFound(id.into())));
            };
            if stored.job.status != Status::Running || stored.job.attempt != attempt {
                return Ok(Err(AppendError::Stale { job: id, stale: attempt, current: stored.job.attempt }));
            }
            let mut job = stored.job.clone();
            let fate = rule(&mut job);
            if let Some(change) = self.decide(&stored, job, fate, now).await? {
                return Ok(Ok(change));
            }
        }
        Err(busy())
    }

    /// Has a container that is at rest go on.
    async fn resume(
        &self,
        id: JobId,
        attempt: Attempt,
        fate: impl Fn() -> Fate,
    ) -> Result<Result<Change, AppendError>, StoreError> {
        for _ in 0..TRIES {
            let (now, stored) = self.load(id.number).await?;
            let Some(stored) = record::named(stored, id.into()) else {
                return Ok(Err(AppendError::NotFound(id.into())));
            };
            let mut job = stored.job.clone();
            let Some((_, ended)) = transition::go_on(&mut job, attempt, stored.last_n) else {
                return Ok(Err(AppendError::Stale { job: id, stale: attempt, current: stored.job.attempt }));
            };
            if let Some(change) = self.go_on(&stored, job, Some(&ended), fate(), now).await? {
                return Ok(Ok(change));
            }
        }
        Err(busy())
    }

    /// Ends or requeues a job that is due, if it still is.
    async fn expire_one(&self, number: u64, due: Status, now: Millis) -> Result<Option<Change>, StoreError> {
        let (_, stored) = self.load(number).await?;
        let Some(stored) = stored.filter(|stored| stored.job.status == due) else { return Ok(None) };
        let fate = match due {
            Status::Running => transition::lost(&stored.job),
            Status::Pending | Status::Completed | Status::Failed | Status::Cancelled => {
                Fate::Over(transition::waited_too_long())
            }
        };
        // One that has changed meanwhile is looked at again next time.
        self.decide(&stored, stored.job.clone(), fate, now).await
    }

    /// Heads of the classes on a partition, as far as they are among `classes`.
    async fn ready_on(&self, partition: u32) -> Result<Vec<ReadyClass>, StoreError> {
        let classes = record::array(self.run(&self.call(Script::Ready, partition)).await?)?;
        classes.into_iter().map(ready_class).collect()
    }

    async fn claim_on(&self, partition: u32, claim: &Claim, limit: usize) -> Result<Vec<Change>, StoreError> {
        let mut call = self.call(Script::Claim, partition).arg(self.now());
        call = call.arg(claim.worker.as_str()).arg(millis(claim.lease)).arg(limit);
        for (class, gpus) in &claim.classes {
            call.push(digest(&serde_json::to_string(class).map_err(corrupt)?));
            call.push(serde_json::to_string(gpus).map_err(corrupt)?);
        }
        let [now, claimed] = record::fixed(self.run(&call).await?)?;
        let now = record::number(now)?;
        let mut changes = Vec::new();
        for value in record::array(claimed)? {
            let job = Arc::new(record::begun(value, claim.worker.clone(), now)?);
            let entry = transition::head_entry(&job).ok_or_else(|| corrupt("a claimed job that has not begun"))?;
            self.remember(&job);
            self.0.recent.changed(Arc::clone(&job), entry.clone());
            changes.push(Change { job, entry });
        }
        Ok(changes)
    }

    /// Keeps the record of a job that was claimed here, so that its end needs not be read.
    fn remember(&self, job: &Arc<Job>) {
        let running = &self.0.running;
        if running.len() >= REMEMBERED {
            // Some went on elsewhere, and their end was never seen here. Those that still run are read again.
            running.clear();
        }
        running.insert(job.id, Arc::clone(job));
    }

    /// How many of a claim's jobs each partition has, were they taken best first over all.
    async fn shares(&self, claim: &Claim) -> Result<Vec<usize>, StoreError> {
        let partitions: Vec<u32> = self.partitions().collect();
        let ready = futures_util::future::try_join_all(partitions.iter().map(|&partition| self.ready_on(partition)));
        let wanted = |class: &ReadyClass| claim.classes.iter().any(|(requires, _)| *requires == class.requires);
        let mut heads: Vec<(usize, ReadyClass)> = Vec::new();
        for (partition, classes) in ready.await?.into_iter().enumerate() {
            heads.extend(classes.into_iter().filter(wanted).map(|class| (partition, class)));
        }
        let mut shares = vec![0; partitions.len()];
        for _ in 0..claim.limit {
            let waiting = heads.iter_mut().filter(|(_, class)| class.len > 0);
            let Some((partition, best)) = waiting.min_by_key(|(_, class)| (Reverse(class.priority), class.head)) else {
                break;
            };
            shares[*partition] += 1;
            best.len -= 1;
            // What is behind the head is not known. Most likely it is the partition's next number.
            best.head += partitions.len() as u64;
        }
        Ok(shares)
    }
}

/// A record that changes faster than it can be read.
fn busy() -> StoreError {
    StoreError::Unavailable("a job changes faster than it can be read; try again".to_owned())
}

fn ready_class(value: Value) -> Result<ReadyClass, StoreError> {
    let [requires, head, score, len] = record::fixed(value)?;
    let requires: Requires = serde_json::from_slice(&record::bytes(requires)?).map_err(corrupt)?;
    let score: f64 = record::text(score)?.parse().map_err(corrupt)?;
    // Scores are priorities with the sign turned, whole numbers that fit.
    #[expect(clippy::cast_possible_truncation, reason = "a priority is an i32")]
    let priority = -score as i32;
    let (head, len) = (record::number(head)?, record::number(len)?);
    Ok(ReadyClass { requires, priority, head, len })
}

#[async_trait]
impl JobStore for RedisStore {
    async fn submit(&self, job: NewJob, limits: QueueLimits) -> Result<Submitted, SubmitError> {
        self.submit_together(job, limits).await
    }

    async fn ready(&self) -> Result<Vec<ReadyClass>, StoreError> {
        let mut classes: BTreeMap<Requires, ReadyClass> = BTreeMap::new();
        for partition in self.partitions() {
            for class in self.ready_on(partition).await? {
                match classes.get_mut(&class.requires) {
                    Some(sum) => {
                        sum.len += class.len;
                        let better = (Reverse(class.priority), class.head) < (Reverse(sum.priority), sum.head);
                        if better {
                            (sum.priority, sum.head) = (class.priority, class.head);
                        }
                    }
                    None => {
                        classes.insert(class.requires.clone(), class);
                    }
                }
            }
        }
        Ok(classes.into_values().collect())
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<Change>, StoreError> {
        if self.0.options.partitions == 1 {
            return self.claim_on(0, &claim, claim.limit).await;
        }
        let shares = self.shares(&claim).await?;
        let mut changes = Vec::new();
        for (partition, share) in self.partitions().zip(shares).filter(|(_, share)| *share > 0) {
            changes.extend(self.claim_on(partition, &claim, share).await?);
        }
        Ok(changes)
    }

    async fn reject(
        &self,
        job: JobId,
        attempt: Attempt,
        message: String,
    ) -> Result<Result<Change, AppendError>, StoreError> {
        self.change_running(job, attempt, |job| transition::rejected(job, &message)).await
    }

    async fn renew(
        &self,
        worker: &WorkerId,
        held: &[(JobId, Attempt)],
        lease: Duration,
    ) -> Result<Vec<(JobId, Attempt)>, StoreError> {
        let mut lost = vec![false; held.len()];
        for partition in self.partitions() {
            let here: Vec<usize> =
                (0..held.len()).filter(|&index| self.partition_of(held[index].0.number) == partition).collect();
            if here.is_empty() {
                continue;
            }
            let mut call = self.call(Script::Renew, partition).arg(self.now()).arg(worker.as_str()).arg(millis(lease));
            for &index in &here {
                let (job, attempt) = held[index];
                call = call.arg(job.number).arg(job.nonce).arg(attempt);
            }
            for position in record::array(self.run(&call).await?)? {
                let position: usize = record::number(position)?;
                let index = here.get(position.wrapping_sub(1)).ok_or_else(|| corrupt("a lost lease out of range"))?;
                lost[*index] = true;
            }
        }
        Ok(held.iter().zip(lost).filter(|(_, lost)| *lost).map(|(held, _)| *held).collect())
    }

    async fn lose(&self, job: JobId, attempt: Attempt) -> Result<Result<Change, AppendError>, StoreError> {
        self.change_running(job, attempt, |job| transition::lost(job)).await
    }

    async fn expire(&self) -> Result<Vec<Change>, StoreError> {
        let mut changes = Vec::new();
        for partition in self.partitions() {
            let call = self.call(Script::Due, partition).arg(self.now()).arg(AT_ONCE).arg(self.0.instance.as_str());
            let [now, lapsed, overdue] = record::fixed(self.run(&call).await?)?;
            let now = record::number(now)?;
            let due = [(Status::Running, lapsed), (Status::Pending, overdue)];
            for (status, numbers) in due {
                for number in record::array(numbers)? {
                    if changes.len() < AT_ONCE {
                        changes.extend(self.expire_one(record::number(number)?, status, now).await?);
                    }
                }
            }
        }
        Ok(changes)
    }

    async fn start_anew(&self, lease: Duration) -> Result<(), StoreError> {
        let now = self.now();
        let begin = self.on_all(Script::Anew, |call| {
            let call = call.arg(now.as_str()).arg(millis(lease));
            call.arg(self.0.instance.as_str()).arg(millis(LOOKED_AFTER_WITHIN))
        });
        begin.await.map(|_| ())
    }

    async fn cancel(&self, job: JobRef, grace_ms: Option<u64>) -> Result<Option<Cancelled>, StoreError> {
        for _ in 0..TRIES {
            let (now, stored) = self.load(job.number()).await?;
            let Some(stored) = record::named(stored, job) else { return Ok(None) };
            let mut job = stored.job.clone();
            match job.status {
                Status::Pending => {
                    let fate = Fate::Over(transition::cancelled());
                    if let Some(change) = self.decide(&stored, job, fate, now).await? {
                        return Ok(Some(Cancelled::Ended(change)));
                    }
                }
                Status::Running => {
                    job.cancel_grace_ms = Some(grace_ms.unwrap_or_else(|| millis(job.spec.grace())));
                    if let Some(job) = self.commit(&stored, job, now, None, |_, _| None).await? {
                        return Ok(Some(Cancelled::Running(Arc::new(job))));
                    }
                }
                Status::Completed | Status::Failed | Status::Cancelled => {
                    return Ok(Some(Cancelled::AlreadyOver(Arc::new(job))));
                }
            }
        }
        Err(busy())
    }

    async fn job(&self, job: JobRef) -> Result<Option<Arc<Job>>, StoreError> {
        let (_, stored) = self.load(job.number()).await?;
        Ok(record::named(stored, job).map(|stored| Arc::new(stored.job)))
    }

    async fn jobs(&self, filter: JobFilter) -> Result<Vec<Arc<Job>>, StoreError> {
        let JobFilter { account, status, before, limit } = filter;
        let mut jobs = Vec::new();
        if limit == 0 || before == Some(0) {
            return Ok(jobs);
        }
        let before = before.map_or_else(|| "+inf".to_owned(), |before| format!("({before}"));
        for partition in self.partitions() {
            let (mut from, mut found) = (before.clone(), 0);
            loop {
                let account = account.as_ref().map(ToString::to_string).unwrap_or_default();
                let status = status.map(record::status_code).unwrap_or_default();
                let call = self.call(Script::Page, partition).arg(account).arg(status).arg(from);
                let call = call.arg(limit - found).arg(LOOK_AT);
                let [last, page] = record::fixed(self.run(&call).await?)?;
                for value in record::array(page)? {
                    jobs.push(Arc::new(record::numbered(value)?.job));
                    found += 1;
                }
                match record::text(last)?.as_str() {
                    "" => break,
                    last if found < limit => from = format!("({last}"),
                    _ => break,
                }
            }
        }
        jobs.sort_unstable_by_key(|job| Reverse(job.id.number));
        jobs.truncate(limit);
        Ok(jobs)
    }

    async fn count_jobs(&self, account: Option<&AccountName>) -> Result<JobCounts, StoreError> {
        let account = account.map_or("", AccountName::as_str);
        let mut counts = JobCounts::default();
        for answer in self.on_all(Script::Count, |call| call.arg(account)).await? {
            let [pending, running, completed, failed, cancelled] = record::fixed(answer)?;
            counts.pending += record::number::<u64>(pending)?;
            counts.running += record::number::<u64>(running)?;
            counts.completed += record::number::<u64>(completed)?;
            counts.failed += record::number::<u64>(failed)?;
            counts.cancelled += record::number::<u64>(cancelled)?;
        }
        Ok(counts)
    }

    async fn running_on(&self, worker: &WorkerId) -> Result<Vec<Arc<Job>>, StoreError> {
        let mut running = Vec::new();
        for jobs in self.on_all(Script::Running, |call| call.arg(worker.as_str())).await? {
            for value in record::array(jobs)? {
                running.push(Arc::new(record::numbered(value)?.job));
            }
        }
        running.sort_unstable_by_key(|job| job.id.number);
        Ok(running)
    }

    async fn reopen(&self, container: JobId, attempt: Attempt) -> Result<Result<Change, AppendError>, StoreError> {
        self.resume(container, attempt, || Fate::Requeued(None)).await
    }

    async fn retire(&self, container: JobId, attempt: Attempt) -> Result<Result<Change, AppendError>, StoreError> {
        self.resume(container, attempt, || Fate::Over(transition::removed())).await
    }

    async fn retain(&self, retention: Retention) -> Result<Vec<JobId>, StoreError> {
        let kept = retention.jobs.div_ceil(u64::from(self.0.options.partitions));
        let now = self.now();
        let removed = self
            .on_all(Script::Retain, |call| call.arg(now.as_str()).arg(millis(retention.age)).arg(kept).arg(AT_ONCE));
        let mut ids = Vec::new();
        for jobs in removed.await? {
            for value in record::array(jobs)? {
                let [number, nonce] = record::fixed(value)?;
                ids.push(JobId { number: record::number(number)?, nonce: record::number(nonce)? });
            }
        }
        Ok(ids)
    }
}

/// The cursor of the newest entry.
pub(super) fn top(stored: &Stored) -> Cursor {
    Cursor::new(stored.job.attempt, stored.last_n)
}
