//! Containers: what their owners want of them, and what is.
//!
//! To queue, leases and log a container is a job whose attempts are its starts; see [`crate::model::container`] for what is
//! kept beside it. This room makes both agree: it starts what is to run and does not, ends what is not to, and removes what
//! is gone. Every step may be repeated, by any instance, so that one that dies half-way leaves nothing half-made for longer
//! than a sweep.
//!
//! Not here: what happens on a worker's machine, and how the log gets to who follows it.

mod book;
mod consoles;
mod create;
mod lifecycle;
mod place;
mod records;
mod reports;
mod stats;

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::Notify;
use tokio::time::Instant;

pub(super) use book::Book;
pub(super) use stats::Stats;

use super::accounts::others;
use super::{DispatchError, Dispatcher, audience};
use crate::auth::Identity;
use crate::hub::{Outbox, Ring, Watch};
use crate::model::container::Desired;
use crate::model::job::is_over;
use crate::model::{AccountName, Container, Job};
use crate::protocol::agent::AgentContainerOrder;
use crate::protocol::audit::AuditAction;
use crate::protocol::codec::encode;
use crate::protocol::container::{ContainerRecord, ContainerStatus, ListContainers};
use crate::protocol::job::Status;
use crate::protocol::{Attempt, ContainerId, ContainerRef, JobRef, WorkerId};
use crate::store::StoreError;
use crate::store::jobs::Cancelled;

/// How long a start or a stop is waited for where its worker does not answer, beyond what it may take there.
const WORKER_ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// How often one that waits for a container looks for itself, should nobody tell it.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Jobs of containers that a list asks the store for at the same time.
const LOOK_AT_ONCE: usize = 16;

/// Wakes those who wait for a container.
#[derive(Debug, Default)]
pub(super) struct Changes(Notify);

impl Changes {
    pub(super) fn tell(&self) {
        self.0.notify_waiters();
    }
}

impl Dispatcher {
    /// A container's record.
    ///
    /// # Errors
    /// `not_found`, or the store.
    pub async fn container(&self, who: &Identity, named: &ContainerRef) -> Result<ContainerRecord, DispatchError> {
        let (container, job) = self.find_container(who, named).await?;
        Ok(self.container_record(&container, &job))
    }

    /// A page of containers, newest first, and where the next one begins.
    ///
    /// # Errors
    /// A wrong field, or the store.
    pub async fn containers(
        &self,
        who: &Identity,
        list: &ListContainers,
    ) -> Result<(Vec<ContainerRecord>, Option<ContainerId>), DispatchError> {
        let ListContainers { status, worker_id, limit, before } = list;
        let audience = audience(who)?;
        let limit = super::jobs::page_limit(*limit)?;
        let before = match before {
            None => u64::MAX,
            Some(ContainerRef::Number(number)) => *number,
            Some(ContainerRef::Id(id)) => id.job().number,
            Some(named @ ContainerRef::Name(_)) => self.find_container(who, named).await?.0.id.job().number,
        };
        let mut containers = self.0.book.all().await?;
        containers.retain(|container| {
            audience.as_ref().is_none_or(|account| *account == container.account)
                && worker_id.as_ref().is_none_or(|worker| *worker == container.worker)
                && container.id.job().number < before
        });
        containers.sort_unstable_by_key(|container| std::cmp::Reverse(container.id.job().number));
        let (mut page, mut next) = (Vec::new(), None);
        let jobs = stream::iter(containers)
            .map(async |container| self.0.store.job(container.id.job().into()).await.map(|job| (container, job)));
        let mut jobs = std::pin::pin!(jobs.buffered(LOOK_AT_ONCE));
        while let Some((container, job)) = jobs.try_next().await? {
            let Some(job) = job else { continue };
            let record = self.container_record(&container, &job);
            if status.is_some_and(|status| status != record.status) {
                continue;
            }
            if page.len() == limit {
                next = page.last().map(|last: &ContainerRecord| last.container_id);
                break;
            }
            page.push(record);
        }
        Ok((page, next))
    }

    /// Starts a container that does not run, and waits until it does. One that runs is fine as it is.
    ///
    /// # Errors
    /// `not_found`, why it could not be started, `conflict` (worth a retry) where its worker does not answer, or the store.
    pub async fn start_container(&self, who: &Identity, named: &ContainerRef) -> Result<(), DispatchError> {
        let (container, job) = self.find_container(who, named).await?;
        let is_ending = job.status == Status::Running && job.cancel_grace_ms.is_some();
        let start = |container: &mut Container| {
            container.desired = Desired::Running;
            if is_ending {
                container.again_after = Some(job.attempt);
            }
        };
        self.want(container.id, start).await?;
        self.note_container(who, AuditAction::ContainerStart, &container).await;
        if is_ending {
            self.until_rest(&job).await.map_err(starts_later)?;
        }
        self.bring_up(container.id).await
    }

    /// Changes what is wanted of a container. That it is gone is nobody's to take back.
    async fn want(&self, id: ContainerId, change: impl Fn(&mut Container)) -> Result<(), DispatchError> {
        let unless_removed = |container: &mut Container| {
            if container.desired != Desired::Removed {
                change(container);
            }
        };
        match self.0.book.update(id, unless_removed).await? {
            Some(container) if container.desired != Desired::Removed => Ok(()),
            Some(_) => Err(DispatchError::Conflict("the container is being removed".to_owned())),
            None => Err(DispatchError::NotFound("container")),
        }
    }

    /// Starts a container that is wanted to run, if it does not, and waits until it does.
    async fn bring_up(&self, id: ContainerId) -> Result<(), DispatchError> {
        let missing = || DispatchError::NotFound("container");
        let container = self.0.book.get(id).await?.ok_or_else(missing)?;
        let job = self.0.store.job(id.job().into()).await?.ok_or_else(missing)?;
        let attempt = match job.status {
            Status::Running => job.attempt,
            Status::Pending => job.attempt + 1,
            Status::Completed | Status::Failed | Status::Cancelled => {
                self.reopen_by_hand(&container, &job).await?;
                job.attempt + 1
            }
        };
        self.running(id, attempt).await.map(|_| ())
    }

    /// Writes down what is done to a container, as soon as it is wanted: its worker may take long, or be away.
    async fn note_container(&self, who: &Identity, action: AuditAction, container: &Container) {
        self.note_done(who, action, container.id, others(who, &container.account)).await;
    }

    /// Stops a container, and waits until it has. One that does not run is fine as it is.
    ///
    /// # Errors
    /// `not_found`, a wrong grace, `conflict` (worth a retry) where its worker does not answer, or the store.
    pub async fn stop_container(
        &self,
        who: &Identity,
        named: &ContainerRef,
        grace_secs: Option<f64>,
    ) -> Result<(), DispatchError> {
        let grace_ms = crate::model::spec::millis("graceSecs", grace_secs, true)?;
        let (container, _) = self.find_container(who, named).await?;
        self.want(container.id, stopped).await?;
        self.note_container(who, AuditAction::ContainerStop, &container).await;
        self.bring_to_rest(container.id, grace_ms).await
    }

    /// Ends a running container at once.
    ///
    /// # Errors
    /// As [`Dispatcher::stop_container`], and `conflict` where it does not run.
    pub async fn kill_container(&self, who: &Identity, named: &ContainerRef) -> Result<(), DispatchError> {
        let (container, job) = self.find_container(who, named).await?;
        if is_over(job.status) {
            return Err(DispatchError::Conflict("the container does not run".to_owned()));
        }
        self.want(container.id, stopped).await?;
        self.note_container(who, AuditAction::ContainerKill, &container).await;
        self.bring_to_rest(container.id, Some(0)).await
    }

    /// Stops a container if it runs, and starts it.
    ///
    /// # Errors
    /// As [`Dispatcher::stop_container`] and [`Dispatcher::start_container`].
    pub async fn restart_container(
        &self,
        who: &Identity,
        named: &ContainerRef,
        grace_secs: Option<f64>,
    ) -> Result<(), DispatchError> {
        let grace_ms = crate::model::spec::millis("graceSecs", grace_secs, true)?;
        let (container, job) = self.find_container(who, named).await?;
        // Kept, so that whoever sees the end begins the next start, should this instance die before.
        let again = |container: &mut Container| {
            (container.desired, container.again_after) = (Desired::Running, Some(job.attempt));
        };
        self.want(container.id, again).await?;
        self.note_container(who, AuditAction::ContainerRestart, &container).await;
        self.bring_to_rest(container.id, grace_ms).await.map_err(starts_later)?;
        self.bring_up(container.id).await
    }

    /// Removes a container with all its data, ending it first if it runs.
    ///
    /// # Errors
    /// `not_found`, or the store: a repeat goes on.
    pub async fn remove_container(&self, who: &Identity, named: &ContainerRef) -> Result<(), DispatchError> {
        let (container, _) = self.find_container(who, named).await?;
        self.0.book.update(container.id, |container| container.desired = Desired::Removed).await?;
        self.note_container(who, AuditAction::ContainerRemove, &container).await;
        self.discard(container.id).await
    }

    /// Watches changes of the containers that `who` may see.
    ///
    /// # Errors
    /// The role may not.
    pub fn watch_containers(&self, who: &Identity, outbox: &Arc<Outbox>) -> Result<Watch, DispatchError> {
        Ok(self.0.hub.containers.watch(audience(who)?, Ring::Containers, outbox))
    }

    /// A container that `who` may see, and the job that it is to the queue.
    pub(super) async fn find_container(
        &self,
        who: &Identity,
        named: &ContainerRef,
    ) -> Result<(Container, Arc<Job>), DispatchError> {
        let audience = audience(who)?;
        let missing = || DispatchError::NotFound("container");
        let visible = |container: &Container| audience.as_ref().is_none_or(|account| *account == container.account);
        let id = match named {
            ContainerRef::Id(id) => Some(*id),
            ContainerRef::Number(number) => {
                self.0.store.job(JobRef::Number(*number)).await?.and_then(|job| ContainerId::of(job.id))
            }
            ContainerRef::Name(name) => match self.0.book.named(&who.account, name).await? {
                // An administrator's own comes first.
                None if audience.is_none() => self.0.book.named_by_anybody(name).await?,
                own => own,
            },
        };
        let container = self.0.book.get(id.ok_or_else(missing)?).await?.filter(visible).ok_or_else(missing)?;
        let job = self.0.store.job(container.id.job().into()).await?.ok_or_else(missing)?;
        Ok((container, job))
    }

    /// Waits until start `attempt`, or a later one, runs or has run.
    async fn running(&self, id: ContainerId, attempt: Attempt) -> Result<(Container, Arc<Job>), DispatchError> {
        let gone = || DispatchError::Conflict("the container was removed before it ran".to_owned());
        let mut pending_until = Instant::now() + WORKER_ANSWERS_WITHIN;
        loop {
            let changed = self.0.container_changes.0.notified();
            let container = self.0.book.get(id).await?.ok_or_else(gone)?;
            let job = self.0.store.job(id.job().into()).await?.ok_or_else(gone)?;
            if container.desired == Desired::Removed {
                return Err(gone());
            }
            if container.started >= attempt.max(1) && container.started == job.attempt {
                return Ok((container, job));
            }
            if is_over(job.status) {
                return Err(create::why_not(&container, &job).into());
            }
            match job.status {
                // Its worker has it: a pull takes as long as it takes.
                Status::Running => pending_until = Instant::now() + WORKER_ANSWERS_WITHIN,
                Status::Pending | Status::Completed | Status::Failed | Status::Cancelled => {
                    if Instant::now() > pending_until {
                        let message = format!("worker {} does not take the container now", container.worker);
                        return Err(DispatchError::NotYet(message));
                    }
                }
            }
            // Whoever waits for a change looks from time to time: another instance may have made it.
            let _ = tokio::time::timeout(LOOK_EVERY, changed).await;
        }
    }

    /// Has the current start of a container end; returns its job where that takes its worker.
    async fn have_end(&self, id: ContainerId, grace_ms: Option<u64>) -> Result<Option<Arc<Job>>, DispatchError> {
        match self.0.store.cancel(id.job().into(), grace_ms).await? {
            Some(Cancelled::Running(job)) => {
                self.order_cancel(&job).await?;
                Ok(Some(job))
            }
            Some(Cancelled::Ended(change)) => {
                self.publish(&change).await;
                Ok(None)
            }
            Some(Cancelled::AlreadyOver(_)) | None => Ok(None),
        }
    }

    /// The same, and waits until it has.
    async fn bring_to_rest(&self, id: ContainerId, grace_ms: Option<u64>) -> Result<(), DispatchError> {
        match self.have_end(id, grace_ms).await? {
            Some(job) => self.until_rest(&job).await,
            None => Ok(()),
        }
    }

    /// Waits until a start has ended that was told to.
    async fn until_rest(&self, job: &Job) -> Result<(), DispatchError> {
        let until = Instant::now() + Duration::from_millis(job.cancel_grace_ms.unwrap_or(0)) + WORKER_ANSWERS_WITHIN;
        loop {
            let changed = self.0.container_changes.0.notified();
            let now = self.0.store.job(job.id.into()).await?;
            let Some(now) = now.filter(|now| now.attempt == job.attempt && !is_over(now.status)) else { return Ok(()) };
            let is_there = now.worker.as_ref().is_some_and(|worker| self.is_online(worker));
            if !is_there || Instant::now() > until {
                let message = "the container's worker is away; it ends when that is back".to_owned();
                return Err(DispatchError::NotYet(message));
            }
            let _ = tokio::time::timeout(LOOK_EVERY, changed).await;
        }
    }

    /// Whether a worker was heard of lately, here or elsewhere.
    fn is_online(&self, worker: &WorkerId) -> bool {
        let since = self.online_since();
        match self.0.fleet.agent(worker) {
            Some(agent) => agent.last_heard() > since,
            // One that was last here, and is not, is nowhere until it is heard of elsewhere.
            None => self.0.fleet.known(worker).is_some_and(|known| {
                known.worker.last_seen > since && known.worker.instance != self.instance() && self.has_peers()
            }),
        }
    }

    /// Orders something about a container of its worker, wherever that is connected. One that is away is told what counts
    /// when it is back.
    async fn order_about(&self, worker: &WorkerId, order: &AgentContainerOrder) -> Result<(), StoreError> {
        match self.0.fleet.agent(worker) {
            Some(agent) => agent.pass_on(encode(order)),
            None => drop(self.leave_order(worker, &encode(order)).await.map_err(as_store_error)?),
        }
        Ok(())
    }

    /// Tells watchers where a container stands now, and whoever waits for it to look.
    pub(super) async fn container_changed(&self, id: ContainerId) -> Result<(), StoreError> {
        let Some(container) = self.0.book.get(id).await? else {
            self.0.container_changes.tell();
            return Ok(());
        };
        if let Some(job) = self.0.store.job(id.job().into()).await? {
            self.show_container(&container, &job);
        }
        Ok(())
    }

    /// The same with both records at hand.
    fn show_container(&self, container: &Container, job: &Job) {
        self.0.container_changes.tell();
        if self.0.hub.containers.is_watched() || self.has_peers() {
            let frame = records::changed(self.container_record(container, job), self.0.clock.now());
            self.tell_of_container(&container.account, frame.as_str());
            self.0.hub.containers.push(Some(container.account.clone()), frame);
        }
    }

    /// What another instance says of a container, for those who watch or wait here.
    pub(super) fn heard_of_container(&self, account: AccountName, frame: String) {
        self.0.container_changes.tell();
        if self.0.hub.containers.is_watched() {
            self.0.hub.containers.push(Some(account), frame.into());
        }
    }
}

/// Somebody wants it to rest.
fn stopped(container: &mut Container) {
    (container.desired, container.again_after) = (Desired::Stopped, None);
}

/// What is said where a container has not ended yet that is to be started again then.
fn starts_later(error: DispatchError) -> DispatchError {
    match error {
        DispatchError::NotYet(_) => {
            DispatchError::NotYet("the container's worker is away; it is restarted when that is back".to_owned())
        }
        other => other,
    }
}

fn as_store_error(error: DispatchError) -> StoreError {
    match error {
        DispatchError::Store(error) => error,
        other => StoreError::Unavailable(other.to_string()),
    }
}

/// Whether a container in this state has a console that takes input.
fn check_running(container: &Container, job: &Job) -> Result<(), DispatchError> {
    match container.status(job) {
        ContainerStatus::Running => Ok(()),
        ContainerStatus::Creating => Err(DispatchError::NotYet("the container does not run yet".to_owned())),
        ContainerStatus::Stopped | ContainerStatus::Failed | ContainerStatus::Removed => {
            Err(DispatchError::Conflict("the container does not run".to_owned()))
        }
    }
}
