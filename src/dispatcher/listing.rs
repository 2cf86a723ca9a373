//! Lists of jobs, and how many there are.
//!
//! The store knows jobs by account and status. What else is asked for is looked for here, in the records: a bounded number
//! of them at a time, so that a list of little among much comes in short pages and holds nobody up.

use std::sync::Arc;

use super::jobs::page_limit;
use super::{DispatchError, Dispatcher, audience, records};
use crate::auth::Identity;
use crate::model::{AccountName, Job, Program};
use crate::protocol::job::{CountsReply, JobRecord, List};
use crate::protocol::{JobId, JobRef, WireError, WorkerId};
use crate::store::StoreError;
use crate::store::jobs::{JobCounts, JobFilter};

/// Records that one request looks at for what the store does not know jobs by.
const LOOK_AT_MOST: usize = 5_000;

/// Records that are read at a time.
const LOOK_AT_ONCE: usize = 500;

/// Text that is searched between two awaits, in bytes: some milliseconds where it is not ASCII, else less than one.
const SEARCH_AT_ONCE: usize = 256 * 1024;

/// A page of jobs.
#[derive(Debug)]
pub struct Page {
    /// Newest first.
    pub jobs: Vec<JobRecord>,
    /// Where the next page begins: the last of `jobs`, or the last that was looked at.
    pub next: Option<JobId>,
}

/// What is asked of jobs beside account and status.
struct Wanted<'a> {
    worker: Option<&'a WorkerId>,
    tag: Option<&'a str>,
    /// In small letters.
    text: Option<String>,
}

impl Dispatcher {
    /// A page of jobs, newest first.
    ///
    /// # Errors
    /// A wrong field, `forbidden` for an account that is another's, or the store.
    pub async fn list(&self, who: &Identity, list: &List) -> Result<Page, DispatchError> {
        let List { status, account, worker_id, tag, text, limit, before } = list;
        let account = whose(who, account.as_deref())?;
        let limit = page_limit(*limit)?;
        let before = before.map(JobRef::number);
        let text = text.as_deref().filter(|text| !text.is_empty()).map(str::to_lowercase);
        let wanted = Wanted { worker: worker_id.as_ref(), tag: tag.as_deref(), text };
        let filter = JobFilter { account, status: *status, before, limit };
        let (jobs, next) =
            if wanted.is_all() { self.page_of_jobs(filter).await? } else { self.search(filter, &wanted).await? };
        let facts = self.facts_for(&jobs);
        Ok(Page { jobs: jobs.iter().map(|job| records::job(job, &facts)).collect(), next })
    }

    /// How many jobs of each status there are of those that `who` may see.
    ///
    /// # Errors
    /// The role may not, or the store.
    pub async fn job_counts(&self, who: &Identity) -> Result<CountsReply, DispatchError> {
        let JobCounts { pending, running, completed, failed, cancelled } =
            self.0.store.count_jobs(audience(who)?.as_ref()).await?;
        Ok(CountsReply { pending, running, completed, failed, cancelled })
    }

    async fn page_of_jobs(&self, filter: JobFilter) -> Result<(Vec<Arc<Job>>, Option<JobId>), StoreError> {
        let limit = filter.limit;
        // One more than asked for tells whether there is another page.
        let mut jobs = self.0.store.jobs(JobFilter { limit: limit + 1, ..filter }).await?;
        let more = jobs.len() > limit;
        jobs.truncate(limit);
        let next = if more { jobs.last().map(|job| job.id) } else { None };
        Ok((jobs, next))
    }

    async fn search(
        &self,
        filter: JobFilter,
        wanted: &Wanted<'_>,
    ) -> Result<(Vec<Arc<Job>>, Option<JobId>), StoreError> {
        let (mut found, mut looked, mut searched, mut last) = (Vec::new(), 0, 0, None);
        while looked < LOOK_AT_MOST {
            let before = last.map(|last: JobId| last.number).or(filter.before);
            let jobs = self.0.store.jobs(JobFilter { before, limit: LOOK_AT_ONCE, ..filter.clone() }).await?;
            let is_end = jobs.len() < LOOK_AT_ONCE;
            looked += jobs.len();
            for job in jobs {
                let id = job.id;
                searched += wanted.text.as_ref().map_or(0, |_| known_by(&job).map(String::len).sum());
                if searched > SEARCH_AT_ONCE {
                    searched = 0;
                    tokio::task::yield_now().await;
                }
                if wanted.is(&job) {
                    if found.len() == filter.limit {
                        return Ok((found, last));
                    }
                    found.push(job);
                }
                last = Some(id);
            }
            if is_end {
                return Ok((found, None));
            }
        }
        Ok((found, last))
    }
}

impl Wanted<'_> {
    /// Whether there is nothing to look for.
    fn is_all(&self) -> bool {
        let Self { worker, tag, text } = self;
        worker.is_none() && tag.is_none() && text.is_none()
    }

    fn is(&self, job: &Job) -> bool {
        let Self { worker, tag, text } = self;
        worker.is_none_or(|worker| job.worker.as_ref() == Some(worker))
            && tag.is_none_or(|tag| job.spec.tags.iter().any(|own| own == tag))
            && text.as_ref().is_none_or(|text| says(job, text))
    }
}

/// Whether a job has `text`, which is in small letters, in something that people know it by. Its id holds its number.
fn says(job: &Job, text: &str) -> bool {
    known_by(job).map(|own| own.to_lowercase()).any(|own| own.contains(text)) || job.id.to_string().contains(text)
}

/// What people know a job by, beside its id.
fn known_by(job: &Job) -> impl Iterator<Item = &String> {
    let spec = &job.spec;
    let program = match &spec.program {
        Program::Shell(script) => std::slice::from_ref(script),
        Program::Args(args) => args,
        Program::Image => &[],
    };
    program.iter().chain(&spec.name).chain(&spec.image).chain(&spec.tags)
}

/// Whose jobs are listed: those of `asked` if `who` may see them, else all that `who` may see.
fn whose(who: &Identity, asked: Option<&str>) -> Result<Option<AccountName>, DispatchError> {
    let audience = audience(who)?;
    let Some(asked) = asked else { return Ok(audience) };
    let asked: AccountName =
        asked.parse().map_err(|error| WireError::bad_field("account", format!("account: {error}")))?;
    match audience {
        Some(own) if own != asked => Err(DispatchError::Forbidden("only administrators may list jobs of others")),
        Some(_) | None => Ok(Some(asked)),
    }
}
