//! The reference: a store in memory, as plain as can be.
//!
//! Nothing is indexed and nothing is fast; every engine must answer as this one does. It keeps
//! nothing, so it is for tests only.

mod documents;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::documents::{Collection, Document};
use super::error::{AppendError, StoreError, SubmitError};
use super::jobs::{
    AT_ONCE, Cancelled, Change, Claim, JobCounts, JobFilter, JobStore, NewJob, QueueLimits, Retention, Submitted,
};
use super::log::{Appended, AttemptWrite, Gone, LogPage, LogStore};
use super::transition::{self, Fate};
use super::{AccountStore, HealthStore, WorkerStore};
use crate::base::clock::{Clock, Millis, millis};
use crate::model::{Account, AccountName, ApiToken, Entry, EntryKind, Job, ReadyClass, Worker};
use crate::protocol::job::{Reason, Status};
use crate::protocol::{Attempt, Cursor, JobId, JobRef, StreamName, WorkerId};

/// See the module.
#[derive(Debug)]
pub struct ModelStore {
    clock: Clock,
    output_bytes: u64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    submitted: u64,
    jobs: BTreeMap<u64, Kin>,
    workers: BTreeMap<WorkerId, Worker>,
    accounts: BTreeMap<AccountName, Account>,
    tokens: BTreeMap<String, ApiToken>,
    signing_key: Option<[u8; 32]>,
    documents: BTreeMap<(Collection, String), (Document, Option<Millis>)>,
    document_versions: u64,
}

/// A job with what belongs to it.
#[derive(Debug)]
struct Kin {
    job: Job,
    key: Option<String>,
    /// Each write is a list of its own, because the output cap removes whole ones.
    log: Vec<Vec<Entry>>,
    /// Of the latest attempt.
    last_n: u64,
    /// When the lease runs out, or the wait.
    deadline: Option<Millis>,
}

impl Kin {
    /// Adds the log's next entry.
    fn push(&mut self, entry: Entry) -> Change {
        self.last_n = entry.at.n;
        self.log.push(vec![entry.clone()]);
        Change { job: Arc::new(self.job.clone()), entry }
    }

    fn wait(&mut self, now: Millis) {
        self.deadline = self.job.spec.queue_timeout_ms.map(|limit| now.saturating_add(limit));
    }

    fn decide(&mut self, fate: Fate, now: Millis) -> Change {
        let n = self.last_n + 1;
        match fate {
            Fate::Requeued(reason) => {
                transition::requeue(&mut self.job, reason);
                self.wait(now);
                self.push(transition::requeue_entry(&self.job, n, now))
            }
            Fate::Over(outcome) => {
                transition::end(&mut self.job, outcome, now);
                self.deadline = None;
                self.push(transition::end_entry(&self.job, n).expect("the job was just ended"))
            }
        }
    }

    fn runs(&self, attempt: Attempt) -> bool {
        self.job.status == Status::Running && self.job.attempt == attempt
    }

    fn top(&self) -> Cursor {
        Cursor::new(self.job.attempt, self.last_n)
    }

    fn trim(&mut self, cap: u64) {
        let kept = |log: &[Vec<Entry>]| log.iter().flatten().map(|entry| entry.output_len() as u64).sum::<u64>();
        while kept(&self.log) > cap {
            let Some(oldest) = self.log.iter().position(|write| is_output(write)) else { return };
            if self.log[oldest + 1..].iter().any(|write| is_output(write)) {
                self.log.remove(oldest);
            } else {
                return;
            }
        }
    }
}

fn is_output(write: &[Entry]) -> bool {
    write.iter().any(|entry| entry.output_len() > 0)
}

impl Kept {
    fn named(&mut self, named: JobRef) -> Option<&mut Kin> {
        self.jobs.get_mut(&named.number()).filter(|kin| named.names(kin.job.id))
    }

    /// The job, if it runs in this attempt.
    fn running(&mut self, id: JobId, attempt: Attempt) -> Result<&mut Kin, AppendError> {
        let kin = self.named(id.into()).ok_or(AppendError::NotFound(id.into()))?;
        if kin.runs(attempt) {
            return Ok(kin);
        }
        Err(AppendError::Stale { job: id, stale: attempt, current: kin.job.attempt })
    }

    fn pending(&self) -> impl Iterator<Item = &Kin> {
        self.jobs.values().filter(|kin| kin.job.status == Status::Pending)
    }

    /// Numbers of jobs of this status that should not be any more, in the order of their deadlines.
    fn due(&self, status: Status, now: Millis) -> Vec<u64> {
        let due = |kin: &&Kin| kin.job.status == status && kin.deadline.is_some_and(|deadline| deadline <= now);
        let mut due: Vec<_> = self.jobs.values().filter(due).map(|kin| (kin.deadline, kin.job.id.number)).collect();
        due.sort_unstable();
        due.into_iter().map(|(_, number)| number).collect()
    }

    /// Whether an account other than `but` goes by `name`.
    fn is_taken(&self, name: &str, but: &str) -> bool {
        let same = |other: &str| other.to_lowercase() == name.to_lowercase();
        self.accounts.values().any(|account| {
            account.name.as_str() != but && (same(account.name.as_str()) || account.email.as_deref().is_some_and(same))
        })
    }
}

impl ModelStore {
    /// An empty store. `output_bytes`: output kept per job.
    pub fn new(clock: Clock, output_bytes: u64) -> Self {
        Self { clock, output_bytes, kept: Mutex::default() }
    }

    fn go_on(&self, id: JobId, attempt: Attempt, fate: Fate) -> Result<Change, AppendError> {
        let now = self.clock.now();
        let mut kept = self.kept.lock();
        let kin = kept.named(id.into()).ok_or(AppendError::NotFound(id.into()))?;
        let stale = AppendError::Stale { job: id, stale: attempt, current: kin.job.attempt };
        // The log here holds every entry anyway.
        transition::go_on(&mut kin.job, attempt, kin.last_n).ok_or(stale)?;
        Ok(kin.decide(fate, now))
    }

    fn append_one(&self, write: AttemptWrite) -> Result<Appended, AppendError> {
        let AttemptWrite { job, attempt, output, end } = write;
        let mut kept = self.kept.lock();
        if let Some(kin) = kept.named(job.into())
            && let Some((n, _, outcome)) = &end
            && kin.top() == Cursor::new(attempt, *n)
            && transition::ended_by(&kin.job, outcome)
        {
            return Ok(Appended { entries: Vec::new(), last_n: *n, ended: None });
        }
        let kin = kept.running(job, attempt)?;
        let fresh: Vec<_> = output.into_iter().skip_while(|chunk| chunk.n <= kin.last_n).collect();
        let mut expect = kin.last_n;
        for got in fresh.iter().map(|chunk| chunk.n).chain(end.as_ref().map(|(n, ..)| *n)) {
            expect += 1;
            if got != expect {
                return Err(AppendError::Gap { expect, got });
            }
        }
        let mut entries = Vec::new();
        for chunk in fresh {
            let total = match chunk.stream {
                StreamName::Stdout => &mut kin.job.stdout_bytes,
                StreamName::Stderr => &mut kin.job.stderr_bytes,
            };
            let offset = *total;
            *total += chunk.bytes.len() as u64;
            kin.last_n = chunk.n;
            let kind = EntryKind::Output { stream: chunk.stream, offset, bytes: chunk.bytes };
            entries.push(Entry { at: Cursor::new(attempt, chunk.n), time: chunk.time, kind });
        }
        if !entries.is_empty() {
            kin.log.push(entries.clone());
            kin.trim(self.output_bytes);
        }
        let mut ended = None;
        if let Some((n, time, outcome)) = end {
            transition::end(&mut kin.job, outcome, time);
            kin.deadline = None;
            let change = kin.push(transition::end_entry(&kin.job, n).expect("the job was just ended"));
            entries.push(change.entry);
            ended = Some(change.job);
        }
        Ok(Appended { entries, last_n: kin.last_n, ended })
    }
}

#[async_trait]
impl JobStore for ModelStore {
    async fn submit(&self, new: NewJob, limits: QueueLimits) -> Result<Submitted, SubmitError> {
        let now = self.clock.now();
        let mut kept = self.kept.lock();
        let known =
            kept.jobs.values().find(|kin| new.key.is_some() && kin.key == new.key && kin.job.account == new.account);
        if let Some(kin) = known {
            return Ok(Submitted { job: Arc::new(kin.job.clone()), duplicate: true });
        }
        if kept.pending().count() as u64 >= limits.total {
            return Err(SubmitError::QueueFull { limit: limits.total });
        }
        if kept.pending().filter(|kin| kin.job.account == new.account).count() as u64 >= limits.account {
            return Err(SubmitError::AccountQueueFull { limit: limits.account });
        }
        kept.submitted += 1;
        let job = transition::submitted(&new, kept.submitted, now);
        let mut kin = Kin { job: job.clone(), key: new.key, log: Vec::new(), last_n: 0, deadline: None };
        kin.wait(now);
        kept.jobs.insert(job.id.number, kin);
        Ok(Submitted { job: Arc::new(job), duplicate: false })
    }

    async fn ready(&self) -> Result<Vec<ReadyClass>, StoreError> {
        let kept = self.kept.lock();
        let mut classes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for kin in kept.pending() {
            let place = (Reverse(kin.job.spec.priority), kin.job.id.number);
            classes.entry(kin.job.spec.requires.clone()).or_default().push(place);
        }
        let class = |(requires, mut places): (_, Vec<_>)| {
            places.sort_unstable();
            let (Reverse(priority), head) = places[0];
            ReadyClass { requires, priority, head, len: places.len() }
        };
        Ok(classes.into_iter().map(class).collect())
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<Change>, StoreError> {
        let Claim { worker, classes, limit, lease } = claim;
        let now = self.clock.now();
        let mut kept = self.kept.lock();
        let class_of = |kin: &Kin| classes.iter().find(|(requires, _)| *requires == kin.job.spec.requires);
        let mut best: Vec<_> = kept.pending().filter(|kin| class_of(kin).is_some()).collect();
        best.sort_unstable_by_key(|kin| (Reverse(kin.job.spec.priority), kin.job.id.number));
        let best: Vec<_> = best.into_iter().take(limit).map(|kin| kin.job.id.number).collect();
        let mut changes = Vec::new();
        for number in best {
            let Some(kin) = kept.jobs.get_mut(&number) else { continue };
            let gpus = class_of(kin).map(|(_, gpus)| gpus.clone()).unwrap_or_default();
            transition::begin(&mut kin.job, worker.clone(), gpus, now);
            kin.deadline = Some(now.saturating_add(millis(lease)));
            changes.push(kin.push(transition::head_entry(&kin.job).expect("the attempt has just begun")));
        }
        Ok(changes)
    }

    async fn reject(
        &self,
        job: JobId,
        attempt: Attempt,
        message: String,
    ) -> Result<Result<Change, AppendError>, StoreError> {
        let now = self.clock.now();
        Ok(self.kept.lock().running(job, attempt).map(|kin| {
            let fate = transition::rejected(&mut kin.job, &message);
            kin.decide(fate, now)
        }))
    }

    async fn renew(
        &self,
        worker: &WorkerId,
        held: &[(JobId, Attempt)],
        lease: Duration,
    ) -> Result<Vec<(JobId, Attempt)>, StoreError> {
        let deadline = self.clock.now().saturating_add(millis(lease));
        let mut kept = self.kept.lock();
        let own = |kin: &Kin| kin.job.status == Status::Running && kin.job.worker.as_ref() == Some(worker);
        let named = |kin: &Kin| held.contains(&(kin.job.id, kin.job.attempt));
        for kin in kept.jobs.values_mut().filter(|kin| own(kin) && named(kin)) {
            kin.deadline = Some(deadline);
        }
        let lost = |&&(id, attempt): &&(JobId, Attempt)| !kept.running(id, attempt).is_ok_and(|kin| own(kin));
        Ok(held.iter().filter(lost).copied().collect())
    }

    async fn lose(&self, job: JobId, attempt: Attempt) -> Result<Result<Change, AppendError>, StoreError> {
        let now = self.clock.now();
        Ok(self.kept.lock().running(job, attempt).map(|kin| kin.decide(transition::lost(&kin.job), now)))
    }

    async fn expire(&self) -> Result<Vec<Change>, StoreError> {
        let now = self.clock.now();
        let mut kept = self.kept.lock();
        let (lapsed, overdue) = (kept.due(Status::Running, now), kept.due(Status::Pending, now));
        let mut changes = Vec::new();
        for number in lapsed.into_iter().chain(overdue).take(AT_ONCE) {
            let Some(kin) = kept.jobs.get_mut(&number) else { continue };
            let fate = match kin.job.status {
                Status::Running => transition::lost(&kin.job),
                Status::Pending | Status::Completed | Status::Failed | Status::Cancelled => {
                    Fate::Over(transition::waited_too_long())
                }
            };
            changes.push(kin.decide(fate, now));
        }
        Ok(changes)
    }

    async fn start_anew(&self, lease: Duration) -> Result<(), StoreError> {
        let now = self.clock.now();
        for kin in self.kept.lock().jobs.values_mut() {
            match kin.job.status {
                Status::Pending => kin.wait(now),
                Status::Running => kin.deadline = Some(now.saturating_add(millis(lease))),
                Status::Completed | Status::Failed | Status::Cancelled => {}
            }
        }
        Ok(())
    }

    async fn cancel(&self, job: JobRef, grace_ms: Option<u64>) -> Result<Option<Cancelled>, StoreError> {
        let now = self.clock.now();
        let mut kept = self.kept.lock();
        Ok(kept.named(job).map(|kin| match kin.job.status {
            Status::Pending => Cancelled::Ended(kin.decide(Fate::Over(transition::cancelled()), now)),
            Status::Running => {
                kin.job.cancel_grace_ms = Some(grace_ms.unwrap_or_else(|| millis(kin.job.spec.grace())));
                Cancelled::Running(Arc::new(kin.job.clone()))
            }
            Status::Completed | Status::Failed | Status::Cancelled => Cancelled::AlreadyOver(Arc::new(kin.job.clone())),
        }))
    }

    async fn job(&self, job: JobRef) -> Result<Option<Arc<Job>>, StoreError> {
        Ok(self.kept.lock().named(job).map(|kin| Arc::new(kin.job.clone())))
    }

    async fn jobs(&self, filter: JobFilter) -> Result<Vec<Arc<Job>>, StoreError> {
        let JobFilter { account, status, before, limit } = filter;
        let shown = |job: &&Job| {
            account.as_ref().is_none_or(|account| *account == job.account)
                && status.is_none_or(|status| status == job.status)
                && before.is_none_or(|before| job.id.number < before)
                && !job.id.is_container()
        };
        let kept = self.kept.lock();
        Ok(kept.jobs.values().rev().map(|kin| &kin.job).filter(shown).take(limit).cloned().map(Arc::new).collect())
    }

    async fn count_jobs(&self, account: Option<&AccountName>) -> Result<JobCounts, StoreError> {
        let shown = |job: &&Job| !job.id.is_container() && account.is_none_or(|account| *account == job.account);
        let mut counts = JobCounts::default();
        let kept = self.kept.lock();
        kept.jobs.values().map(|kin| &kin.job).filter(shown).for_each(|job| *counts.of_mut(job.status) += 1);
        Ok(counts)
    }

    async fn running_on(&self, worker: &WorkerId) -> Result<Vec<Arc<Job>>, StoreError> {
        let here = |kin: &&Kin| kin.job.status == Status::Running && kin.job.worker.as_ref() == Some(worker);
        Ok(self.kept.lock().jobs.values().filter(here).map(|kin| Arc::new(kin.job.clone())).collect())
    }

    async fn reopen(&self, container: JobId, attempt: Attempt) -> Result<Result<Change, AppendError>, StoreError> {
        Ok(self.go_on(container, attempt, Fate::Requeued(None)))
    }

    async fn retire(&self, container: JobId, attempt: Attempt) -> Result<Result<Change, AppendError>, StoreError> {
        Ok(self.go_on(container, attempt, Fate::Over(transition::removed())))
    }

    async fn retain(&self, retention: Retention) -> Result<Vec<JobId>, StoreError> {
        let horizon = self.clock.now().saturating_sub(millis(retention.age));
        let mut kept = self.kept.lock();
        let may_go = |job: &Job| !job.id.is_container() || job.reason == Some(Reason::Removed);
        let over = kept.jobs.values().map(|kin| &kin.job).filter(|job| may_go(job));
        let ended = over.filter_map(|job| Some((job.completed_at?, job.id)));
        let mut ended: Vec<_> = ended.collect();
        ended.sort_unstable_by_key(|&(at, id)| (at, id.number));
        let excess = ended.len().saturating_sub(usize::try_from(retention.jobs).unwrap_or(usize::MAX));
        let gone = ended.into_iter().enumerate().filter(|&(index, (at, _))| index < excess || at < horizon);
        let gone: Vec<JobId> = gone.map(|(_, (_, id))| id).take(AT_ONCE).collect();
        for id in &gone {
            kept.jobs.remove(&id.number);
        }
        Ok(gone)
    }
}

#[async_trait]
impl LogStore for ModelStore {
    async fn append(&self, writes: Vec<AttemptWrite>) -> Result<Vec<Result<Appended, AppendError>>, StoreError> {
        Ok(writes.into_iter().map(|write| self.append_one(write)).collect())
    }

    async fn read(&self, job: JobId, after: Cursor, max_bytes: usize) -> Result<Option<LogPage>, StoreError> {
        let mut kept = self.kept.lock();
        let Some(kin) = kept.named(job.into()) else { return Ok(None) };
        let mut page =
            LogPage { entries: Vec::new(), removed: None, top: kin.top(), status: kin.job.status, archived: None };
        let mut bytes = 0;
        for entry in kin.log.iter().flatten().filter(|entry| entry.at > after) {
            let last = page.entries.last().map_or(after, |last: &Entry| last.at);
            // Anything else than the next entry of the attempt, or the first of a later one, shows a hole.
            let hole = entry.at.attempt == last.attempt && entry.at.n != last.n + 1;
            bytes += entry.output_len();
            if !page.entries.is_empty() && (hole || bytes > max_bytes) {
                break;
            }
            if hole {
                let attempt = last.attempt;
                page.removed = Some((Cursor::new(attempt, last.n + 1), Cursor::new(attempt, entry.at.n - 1)));
            }
            page.entries.push(entry.clone());
        }
        Ok(Some(page))
    }

    async fn skip(&self, job: JobId, attempt: Attempt, gone: Gone) -> Result<Result<(), AppendError>, StoreError> {
        Ok(self.kept.lock().running(job, attempt).map(|kin| {
            if kin.last_n < gone.n {
                kin.last_n = gone.n;
                (kin.job.stdout_bytes, kin.job.stderr_bytes) = (gone.stdout, gone.stderr);
            }
        }))
    }

    async fn last_n(&self, job: JobId, attempt: Attempt) -> Result<Result<u64, AppendError>, StoreError> {
        Ok(self.kept.lock().running(job, attempt).map(|kin| kin.last_n))
    }
}

#[async_trait]
impl HealthStore for ModelStore {
    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl WorkerStore for ModelStore {
    async fn register(&self, mut worker: Worker) -> Result<bool, StoreError> {
        let mut kept = self.kept.lock();
        if let Some(known) = kept.workers.get(&worker.id) {
            if worker.boot < known.boot {
                return Ok(false);
            }
            worker.draining = known.draining;
        }
        kept.workers.insert(worker.id.clone(), worker);
        Ok(true)
    }

    async fn seen(&self, workers: Vec<WorkerId>) -> Result<(), StoreError> {
        let mut kept = self.kept.lock();
        for id in workers {
            if let Some(worker) = kept.workers.get_mut(&id) {
                worker.last_seen = self.clock.now();
            }
        }
        Ok(())
    }

    async fn set_draining(&self, worker: &WorkerId, draining: bool) -> Result<bool, StoreError> {
        let mut kept = self.kept.lock();
        Ok(kept.workers.get_mut(worker).map(|worker| worker.draining = draining).is_some())
    }

    async fn worker(&self, worker: &WorkerId) -> Result<Option<Worker>, StoreError> {
        Ok(self.kept.lock().workers.get(worker).cloned())
    }

    async fn workers(&self) -> Result<Vec<Worker>, StoreError> {
        Ok(self.kept.lock().workers.values().cloned().collect())
    }
}

#[async_trait]
impl AccountStore for ModelStore {
    async fn add_account(&self, account: Account) -> Result<bool, StoreError> {
        let mut kept = self.kept.lock();
        let names = [Some(account.name.as_str()), account.email.as_deref()];
        let taken = names.into_iter().flatten().any(|name| kept.is_taken(name, ""));
        if !taken {
            kept.accounts.insert(account.name.clone(), account);
        }
        Ok(!taken)
    }

    async fn update_account(&self, account: Account) -> Result<bool, StoreError> {
        let mut kept = self.kept.lock();
        let known = kept
            .accounts
            .get(&account.name)
            .is_some_and(|before| before.revision.checked_add(1) == Some(account.revision));
        let taken = account.email.as_deref().is_some_and(|email| kept.is_taken(email, account.name.as_str()));
        if known && !taken {
            kept.accounts.insert(account.name.clone(), account);
        }
        Ok(known && !taken)
    }

    async fn remove_account(&self, name: &AccountName) -> Result<Option<Vec<ApiToken>>, StoreError> {
        let ended = self.tokens_of(name).await?;
        let mut kept = self.kept.lock();
        if kept.accounts.remove(name).is_none() {
            return Ok(None);
        }
        kept.tokens.retain(|_, token| token.account != *name);
        Ok(Some(ended))
    }

    async fn account(&self, name_or_email: &str) -> Result<Option<Account>, StoreError> {
        let folded = name_or_email.to_lowercase();
        let kept = self.kept.lock();
        let by_name = kept.accounts.values().find(|account| account.name.as_str() == name_or_email);
        let by_email = || {
            let same = |account: &&Account| account.email.as_ref().is_some_and(|email| email.to_lowercase() == folded);
            kept.accounts.values().find(same)
        };
        Ok(by_name.or_else(by_email).cloned())
    }

    async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        Ok(self.kept.lock().accounts.values().cloned().collect())
    }

    async fn add_token(&self, token: ApiToken) -> Result<(), StoreError> {
        self.kept.lock().tokens.insert(token.id.clone(), token);
        Ok(())
    }

    async fn token(&self, id: &str) -> Result<Option<ApiToken>, StoreError> {
        Ok(self.kept.lock().tokens.get(id).cloned())
    }

    async fn tokens(&self) -> Result<Vec<ApiToken>, StoreError> {
        let mut tokens: Vec<_> = self.kept.lock().tokens.values().cloned().collect();
        tokens.sort_by_key(|token| Reverse(token.created_at));
        Ok(tokens)
    }

    async fn tokens_of(&self, account: &AccountName) -> Result<Vec<ApiToken>, StoreError> {
        Ok(self.tokens().await?.into_iter().filter(|token| token.account == *account).collect())
    }

    async fn remove_token(&self, id: &str) -> Result<bool, StoreError> {
        Ok(self.kept.lock().tokens.remove(id).is_some())
    }

    async fn signing_key(&self, fresh: [u8; 32]) -> Result<[u8; 32], StoreError> {
        Ok(*self.kept.lock().signing_key.get_or_insert(fresh))
    }
}
