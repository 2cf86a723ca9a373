//! Making containers.

use std::sync::Arc;

use tracing::{debug, info};

use super::super::{DispatchError, Dispatcher, audience};
use crate::auth::Identity;
use crate::model::container::Desired;
use crate::model::spec::check_image;
use crate::model::{Container, Job, JobSpec};
use crate::protocol::audit::AuditAction;
use crate::protocol::container::spec::{Create, Service};
use crate::protocol::container::{ContainerStatus, Created};
use crate::protocol::id::{ContainerId, nonce};
use crate::protocol::job::Reason;
use crate::protocol::spec as wire;
use crate::protocol::{ContainerRef, ErrorCode, WireError};
use crate::store::StoreError;
use crate::store::jobs::{NewJob, QueueLimits};

/// Containers of one account at the most: more than any machine runs, few enough to list.
const CONTAINERS_MOST: usize = 1_000;

/// Longest name of a container.
const NAME_MOST: usize = 64;

impl Dispatcher {
    /// Makes a container, and waits until it runs. One that cannot be started leaves nothing behind.
    ///
    /// # Errors
    /// A wrong field; a plugin that refuses or is away; `unsatisfiable` where no worker with a container engine could take it now; why it could not be
    /// started; or the store.
    pub async fn create_container(&self, who: &Identity, create: Create) -> Result<Created, DispatchError> {
        audience(who)?;
        let id = self.make_container(who, create).await?;
        match self.running(id, 1).await {
            Ok((container, job)) => {
                info!(container = %id, worker = %container.worker, account = %container.account, "container created");
                let detail = container.name.as_ref().map(|name| format!("named {name}"));
                self.note_done(who, AuditAction::ContainerCreate, id, detail).await;
                let status = match container.status(&job) {
                    // It may have been short; it ran.
                    ContainerStatus::Creating => ContainerStatus::Running,
                    status => status,
                };
                Ok(Created { container_id: id, worker_id: container.worker, ports: container.ports, status })
            }
            Err(error) => {
                debug!(container = %id, %error, "container could not be created");
                self.0.book.update(id, |container| container.desired = Desired::Removed).await?;
                self.discard(id).await?;
                Err(error)
            }
        }
    }

    /// Puts a container into the queue of the worker that is to run it.
    async fn make_container(&self, who: &Identity, create: Create) -> Result<ContainerId, DispatchError> {
        let mut spec = checked(create.clone())?;
        if let Some(changed) = self.ask_about_container(who, create, checked).await? {
            spec = changed;
        }
        let placing = self.0.book.placing().await;
        let all = self.0.book.all().await?;
        let own = || all.iter().filter(|container| container.account == who.account);
        if own().count() >= CONTAINERS_MOST {
            let message = format!("{} has {CONTAINERS_MOST} containers, which is the limit", who.account);
            return Err(WireError::new(ErrorCode::LimitExceeded, message).into());
        }
        if spec.name.is_some() && own().any(|container| container.name == spec.name) {
            return Err(name_taken(&spec).into());
        }
        let worker = self.place_for(&spec.requires, &all).await?;
        spec.requires.worker = Some(worker.clone());
        let spec = Arc::new(spec);
        let nonce = nonce(rand::random(), true);
        let new = NewJob { nonce, account: who.account.clone(), spec: Arc::clone(&spec), key: None };
        let limits = &self.0.settings.limits;
        let queue = QueueLimits { total: limits.queue, account: limits.account_queue };
        // Nobody may have it before it has its record.
        let introduction = self.0.introductions.begin(nonce);
        let job = self.0.store.submit(new, queue).await?.job;
        let container = Container { worker, ..of_job(&job)? };
        let added = self.0.book.add(&container).await;
        drop((placing, introduction));
        match added {
            Ok(true) => {
                self.show_container(&container, &job);
                self.is_ready(&spec.requires);
                Ok(container.id)
            }
            // Its worker was so quick that its first report has made the record.
            Ok(false) if self.book_has(container.id).await? => Ok(container.id),
            Ok(false) => {
                self.discard_at(container.id, &container.worker).await?;
                Err(name_taken(&spec).into())
            }
            Err(error) => {
                // It may be there or not; a job without a record is found by its worker's first report.
                self.discard_at(container.id, &container.worker).await?;
                Err(error.into())
            }
        }
    }

    async fn book_has(&self, id: ContainerId) -> Result<bool, StoreError> {
        Ok(self.0.book.get(id).await?.is_some())
    }
}

/// The record of a container whose job is there.
pub(super) fn of_job(job: &Job) -> Result<Container, StoreError> {
    let broken = |what: &str| StoreError::Corrupt(format!("{} is a container without {what}", job.id));
    let id = ContainerId::of(job.id).ok_or_else(|| broken("an id"))?;
    let service = job.spec.service.as_deref().ok_or_else(|| broken("a service"))?;
    let worker = job.worker.as_ref().or(job.spec.requires.worker.as_ref()).ok_or_else(|| broken("a worker"))?;
    Ok(Container {
        id,
        account: job.account.clone(),
        name: job.spec.name.clone(),
        worker: worker.clone(),
        desired: Desired::Running,
        restart: service.restart,
        started: 0,
        ports: Vec::new(),
        failure: None,
        short_lived: 0,
        again_after: None,
        adopt: None,
    })
}

/// Why the latest start of a container came to nothing.
pub(super) fn why_not(container: &Container, job: &Job) -> WireError {
    if let Some(failure) = container.failure.clone().filter(|_| container.started != job.attempt) {
        return failure;
    }
    let said = || job.error_message.clone();
    let (code, message) = match job.reason {
        Some(Reason::WorkerLost) => (ErrorCode::Unsatisfiable, "its worker was lost before it ran".to_owned()),
        Some(Reason::Cancelled | Reason::Removed) => (ErrorCode::Conflict, "it was stopped before it ran".to_owned()),
        Some(Reason::Rejected) => {
            (ErrorCode::Unsatisfiable, said().unwrap_or_else(|| "its worker refuses it".to_owned()))
        }
        Some(
            Reason::Exit
            | Reason::Signal
            | Reason::Timeout
            | Reason::QueueTimeout
            | Reason::SpawnError
            | Reason::OutOfMemory,
        )
        | None => (ErrorCode::Conflict, said().unwrap_or_else(|| "it could not be started".to_owned())),
    };
    let mut error = WireError::new(code, format!("container {}: {message}", container.id));
    error.retry = matches!(job.reason, Some(Reason::WorkerLost | Reason::Rejected));
    error
}

fn name_taken(spec: &JobSpec) -> WireError {
    let name = spec.name.as_deref().unwrap_or_default();
    WireError::new(ErrorCode::Conflict, format!("there is a container named {name:?} already")).field("name")
}

/// What was asked for, as a spec that has been checked.
fn checked(create: Create) -> Result<JobSpec, WireError> {
    let Create {
        image_id,
        name,
        mut ports,
        port,
        command,
        args,
        env,
        cpus,
        memory_bytes,
        gpus,
        gpu_ids,
        mounts,
        tty,
        mut requires,
        worker_id,
        restart,
        grace_secs,
    } = create;
    let image = image_id.unwrap_or_default();
    check_image("imageId", &image)?;
    if let Some(name) = &name {
        check_name(name)?;
    }
    ports.extend(port);
    requires.cpus = once("cpus", cpus, requires.cpus)?;
    requires.memory_bytes = once("memoryBytes", memory_bytes, requires.memory_bytes)?;
    requires.gpus = once("gpus", gpus, requires.gpus)?;
    requires.gpu_ids = once("gpuIds", gpu_ids, requires.gpu_ids)?;
    requires.worker_id = once("workerId", worker_id, requires.worker_id)?;
    let spec = wire::JobSpec {
        command,
        args,
        image: Some(image),
        env,
        name,
        // A console can be written to.
        stdin: true,
        tty,
        requires,
        grace_secs,
        service: Some(Service { ports, mounts, restart }),
        ..wire::JobSpec::default()
    };
    JobSpec::try_from(spec).map_err(|mut error| {
        // Where it was asked for on its own, it is named so.
        for beside in ["cpus", "gpus", "gpuIds", "memoryBytes"] {
            if error.field.as_deref() == Some(&format!("requires.{beside}")) {
                error.field = Some(beside.to_owned());
            }
        }
        error
    })
}

/// What may be asked for on its own and among the requirements: where it is in both, it must be the same.
fn once<T: PartialEq>(field: &'static str, own: Option<T>, required: Option<T>) -> Result<Option<T>, WireError> {
    match (own, required) {
        (Some(own), Some(required)) if own != required => {
            Err(WireError::bad_field(field, format!("{field} and requires.{field} contradict each other")))
        }
        (own, required) => Ok(own.or(required)),
    }
}

/// A name must not look like an id or a number, which name containers too.
fn check_name(name: &str) -> Result<(), WireError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let is_name = matches!(name.parse(), Ok(ContainerRef::Name(_)));
    if !begins_well || name.len() > NAME_MOST || !name.chars().all(allowed) || !is_name {
        let message = format!(
            "name must be 1 to {NAME_MOST} letters, digits, '.', '_' or '-', and neither a number nor an id, got {name:?}"
        );
        return Err(WireError::bad_field("name", message));
    }
    Ok(())
}
