//! An account's own jobs, as systems have them that let their users take a job off their list.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{DispatchError, Dispatcher};
use crate::auth::Identity;
use crate::base::clock::millis;
use crate::model::job::is_over;
use crate::model::{AccountName, Job, Role};
use crate::protocol::JobRef;
use crate::protocol::job::Cancel;
use crate::protocol::limits::PAGE_MOST;
use crate::store::StoreError;
use crate::store::documents::{Collection, Document, DocumentWrite};
use crate::store::jobs::JobFilter;

/// Jobs of an account that are kept as taken off its list; beyond that the oldest are on it again, far down.
const REMOVED_MOST: usize = 5_000;

/// Tries to write the list. Who loses one was beaten by another removal of the same account.
const TRIES: usize = 50;

/// A job is gone by itself at the latest this much after retention would remove it.
const SPARE: Duration = Duration::from_secs(24 * 3600);

impl Dispatcher {
    /// Jobs of one account, newest first, at most 1,000, older than the job of number `before`.
    ///
    /// # Errors
    /// `forbidden` where the account is another's and the asker no administrator, or the store.
    pub async fn jobs_of(
        &self,
        who: &Identity,
        account: &AccountName,
        before: Option<u64>,
    ) -> Result<Vec<Arc<Job>>, DispatchError> {
        match who.role {
            Role::Admin => (),
            Role::User if who.account == *account => (),
            Role::User => return Err(DispatchError::Forbidden("only administrators see the tasks of others")),
            Role::Worker | Role::Plugin => return Err(DispatchError::Forbidden("this role has no tasks")),
        }
        let filter = JobFilter { account: Some(account.clone()), status: None, before, limit: PAGE_MOST as usize };
        Ok(self.0.store.jobs(filter).await?)
    }

    /// The same of the asker itself, without those that it has removed.
    ///
    /// # Errors
    /// The role may not, or the store.
    pub async fn own_jobs(&self, who: &Identity, before: Option<u64>) -> Result<Vec<Arc<Job>>, DispatchError> {
        let (removed, _) = self.removed(&who.account).await?;
        let mut before = before;
        loop {
            let mut jobs = self.jobs_of(who, &who.account, before).await?;
            let (full, last) = (jobs.len() == PAGE_MOST as usize, jobs.last().map(|job| job.id.number));
            jobs.retain(|job| !removed.contains(&job.id.number));
            // The removed are few, so a page of nothing else is rare and does not come often.
            if !jobs.is_empty() || !full {
                return Ok(jobs);
            }
            before = last;
        }
    }

    /// Whether a job was taken off its account's list.
    ///
    /// # Errors
    /// The store.
    pub async fn is_removed(&self, account: &AccountName, job: JobRef) -> Result<bool, DispatchError> {
        Ok(self.removed(account).await?.0.contains(&job.number()))
    }

    /// Takes a job off its account's list, and cancels it unless it is over. Everywhere else it stays what it is.
    ///
    /// # Errors
    /// `not_found`, also where it was removed before, or the store: part of it may have been done, and a repeat does the rest.
    pub async fn remove_job(&self, who: &Identity, job: JobRef) -> Result<Arc<Job>, DispatchError> {
        let job = self.job(who, job).await?;
        if self.is_removed(&job.account, job.id.into()).await? {
            return Err(DispatchError::NotFound("job"));
        }
        if !is_over(job.status) {
            match self.cancel(who, &Cancel { job_id: job.id.into(), grace_secs: None }).await {
                // It ended just now.
                Ok(_) | Err(DispatchError::Conflict(_)) => (),
                Err(error) => return Err(error),
            }
        }
        for _ in 0..TRIES {
            let (mut removed, before) = self.removed(&job.account).await?;
            removed.insert(job.id.number);
            while removed.len() > REMOVED_MOST {
                removed.pop_first();
            }
            let value = serde_json::to_string(&removed).map_err(|error| StoreError::Corrupt(error.to_string()))?;
            let kept_for = millis(self.0.settings.limits.retention_age.saturating_add(SPARE));
            let write = DocumentWrite {
                collection: Collection::RemovedJobs,
                key: job.account.to_string(),
                expected: before.map(|document| document.version),
                value: Some(value),
                expires_at: Some(self.0.clock.now().saturating_add(kept_for)),
            };
            if self.0.store.write_documents(vec![write]).await? {
                return self.job(who, job.id.into()).await;
            }
        }
        Err(DispatchError::NotYet("too many removals at once; try again".to_owned()))
    }

    /// Numbers of the jobs that were taken off an account's list, and where they are kept.
    async fn removed(&self, account: &AccountName) -> Result<(BTreeSet<u64>, Option<Document>), DispatchError> {
        let Some(document) = self.0.store.document(Collection::RemovedJobs, account.as_str()).await? else {
            return Ok((BTreeSet::new(), None));
        };
        let removed = serde_json::from_str(&document.value).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        Ok((removed, Some(document)))
    }
}
