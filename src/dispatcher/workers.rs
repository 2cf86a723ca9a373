//! Workers as clients see them: list, watch, drain.

use std::cmp::Reverse;
use std::sync::Arc;

use super::jobs::page_limit;
use super::records::{self, LiveWorker};
use super::{Agent, DispatchError, Dispatcher};
use crate::auth::Identity;
use crate::hub::{Outbox, Ring, Watch};
use crate::model::Role;
use crate::protocol::agent::{AgentOrder, Usage};
use crate::protocol::audit::AuditAction;
use crate::protocol::codec::{Nothing, encode};
use crate::protocol::worker::{ListWorkers, UsageEvent, WorkerEvent, WorkerRecord, WorkerReply};
use crate::protocol::{WireError, WorkerId};
use crate::store::StoreError;

impl Dispatcher {
    /// A worker's record.
    ///
    /// # Errors
    /// `not_found`, the role may not, or the store.
    pub async fn worker(&self, who: &Identity, id: &WorkerId) -> Result<WorkerRecord, DispatchError> {
        super::audience(who)?;
        let away = self.running_away(id).await?;
        self.worker_record(id, away).ok_or(DispatchError::NotFound("worker"))
    }

    /// A page of workers by id, and where the next one begins.
    ///
    /// # Errors
    /// A wrong field, the role may not, or the store.
    pub async fn workers(
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
        let mut workers = Vec::with_capacity(ids.len());
        for id in &ids {
            let away = self.running_away(id).await?;
            workers.extend(self.worker_record(id, away));
        }
        Ok((workers, next))
    }

    /// A page of workers, the one that registered last first, and how many there are in all. `before`: the last one of the
    /// page before.
    ///
    /// # Errors
    /// A wrong field, or the store.
    pub async fn newest_workers(
        &self,
        limit: Option<u32>,
        before: Option<&WorkerId>,
    ) -> Result<(Vec<WorkerRecord>, usize), DispatchError> {
        let limit = page_limit(limit)?;
        let known = self.0.fleet.all_known().into_iter();
        let mut all: Vec<(Reverse<u64>, WorkerId)> =
            known.map(|known| (Reverse(known.worker.boot), known.worker.id)).collect();
        all.sort_unstable();
        let begin = match before {
            None => 0,
            Some(before) => {
                let found = all.iter().position(|(_, id)| id == before);
                found.ok_or_else(|| WireError::bad_field("before", format!("before: no worker {before}")))? + 1
            }
        };
        let mut workers = Vec::new();
        for (_, id) in all.iter().skip(begin).take(limit) {
            let away = self.running_away(id).await?;
            workers.extend(self.worker_record(id, away));
        }
        Ok((workers, all.len()))
    }

    /// The worker of this very process, if it is connected.
    pub fn local_worker(&self) -> Option<WorkerId> {
        let id = self.0.settings.local_worker.as_ref()?;
        self.0.fleet.agent(id).map(|agent| agent.id.clone())
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
        let action = if draining { AuditAction::Drain } else { AuditAction::Undrain };
        if who.role != Role::Admin {
            self.note_forbidden(who, action, Some(id.as_str())).await;
            return Err(DispatchError::Forbidden("only administrators drain workers"));
        }
        if !self.0.store.set_draining(id, draining).await? {
            return Err(DispatchError::NotFound("worker"));
        }
        self.0.fleet.update_known(id, |known| known.worker.draining = draining);
        match self.0.fleet.agent(id) {
            Some(agent) => {
                agent.set_drained(draining);
                agent.order(&drain_order(agent.is_draining()));
            }
            // Where the worker is away, it hears of it when it registers.
            None => drop(self.order_elsewhere(id, &drain_order(draining)).await?),
        }
        self.show_worker(id, self.running_away(id).await?);
        self.tell_of_worker(id);
        self.0.queue.poke();
        self.note_done(who, action, id, None).await;
        Ok(())
    }

    /// The same, as a worker says it of itself: for as long as it is connected, and beside what an
    /// administrator said. Returns how it stands now.
    pub fn leaves(&self, agent: &Agent, leaving: bool) -> AgentOrder {
        agent.set_leaving(leaving);
        self.worker_changed(&agent.id);
        self.0.queue.poke();
        drain_order(agent.is_draining())
    }

    /// Tells watchers where a worker stands now that is connected here, or offline.
    pub(super) fn worker_changed(&self, id: &WorkerId) {
        self.show_worker(id, 0);
        self.tell_of_worker(id);
    }

    /// The same for watchers on this instance; `away`: see [`Dispatcher::running_away`].
    pub(super) fn show_worker(&self, id: &WorkerId, away: usize) {
        if self.0.hub.workers.is_watched()
            && let Some(worker) = self.worker_record(id, away)
        {
            let event = WorkerEvent::Status(Box::new(WorkerReply { worker }));
            self.0.hub.workers.push(None, encode(&event).into());
        }
    }

    /// Tells watchers what a worker uses.
    pub(super) fn worker_uses(&self, id: &WorkerId, usage: &Usage) {
        self.show_usage(id, usage);
        self.tell_of_usage(id, usage);
    }

    /// The same for watchers on this instance.
    pub(super) fn show_usage(&self, id: &WorkerId, usage: &Usage) {
        if self.0.hub.workers.is_watched() {
            let usage = usage.clone();
            let event = WorkerEvent::Usage(UsageEvent { worker_id: id.clone(), usage, time: self.0.clock.now() });
            self.0.hub.workers.push(None, encode(&event).into());
        }
    }

    /// Jobs of a worker whose connection is gone while its jobs go on, as the store counts them.
    pub(super) async fn running_away(&self, id: &WorkerId) -> Result<usize, StoreError> {
        let known = self.0.fleet.known(id).filter(|known| known.worker.last_seen > self.online_since());
        if known.is_none() || self.0.fleet.agent(id).is_some() {
            return Ok(0);
        }
        Ok(self.0.store.running_on(id).await?.iter().filter(|job| !job.id.is_container()).count())
    }

    /// `away`: see [`Dispatcher::running_away`].
    pub(super) fn worker_record(&self, id: &WorkerId, away: usize) -> Option<WorkerRecord> {
        let mut worker = self.0.fleet.known(id)?.worker;
        let agent = self.0.fleet.agent(id);
        if let Some(agent) = &agent {
            worker.last_seen = agent.last_heard();
            worker.draining = agent.is_draining();
        }
        let live = LiveWorker {
            running: agent.as_ref().map_or(away, |agent| agent.running()),
            usage: agent.as_ref().and_then(|agent| agent.usage()),
            connected_at: agent.as_ref().map(|agent| agent.connected_at),
            offline: worker.last_seen <= self.online_since(),
        };
        Some(records::worker(&worker, live))
    }
}

fn drain_order(draining: bool) -> AgentOrder {
    if draining { AgentOrder::Drain(Nothing {}) } else { AgentOrder::Undrain(Nothing {}) }
}
