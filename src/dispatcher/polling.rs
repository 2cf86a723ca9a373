//! Workers that poll: no connection, one job at a time, asked for over HTTP.
//!
//! They are in the one registry and live by heartbeats like any worker, but nothing can be told to them. One may ask
//! without saying who it is; then an idle one of the same address is given the job, and any of that address may bring
//! back what came of it (`results`).
//!
//! Invariants: a polling worker has one job at the most, over all instances; a job that was claimed and never handed
//! out, because the instance died in between, is handed out at the next poll.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::matchmaker::count_claim;
use super::{DispatchError, Dispatcher};
use crate::auth::Identity;
use crate::base::clock::{Millis, millis};
use crate::metrics::Operation;
use crate::model::{Job, Requires, Role, Worker};
use crate::protocol::WorkerId;
use crate::store::StoreError;
use crate::store::documents::{Collection, DocumentWrite};
use crate::store::jobs::Claim;

/// Longest run of a job on a polling worker. Its heartbeats do not say what it runs, so they renew whatever it was
/// given, for no longer than this.
const RUNS_MOST: Duration = Duration::from_secs(24 * 3600);

/// How long what was handed out is remembered: a late result still finds it.
const REMEMBERED: Duration = Duration::from_secs(25 * 3600);

/// Time to give a worker a job; then another poll may try.
const TURN: Duration = Duration::from_secs(10);

/// Workers of one address that a poll looks at.
const LOOKS: usize = 32;

/// What a polling worker says of itself.
#[derive(Debug, Clone)]
pub struct PollingWorker {
    /// Its name.
    pub id: WorkerId,
    /// Its machine.
    pub hostname: String,
    /// Operating system, in its own words.
    pub os: String,
    /// Processors; 0 where it does not say.
    pub cpu_count: u32,
    /// Version of the agent.
    pub version: String,
}

/// An attempt that was handed out.
#[derive(Debug, Serialize, Deserialize)]
struct Booking {
    /// From where it was asked for, by one that did not say who it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    anonymous_from: Option<IpAddr>,
}

/// What a polling worker is about.
enum Busy {
    /// It was given a job.
    Yes,
    No,
    /// It was to be given this one, and that was never finished.
    Undelivered(Arc<Job>),
}

impl Dispatcher {
    /// Takes a polling worker into the registry. One that comes again has started anew: what it had is given up.
    ///
    /// # Errors
    /// The role may not, `conflict` while a connected worker has the name, or the store.
    pub async fn register_polling(
        &self,
        who: &Identity,
        worker: PollingWorker,
        from: IpAddr,
    ) -> Result<(), DispatchError> {
        runs_jobs(who)?;
        let PollingWorker { id, hostname, os, cpu_count, version } = worker;
        let now = self.0.clock.now();
        let before = self.0.store.worker(&id).await?;
        let connected = |worker: &Worker| !worker.polls && worker.last_seen > self.online_since();
        if self.0.fleet.agent(&id).is_some() || before.as_ref().is_some_and(connected) {
            return Err(DispatchError::Conflict(format!("worker {id} is connected by WebSocket")));
        }
        let worker = Worker {
            sftp: None,
            boot: before.as_ref().map_or(now, |before| now.max(before.boot.saturating_add(1))),
            id,
            hostname,
            os,
            arch: String::new(),
            version,
            cpu_count,
            memory_bytes: 0,
            disk_bytes: 0,
            gpus: Vec::new(),
            slots: 1,
            labels: std::collections::BTreeMap::default(),
            containers: false,
            draining: before.as_ref().is_some_and(|before| before.draining),
            last_seen: now,
            instance: String::new(),
            contact: None,
            ip: Some(from),
            polls: true,
        };
        if !self.0.store.register(worker.clone()).await? {
            return Err(DispatchError::Conflict(format!("worker {} was registered by another just now", worker.id)));
        }
        for job in self.0.store.running_on(&worker.id).await? {
            self.give_up(job.id, job.attempt).await?;
        }
        self.noting_presence(&worker.id, || self.0.fleet.learn(&worker, self.online_since()));
        info!(worker = %worker.id, %from, "polling worker registered");
        self.polling_worker_changed(&worker.id, 0);
        Ok(())
    }

    /// A polling worker lives: it keeps the job that it was given. Returns the time.
    ///
    /// # Errors
    /// The role may not, `not_found`, or the store.
    pub async fn polling_heartbeat(&self, who: &Identity, id: &WorkerId) -> Result<Millis, DispatchError> {
        runs_jobs(who)?;
        let worker = self.polling_worker(id).await?.ok_or(DispatchError::NotFound("worker"))?;
        let now = self.0.clock.now();
        self.0.store.seen(vec![id.clone()]).await?;
        let running = self.0.store.running_on(id).await?;
        let too_long = now.saturating_sub(millis(RUNS_MOST));
        let held = running.iter().filter(|job| job.started_at.is_some_and(|began| began > too_long));
        let held: Vec<_> = held.map(|job| (job.id, job.attempt)).collect();
        if !held.is_empty() {
            self.0.store.renew(id, &held, self.0.settings.lease).await?;
        }
        let worker = Worker { last_seen: now, ..worker };
        if self.noting_presence(id, || self.0.fleet.learn(&worker, self.online_since())) {
            self.polling_worker_changed(id, running.len());
        }
        Ok(now)
    }

    /// Gives a job to the polling worker that asks, or, where it does not say which one it is, to an idle one of the
    /// same address, the first that registered. `None`: no such worker is idle, or no job waits.
    ///
    /// # Errors
    /// The role may not, `not_found` where the worker that it says it is polls nowhere, or the store.
    pub async fn poll(
        &self,
        who: &Identity,
        named: Option<&WorkerId>,
        from: IpAddr,
    ) -> Result<Option<Arc<Job>>, DispatchError> {
        runs_jobs(who)?;
        let workers = match named {
            Some(id) => vec![self.polling_worker(id).await?.ok_or(DispatchError::NotFound("worker"))?],
            None => self.polling_from(from).await?,
        };
        let anonymous_from = named.is_none().then_some(from);
        let since = self.online_since();
        for worker in workers.iter().filter(|worker| worker.last_seen > since && !worker.draining) {
            let busy = self.is_busy(&worker.id).await?;
            let may_get = match &busy {
                Busy::Yes => false,
                Busy::No => self.has_work_for_pollers().await?,
                Busy::Undelivered(_) => true,
            };
            if may_get && let Some(job) = self.give(&worker.id, anonymous_from).await? {
                return Ok(Some(job));
            }
        }
        Ok(None)
    }

    /// The record of a worker, if it polls.
    pub(super) async fn polling_worker(&self, id: &WorkerId) -> Result<Option<Worker>, StoreError> {
        Ok(self.0.store.worker(id).await?.filter(|worker| worker.polls))
    }

    /// Whether a running job was given to a worker that polls.
    pub(super) async fn is_polled(&self, job: &Job) -> Result<bool, StoreError> {
        match &job.worker {
            Some(worker) if job.spec.requires.polled => Ok(self.polling_worker(worker).await?.is_some()),
            Some(_) | None => Ok(false),
        }
    }

    /// From where an attempt was asked for by one that did not say who it is.
    pub(super) async fn asked_anonymously_from(&self, job: &Job) -> Result<Option<IpAddr>, StoreError> {
        let found = self.0.store.document(Collection::Bookings, &booking_key(job)).await?;
        let booking: Option<Booking> = found.and_then(|found| serde_json::from_str(&found.value).ok());
        Ok(booking.and_then(|booking| booking.anonymous_from))
    }

    /// Tells watchers where a polling worker stands that has so many jobs.
    pub(super) fn polling_worker_changed(&self, id: &WorkerId, running: usize) {
        self.show_worker(id, running);
        self.tell_of_worker(id);
    }

    /// Those of an address, the first that registered first.
    async fn polling_from(&self, from: IpAddr) -> Result<Vec<Worker>, StoreError> {
        let is_there = |worker: &Worker| worker.polls && worker.ip == Some(from);
        let known = self.0.fleet.all_known().into_iter().map(|known| known.worker);
        let mut workers: Vec<Worker> = known.filter(is_there).collect();
        if workers.is_empty() && self.has_peers() {
            // It may have registered with another instance a moment ago.
            workers = self.0.store.workers().await?;
            workers.retain(is_there);
        }
        workers.sort_by(|a, b| (a.boot, &a.id).cmp(&(b.boot, &b.id)));
        if workers.len() > LOOKS {
            // Another part each time, so that each has its turn.
            let first = rand::random_range(0..workers.len());
            workers.rotate_left(first);
            workers.truncate(LOOKS);
        }
        Ok(workers)
    }

    /// Whether a job may be waiting that a polling worker can run.
    async fn has_work_for_pollers(&self) -> Result<bool, StoreError> {
        if self.has_peers() {
            // It may have been submitted to another instance a moment ago.
            return Ok(self.0.store.ready().await?.iter().any(|class| class.requires.polled));
        }
        Ok(self.0.queue.snapshot().0.iter().any(|class| class.polled))
    }

    async fn is_busy(&self, id: &WorkerId) -> Result<Busy, StoreError> {
        let Some(job) = self.0.store.running_on(id).await?.pop() else { return Ok(Busy::No) };
        let booked = self.0.store.document(Collection::Bookings, &booking_key(&job)).await?;
        Ok(if booked.is_some() { Busy::Yes } else { Busy::Undelivered(job) })
    }

    /// Gives a worker a job, unless another poll is at it.
    async fn give(&self, id: &WorkerId, anonymous_from: Option<IpAddr>) -> Result<Option<Arc<Job>>, DispatchError> {
        let store = &self.0.store;
        let turn = |expected, value: Option<&str>| DocumentWrite {
            collection: Collection::PollTurns,
            key: id.to_string(),
            expected,
            value: value.map(str::to_owned),
            expires_at: Some(self.0.clock.now() + millis(TURN)),
        };
        if !store.write_documents(vec![turn(None, Some("{}"))]).await? {
            return Ok(None);
        }
        let version = store.document(Collection::PollTurns, id.as_str()).await?.map(|turn| turn.version);
        let job = match self.is_busy(id).await? {
            Busy::Yes => None,
            Busy::No => self.claim_for_poller(id).await?,
            Busy::Undelivered(job) => Some(job),
        };
        let mut writes: Vec<DocumentWrite> = version.map(|version| turn(Some(version), None)).into_iter().collect();
        if let Some(job) = &job {
            let value = serde_json::to_string(&Booking { anonymous_from })
                .map_err(|error| StoreError::Corrupt(error.to_string()))?;
            writes.push(DocumentWrite {
                collection: Collection::Bookings,
                key: booking_key(job),
                expected: None,
                value: Some(value),
                expires_at: Some(self.0.clock.now() + millis(REMEMBERED)),
            });
        }
        if !store.write_documents(writes).await? {
            // It took so long that the turn was over, and another poll has handed the job out or will.
            warn!(worker = %id, "a polling worker was given a job too slowly");
            return Ok(None);
        }
        if job.is_some() {
            self.polling_worker_changed(id, 1);
        }
        Ok(job)
    }

    async fn claim_for_poller(&self, id: &WorkerId) -> Result<Option<Arc<Job>>, DispatchError> {
        let (_, additions) = self.0.queue.snapshot();
        let anywhere = Requires { polled: true, ..Requires::default() };
        let here = Requires { worker: Some(id.clone()), ..anywhere.clone() };
        let classes = vec![(anywhere, Vec::new()), (here, Vec::new())];
        let claim = Claim { worker: id.clone(), classes: classes.clone(), limit: 1, lease: self.0.settings.lease };
        let metrics = self.metrics();
        let asked = Instant::now();
        let claimed = self.0.store.claim(claim).await;
        metrics.claim_seconds.observe(asked.elapsed().as_secs_f64());
        let changes = claimed.inspect_err(|_| metrics.store_errors.of(Operation::Claim).inc())?;
        let Some(change) = changes.into_iter().next() else {
            self.0.queue.exhausted(classes.iter().map(|(class, _)| class), additions);
            return Ok(None);
        };
        self.0.introductions.over(change.job.id.nonce).await;
        count_claim(metrics, &change.job, id);
        self.announce(&change.job);
        self.show(change.job.id, std::slice::from_ref(&change.entry));
        Ok(Some(change.job))
    }
}

/// # Errors
/// The role runs no jobs.
pub(super) fn runs_jobs(who: &Identity) -> Result<(), DispatchError> {
    match who.role {
        Role::Worker | Role::Admin => Ok(()),
        Role::User | Role::Plugin => Err(DispatchError::Forbidden("this is for workers")),
    }
}

fn booking_key(job: &Job) -> String {
    format!("{}-{}", job.id.number, job.attempt)
}
