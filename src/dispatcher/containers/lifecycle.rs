//! What follows when a container has come to rest: another start, a take-over, or its removal.

use std::time::Duration;

use tracing::{debug, info, warn};

use super::super::{DispatchError, Dispatcher};
use super::create;
use crate::model::container::{Desired, Next};
use crate::model::job::is_over;
use crate::model::{Container, Job};
use crate::protocol::agent::{AgentContainerOrder, ContainerOnly};
use crate::protocol::container::spec::Adopt;
use crate::protocol::job::Reason;
use crate::protocol::plugin::Hook;
use crate::protocol::{ContainerId, WorkerId};
use crate::store::StoreError;

/// Whoever makes a container may still be busy telling why it came to nothing for so long.
const DISCARD_AFTER_MS: u64 = 60_000;

/// Tries to end a container for good: as often somebody may start it meanwhile.
const RETIRE_TRIES: usize = 10;

impl Dispatcher {
    /// A job of a container has changed: if it is over, what follows from that is begun.
    pub(in crate::dispatcher) fn container_moved(&self, job: &Job) {
        let Some(id) = ContainerId::of(job.id) else { return };
        self.0.container_changes.tell();
        let (dispatcher, ended) = (self.clone(), is_over(job.status).then(|| job.clone()));
        self.0.shutdown.spawn(async move {
            let done = async {
                dispatcher.container_changed(id).await?;
                let Some(job) = ended else { return Ok(()) };
                dispatcher.tell_plugins_of_container(Hook::ContainerEnd, &job).await?;
                dispatcher.after_rest(id).await
            };
            if let Err(error) = done.await {
                warn!(%error, container = %id, "what follows from a change of a container is left to the sweep");
            }
        });
    }

    /// Starts a container again when it is time, if it is to be.
    async fn after_rest(&self, id: ContainerId) -> Result<(), DispatchError> {
        let Some((container, job)) = self.at_rest(id).await? else { return Ok(()) };
        let Next::Start(at) = container.next(&job) else { return Ok(()) };
        let wait = Duration::from_millis(at.saturating_sub(self.0.clock.now()));
        tokio::select! {
            () = tokio::time::sleep(wait) => (),
            // Another instance, or this one when it is back, finds it by its sweep.
            () = self.0.shutdown.cut().cancelled() => return Ok(()),
        }
        self.reopen_if_due(id).await
    }

    async fn reopen_if_due(&self, id: ContainerId) -> Result<(), DispatchError> {
        let Some((container, job)) = self.at_rest(id).await? else { return Ok(()) };
        match container.next(&job) {
            Next::Start(at) if at <= self.0.clock.now() => {
                self.reopen(&container, &job, container.short_lived_after(&job), None).await
            }
            Next::Start(_) | Next::Rest | Next::End | Next::TakeOver(_) | Next::Discard => Ok(()),
        }
    }

    /// Both records of a container whose job is over.
    async fn at_rest(&self, id: ContainerId) -> Result<Option<(Container, std::sync::Arc<Job>)>, DispatchError> {
        let (Some(container), Some(job)) = (self.0.book.get(id).await?, self.0.store.job(id.job().into()).await?)
        else {
            return Ok(None);
        };
        Ok(is_over(job.status).then_some((container, job)))
    }

    /// Begins the next start because somebody asked for it.
    pub(super) async fn reopen_by_hand(&self, container: &Container, job: &Job) -> Result<(), DispatchError> {
        let adopt = match container.next(job) {
            // It may run on: then it is that which is wanted.
            Next::TakeOver(adopt) => Some(adopt),
            Next::Rest | Next::End | Next::Start(_) | Next::Discard => None,
        };
        self.reopen(container, job, 0, adopt).await
    }

    /// Begins the next start of a container that is wanted to run. Who loses a race finds that it has begun.
    async fn reopen(
        &self,
        container: &Container,
        job: &Job,
        short_lived: u32,
        adopt: Option<Adopt>,
    ) -> Result<(), DispatchError> {
        let is_wanted = |container: &Container| container.desired == Desired::Running;
        let begin = |container: &mut Container| {
            if is_wanted(container) {
                (container.failure, container.short_lived, container.adopt) = (None, short_lived, adopt);
            }
        };
        // Whoever stopped or removed it has been told that it rests.
        if self.0.book.update(container.id, begin).await?.is_none_or(|container| !is_wanted(&container)) {
            return Ok(());
        }
        match self.0.store.reopen(job.id, job.attempt).await? {
            Ok(change) => {
                info!(container = %container.id, take_over = adopt.is_some(), "container is to start");
                self.publish(&change).await;
            }
            Err(error) => debug!(%error, container = %container.id, "it has been started meanwhile"),
        }
        // Between the two, somebody may have wished otherwise and found nothing to end.
        match self.0.book.get(container.id).await? {
            Some(container) if !is_wanted(&container) => self.have_end(container.id, None).await.map(|_| ()),
            Some(_) | None => Ok(()),
        }
    }

    /// What the worker is to take over instead of starting the container anew.
    pub(in crate::dispatcher) async fn to_take_over(&self, job: &Job) -> Result<Option<Adopt>, StoreError> {
        match ContainerId::of(job.id) {
            None => Ok(None),
            Some(id) => Ok(self.0.book.get(id).await?.and_then(|container| container.adopt)),
        }
    }

    /// Orders the end of a container that was to end before anybody knew which worker to tell.
    pub(in crate::dispatcher) async fn order_early_end(&self, given: &Job) -> Result<(), DispatchError> {
        match self.0.store.job(given.id.into()).await? {
            Some(job) if job.attempt == given.attempt && job.cancel_grace_ms.is_some() && !is_over(job.status) => {
                self.order_cancel(&job).await
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Looks through all containers for what was left undone: by an instance that died, or for a worker that was away.
    ///
    /// # Errors
    /// The store; the next sweep goes on.
    pub(in crate::dispatcher) async fn sweep_containers(&self) -> Result<(), DispatchError> {
        for container in self.0.book.all().await? {
            match self.see_to(&container).await {
                Ok(()) => (),
                Err(error @ DispatchError::Store(StoreError::Unavailable(_))) => return Err(error),
                // It is no reason to leave the others undone.
                Err(error) => warn!(%error, container = %container.id, "what it needs is left to the next sweep"),
            }
        }
        Ok(())
    }

    /// Does what was left undone of a container.
    async fn see_to(&self, container: &Container) -> Result<(), DispatchError> {
        let now = self.0.clock.now();
        let Some(job) = self.0.store.job(container.id.job().into()).await? else {
            // Its job went with what the store lost.
            return self.discard_at(container.id, &container.worker).await;
        };
        let rested_ms = now.saturating_sub(job.completed_at.unwrap_or(now));
        match container.next(&job) {
            Next::End => self.have_end(container.id, None).await.map(|_| ()),
            Next::Start(at) if at <= now => self.reopen_if_due(container.id).await,
            Next::TakeOver(adopt) if self.is_online(&container.worker) => {
                self.reopen(container, &job, container.short_lived, Some(adopt)).await
            }
            Next::Discard if rested_ms > DISCARD_AFTER_MS => self.discard(container.id).await,
            // Its time comes, or its worker does.
            Next::Rest | Next::Start(_) | Next::TakeOver(_) | Next::Discard => Ok(()),
        }
    }

    /// A worker has come: what it has of containers that are not to be goes.
    pub(in crate::dispatcher) async fn reconcile_containers(
        &self,
        worker: &WorkerId,
        has: &[ContainerId],
    ) -> Result<(), DispatchError> {
        for &container_id in has {
            let job = self.0.store.job(container_id.job().into()).await?;
            let container = match self.0.book.get(container_id).await {
                Ok(container) => container.filter(|container| container.worker == *worker),
                // Nobody can say what is wanted of it: it stays as it is, and the worker has others.
                Err(StoreError::Corrupt(_)) => continue,
                Err(error) => return Err(error.into()),
            };
            let only = ContainerOnly { container_id };
            match (container, job) {
                (None, Some(job)) if !is_over(job.status) && job.worker.as_ref() == Some(worker) => {
                    // Whoever made it died before its record was written.
                    self.0.book.add(&create::of_job(&job)?).await?;
                }
                (None, _) => self.order_about(worker, &AgentContainerOrder::Forget(only)).await?,
                (Some(container), Some(job)) if is_over(job.status) && container.stays_at_rest(&job) => {
                    self.order_about(worker, &AgentContainerOrder::Halt(only)).await?;
                }
                (Some(_), _) => (),
            }
        }
        // What was lost with the worker is taken over now, not with the next sweep.
        self.sweep_containers().await
    }

    /// Removes what there is of a container: its job's future, its record, and what its worker has.
    pub(super) async fn discard(&self, id: ContainerId) -> Result<(), DispatchError> {
        match self.0.book.get(id).await? {
            Some(container) => self.discard_at(id, &container.worker).await,
            None => Ok(()),
        }
    }

    /// The same where there may be no record of it.
    pub(super) async fn discard_at(&self, id: ContainerId, worker: &WorkerId) -> Result<(), DispatchError> {
        // Its record goes last: a job without one would run as a container that nobody wants.
        self.retire(id).await?;
        self.order_about(worker, &AgentContainerOrder::Forget(ContainerOnly { container_id: id })).await?;
        self.0.book.remove(id).await?;
        self.0.container_changes.tell();
        Ok(())
    }

    /// Ends the job of a container for good, so that no start follows. One that runs is killed.
    async fn retire(&self, id: ContainerId) -> Result<(), DispatchError> {
        for _ in 0..RETIRE_TRIES {
            let is_away = match self.bring_to_rest(id, Some(0)).await {
                Ok(()) => false,
                Err(DispatchError::NotYet(_)) => true,
                Err(error) => return Err(error),
            };
            let Some(job) = self.0.store.job(id.job().into()).await? else { return Ok(()) };
            if job.reason == Some(Reason::Removed) {
                return Ok(());
            }
            if is_away && !is_over(job.status) {
                // Nobody else can end it. What is left of it there goes when its worker is back.
                self.give_up(job.id, job.attempt).await?;
            }
            match self.0.store.retire(job.id, job.attempt).await? {
                Ok(change) => {
                    info!(container = %id, "container removed");
                    self.show(change.job.id, std::slice::from_ref(&change.entry));
                    if let Some(container) = self.0.book.get(id).await? {
                        self.show_container(&container, &change.job);
                    }
                    return Ok(());
                }
                Err(error) => debug!(%error, container = %id, "it was started while it was being removed"),
            }
        }
        Err(DispatchError::NotYet(
            "the container was started again and again while it was removed; try again".to_owned(),
        ))
    }
}
