//! What this instance changed in the last seconds: written again where Redis has lost it.
//!
//! Redis syncs its file once a second. When it dies with its machine, or a replica takes its place, what it
//! answered last is gone. Instances still know which jobs they took, and which they gave to whom.
//! Output is not kept here: workers hold it until it is settled.
//!
//! Bounded in time and number; what falls out is lost with Redis.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::record;
use super::script::{Call, Script, digest};
use super::{base, partition_of};
use crate::base::clock::millis;
use crate::model::{Entry, EntryKind, Job};

/// For how long a change is kept: longer than Redis takes to sync, and a replica to hear of it.
const KEPT_FOR: Duration = Duration::from_secs(5);

/// Changes that are kept at the most: some tens of megabytes.
const MOST: usize = 32 * 1024;

/// Numbers that are passed over when Redis has come back, beside those that are known to have been given: for an instance that
/// comes late with what it remembers.
const NUMBERS: u32 = 1_000;

/// For how long nothing else is answered then: every instance tries to connect at least twice in it.
const HOLD: Duration = Duration::from_millis(1_500);

/// Leases last so long then; each instance begins them anew by its own settings.
const LEASE: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub(super) struct Recent {
    prefix: String,
    partitions: u32,
    changes: Mutex<VecDeque<Changed>>,
}

#[derive(Debug)]
struct Changed {
    at: Instant,
    job: Arc<Job>,
    /// The entry that says so; none of a submit.
    entry: Option<Entry>,
    key: Option<String>,
}

impl Recent {
    pub(super) fn new(prefix: String, partitions: u32) -> Self {
        Self { prefix, partitions, changes: Mutex::default() }
    }

    /// Keeps a job that was submitted.
    pub(super) fn submitted(&self, job: Arc<Job>, key: Option<String>) {
        self.push(Changed { at: Instant::now(), job, entry: None, key });
    }

    /// Keeps a change of status.
    pub(super) fn changed(&self, job: Arc<Job>, entry: Entry) {
        self.push(Changed { at: Instant::now(), job, entry: Some(entry), key: None });
    }

    fn push(&self, change: Changed) {
        let mut changes = self.changes.lock();
        while changes.len() >= MOST || changes.front().is_some_and(|old| change.at.duration_since(old.at) > KEPT_FOR) {
            changes.pop_front();
        }
        changes.push_back(change);
    }

    /// What to run first on a server that is another than before; `now` as scripts take it.
    pub(super) fn calls(&self, server: &str, now: &str) -> Vec<Call> {
        let arrive = (0..self.partitions).map(|partition| {
            let call = Call::new(Script::Arrive, &base(&self.prefix, partition)).arg(now).arg(server);
            call.arg(NUMBERS.div_ceil(self.partitions)).arg(millis(HOLD)).arg(millis(LEASE))
        });
        let changes = self.changes.lock();
        arrive.chain(changes.iter().filter_map(|change| self.restore(change, now))).collect()
    }

    fn restore(&self, change: &Changed, now: &str) -> Option<Call> {
        let Changed { at: _, job, entry, key } = change;
        let partition = partition_of(job.id.number, self.partitions);
        let requires = serde_json::to_string(&job.spec.requires).ok()?;
        let call = Call::new(Script::Restore, &base(&self.prefix, partition)).arg(now).arg(millis(LEASE));
        let call = call.arg(job.id.number).arg(job.id.nonce).arg(job.account.as_str());
        let call = call.arg(job.attempt).arg(record::status_code(job.status)).arg(key.as_deref().unwrap_or_default());
        let call = call.arg(digest(&requires)).arg(requires).arg(job.spec.priority);
        let mut call = call.arg(job.spec.queue_timeout_ms.map(|limit| limit.to_string()).unwrap_or_default());
        // The record stands for an attempt's first entry, and for the last of all.
        let n = entry.as_ref().map(|entry| entry.at.n).filter(|n| *n > 0);
        call.push(n.map(|n| n.to_string()).unwrap_or_default());
        let logged = entry.as_ref().filter(|entry| n.is_some() && matches!(entry.kind, EntryKind::Status { .. }));
        call.push(logged.map(record::entry_json).unwrap_or_default());
        call.push(job.id.number.saturating_sub(1) / u64::from(self.partitions) + 1);
        call.push("nonce");
        call.push(job.id.nonce);
        call.push("account");
        call.push(job.account.as_str());
        call.push("spec");
        call.push(serde_json::to_string(&*job.spec).ok()?);
        call.push("created");
        call.push(job.created_at);
        for (field, value) in record::changeable(job) {
            call.push(field);
            call.push(value);
        }
        Some(call)
    }
}
