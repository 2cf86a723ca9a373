//! The agent's state: what it is, what it holds, whether it takes more.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::engine::Labels;
use super::engines::Engines;
use super::executor::cgroup::Cgroups;
use super::gpus;
use super::held::{Held, Key, Stop, Why};
use super::home::Home;
use super::job::{self, Assignment};
use super::outbox::Outbox;
use super::outgoing::OutgoingLog;
use super::services::{self, Asides};
use super::sftp::logins::Logins;
use super::sftp::places::Places;
use super::system::{Gpus, Specs};
use super::workspace::transfer::Transfer;
use super::workspace::{Sizes, Workspaces};
use crate::base::clock::{Clock, Millis};
use crate::base::shutdown::Shutdown;
use crate::config::ContainerSettings;
use crate::model::JobSpec;
use crate::protocol::agent::{Assign, ContainerUsageReport, Heartbeat, Register, Reject, Usage};
use crate::protocol::{JobId, WorkerId};

/// See the module.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) id: WorkerId,
    pub(crate) boot: u64,
    pub(crate) slots: u32,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) version: String,
    pub(crate) specs: Specs,
    pub(crate) has_gpus: bool,
    pub(crate) gpus: Arc<Gpus>,
    pub(crate) clock: Clock,
    /// How far the dispatcher's clock is ahead of ours, in milliseconds; 0 where they agree.
    pub(crate) clock_offset: AtomicI64,
    pub(crate) outbox: Outbox,
    pub(crate) home: Home,
    pub(crate) workspaces: Workspaces,
    pub(crate) transfer: Transfer,
    pub(crate) sizes: Sizes,
    pub(crate) cgroups: Option<Cgroups>,
    /// The container engine, while there is one.
    pub(crate) engine: Engines,
    pub(crate) containers: ContainerSettings,
    /// Variables that jobs do not see.
    pub(crate) hidden: Vec<OsString>,
    /// The PATH of jobs that do not set one, where it is not the agent's own.
    pub(crate) search_path: Option<OsString>,
    /// The latest word on what is used.
    pub(crate) usage: watch::Receiver<Used>,
    /// Owns the jobs' tasks.
    pub(crate) tasks: Shutdown,
    /// An administrator said not to take new jobs.
    pub(crate) ordered_to_drain: AtomicBool,
    /// The agent is on its way out: it takes no new jobs either.
    pub(crate) leaving: CancellationToken,
    /// The last step: the connection is to be closed for good.
    pub(crate) gone: CancellationToken,
    pub(crate) jobs: Jobs,
    /// What is said of containers beside their logs.
    pub(crate) asides: Asides,
    /// Where SFTP is served, if it is.
    pub(crate) sftp: OnceLock<SocketAddr>,
    /// Where SFTP may go, and who asks whether it may.
    pub(crate) places: Places,
    pub(crate) logins: Logins,
}

/// What the machine and its containers use.
#[derive(Debug, Clone, Default)]
pub(crate) struct Used {
    /// None before the first look.
    pub(crate) machine: Option<Usage>,
    pub(crate) containers: Vec<ContainerUsageReport>,
}

/// Clocks that differ by less count as the same.
const CLOCKS_AGREE_MS: i64 = 2_000;

/// Jobs that are over and stored, but not for good yet, that are kept at the most: what fits into one `register`.
const TOLD_MOST: usize = 4_096;

/// Jobs that are done with of which the end is remembered: far more than are done in the seconds that a store may lose.
const DONE_MOST: usize = 1_024;

/// The jobs that are held.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    held: Mutex<BTreeMap<Key, Arc<Held>>>,
    /// Those of them that are over and stored, oldest first, and perhaps some that are gone.
    told: Mutex<VecDeque<Key>>,
    /// The last that were done with, each with its end and, where that is little, what it said before.
    done: Mutex<VecDeque<Arc<Held>>>,
    changed: Notify,
}

impl Agent {
    /// The time, by the dispatcher's clock.
    pub(crate) fn now(&self) -> Millis {
        self.clock.now().saturating_add_signed(self.clock_offset.load(Ordering::Relaxed))
    }

    /// The dispatcher has just said that it is `now` there. Small differences are the way of
    /// the message, not of the clocks.
    pub(crate) fn set_clock(&self, now: Millis) {
        let offset = now.cast_signed().saturating_sub(self.clock.now().cast_signed());
        let offset = if offset.abs() > CLOCKS_AGREE_MS { offset } else { 0 };
        self.clock_offset.store(offset, Ordering::Relaxed);
    }

    /// What to say of ourselves on a new connection.
    pub(crate) fn register(&self) -> Register {
        let Specs { hostname, cpu_count, memory_bytes, disk_bytes, gpus } = self.specs.clone();
        Register {
            worker_id: self.id.clone(),
            boot: self.boot,
            hostname,
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            cpu_count,
            memory_bytes,
            disk_bytes,
            gpus,
            slots: self.slots,
            labels: self.labels.clone(),
            version: self.version.clone(),
            images: self.engine.images(),
            pub_key: None,
            address: None,
            containers: services::known(&self.home),
            sftp: self.sftp.get().map(SocketAddr::to_string),
            resume: self.jobs.all().iter().filter_map(|job| job.resume()).collect(),
        }
    }

    /// What this worker's containers are known by.
    pub(crate) fn container_labels(&self) -> Labels<'_> {
        Labels { worker: &self.id, home: self.home.dir() }
    }

    /// How an engine names these GPUs. Nothing where they were only declared: then a job sees their numbers and no more.
    pub(crate) fn devices(&self, gpu_ids: &[u32]) -> Vec<String> {
        let gpus = self.specs.gpus.iter().filter(|gpu| gpu_ids.contains(&gpu.index));
        gpus.map(|gpu| gpu.uuid.clone()).filter(|uuid| !uuid.is_empty()).collect()
    }

    /// What to say every few seconds, to keep what we hold.
    pub(crate) fn heartbeat(&self) -> Heartbeat {
        let mut jobs = self.jobs.all();
        // What is over has no lease.
        jobs.retain(|job| !job.is_forgotten() && !job.is_told());
        let jobs = jobs.iter().map(|job| job.key).collect();
        let Used { machine, containers } = self.usage.borrow().clone();
        Heartbeat { usage: machine, jobs, containers }
    }

    /// Takes a job and starts it, or says why not. The answer to an assignment that was taken
    /// is sent before anything else of the job; a repeated one is answered again, and no more.
    pub(crate) fn assign(self: &Arc<Self>, assign: Assign) -> Result<(), Reject> {
        let Assign { job_id, attempt, spec, gpu_ids, lease_secs: _, window_bytes, adopt } = assign;
        let key = (job_id, attempt);
        // It was run here, and the store has lost that: it is told again how it ended, and not run again.
        if let Some(held) = self.jobs.take_done(key) {
            held.recall();
            held.resend(&self.outbox, 1);
            self.jobs.held.lock().insert(key, held);
        }
        if let Some(held) = self.jobs.get(key) {
            held.answer(&self.outbox);
            return Ok(());
        }
        let reject = |reason: &str| Err(Reject { job_id, attempt, reason: reason.to_owned() });
        if self.leaving.is_cancelled() || self.ordered_to_drain.load(Ordering::Relaxed) {
            return reject("the worker is draining");
        }
        let spec = match JobSpec::try_from(spec) {
            Ok(spec) if spec.requires.container && self.engine.now().is_none() => {
                return reject("the worker has no container engine");
            }
            Ok(spec) => spec,
            Err(error) => return reject(&format!("the spec makes no sense here: {error}")),
        };
        if !spec.requires.slotless && self.jobs.running() >= self.slots as usize {
            return reject("every slot of the worker is taken");
        }
        // What is left of an older attempt is nobody's business any more.
        for stale in self.jobs.all().iter().filter(|job| job.key.0 == job_id) {
            stale.forget();
            if stale.is_dormant() {
                self.jobs.remove(stale.key);
            }
        }
        let log = OutgoingLog::new(window_bytes, self.home.spills().join(format!("{job_id}-{attempt}")));
        let make = if spec.requires.slotless { Held::slotless } else { Held::new };
        let held = make(key, log, spec.grace());
        // What is taken over has its GPUs, and uses them.
        let waits = !gpu_ids.is_empty() && adopt.is_none();
        held.give(gpu_ids.clone(), waits);
        self.jobs.held.lock().insert(key, Arc::clone(&held));
        held.answer(&self.outbox);
        let span = tracing::info_span!("job", job = %job_id, attempt);
        let agent = Arc::clone(self);
        let run = async move {
            if !waits || gpus::are_free(&agent, &held, &gpu_ids).await {
                job::run(agent, held, Assignment { spec, gpu_ids, adopt }).await;
            }
        };
        self.tasks.spawn(run.instrument(span));
        Ok(())
    }

    /// Gives a job back that was not accepted yet, as if it had never been here.
    pub(crate) fn refuse(&self, held: &Arc<Held>, reason: String) {
        held.refuse(&self.outbox, reason);
        self.jobs.held.lock().remove(&held.key);
        self.jobs.changed.notify_waiters();
    }

    /// The job's task is done.
    pub(crate) fn job_over(&self, held: &Held) {
        if held.is_forgotten() {
            self.jobs.remove(held.key);
        }
        self.jobs.changed.notify_waiters();
    }
}

impl Jobs {
    pub(crate) fn get(&self, key: Key) -> Option<Arc<Held>> {
        self.held.lock().get(&key).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Held>> {
        self.held.lock().values().cloned().collect()
    }

    /// The dispatcher has all there is to know of the job, or wants to hear no more of it. How it ended is remembered either
    /// way: a store that has lost its tail may ask again for what it had, acknowledged or not.
    pub(crate) fn remove(&self, key: Key) {
        let removed = self.held.lock().remove(&key);
        if let Some(held) = removed.filter(|held| held.has_ended()) {
            held.keep_little();
            let mut done = self.done.lock();
            done.push_back(held);
            if done.len() > DONE_MOST {
                done.pop_front();
            }
        }
        self.changed.notify_waiters();
    }

    /// The job that was done with, if it is remembered.
    fn take_done(&self, key: Key) -> Option<Arc<Held>> {
        let mut done = self.done.lock();
        let place = done.iter().rposition(|held| held.key == key)?;
        done.remove(place)
    }

    /// The end of this one is stored, though not for good yet. There may be very many of these: only the latest are
    /// kept in case that the store loses them.
    pub(crate) fn keep_told(&self, key: Key) {
        let oldest = {
            let mut told = self.told.lock();
            told.push_back(key);
            if told.len() > TOLD_MOST { told.pop_front() } else { None }
        };
        // One that the store has lost since is asked for again.
        if let Some(oldest) = oldest.and_then(|oldest| self.get(oldest)).filter(|oldest| oldest.is_told()) {
            self.remove(oldest.key);
        }
    }

    /// The first of these GPUs that another job than `key` uses.
    pub(crate) fn gpu_in_use(&self, key: Key, gpus: &[u32]) -> Option<u32> {
        let held = self.held.lock();
        let is_used = |gpu: &u32| held.values().any(|job| job.key != key && job.uses_gpu(*gpu));
        gpus.iter().copied().find(is_used)
    }

    /// How many take a slot.
    fn running(&self) -> usize {
        self.held.lock().values().filter(|job| job.takes_slot && !job.is_over()).count()
    }

    /// Asks every job to end; returns the longest time that one has for it.
    pub(crate) fn stop_all(&self, why: Why) -> Duration {
        let mut longest = Duration::ZERO;
        for job in self.all() {
            match why {
                // Containers go on without us.
                Why::Cancelled | Why::Leaving | Why::Cut if job.is_service() => (),
                Why::Cancelled | Why::Leaving => {
                    longest = longest.max(job.grace);
                    job.stop(Stop { why, grace: job.grace });
                }
                Why::Cut => job.stop(Stop { why, grace: Duration::ZERO }),
                Why::Forgotten => job.forget(),
            }
        }
        longest
    }

    /// Nothing is sent of any job until a dispatcher has said from where.
    pub(crate) fn pause_all(&self) {
        for job in self.all() {
            job.pause();
        }
    }

    /// Resolves once no job is held but containers, which go on without us.
    pub(crate) async fn none_left(&self) {
        self.until(|mut keys| keys.all(|(job, _)| job.is_container())).await;
    }

    /// Resolves once nothing of `id` is held.
    pub(crate) async fn let_go(&self, id: JobId) {
        self.until(|mut keys| keys.all(|(job, _)| *job != id)).await;
    }

    async fn until(&self, reached: impl Fn(std::collections::btree_map::Keys<'_, Key, Arc<Held>>) -> bool) {
        loop {
            let changed = self.changed.notified();
            if reached(self.held.lock().keys()) {
                return;
            }
            changed.await;
        }
    }

    /// Holds it.
    pub(crate) fn insert(&self, held: Arc<Held>) {
        self.held.lock().insert(held.key, held);
    }
}
