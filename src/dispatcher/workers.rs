//! Workers as clients see them: list, watch, drain.

use std::sync::Arc;

use super::jobs::page_limit;
use super::records::{self, LiveWorker};
use super::{DispatchError, Dispatcher};
use crate::auth::Identity;
use crate::hub::{Outbox, Ring, Watch};
use crate::model::Role;
use crate::protocol::WorkerId;
use crate::protocol::agent::{AgentOrder, Usage};
use crate::protocol::codec::{Nothing, encode};
use crate::protocol::worker::{ListWorkers, UsageEvent, WorkerEvent, WorkerRecord, WorkerReply};

impl Dispatcher {
    /// A worker's record.
    ///
    /// # Errors
    /// `not_found`, or the role may not.
    pub fn worker(&self, who: &Identity, id: &WorkerId) -> Result<WorkerRecord, DispatchError> {
        super::audience(who)?;
        self.worker_record(id).ok_or(DispatchError::NotFound("worker"))
    }

    /// A page of workers by id, and where the next one begins.
    ///
    /// # Errors
    /// A wrong field, or the role may not.
    pub fn workers(
        &self,
        who: &Identity,
        list: &ListWorkers,
    ) -> Result<(Vec<WorkerRecord>, Option<WorkerId>), DispatchError> {
        super::audience(who)?;
        let limit = page_limit(list.limit)?;
        let mut ids: Vec<WorkerId> = self.0.fleet.all_known().into_iter().map(|known| known.worker.id).collect();
        if let Some(after) = &list.before {
            ids.retain(|id| id > after);
        }
        let more = ids.len() > limit;
        ids.truncate(limit);
        let next = if more { ids.last().cloned() } else { None };
        Ok((ids.iter().filter_map(|id| self.worker_record(id)).collect(), next))
    }

    /// Watches status and usage of all workers.
    ///
    /// # Errors
    /// The role may not.
    pub fn watch_workers(&self, who: &Identity, outbox: &Arc<Outbox>) -> Result<Watch, DispatchError> {
        super::audience(who)?;
        Ok(self.0.hub.workers.watch(None, Ring::Workers, outbox))
    }

    /// Lets a worker take no new jobs, or take them again. Administrators only.
    ///
    /// # Errors
    /// `forbidden`, `not_found`, or the store.
    pub async fn set_draining(&self, who: &Identity, id: &WorkerId, draining: bool) -> Result<(), DispatchError> {
        if who.role != Role::Admin {
            return Err(DispatchError::Forbidden("only administrators drain workers"));
        }
        self.drain_worker(id, draining).await?;
        if let Some(agent) = self.0.fleet.agent(id) {
            agent.order(&if draining { AgentOrder::Drain(Nothing {}) } else { AgentOrder::Undrain(Nothing {}) });
        }
        Ok(())
    }

    /// The same, as a worker says it of itself.
    ///
    /// # Errors
    /// `not_found`, or the store.
    pub async fn drain_worker(&self, id: &WorkerId, draining: bool) -> Result<(), DispatchError> {
        if !self.0.store.set_draining(id, draining).await? {
            return Err(DispatchError::NotFound("worker"));
        }
        self.0.fleet.update_known(id, |known| known.worker.draining = draining);
        if let Some(agent) = self.0.fleet.agent(id) {
            agent.set_draining(draining);
        }
        self.worker_changed(id);
        self.0.queue.poke();
        Ok(())
    }

    /// Tells watchers where a worker stands now.
    pub(super) fn worker_changed(&self, id: &WorkerId) {
        if self.0.hub.workers.is_watched()
            && let Some(worker) = self.worker_record(id)
        {
            let event = WorkerEvent::Status(Box::new(WorkerReply { worker }));
            self.0.hub.workers.push(None, encode(&event).into());
        }
    }

    /// Tells watchers what a worker uses.
    pub(super) fn worker_uses(&self, id: &WorkerId, usage: Usage) {
        if self.0.hub.workers.is_watched() {
            let event = WorkerEvent::Usage(UsageEvent { worker_id: id.clone(), usage, time: self.0.clock.now() });
            self.0.hub.workers.push(None, encode(&event).into());
        }
    }

    fn worker_record(&self, id: &WorkerId) -> Option<WorkerRecord> {
        let mut worker = self.0.fleet.known(id)?.worker;
        let agent = self.0.fleet.agent(id);
        if let Some(agent) = &agent {
            worker.last_seen = agent.last_heard();
        }
        let live = LiveWorker {
            running: agent.as_ref().map_or(0, |agent| agent.running()),
            usage: agent.as_ref().and_then(|agent| agent.usage()),
            connected_at: agent.as_ref().map(|agent| agent.connected_at),
            offline: worker.last_seen <= self.online_since(),
        };
        Some(records::worker(&worker, live))
    }
}
