//! The jobs that wait or run, in memory: the queue, the leases and how far each attempt has come.
//!
//! Only the writer's thread touches it. It is built from the file at open; leases and queue
//! limits begin anew then, because an outage is no reason to lose a job.
//!
//! Invariants: every index follows from the slots alone, and [`Live::place`] is the only thing that
//! touches both. What a failed commit did is taken back slot by slot.

use std::cmp::Reverse;
use std::collections::binary_heap::{BinaryHeap, PeekMut};
use std::collections::btree_map::{BTreeMap, Entry};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::segment::Offsets;
use crate::base::clock::Millis;
use crate::model::{AccountName, Job, ReadyClass, Requires};
use crate::protocol::id::is_containers;
use crate::protocol::job::Status;
use crate::protocol::{Attempt, JobId, WorkerId};

/// A job that is not over.
#[derive(Debug, Clone)]
pub(super) enum Slot {
    Pending(Pending),
    Running(Box<Running>),
}

/// What is kept in memory of a job that waits: there may be a million of them.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) nonce: u32,
    pub(super) attempt: Attempt,
    pub(super) priority: i32,
    pub(super) account: AccountName,
    pub(super) class: Arc<Requires>,
    /// Since when its wait counts.
    pub(super) since: Millis,
    /// How long it may wait.
    pub(super) limit: Option<Millis>,
}

impl Pending {
    /// When it has waited long enough.
    fn deadline(&self) -> Option<Millis> {
        self.limit.map(|limit| self.since.saturating_add(limit))
    }
}

/// A job that a worker has.
#[derive(Debug, Clone)]
pub(super) struct Running {
    pub(super) job: Arc<Job>,
    pub(super) worker: WorkerId,
    /// When the lease runs out.
    pub(super) deadline: Millis,
    pub(super) last_n: u64,
    pub(super) offsets: Offsets,
    /// Bytes of output that are kept of the job, earlier attempts included.
    pub(super) kept: u64,
}

impl Running {
    /// The record, with the streams as they stand.
    pub(super) fn record(&self) -> Arc<Job> {
        let Offsets { stdout, stderr } = self.offsets;
        if self.job.stdout_bytes == stdout && self.job.stderr_bytes == stderr {
            return Arc::clone(&self.job);
        }
        Arc::new(Job { stdout_bytes: stdout, stderr_bytes: stderr, ..Job::clone(&self.job) })
    }
}

type Place = (Reverse<i32>, u64);

/// Numbers of one account's jobs.
#[derive(Debug, Default)]
struct OfAccount {
    pending: BTreeSet<u64>,
    running: BTreeSet<u64>,
    /// Those of them that are containers.
    containers: BTreeSet<u64>,
}

/// Everything that is looked up otherwise than by number.
#[derive(Debug, Default)]
struct Indexes {
    running: BTreeSet<u64>,
    containers: BTreeSet<u64>,
    classes: HashMap<Arc<Requires>, BTreeSet<Place>>,
    accounts: HashMap<AccountName, OfAccount>,
    workers: HashMap<WorkerId, BTreeSet<u64>>,
    waits: BTreeSet<(Millis, u64)>,
    leases: BTreeSet<(Millis, u64)>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Live {
    slots: BTreeMap<u64, Slot>,
    indexes: Indexes,
    /// Slots as they were before the transaction that is under way.
    undo: Vec<(u64, Option<Slot>)>,
}

impl Live {
    pub(super) fn get(&self, number: u64) -> Option<&Slot> {
        self.slots.get(&number)
    }

    /// The running attempt of `job`, if it is this one.
    pub(super) fn running(&self, job: JobId, attempt: Attempt) -> Option<&Running> {
        match self.slots.get(&job.number) {
            Some(Slot::Running(running)) if running.job.id == job && running.job.attempt == attempt => Some(running),
            Some(Slot::Running(_) | Slot::Pending(_)) | None => None,
        }
    }

    /// Puts a job where it now belongs; `None`: it is over.
    pub(super) fn put(&mut self, number: u64, slot: Option<Slot>) {
        let old = self.place(number, slot);
        self.undo.push((number, old));
    }

    /// Notes how far a running attempt has come.
    pub(super) fn advance(&mut self, number: u64, last_n: u64, offsets: Offsets, kept: u64) {
        if let Some(Slot::Running(running)) = self.slots.get_mut(&number) {
            // None of this is in an index, so nothing else has to follow.
            self.undo.push((number, Some(Slot::Running(running.clone()))));
            running.last_n = last_n;
            running.offsets = offsets;
            running.kept = kept;
        }
    }

    /// What was changed is in the file.
    pub(super) fn commit(&mut self) {
        self.undo.clear();
    }

    /// What was changed is not in the file: everything as it was.
    pub(super) fn rollback(&mut self) {
        while let Some((number, slot)) = self.undo.pop() {
            self.place(number, slot);
        }
    }

    /// A class as the queue knows it, so that a million jobs share one.
    pub(super) fn class(&self, requires: &Requires) -> Arc<Requires> {
        match self.indexes.classes.get_key_value(requires) {
            Some((class, _)) => Arc::clone(class),
            None => Arc::new(requires.clone()),
        }
    }

    pub(super) fn pending_count(&self) -> u64 {
        (self.slots.len() - self.indexes.running.len()) as u64
    }

    pub(super) fn pending_count_of(&self, account: &AccountName) -> u64 {
        self.indexes.accounts.get(account).map_or(0, |jobs| jobs.pending.len() as u64)
    }

    /// Jobs that wait and jobs that run, of one account or in all.
    pub(super) fn count_of(&self, account: Option<&AccountName>) -> (u64, u64) {
        let (pending, running, containers) = match account {
            Some(account) => match self.indexes.accounts.get(account) {
                Some(jobs) => (jobs.pending.len(), jobs.running.len(), &jobs.containers),
                None => return (0, 0),
            },
            None => {
                let running = self.indexes.running.len();
                (self.slots.len() - running, running, &self.indexes.containers)
            }
        };
        // There are few of these that are not over.
        let waiting = |number: &&u64| matches!(self.slots.get(number), Some(Slot::Pending(_)));
        let waiting = containers.iter().filter(waiting).count();
        ((pending - waiting) as u64, (running + waiting - containers.len()) as u64)
    }

    pub(super) fn ready(&self) -> Vec<ReadyClass> {
        let class = |(requires, jobs): (&Arc<Requires>, &BTreeSet<Place>)| {
            let &(Reverse(priority), head) = jobs.first()?;
            Some(ReadyClass { requires: Requires::clone(requires), priority, head, len: jobs.len() })
        };
        self.indexes.classes.iter().filter_map(class).collect()
    }

    /// The best `limit` jobs over all `classes`, best first, each with the index of its class.
    pub(super) fn best<'a>(&self, classes: impl Iterator<Item = &'a Requires>, limit: usize) -> Vec<(u64, usize)> {
        // The least is the best: a heap of the heads, each with the rest of its queue.
        let mut queues: Vec<_> = Vec::new();
        let mut heads = BinaryHeap::new();
        for (index, class) in classes.enumerate() {
            let mut queue = self.indexes.classes.get(class).into_iter().flatten();
            if let Some(&head) = queue.next() {
                heads.push(Reverse((head, index, queues.len())));
                queues.push(queue);
            }
        }
        let mut best = Vec::new();
        while best.len() < limit
            && let Some(mut top) = heads.peek_mut()
        {
            let Reverse(((_, number), index, queue)) = *top;
            // A class that was named twice shows its jobs twice, one right after the other.
            if best.last().is_none_or(|&(last, _)| last != number) {
                best.push((number, index));
            }
            match queues[queue].next() {
                Some(&next) => *top = Reverse((next, index, queue)),
                None => drop(PeekMut::pop(top)),
            }
        }
        best
    }

    /// Running jobs whose lease has run out, longest ago first.
    pub(super) fn lapsed(&self, now: Millis, limit: usize) -> Vec<u64> {
        self.indexes.leases.range(..=(now, u64::MAX)).take(limit).map(|&(_, number)| number).collect()
    }

    /// Pending jobs that have waited long enough, longest ago first.
    pub(super) fn overdue(&self, now: Millis, limit: usize) -> Vec<u64> {
        self.indexes.waits.range(..=(now, u64::MAX)).take(limit).map(|&(_, number)| number).collect()
    }

    /// Renews the lease of a running job.
    pub(super) fn renew(&mut self, number: u64, deadline: Millis) {
        let Some(Slot::Running(running)) = self.slots.get(&number) else { return };
        let running = Running { deadline, ..Running::clone(running) };
        self.put(number, Some(Slot::Running(Box::new(running))));
    }

    /// Begins every wait that has a limit, and every lease, anew.
    pub(super) fn start_anew(&mut self, now: Millis, lease_until: Millis) {
        let waits: Vec<u64> = self.indexes.waits.iter().map(|&(_, number)| number).collect();
        for number in waits {
            let Some(Slot::Pending(pending)) = self.slots.get(&number) else { continue };
            let pending = Pending { since: now, ..pending.clone() };
            self.put(number, Some(Slot::Pending(pending)));
        }
        for number in self.indexes.running.clone() {
            self.renew(number, lease_until);
        }
    }

    /// The jobs that `worker` has, by number.
    pub(super) fn running_on(&self, worker: &WorkerId) -> impl Iterator<Item = (u64, &Running)> {
        self.indexes.workers.get(worker).into_iter().flatten().filter_map(|number| match self.slots.get(number) {
            Some(Slot::Running(running)) => Some((*number, &**running)),
            Some(Slot::Pending(_)) | None => None,
        })
    }

    /// Numbers below `before` of jobs that are not over, highest first. `status`: only of this one.
    pub(super) fn numbers(
        &self,
        account: Option<&AccountName>,
        status: Option<Status>,
        before: u64,
        limit: usize,
    ) -> Vec<u64> {
        let none = BTreeSet::new();
        let is_job = |number: &&u64| !self.indexes.containers.contains(number);
        let newest = |numbers: &BTreeSet<u64>| {
            numbers.range(..before).rev().filter(is_job).take(limit).copied().collect::<Vec<_>>()
        };
        let (pending, running) = match account {
            Some(account) => match self.indexes.accounts.get(account) {
                Some(jobs) => (newest(&jobs.pending), &jobs.running),
                None => (Vec::new(), &none),
            },
            None => {
                let pending = self.slots.range(..before).rev().filter(|(_, slot)| matches!(slot, Slot::Pending(_)));
                let pending = pending.map(|(number, _)| number).filter(is_job);
                (pending.take(limit).copied().collect(), &self.indexes.running)
            }
        };
        let mut numbers = match status {
            Some(Status::Pending) => pending,
            Some(Status::Running) => newest(running),
            Some(Status::Completed | Status::Failed | Status::Cancelled) => Vec::new(),
            None => [pending, newest(running)].concat(),
        };
        numbers.sort_unstable_by_key(|&number| Reverse(number));
        numbers.truncate(limit);
        numbers
    }

    /// Sets a slot, and every index with it; returns what was there.
    fn place(&mut self, number: u64, slot: Option<Slot>) -> Option<Slot> {
        match (self.slots.entry(number), slot) {
            (Entry::Vacant(_), None) => None,
            (Entry::Vacant(vacant), Some(slot)) => {
                self.indexes.add(number, &slot);
                vacant.insert(slot);
                None
            }
            (Entry::Occupied(occupied), None) => {
                self.indexes.remove(number, occupied.get());
                Some(occupied.remove())
            }
            (Entry::Occupied(mut occupied), Some(slot)) => {
                self.indexes.remove(number, occupied.get());
                self.indexes.add(number, &slot);
                Some(occupied.insert(slot))
            }
        }
    }
}

impl Indexes {
    fn add(&mut self, number: u64, slot: &Slot) {
        match slot {
            Slot::Pending(pending) => {
                let place = (Reverse(pending.priority), number);
                self.classes.entry(Arc::clone(&pending.class)).or_default().insert(place);
                let jobs = self.accounts.entry(pending.account.clone()).or_default();
                jobs.pending.insert(number);
                if is_containers(pending.nonce) {
                    self.containers.insert(number);
                    jobs.containers.insert(number);
                }
                self.waits.extend(pending.deadline().map(|deadline| (deadline, number)));
            }
            Slot::Running(running) => {
                self.running.insert(number);
                let jobs = self.accounts.entry(running.job.account.clone()).or_default();
                jobs.running.insert(number);
                if running.job.id.is_container() {
                    self.containers.insert(number);
                    jobs.containers.insert(number);
                }
                self.workers.entry(running.worker.clone()).or_default().insert(number);
                self.leases.insert((running.deadline, number));
            }
        }
    }

    /// Takes a slot out, and with it what it leaves empty: names come from outside, and nothing may
    /// grow with how many there ever were.
    fn remove(&mut self, number: u64, slot: &Slot) {
        self.containers.remove(&number);
        let account = match slot {
            Slot::Pending(pending) => {
                if let Some(jobs) = self.classes.get_mut(&pending.class) {
                    jobs.remove(&(Reverse(pending.priority), number));
                    if jobs.is_empty() {
                        self.classes.remove(&pending.class);
                    }
                }
                if let Some(deadline) = pending.deadline() {
                    self.waits.remove(&(deadline, number));
                }
                &pending.account
            }
            Slot::Running(running) => {
                self.running.remove(&number);
                self.leases.remove(&(running.deadline, number));
                if let Some(jobs) = self.workers.get_mut(&running.worker) {
                    jobs.remove(&number);
                    if jobs.is_empty() {
                        self.workers.remove(&running.worker);
                    }
                }
                &running.job.account
            }
        };
        if let Some(jobs) = self.accounts.get_mut(account) {
            jobs.pending.remove(&number);
            jobs.running.remove(&number);
            jobs.containers.remove(&number);
            if jobs.pending.is_empty() && jobs.running.is_empty() {
                self.accounts.remove(account);
            }
        }
    }
}
