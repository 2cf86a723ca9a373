//! The store's trait, each method a piece of work for the writer or a reader.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::engine::{Engine, Full};
use super::failure::Failure;
use super::{SqliteStore, documents, health, query, registry};
use crate::model::{Account, AccountName, ApiToken, Job, ReadyClass, Worker};
use crate::protocol::job::Status;
use crate::protocol::{Attempt, Cursor, JobId, JobRef, WorkerId};
use crate::store::documents::{Collection, Document, DocumentStore, DocumentWrite};
use crate::store::error::{AppendError, StoreError, SubmitError};
use crate::store::jobs::{Cancelled, Change, Claim, JobCounts, JobFilter, NewJob, QueueLimits, Retention, Submitted};
use crate::store::log::{Appended, AttemptWrite, Gone, LogPage};
use crate::store::transition::{self, Fate};
use crate::store::{AccountStore, HealthStore, JobStore, LogStore, WorkerStore};

#[async_trait]
impl JobStore for SqliteStore {
    async fn submit(&self, job: NewJob, limits: QueueLimits) -> Result<Submitted, SubmitError> {
        let spec = serde_json::to_string(&*job.spec).map_err(|error| StoreError::from(&Failure::unreadable(error)))?;
        let submitted = self.on_writer(0, move |engine| engine.submit(&job, &spec, limits)).await?;
        submitted.map_err(|full| match full {
            Full::Queue => SubmitError::QueueFull { limit: limits.total },
            Full::Account => SubmitError::AccountQueueFull { limit: limits.account },
        })
    }

    async fn ready(&self) -> Result<Vec<ReadyClass>, StoreError> {
        self.on_writer(0, |engine| Ok(engine.ready())).await
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<Change>, StoreError> {
        self.on_writer(0, move |engine| engine.claim(&claim)).await
    }

    async fn reject(
        &self,
        job: JobId,
        attempt: Attempt,
        message: String,
    ) -> Result<Result<Change, AppendError>, StoreError> {
        self.on_writer(0, move |engine| engine.reject(job, attempt, &message)).await
    }

    async fn renew(
        &self,
        worker: &WorkerId,
        held: &[(JobId, Attempt)],
        lease: Duration,
    ) -> Result<Vec<(JobId, Attempt)>, StoreError> {
        let (worker, held) = (worker.clone(), held.to_vec());
        self.on_writer(0, move |engine| Ok(engine.renew(&worker, &held, lease))).await
    }

    async fn lose(&self, job: JobId, attempt: Attempt) -> Result<Result<Change, AppendError>, StoreError> {
        self.on_writer(0, move |engine| engine.lose(job, attempt)).await
    }

    async fn expire(&self) -> Result<Vec<Change>, StoreError> {
        self.on_writer(0, Engine::expire).await
    }

    async fn start_anew(&self, lease: Duration) -> Result<(), StoreError> {
        self.on_writer(0, move |engine| {
            engine.start_anew(lease);
            Ok(())
        })
        .await
    }

    async fn cancel(&self, job: JobRef, grace_ms: Option<u64>) -> Result<Option<Cancelled>, StoreError> {
        self.on_writer(0, move |engine| engine.cancel(job, grace_ms)).await
    }

    async fn job(&self, job: JobRef) -> Result<Option<Arc<Job>>, StoreError> {
        self.on_reader(move |conn| query::job(conn, job)).await
    }

    async fn jobs(&self, filter: JobFilter) -> Result<Vec<Arc<Job>>, StoreError> {
        let JobFilter { account, status, before, limit } = filter;
        let mut before = before.unwrap_or(u64::MAX);
        let mut jobs: Vec<Arc<Job>> = Vec::new();
        loop {
            let left = limit - jobs.len();
            // Jobs that are over are found in the file, the others by the writer. Asked first, it cannot
            // miss one that ends meanwhile.
            let live = match (&account, status) {
                (None, None) | (_, Some(Status::Completed | Status::Failed | Status::Cancelled)) => Vec::new(),
                (_, Some(Status::Pending | Status::Running)) | (Some(_), None) => {
                    let account = account.clone();
                    self.on_writer(0, move |engine| Ok(engine.live.numbers(account.as_ref(), status, before, left)))
                        .await?
                }
            };
            let account = account.clone();
            let (numbers, found) =
                self.on_reader(move |conn| query::page(conn, account.as_ref(), status, before, left, live)).await?;
            jobs.extend(found);
            // One of them may have changed its status since the writer was asked: look further.
            match numbers.last() {
                Some(&last) if numbers.len() == left && jobs.len() < limit => before = last,
                Some(_) | None => return Ok(jobs),
            }
        }
    }

    async fn count_jobs(&self, account: Option<&AccountName>) -> Result<JobCounts, StoreError> {
        let owner = account.cloned();
        self.on_writer(0, move |engine| Ok(engine.count_jobs(owner.as_ref()))).await
    }

    async fn running_on(&self, worker: &WorkerId) -> Result<Vec<Arc<Job>>, StoreError> {
        let worker = worker.clone();
        self.on_writer(0, move |engine| Ok(engine.running_on(&worker))).await
    }

    async fn reopen(&self, container: JobId, attempt: Attempt) -> Result<Result<Change, AppendError>, StoreError> {
        self.on_writer(0, move |engine| engine.go_on(container, attempt, Fate::Requeued(None))).await
    }

    async fn retire(&self, container: JobId, attempt: Attempt) -> Result<Result<Change, AppendError>, StoreError> {
        let removed = || Fate::Over(transition::removed());
        self.on_writer(0, move |engine| engine.go_on(container, attempt, removed())).await
    }

    async fn retain(&self, retention: Retention) -> Result<Vec<JobId>, StoreError> {
        self.on_writer(0, move |engine| engine.retain(retention)).await
    }
}

#[async_trait]
impl LogStore for SqliteStore {
    async fn append(&self, writes: Vec<AttemptWrite>) -> Result<Vec<Result<Appended, AppendError>>, StoreError> {
        let bytes = writes.iter().flat_map(|write| &write.output).map(|chunk| chunk.bytes.len()).sum();
        self.on_writer(bytes, move |engine| writes.iter().map(|write| engine.append(write)).collect()).await
    }

    async fn read(&self, job: JobId, after: Cursor, max_bytes: usize) -> Result<Option<LogPage>, StoreError> {
        self.on_reader(move |conn| query::log(conn, job, after, max_bytes)).await
    }

    async fn skip(&self, job: JobId, attempt: Attempt, gone: Gone) -> Result<Result<(), AppendError>, StoreError> {
        self.on_writer(0, move |engine| engine.skip(job, attempt, gone)).await
    }

    async fn last_n(&self, job: JobId, attempt: Attempt) -> Result<Result<u64, AppendError>, StoreError> {
        self.on_writer(0, move |engine| engine.last_n(job, attempt)).await
    }
}

#[async_trait]
impl HealthStore for SqliteStore {
    async fn check(&self) -> Result<(), StoreError> {
        self.on_reader(|conn| Ok(conn.query_row("SELECT count(*) FROM meta", [], |_| Ok(()))?)).await?;
        if self.health.in_doubt()? {
            self.on_writer(0, |engine| health::touch(engine.connection())).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl WorkerStore for SqliteStore {
    async fn register(&self, worker: Worker) -> Result<bool, StoreError> {
        self.on_writer(0, move |engine| registry::register(engine.connection(), &worker)).await
    }

    async fn seen(&self, workers: Vec<WorkerId>) -> Result<(), StoreError> {
        self.on_writer(0, move |engine| registry::seen(engine.connection(), &workers, engine.clock.now())).await
    }

    async fn set_draining(&self, worker: &WorkerId, draining: bool) -> Result<bool, StoreError> {
        let worker = worker.clone();
        self.on_writer(0, move |engine| registry::set_draining(engine.connection(), &worker, draining)).await
    }

    async fn worker(&self, worker: &WorkerId) -> Result<Option<Worker>, StoreError> {
        let worker = worker.clone();
        self.on_reader(move |conn| registry::worker(conn, &worker)).await
    }

    async fn workers(&self) -> Result<Vec<Worker>, StoreError> {
        self.on_reader(registry::workers).await
    }
}

#[async_trait]
impl AccountStore for SqliteStore {
    async fn add_account(&self, account: Account) -> Result<bool, StoreError> {
        self.on_writer(0, move |engine| registry::add_account(engine.connection(), &account)).await
    }

    async fn update_account(&self, account: Account) -> Result<bool, StoreError> {
        self.on_writer(0, move |engine| registry::update_account(engine.connection(), &account)).await
    }

    async fn remove_account(&self, name: &AccountName) -> Result<Option<Vec<ApiToken>>, StoreError> {
        let name = name.clone();
        self.on_writer(0, move |engine| registry::remove_account(engine.connection(), &name)).await
    }

    async fn account(&self, name_or_email: &str) -> Result<Option<Account>, StoreError> {
        let name = name_or_email.to_owned();
        self.on_reader(move |conn| registry::account(conn, &name)).await
    }

    async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        self.on_reader(registry::accounts).await
    }

    async fn add_token(&self, token: ApiToken) -> Result<(), StoreError> {
        self.on_writer(0, move |engine| registry::add_token(engine.connection(), &token)).await
    }

    async fn token(&self, id: &str) -> Result<Option<ApiToken>, StoreError> {
        let id = id.to_owned();
        self.on_reader(move |conn| registry::token(conn, &id)).await
    }

    async fn tokens(&self) -> Result<Vec<ApiToken>, StoreError> {
        self.on_reader(registry::tokens).await
    }

    async fn tokens_of(&self, account: &AccountName) -> Result<Vec<ApiToken>, StoreError> {
        let account = account.clone();
        self.on_reader(move |conn| registry::tokens_of(conn, &account)).await
    }

    async fn remove_token(&self, id: &str) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.on_writer(0, move |engine| registry::remove_token(engine.connection(), &id)).await
    }

    async fn signing_key(&self, fresh: [u8; 32]) -> Result<[u8; 32], StoreError> {
        self.on_writer(0, move |engine| registry::signing_key(engine.connection(), fresh)).await
    }
}

#[async_trait]
impl DocumentStore for SqliteStore {
    async fn document(&self, collection: Collection, key: &str) -> Result<Option<Document>, StoreError> {
        let (key, now) = (key.to_owned(), self.clock.now());
        self.on_reader(move |conn| documents::document(conn, collection, &key, now)).await
    }

    async fn documents(&self, collection: Collection) -> Result<Vec<Document>, StoreError> {
        let now = self.clock.now();
        self.on_reader(move |conn| documents::documents(conn, collection, now)).await
    }

    async fn documents_before(
        &self,
        collection: Collection,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        let (before, now) = (before.map(str::to_owned), self.clock.now());
        self.on_reader(move |conn| documents::documents_before(conn, collection, before.as_deref(), limit, now)).await
    }

    async fn write_documents(&self, writes: Vec<DocumentWrite>) -> Result<bool, StoreError> {
        let bytes = writes.iter().filter_map(|write| write.value.as_ref()).map(String::len).sum();
        self.on_writer(bytes, move |engine| documents::write(engine.connection(), &writes, engine.clock.now())).await
    }
}
