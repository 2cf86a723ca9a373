//! A store with something amiss: each call goes to the real one through a [`Fault`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gangline::model::{Account, AccountName, ApiToken, Job, ReadyClass, Worker};
use gangline::protocol::{Attempt, Cursor, JobId, JobRef, WorkerId};
use gangline::store::documents::{Collection, Document, DocumentWrite};
use gangline::store::error::{AppendError, StoreError, SubmitError};
use gangline::store::jobs::{
    Cancelled, Change, Claim, JobCounts, JobFilter, NewJob, QueueLimits, Retention, Submitted,
};
use gangline::store::log::{Appended, AttemptWrite, Gone, LogPage};
use gangline::store::{AccountStore, DocumentStore, HealthStore, JobStore, LogStore, Store, WorkerStore};
use tokio::sync::Semaphore;

/// The results of one append.
pub(crate) type AppendResults = Vec<Result<Appended, AppendError>>;

/// What is done differently; by default nothing is.
#[async_trait]
pub(crate) trait Fault: Send + Sync {
    async fn submit(&self, store: &dyn Store, job: NewJob, limits: QueueLimits) -> Result<Submitted, SubmitError> {
        store.submit(job, limits).await
    }

    async fn claim(&self, store: &dyn Store, claim: Claim) -> Result<Vec<Change>, StoreError> {
        store.claim(claim).await
    }

    async fn append(&self, store: &dyn Store, writes: Vec<AttemptWrite>) -> Result<AppendResults, StoreError> {
        store.append(writes).await
    }

    async fn read(
        &self,
        store: &dyn Store,
        job: JobId,
        after: Cursor,
        max_bytes: usize,
    ) -> Result<Option<LogPage>, StoreError> {
        store.read(job, after, max_bytes).await
    }

    async fn expire(&self, store: &dyn Store) -> Result<Vec<Change>, StoreError> {
        store.expire().await
    }

    async fn renew(
        &self,
        store: &dyn Store,
        worker: &WorkerId,
        held: &[(JobId, Attempt)],
        lease: Duration,
    ) -> Result<Vec<(JobId, Attempt)>, StoreError> {
        store.renew(worker, held, lease).await
    }

    async fn reopen(
        &self,
        store: &dyn Store,
        container: JobId,
        attempt: Attempt,
    ) -> Result<Result<Change, AppendError>, StoreError> {
        store.reopen(container, attempt).await
    }

    async fn start_anew(&self, store: &dyn Store, lease: Duration) -> Result<(), StoreError> {
        store.start_anew(lease).await
    }

    async fn token(&self, store: &dyn Store, id: &str) -> Result<Option<ApiToken>, StoreError> {
        store.token(id).await
    }

    async fn write_documents(&self, store: &dyn Store, writes: Vec<DocumentWrite>) -> Result<bool, StoreError> {
        store.write_documents(writes).await
    }
}

/// A store behind a fault.
struct Faulty<F> {
    store: Arc<dyn Store>,
    fault: F,
}

/// Puts `fault` in front of `store`.
pub(crate) fn faulty(store: Arc<dyn Store>, fault: impl Fault + 'static) -> Arc<dyn Store> {
    Arc::new(Faulty { store, fault })
}

#[async_trait]
impl<F: Fault> JobStore for Faulty<F> {
    async fn submit(&self, job: NewJob, limits: QueueLimits) -> Result<Submitted, SubmitError> {
        self.fault.submit(&*self.store, job, limits).await
    }
    async fn ready(&self) -> Result<Vec<ReadyClass>, StoreError> {
        self.store.ready().await
    }
    async fn claim(&self, claim: Claim) -> Result<Vec<Change>, StoreError> {
        self.fault.claim(&*self.store, claim).await
    }
    async fn reject(
        &self,
        job: JobId,
        attempt: Attempt,
        message: String,
    ) -> Result<Result<Change, AppendError>, StoreError> {
        self.store.reject(job, attempt, message).await
    }
    async fn renew(
        &self,
        worker: &WorkerId,
        held: &[(JobId, Attempt)],
        lease: Duration,
    ) -> Result<Vec<(JobId, Attempt)>, StoreError> {
        self.fault.renew(&*self.store, worker, held, lease).await
    }
    async fn lose(&self, job: JobId, attempt: Attempt) -> Result<Result<Change, AppendError>, StoreError> {
        self.store.lose(job, attempt).await
    }
    async fn expire(&self) -> Result<Vec<Change>, StoreError> {
        self.fault.expire(&*self.store).await
    }
    async fn start_anew(&self, lease: Duration) -> Result<(), StoreError> {
        self.fault.start_anew(&*self.store, lease).await
    }
    async fn cancel(&self, job: JobRef, grace_ms: Option<u64>) -> Result<Option<Cancelled>, StoreError> {
        self.store.cancel(job, grace_ms).await
    }
    async fn job(&self, job: JobRef) -> Result<Option<Arc<Job>>, StoreError> {
        self.store.job(job).await
    }
    async fn jobs(&self, filter: JobFilter) -> Result<Vec<Arc<Job>>, StoreError> {
        self.store.jobs(filter).await
    }
    async fn count_jobs(&self, account: Option<&AccountName>) -> Result<JobCounts, StoreError> {
        self.store.count_jobs(account).await
    }
    async fn running_on(&self, worker: &WorkerId) -> Result<Vec<Arc<Job>>, StoreError> {
        self.store.running_on(worker).await
    }
    async fn reopen(&self, container: JobId, attempt: Attempt) -> Result<Result<Change, AppendError>, StoreError> {
        self.fault.reopen(&*self.store, container, attempt).await
    }
    async fn retire(&self, container: JobId, attempt: Attempt) -> Result<Result<Change, AppendError>, StoreError> {
        self.store.retire(container, attempt).await
    }
    async fn retain(&self, retention: Retention) -> Result<Vec<JobId>, StoreError> {
        self.store.retain(retention).await
    }
}

#[async_trait]
impl<F: Fault> LogStore for Faulty<F> {
    async fn append(&self, writes: Vec<AttemptWrite>) -> Result<AppendResults, StoreError> {
        self.fault.append(&*self.store, writes).await
    }
    async fn read(&self, job: JobId, after: Cursor, max_bytes: usize) -> Result<Option<LogPage>, StoreError> {
        self.fault.read(&*self.store, job, after, max_bytes).await
    }
    async fn skip(&self, job: JobId, attempt: Attempt, gone: Gone) -> Result<Result<(), AppendError>, StoreError> {
        self.store.skip(job, attempt, gone).await
    }
    async fn last_n(&self, job: JobId, attempt: Attempt) -> Result<Result<u64, AppendError>, StoreError> {
        self.store.last_n(job, attempt).await
    }
}

#[async_trait]
impl<F: Fault> HealthStore for Faulty<F> {
    async fn check(&self) -> Result<(), StoreError> {
        self.store.check().await
    }
    fn unsettled(&self) -> Duration {
        self.store.unsettled()
    }
    fn lives(&self) -> u64 {
        self.store.lives()
    }
}

#[async_trait]
impl<F: Fault> WorkerStore for Faulty<F> {
    async fn register(&self, worker: Worker) -> Result<bool, StoreError> {
        self.store.register(worker).await
    }
    async fn seen(&self, workers: Vec<WorkerId>) -> Result<(), StoreError> {
        self.store.seen(workers).await
    }
    async fn set_draining(&self, worker: &WorkerId, draining: bool) -> Result<bool, StoreError> {
        self.store.set_draining(worker, draining).await
    }
    async fn worker(&self, worker: &WorkerId) -> Result<Option<Worker>, StoreError> {
        self.store.worker(worker).await
    }
    async fn workers(&self) -> Result<Vec<Worker>, StoreError> {
        self.store.workers().await
    }
}

#[async_trait]
impl<F: Fault> AccountStore for Faulty<F> {
    async fn add_account(&self, account: Account) -> Result<bool, StoreError> {
        self.store.add_account(account).await
    }
    async fn update_account(&self, account: Account) -> Result<bool, StoreError> {
        self.store.update_account(account).await
    }
    async fn remove_account(&self, name: &AccountName) -> Result<Option<Vec<ApiToken>>, StoreError> {
        self.store.remove_account(name).await
    }
    async fn account(&self, name_or_email: &str) -> Result<Option<Account>, StoreError> {
        self.store.account(name_or_email).await
    }
    async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        self.store.accounts().await
    }
    async fn add_token(&self, token: ApiToken) -> Result<(), StoreError> {
        self.store.add_token(token).await
    }
    async fn token(&self, id: &str) -> Result<Option<ApiToken>, StoreError> {
        self.fault.token(&*self.store, id).await
    }
    async fn tokens(&self) -> Result<Vec<ApiToken>, StoreError> {
        self.store.tokens().await
    }
    async fn tokens_of(&self, account: &AccountName) -> Result<Vec<ApiToken>, StoreError> {
        self.store.tokens_of(account).await
    }
    async fn remove_token(&self, id: &str) -> Result<bool, StoreError> {
        self.store.remove_token(id).await
    }
    async fn signing_key(&self, fresh: [u8; 32]) -> Result<[u8; 32], StoreError> {
        self.store.signing_key(fresh).await
    }
}

#[async_trait]
impl<F: Fault> DocumentStore for Faulty<F> {
    async fn document(&self, collection: Collection, key: &str) -> Result<Option<Document>, StoreError> {
        self.store.document(collection, key).await
    }
    async fn documents(&self, collection: Collection) -> Result<Vec<Document>, StoreError> {
        self.store.documents(collection).await
    }
    async fn documents_before(
        &self,
        collection: Collection,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.store.documents_before(collection, before, limit).await
    }

    async fn write_documents(&self, writes: Vec<DocumentWrite>) -> Result<bool, StoreError> {
        self.fault.write_documents(&*self.store, writes).await
    }
}

/// Holds what is asked of the store until it is let through.
pub(crate) struct Gate {
    reached: Semaphore,
    open: Semaphore,
}

impl Gate {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { reached: Semaphore::new(0), open: Semaphore::new(0) })
    }

    pub(crate) async fn pass(&self) {
        self.reached.add_permits(1);
        self.open.acquire().await.expect("it is never closed").forget();
    }

    pub(crate) async fn is_reached(&self) {
        self.reached.acquire().await.expect("it is never closed").forget();
    }

    pub(crate) fn open(&self) {
        self.open.add_permits(1);
    }
}
