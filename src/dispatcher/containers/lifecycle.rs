//! What follows when a container has come to rest: another start, a take-over, or its removal.

use std::time::Duration;

use tracing::{info, warn};

use super::super::{DispatchError, Dispatcher};
use super::create;
use crate::model::container::{Desired, Next};
use crate::model::job::is_over;
use crate::model::{Container, Job};
use crate::protocol::agent::{AgentContainerOrder, ContainerOnly};
use crate::protocol::container::spec::Adopt;
use crate::protocol::plugin::Hook;
use crate::protocol::{ContainerId, WorkerId};
use crate::store::StoreError;

/// Whoever makes a container may still be busy telling why it came to nothing for so long.
const DISCARD_AFTER_MS: u64 = 60_000;

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
                let short_lived = container.short_lived_with(&job).saturating_add(1);
                self.reopen(&container, &job, short_lived, None).await
            }
            Next::Start(_) | Next::Rest | Next::TakeOver(_) | Next::Discard => Ok(()),
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
        // A lost one may run on: then it is that which is wanted.
        let adopt = match (Container { desired: Desired::Running, ..container.clone() }).next(job) {
            Next::TakeOver(adopt) => Some(adopt),
            Next::Rest | Next::Start(_) | Next::Discard => None,
        };
        self.reopen(container, job, 0, adopt).await
    }

    /// Begins the next start. Who loses a race finds that it has begun.
    async fn reopen(
        &self,
        container: &Container,
        job: &Job,
        short_lived: u32,
        adopt: Option<Adopt>,
    ) -> Result<(), DispatchError> {
        let wanted = |container: &mut Container| {
            container.desired = Desired::Running;
            (container.start_at, container.failure) = (None, None);
            (container.short_lived, container.adopt) = (short_lived, adopt);
        };
        if self.0.book.update(container.id, wanted).await?.is_none() {
            return Ok(());
        }
        match self.0.store.reopen(job.id, job.attempt).await? {
            Ok(change) => {
                info!(container = %container.id, take_over = adopt.is_some(), "container is to start");
                self.publish(&change).await;
            }
            Err(error) => tracing::debug!(%error, container = %container.id, "it has been started meanwhile"),
        }
        Ok(())
    }

    /// What the worker is to take over instead of starting the container anew.
    pub(in crate::dispatcher) async fn to_take_over(&self, job: &Job) -> Result<Option<Adopt>, StoreError> {
        match ContainerId::of(job.id) {
            None => Ok(None),
            Some(id) => Ok(self.0.book.get(id).await?.and_then(|container| container.adopt)),
        }
    }

    /// Looks through all containers for what was left undone: by an instance that died, or for a worker that was away.
    ///
    /// # Errors
    /// The store; the next sweep goes on.
    pub(in crate::dispatcher) async fn sweep_containers(&self) -> Result<(), DispatchError> {
        let now = self.0.clock.now();
        for container in self.0.book.all().await? {
            let Some(job) = self.0.store.job(container.id.job().into()).await? else {
                // Its job went with what the store lost.
                self.discard_at(container.id, &container.worker).await?;
                continue;
            };
            if !is_over(job.status) {
                continue;
            }
            let rested_ms = now.saturating_sub(job.completed_at.unwrap_or(now));
            match container.next(&job) {
                Next::Rest if container.desired == Desired::Removed && rested_ms > DISCARD_AFTER_MS => {
                    self.discard(container.id).await?;
                }
                Next::Start(at) if at <= now => self.reopen_if_due(container.id).await?,
                Next::TakeOver(adopt) if self.is_online(&container.worker) => {
                    self.reopen(&container, &job, container.short_lived, Some(adopt)).await?;
                }
                Next::Discard if rested_ms > DISCARD_AFTER_MS => self.discard(container.id).await?,
                // Its time comes, or its worker does.
                Next::Rest | Next::Start(_) | Next::TakeOver(_) | Next::Discard => (),
            }
        }
        Ok(())
    }

    /// A worker has come: what it has of containers that are not to be goes.
    pub(in crate::dispatcher) async fn reconcile_containers(
        &self,
        worker: &WorkerId,
        has: &[ContainerId],
    ) -> Result<(), DispatchError> {
        for &container_id in has {
            let job = self.0.store.job(container_id.job().into()).await?;
            let container = self.0.book.get(container_id).await?.filter(|container| container.worker == *worker);
            let only = ContainerOnly { container_id };
            match (container, job) {
                (None, Some(job)) if !is_over(job.status) && job.worker.as_ref() == Some(worker) => {
                    // Whoever made it died before its record was written.
                    self.0.book.add(&create::of_job(&job)?).await?;
                }
                (None, _) => self.order_about(worker, &AgentContainerOrder::Forget(only)).await?,
                (Some(container), Some(job)) if is_over(job.status) && container.next(&job) == Next::Rest => {
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

    pub(super) async fn discard_at(&self, id: ContainerId, worker: &WorkerId) -> Result<(), DispatchError> {
        if let Some(job) = self.0.store.job(id.job().into()).await? {
            if !is_over(job.status) {
                // Its worker is away: nobody else can end it.
                self.give_up(job.id, job.attempt).await?;
            }
            if let Ok(change) = self.0.store.retire(job.id, job.attempt).await? {
                info!(container = %id, "container removed");
                self.show(change.job.id, std::slice::from_ref(&change.entry));
                if let Some(container) = self.0.book.get(id).await? {
                    self.show_container(&container, &change.job);
                }
            }
        }
        self.order_about(worker, &AgentContainerOrder::Forget(ContainerOnly { container_id: id })).await?;
        self.0.book.remove(id).await?;
        self.0.container_changes.tell();
        Ok(())
    }
}
