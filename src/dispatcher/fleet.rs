//! The workers connected here: what each has left, and which jobs it holds.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dashmap::DashMap;
use parking_lot::Mutex;

use super::DispatchError;
use super::intake::Intake;
use crate::base::clock::Millis;
use crate::hub::{Item, Outbox};
use crate::model::{Capacity, Job, Requires, Worker};
use crate::protocol::agent::{AgentJobOrder, AgentOrder, Lost, Usage};
use crate::protocol::codec::{FrameId, encode, encode_with};
use crate::protocol::{Attempt, CloseCode, JobId, WorkerId};
use crate::scheduler::{self, Facts, Plan};

/// All workers that this instance knows, and those that are connected to it.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    agents: DashMap<WorkerId, Arc<Agent>>,
    /// Every worker's record, connected or not.
    known: DashMap<WorkerId, Known>,
    /// Who holds a job.
    holders: DashMap<JobId, Arc<Agent>>,
}

/// A worker's record and whether its absence was told.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) worker: Worker,
    pub(super) told_offline: bool,
}

/// One worker's connection.
#[derive(Debug)]
pub struct Agent {
    /// Its name.
    pub id: WorkerId,
    /// When its process started.
    pub boot: u64,
    /// Since when it is connected.
    pub connected_at: Millis,
    /// What it writes to its jobs' logs, on the way to the store.
    pub intake: Intake,
    outbox: Arc<Outbox>,
    last_heard: AtomicU64,
    gone: AtomicBool,
    // Short critical sections: plan, take, free. Nothing is awaited under it.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    facts: Facts,
    /// Whether an administrator drains it; kept in its record.
    drained: bool,
    /// How often that was said.
    drain_turns: u64,
    /// Whether it drains itself, which ends with its connection.
    leaving: bool,
    held: HashMap<JobId, Held>,
    usage: Option<Usage>,
}

/// A job that a worker holds.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) attempt: Attempt,
    pub(super) cost: Capacity,
    /// How long it may run before the dispatcher ends it itself, should the worker not have.
    most: Option<Millis>,
    /// When that is.
    overdue_at: Option<Millis>,
}

/// One worker's connection, as it stood before the worker's record was read. A record that is older than the connection, or
/// than what an administrator said since, is not to be followed.
#[derive(Debug)]
pub(super) struct BeforeALook {
    agent: Arc<Agent>,
    drain_turns: u64,
}

impl BeforeALook {
    /// Whether this is still the worker's connection.
    pub(super) fn is_of(&self, agent: &Arc<Agent>) -> bool {
        Arc::ptr_eq(&self.agent, agent)
    }

    /// Notes what the record says of whether an administrator drains the worker.
    pub(super) fn take_drained(&self, drained: bool) {
        let mut state = self.agent.state.lock();
        if state.drain_turns == self.drain_turns {
            state.drain(drained);
        }
    }
}

impl State {
    fn drain(&mut self, drained: bool) {
        self.drained = drained;
        self.drain_turns += 1;
        self.facts.draining = drained || self.leaving;
    }
}

impl Fleet {
    pub(super) fn new(workers: Vec<Worker>) -> Self {
        let fleet = Self::default();
        for worker in workers {
            fleet.known.insert(worker.id.clone(), Known { worker, told_offline: true });
        }
        fleet
    }

    /// Takes a connection in; returns the one that it supersedes.
    pub(super) fn join(&self, agent: Arc<Agent>, worker: Worker) -> Option<Arc<Agent>> {
        self.known.insert(worker.id.clone(), Known { worker, told_offline: false });
        for job in agent.held_jobs() {
            self.holders.insert(job, Arc::clone(&agent));
        }
        self.agents.insert(agent.id.clone(), agent)
    }

    /// Forgets a connection, unless a newer one of the same worker has taken its place.
    pub(super) fn leave(&self, agent: &Arc<Agent>, now: Millis) {
        agent.gone.store(true, Ordering::Release);
        if self.agents.remove_if(&agent.id, |_, current| Arc::ptr_eq(current, agent)).is_some()
            && let Some(mut known) = self.known.get_mut(&agent.id)
        {
            known.worker.last_seen = now;
        }
        for job in agent.held_jobs() {
            self.holders.remove_if(&job, |_, holder| Arc::ptr_eq(holder, agent));
        }
    }

    /// The connection of a worker.
    pub(super) fn agent(&self, id: &WorkerId) -> Option<Arc<Agent>> {
        self.agents.get(id).map(|agent| Arc::clone(&agent))
    }

    /// All connections.
    pub(super) fn agents(&self) -> Vec<Arc<Agent>> {
        self.agents.iter().map(|agent| Arc::clone(&agent)).collect()
    }

    /// The connection of the worker that holds a job.
    pub(super) fn holder(&self, job: JobId) -> Option<Arc<Agent>> {
        self.holders.get(&job).map(|agent| Arc::clone(&agent))
    }

    /// Notes that `agent` holds a job.
    pub(super) fn place(&self, agent: &Arc<Agent>, job: &Job, since: Millis) {
        agent.take(job, since);
        self.holders.insert(job.id, Arc::clone(agent));
    }

    /// Notes that a job is no longer held; frees what it took.
    pub(super) fn release(&self, job: JobId, attempt: Attempt) -> Option<Arc<Agent>> {
        let holder = self.holder(job)?;
        if !holder.free(job, attempt) {
            return None;
        }
        self.holders.remove_if(&job, |_, current| Arc::ptr_eq(current, &holder));
        Some(holder)
    }

    /// Takes over what the store says of a worker that is not connected here; says whether there is
    /// anything new in it. Not heard of since `since` is offline.
    pub(super) fn learn(&self, worker: &Worker, since: Millis) -> bool {
        let told_offline = worker.last_seen <= since;
        let before = self.known.insert(worker.id.clone(), Known { worker: worker.clone(), told_offline });
        before.is_none_or(|before| {
            let seen = Worker { last_seen: worker.last_seen, ..before.worker };
            seen != *worker || before.told_offline != told_offline
        })
    }

    /// Whether a worker is there, as far as was told.
    pub(super) fn is_online(&self, id: &WorkerId) -> bool {
        self.known.get(id).is_some_and(|known| !known.told_offline)
    }

    /// What is known of a worker.
    pub(super) fn known(&self, id: &WorkerId) -> Option<Known> {
        self.known.get(id).map(|known| known.clone())
    }

    /// What is known of all workers, by id.
    pub(super) fn all_known(&self) -> Vec<Known> {
        let mut all: Vec<Known> = self.known.iter().map(|known| known.clone()).collect();
        all.sort_by(|a, b| a.worker.id.cmp(&b.worker.id));
        all
    }

    /// Changes what is known of a worker.
    pub(super) fn update_known(&self, id: &WorkerId, change: impl FnOnce(&mut Known)) {
        if let Some(mut known) = self.known.get_mut(id) {
            change(&mut known);
        }
    }

    /// Facts of all workers, for the scheduler's words. Offline is who was not heard of since then.
    pub(super) fn facts(&self, since: Millis, here: &str) -> Vec<Facts> {
        self.all_known()
            .into_iter()
            .map(|known| match self.agent(&known.worker.id) {
                Some(agent) => Facts { online: agent.last_heard() > since, ..agent.state.lock().facts.clone() },
                // What it has left is known where it is connected, if it is.
                None => facts_of(&known.worker, is_away(&known.worker, here) && known.worker.last_seen > since),
            })
            .collect()
    }
}

impl Agent {
    pub(super) fn new(worker: &Worker, outbox: Arc<Outbox>, now: Millis) -> Self {
        // Orders that may be under way at once: an assign and a cancel for each slot, and acks.
        outbox.make_room(1024 + 4 * worker.slots as usize);
        Self {
            id: worker.id.clone(),
            boot: worker.boot,
            connected_at: now,
            intake: Intake::default(),
            outbox,
            last_heard: AtomicU64::new(now),
            gone: AtomicBool::new(false),
            state: Mutex::new(State {
                facts: facts_of(worker, true),
                drained: worker.draining,
                drain_turns: 0,
                leaving: false,
                held: HashMap::new(),
                usage: None,
            }),
        }
    }

    /// Sends an order about a job.
    pub(super) fn order_job(&self, order: &AgentJobOrder<'_>) {
        self.outbox.push_now(Item::Frame(encode(order).into()));
    }

    /// Sends an order about the worker.
    pub(super) fn order(&self, order: &AgentOrder) {
        self.outbox.push_now(Item::Frame(encode(order).into()));
    }

    /// Sends an order as another instance wrote it.
    pub(super) fn pass_on(&self, frame: String) {
        self.outbox.push_now(Item::Frame(frame.into()));
    }

    /// Tells it why it may not write, and to kill what it would have written; `id` is that of the
    /// frame. This is no error of the peer's that counts against it: it could not know.
    pub(super) fn refuse(&self, job: JobId, attempt: Attempt, id: Option<&FrameId>, error: &DispatchError) {
        self.outbox.push_now(Item::Frame(encode_with(&error.to_wire(), id).into()));
        self.order(&AgentOrder::Heartbeat(Lost { lost: vec![(job, attempt)] }));
    }

    /// Its connection's outgoing side.
    pub(super) fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Closes its connection.
    pub(super) fn close(&self, code: CloseCode) {
        self.outbox.close(code);
    }

    /// Whether its connection has ended.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Notes that it was heard of.
    pub fn heard(&self, now: Millis) {
        self.last_heard.store(now, Ordering::Relaxed);
    }

    /// Counts silence and the limits of runs from `now` on: until then nobody listened.
    pub(super) fn start_anew(&self, now: Millis) {
        self.heard(now);
        for held in self.state.lock().held.values_mut() {
            held.overdue_at = held.most.map(|most| now.saturating_add(most));
        }
    }

    pub(super) fn last_heard(&self) -> Millis {
        self.last_heard.load(Ordering::Relaxed)
    }

    pub(super) fn set_usage(&self, usage: Usage) {
        self.state.lock().usage = Some(usage);
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        self.state.lock().usage.clone()
    }

    /// Notes whether an administrator drains it.
    pub(super) fn set_drained(&self, drained: bool) {
        self.state.lock().drain(drained);
    }

    /// How it stands before its record is read.
    pub(super) fn before_a_look(self: Arc<Self>) -> BeforeALook {
        let drain_turns = self.state.lock().drain_turns;
        BeforeALook { agent: self, drain_turns }
    }

    /// Notes whether it drains itself.
    pub(super) fn set_leaving(&self, leaving: bool) {
        let mut state = self.state.lock();
        state.leaving = leaving;
        state.facts.draining = leaving || state.drained;
    }

    /// Whether it gets no new jobs, for either reason.
    pub(super) fn is_draining(&self) -> bool {
        self.state.lock().facts.draining
    }

    /// Jobs that it holds, containers aside.
    pub(super) fn running(&self) -> usize {
        self.state.lock().held.keys().filter(|job| !job.is_container()).count()
    }

    /// Slots that it has.
    pub(super) fn slots(&self) -> usize {
        // Far below what `usize` holds on every platform this builds for.
        self.state.lock().facts.total.slots as usize
    }

    /// Slots that are free.
    pub(super) fn free_slots(&self) -> u32 {
        self.state.lock().facts.free.slots
    }

    /// What to claim for it now.
    pub(super) fn plan<'a>(&self, classes: impl IntoIterator<Item = &'a Requires>) -> Option<Plan> {
        if self.is_gone() || self.outbox.is_closing() {
            return None;
        }
        scheduler::plan(&self.state.lock().facts, classes)
    }

    /// What it has left beside these jobs, whether or not it holds them yet.
    pub(super) fn left_beside(&self, jobs: &[Arc<Job>]) -> Capacity {
        let state = self.state.lock();
        let mut free = state.facts.free.clone();
        for job in jobs.iter().filter(|job| !state.held.contains_key(&job.id)) {
            scheduler::give(&mut free, &job.spec.requires, &job.gpu_ids);
        }
        free
    }

    pub(super) fn held(&self, job: JobId) -> Option<Held> {
        self.state.lock().held.get(&job).cloned()
    }

    pub(super) fn held_jobs(&self) -> Vec<JobId> {
        self.state.lock().held.keys().copied().collect()
    }

    /// Attempts that should have ended by themselves before `now`.
    pub(super) fn overdue(&self, now: Millis) -> Vec<(JobId, Attempt)> {
        let state = self.state.lock();
        let late = |held: &Held| held.overdue_at.is_some_and(|at| at <= now);
        state.held.iter().filter(|(_, held)| late(held)).map(|(job, held)| (*job, held.attempt)).collect()
    }

    /// Holds a job, and what it costs. Its limit counts from `since`: the moment of its start, or
    /// a later one before which nobody could have said that it is over.
    pub(super) fn take(&self, job: &Job, since: Millis) {
        let mut state = self.state.lock();
        if state.held.get(&job.id).is_some_and(|held| held.attempt == job.attempt) {
            return;
        }
        let cost = scheduler::cost(&job.spec.requires, &job.gpu_ids);
        let held = Held {
            attempt: job.attempt,
            most: longest_run(job),
            overdue_at: longest_run(job).map(|most| since.saturating_add(most)),
            cost,
        };
        state.facts.free.take(&held.cost);
        state.held.insert(job.id, held);
    }

    /// Holds a job no more; `false`: it did not hold that attempt.
    fn free(&self, job: JobId, attempt: Attempt) -> bool {
        let mut state = self.state.lock();
        if state.held.get(&job).is_none_or(|held| held.attempt != attempt) {
            return false;
        }
        state.held.remove(&job);
        state.count_free();
        true
    }

    /// The program of a job is over: what it took is free, while its end is still on the way to the
    /// store.
    pub(super) fn finish(&self, job: JobId, attempt: Attempt) {
        let mut state = self.state.lock();
        if let Some(held) = state.held.get_mut(&job).filter(|held| held.attempt == attempt) {
            held.cost = Capacity::default();
            state.count_free();
        }
    }
}

impl State {
    /// Counted anew rather than added back, so that saturation cannot add up.
    fn count_free(&mut self) {
        let mut free = self.facts.total.clone();
        for held in self.held.values() {
            free.take(&held.cost);
        }
        self.facts.free = free;
    }
}

/// A worker's own limit comes first; the dispatcher's is for workers that do not keep it.
fn longest_run(job: &Job) -> Option<Millis> {
    /// For the worker's report to arrive.
    const SLACK_MS: u64 = 2_000;
    let grace = crate::base::clock::millis(job.spec.grace());
    Some(job.spec.timeout_ms?.saturating_add(grace).saturating_add(SLACK_MS))
}

/// Whether a worker may be there without a connection to this instance: it has one to another, or it polls.
fn is_away(worker: &Worker, here: &str) -> bool {
    worker.polls || !worker.instance.is_empty() && worker.instance != here
}

fn facts_of(worker: &Worker, online: bool) -> Facts {
    let total = Capacity {
        slots: worker.slots,
        milli_cpus: u64::from(worker.cpu_count) * 1000,
        memory_bytes: worker.memory_bytes,
        gpus: worker.gpus.iter().map(|gpu| gpu.index).collect(),
    };
    Facts {
        id: worker.id.clone(),
        labels: worker.labels.clone(),
        containers: worker.containers,
        polls: worker.polls,
        online,
        draining: worker.draining,
        free: total.clone(),
        total,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_not_followed_where_it_is_older_than_the_connection_or_the_administrators_word() {
        let worker: Worker = serde_json::from_value(serde_json::json!({
            "id": "w", "boot": 1, "hostname": "w", "os": "linux", "arch": "x86_64", "version": "1", "cpu_count": 1,
            "memory_bytes": 1, "disk_bytes": 1, "gpus": [], "slots": 1, "labels": {}, "containers": false,
            "draining": false, "last_seen": 0,
        }))
        .unwrap();
        let connection = || Arc::new(Agent::new(&worker, Arc::default(), 0));
        let (older, newer) = (connection(), connection());
        let before = Arc::clone(&older).before_a_look();
        assert!(before.is_of(&older) && !before.is_of(&newer));

        older.set_drained(true);
        before.take_drained(false);
        assert!(older.is_draining(), "it was drained after that was read");
        older.before_a_look().take_drained(false);
        assert!(!before.agent.is_draining(), "an administrator of another instance ended it");
    }
}
