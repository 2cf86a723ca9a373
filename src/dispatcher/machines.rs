//! Jobs for one worker and no other, as systems have them whose users choose a machine.
//!
//! A look at what the machine has comes before the submit, so that what it can never run is refused and does not wait.
//! Which GPUs a job gets, and when, is up to the scheduler as for any job.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{DispatchError, Dispatcher, Submission, audience};
use crate::auth::Identity;
use crate::model::spec::Gpus;
use crate::model::{Job, Worker};
use crate::protocol::job::{Cancel, JobRecord, Status, Submit};
use crate::protocol::limits::PAGE_MOST;
use crate::protocol::{JobRef, WireError, WorkerId};
use crate::store::jobs::JobFilter;

impl Dispatcher {
    /// Submits a job that only this worker may run. Where its image is the name or id of a container there, it runs inside
    /// that one.
    ///
    /// # Errors
    /// `not_found` for a worker that was never heard of, `requires.gpus` or `requires.gpuIds` where it does not have as many or
    /// has none of that index, `conflict` for a container that does not run, and as [`Dispatcher::submit`].
    pub async fn submit_to(
        &self,
        who: &Identity,
        machine: WorkerId,
        mut submit: Submit,
    ) -> Result<Submission, DispatchError> {
        audience(who)?;
        let has = self.machine(&machine).await?;
        submit.spec.requires.worker_id = Some(machine);
        if let Some(ids) = &submit.spec.requires.gpu_ids
            && let Some(id) = ids.iter().find(|id| has.gpus.iter().all(|gpu| gpu.index != **id))
        {
            let message = format!("machine {} has no GPU {id}; it has {}", has.id, gpus_of(&has));
            return Err(WireError::bad_field("requires.gpuIds", message).into());
        }
        if let Some(count) = submit.spec.requires.gpus
            && count as usize > has.gpus.len()
        {
            let message = format!("machine {} has not {count} GPUs; it has {}", has.id, gpus_of(&has));
            return Err(WireError::bad_field("requires.gpus", message).into());
        }
        if let Some(named) = submit.spec.image.clone()
            && let Some(container) = self.running_container_on(who, &has.id, &named).await?
        {
            submit.spec.image = None;
            submit.spec.container = Some(container);
            // For people, as it was named here.
            submit.spec.name.get_or_insert(named);
            return self.submit_unchecked(who, submit, None).await;
        }
        self.submit(who, submit, None).await
    }

    /// Cancels a job of a worker.
    ///
    /// # Errors
    /// `not_found` where the job is of another worker, and as [`Dispatcher::cancel`].
    pub async fn cancel_on(&self, who: &Identity, machine: &WorkerId, job: JobRef) -> Result<JobRecord, DispatchError> {
        let found = self.job(who, job).await?;
        if !is_of(&found, machine) {
            return Err(DispatchError::NotFound("job on this machine"));
        }
        self.cancel(who, &Cancel { job_id: found.id.into(), grace_secs: None }).await
    }

    /// The jobs of a worker, whoever submitted them, newest first: all that run on it, and of the newest 1,000 that wait and
    /// of the newest 1,000 of any status those that are its own.
    ///
    /// # Errors
    /// `not_found`, the role may not, or the store.
    pub async fn jobs_of_machine(&self, who: &Identity, machine: &WorkerId) -> Result<Vec<Arc<Job>>, DispatchError> {
        audience(who)?;
        self.machine(machine).await?;
        let mut jobs: BTreeMap<u64, Arc<Job>> = BTreeMap::new();
        let mut add = |found: Vec<Arc<Job>>| {
            jobs.extend(found.into_iter().filter(|job| is_of(job, machine)).map(|job| (job.id.number, job)));
        };
        for status in [Some(Status::Pending), None] {
            let filter = JobFilter { status, limit: PAGE_MOST as usize, ..JobFilter::default() };
            add(self.0.store.jobs(filter).await?);
        }
        // Last, so that of a job which starts meanwhile the later state is told.
        add(self.0.store.running_on(machine).await?);
        Ok(jobs.into_values().rev().collect())
    }

    /// The GPUs of a worker that jobs have.
    ///
    /// # Errors
    /// The store.
    pub async fn gpus_in_use(&self, machine: &WorkerId) -> Result<BTreeSet<u32>, DispatchError> {
        let running = self.0.store.running_on(machine).await?;
        Ok(running.iter().flat_map(|job| job.gpu_ids.iter().copied()).collect())
    }

    /// From the store: another instance may have taken it in just now.
    async fn machine(&self, machine: &WorkerId) -> Result<Worker, DispatchError> {
        self.0.store.worker(machine).await?.ok_or(DispatchError::NotFound("machine"))
    }
}

/// Whether a job is a worker's: it has it, had it last, or is the only one that may have it.
fn is_of(job: &Job, machine: &WorkerId) -> bool {
    job.worker.as_ref().or(job.spec.requires.worker.as_ref()) == Some(machine)
}

fn gpus_of(worker: &Worker) -> String {
    match worker.gpus.as_slice() {
        [] => "none".to_owned(),
        gpus => gpus.iter().map(|gpu| gpu.index.to_string()).collect::<Vec<_>>().join(", "),
    }
}

/// The GPUs that a job has, or those that it asked for by index; and how many it has or asked for.
pub fn gpus_of_job(job: &Job) -> (Vec<u32>, usize) {
    match (&job.spec.requires.gpus, job.gpu_ids.as_slice()) {
        (Gpus::Count(count), []) => (Vec::new(), *count as usize),
        (Gpus::Ids(ids), []) => (ids.clone(), ids.len()),
        (Gpus::Count(_) | Gpus::Ids(_), given) => (given.to_vec(), given.len()),
    }
}
