//! Other dispatchers on the same store: what is told to them, and what comes of what they tell.
//!
//! Everything that counts is in the store. A doorbell only says that it is worth a look; one task
//! listens, and looks by itself every two seconds at whatever a doorbell could have said. So an
//! instance that hears nothing is slow, and never wrong.
//!
//! One loop. Not here: how doorbells travel (`store::redis::bus`).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use super::fleet::{Agent, BeforeALook};
use super::history::Ear;
use super::{DispatchError, Dispatcher};
use crate::auth::Revoked;
use crate::hub::Sendable;
use crate::model::{AccountName, Entry, Job, Requires, Worker};
use crate::protocol::agent::{AgentJobOrder, AgentOrder, ContainerUsageReport, Usage};
use crate::protocol::codec::{ToAgent, encode, read_at_agent};
use crate::protocol::job::Status;
use crate::protocol::{CloseCode, Cursor, JobId, WorkerId};
use crate::store::redis::bus::{Bus, Heard};
use crate::store::{RedisStore, StoreError};

/// How often orders and ended credentials are looked for, and gathered news is told.
const TICK: Duration = Duration::from_millis(500);

/// How often, in ticks, everything is looked at that a doorbell could have told.
const SWEEP_TICKS: u32 = 4;

/// Output that a doorbell carries at the most.
const NEWS_BYTES: usize = 64 * 1024;

/// Bytes of a log that one look reads at a time.
const READ_BYTES: usize = 256 * 1024;

/// The others.
#[derive(Debug)]
pub(super) struct Peers {
    pub(super) store: RedisStore,
    bus: Bus,
    /// How many servers had been met when leases and workers were last seen to.
    servers_met: AtomicU64,
    /// News that is told once, however often it comes up before it is.
    gathered: Mutex<Gathered>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Gathered {
    ready: HashSet<Requires>,
    workers: BTreeSet<WorkerId>,
}

/// A doorbell with what it carries.
#[derive(Debug, Serialize, Deserialize)]
enum News {
    /// Jobs of these classes may be waiting.
    Ready(Vec<Requires>),
    /// Something about these workers has changed.
    Workers(Vec<WorkerId>),
    /// A job's status has changed; the frame for its watchers.
    Job(AccountName, String),
    /// What a worker uses.
    Usage(WorkerId, Usage),
    /// What its containers use, by its heartbeat.
    ContainersUse(Vec<ContainerUsageReport>),
    /// A container's status has changed; the frame for its watchers.
    Container(AccountName, String),
    /// What a container uses.
    ContainerUsage(ContainerUsageReport),
    /// Orders wait for a worker.
    Orders(WorkerId),
    /// Credentials have ended.
    Ended,
    /// Jobs were removed; their files may be on this machine's disk.
    Removed(Vec<JobId>),
}

#[derive(Debug, Serialize, Deserialize)]
struct Letter<N> {
    from: String,
    news: N,
}

impl Peers {
    pub(super) fn new(store: RedisStore, bus: Bus) -> Self {
        Self { store, bus, servers_met: AtomicU64::new(0), gathered: Mutex::default(), news: Notify::new() }
    }

    /// Whether the server is another than when [`Self::seen_to`] was last told of one.
    pub(super) fn met_another_server(&self) -> Option<u64> {
        Some(self.store.servers_met()).filter(|met| self.servers_met.load(Ordering::Relaxed) != *met)
    }

    /// What another server asks for is done, as of so many.
    pub(super) fn seen_to(&self, servers_met: u64) {
        self.servers_met.store(servers_met, Ordering::Relaxed);
    }

    fn say(&self, from: &str, news: &News) {
        if self.bus.is_alone() {
            return;
        }
        let letter = Letter { from: from.to_owned(), news };
        match serde_json::to_string(&letter) {
            Ok(letter) => self.bus.say(letter),
            Err(error) => warn!(%error, "news that cannot be written"),
        }
    }

    fn gather(&self, add: impl FnOnce(&mut Gathered)) {
        if !self.bus.is_alone() {
            add(&mut self.gathered.lock());
            self.news.notify_one();
        }
    }
}

/// Listens and looks until everything must end.
pub(super) async fn run(dispatcher: Dispatcher, mut heard: mpsc::Receiver<Heard>) {
    let Some(peers) = &dispatcher.0.peers else { return };
    let cut = dispatcher.shutdown().cut().clone();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looking = Looking { dispatcher: &dispatcher, peers, count: 0, ended: None };
    loop {
        let done = tokio::select! {
            biased;
            () = cut.cancelled() => return,
            heard = heard.recv() => match heard {
                Some(heard) => looking.hear(heard).await,
                None => return,
            },
            () = peers.news.notified() => {
                looking.tell();
                Ok(())
            }
            _ = ticks.tick() => looking.tick().await,
        };
        if let Err(error) = done {
            tracing::debug!(%error, "a look at what other instances did failed; the next one follows");
        }
    }
}

struct Looking<'a> {
    dispatcher: &'a Dispatcher,
    peers: &'a Peers,
    count: u32,
    /// The last ended credentials that were seen.
    ended: Option<String>,
}

impl Looking<'_> {
    /// Tells what has gathered.
    fn tell(&self) {
        let Gathered { ready, workers } = std::mem::take(&mut *self.peers.gathered.lock());
        let instance = self.dispatcher.instance();
        if !ready.is_empty() {
            self.peers.say(instance, &News::Ready(ready.into_iter().collect()));
        }
        if !workers.is_empty() {
            self.peers.say(instance, &News::Workers(workers.into_iter().collect()));
        }
    }

    async fn hear(&mut self, heard: Heard) -> Result<(), StoreError> {
        match heard {
            Heard::Said(letter) => {
                // What an instance of another version says is passed over: the sweep finds it.
                let Ok(Letter { from, news }) = serde_json::from_slice(&letter) else { return Ok(()) };
                if from == self.dispatcher.instance() { Ok(()) } else { self.news(news).await }
            }
            Heard::Log(job, message) => {
                let entries = read_log_news(&message);
                if entries.is_empty() || !self.dispatcher.0.hub.receive(job, entries) {
                    self.fill(job).await?;
                }
                Ok(())
            }
            Heard::Listening(job) => self.fill(job).await,
            Heard::Anew => self.sweep().await,
        }
    }

    async fn news(&mut self, news: News) -> Result<(), StoreError> {
        let inner = &self.dispatcher.0;
        match news {
            News::Ready(classes) => classes.iter().for_each(|class| inner.queue.add(class)),
            News::Workers(ids) => {
                for id in ids {
                    let before = inner.fleet.agent(&id).map(Agent::before_a_look);
                    if let Some(worker) = inner.store.worker(&id).await? {
                        self.dispatcher.learn(&worker, before.as_ref());
                        self.show_worker(&id).await?;
                    }
                }
            }
            News::Job(account, frame) => {
                if inner.hub.jobs.is_watched() {
                    inner.hub.jobs.push(Some(account), frame.into());
                }
            }
            News::Usage(id, usage) => {
                self.dispatcher.note_usage(&id, &usage, Ear::Elsewhere);
                self.dispatcher.show_usage(&id, &usage);
            }
            News::ContainersUse(reports) => self.dispatcher.note_container_usage(&reports, Ear::Elsewhere),
            News::Container(account, frame) => self.dispatcher.heard_of_container(account, frame),
            News::ContainerUsage(report) => self.dispatcher.show_stats(&report),
            News::Orders(id) => self.pass_orders_on(&id).await?,
            News::Ended => self.end_credentials().await?,
            News::Removed(jobs) => {
                if !inner.blobs.is_shared() {
                    for job in jobs {
                        self.dispatcher.remove_files(job).await;
                    }
                }
            }
        }
        Ok(())
    }

    async fn tick(&mut self) -> Result<(), StoreError> {
        self.count = self.count.wrapping_add(1);
        self.end_credentials().await?;
        for agent in self.dispatcher.0.fleet.agents() {
            self.pass_orders_on(&agent.id).await?;
        }
        if self.count.is_multiple_of(SWEEP_TICKS) { self.sweep().await } else { Ok(()) }
    }

    /// Looks at whatever a doorbell could have told.
    async fn sweep(&mut self) -> Result<(), StoreError> {
        let inner = &self.dispatcher.0;
        for class in inner.store.ready().await? {
            inner.queue.add(&class.requires);
        }
        let agents = inner.fleet.agents().into_iter();
        let before: HashMap<_, _> = agents.map(|agent| (agent.id.clone(), agent.before_a_look())).collect();
        for worker in inner.store.workers().await? {
            if self.dispatcher.learn(&worker, before.get(&worker.id)) {
                self.show_worker(&worker.id).await?;
            }
        }
        for job in inner.hub.followed_logs() {
            self.fill(job).await?;
        }
        Ok(())
    }

    /// Brings a followed log up to what the store has.
    async fn fill(&self, job: JobId) -> Result<(), StoreError> {
        let inner = &self.dispatcher.0;
        let Some(tail) = inner.hub.tail(job) else { return Ok(()) };
        let Some(mut top) = tail.top() else {
            // Nothing came by yet. Followers read for themselves, from wherever they are.
            let page = self.dispatcher.read_log(job, Cursor::new(u32::MAX, u64::MAX), 0).await?;
            if let Some(page) = page {
                tail.look_from(page.top);
            }
            return Ok(());
        };
        while let Some(page) = self.dispatcher.read_log(job, top, READ_BYTES).await?
            && let Some(last) = page.entries.last()
        {
            top = last.at;
            tail.push(&page.entries);
        }
        Ok(())
    }

    /// Shows watchers a worker that is connected elsewhere.
    async fn show_worker(&self, id: &WorkerId) -> Result<(), StoreError> {
        let inner = &self.dispatcher.0;
        if inner.hub.workers.is_watched() && inner.fleet.agent(id).is_none() {
            let away = self.dispatcher.running_away(id).await?;
            self.dispatcher.show_worker(id, away);
        }
        Ok(())
    }

    async fn pass_orders_on(&self, worker: &WorkerId) -> Result<(), StoreError> {
        let Some(agent) = self.dispatcher.0.fleet.agent(worker) else { return Ok(()) };
        for frame in self.peers.store.take_orders(worker).await? {
            let cancelled = match read_at_agent(&frame) {
                // Its job may be on its way to the worker just now.
                Ok((ToAgent::Job(AgentJobOrder::Cancel(cancel)), _)) => {
                    self.dispatcher.0.handing.cancel(cancel, || Some(Arc::clone(&agent)))
                }
                Ok(_) | Err(_) => false,
            };
            if !cancelled {
                agent.pass_on(frame);
            }
        }
        Ok(())
    }

    async fn end_credentials(&mut self) -> Result<(), StoreError> {
        let (ended, mark) = self.peers.store.ended_since(self.ended.as_deref()).await?;
        self.ended = Some(mark);
        for revoked in ended {
            if let Ok(revoked) = serde_json::from_str(&revoked) {
                self.dispatcher.revoke_here(revoked);
            }
        }
        Ok(())
    }
}

impl Dispatcher {
    /// Shows entries that the store has just taken to whoever follows the log, here and elsewhere.
    pub(super) fn show(&self, job: JobId, entries: &[Entry]) {
        self.0.hub.publish(job, entries);
        if let Some(Peers { bus, .. }) = &self.0.peers
            && !bus.is_alone()
        {
            let bytes: usize = entries.iter().map(Entry::output_len).sum();
            // More is read from the store: doorbells that wait are not to fill the memory.
            let carries = bytes <= NEWS_BYTES && bus.is_wanted(job);
            let news = if carries { write_log_news(job, entries) } else { Vec::new() };
            bus.tell_log(job, news);
        }
    }

    /// Listens to other instances' news of a log that is followed here.
    pub(super) fn listen(&self, job: JobId) {
        if let Some(peers) = &self.0.peers {
            peers.bus.listen(job);
        }
    }

    /// Nobody here follows the log any more.
    pub fn release_log(&self, job: JobId) {
        if self.0.hub.release(job)
            && let Some(peers) = &self.0.peers
        {
            peers.bus.stop_listening(job);
            if self.0.hub.tail(job).is_some() {
                // Somebody came meanwhile, and may have asked before this was said.
                peers.bus.listen(job);
            }
        }
    }

    /// A job of this class may be waiting, for whichever instance has a worker for it.
    pub(super) fn is_ready(&self, class: &Requires) {
        self.0.queue.add(class);
        if let Some(peers) = &self.0.peers {
            peers.gather(|gathered| {
                gathered.ready.insert(class.clone());
            });
        }
    }

    /// Other instances' watchers hear of a worker, too.
    pub(super) fn tell_of_worker(&self, id: &WorkerId) {
        if let Some(peers) = &self.0.peers {
            peers.gather(|gathered| {
                gathered.workers.insert(id.clone());
            });
        }
    }

    pub(super) fn tell_of_usage(&self, id: &WorkerId, usage: &Usage) {
        if let Some(peers) = &self.0.peers {
            peers.say(self.instance(), &News::Usage(id.clone(), usage.clone()));
        }
    }

    pub(super) fn tell_of_containers_usage(&self, reports: Vec<ContainerUsageReport>) {
        if let Some(peers) = self.0.peers.as_ref().filter(|_| !reports.is_empty()) {
            peers.say(self.instance(), &News::ContainersUse(reports));
        }
    }

    pub(super) fn tell_of_job(&self, job: &Job, frame: impl FnOnce() -> String) {
        if let Some(peers) = &self.0.peers
            && !peers.bus.is_alone()
        {
            peers.say(self.instance(), &News::Job(job.account.clone(), frame()));
        }
    }

    pub(super) fn tell_of_container(&self, account: &AccountName, frame: &str) {
        if let Some(peers) = &self.0.peers {
            peers.say(self.instance(), &News::Container(account.clone(), frame.to_owned()));
        }
    }

    pub(super) fn tell_of_container_usage(&self, report: &ContainerUsageReport) {
        if let Some(peers) = &self.0.peers {
            peers.say(self.instance(), &News::ContainerUsage(report.clone()));
        }
    }

    /// Tells the others that jobs were removed: where files are on each one's own disk, they may have some.
    pub(super) fn tell_removed(&self, jobs: &[JobId]) {
        if let Some(peers) = self.0.peers.as_ref().filter(|_| !jobs.is_empty() && !self.0.blobs.is_shared()) {
            peers.say(self.instance(), &News::Removed(jobs.to_vec()));
        }
    }

    /// Tells every instance that credentials have ended.
    ///
    /// # Errors
    /// They have ended; sockets of other instances may not have heard of it.
    pub async fn revoke(&self, revoked: Revoked) -> Result<(), DispatchError> {
        if let Some(peers) = &self.0.peers
            && let Ok(what) = serde_json::to_string(&revoked)
        {
            self.revoke_here(revoked);
            peers.store.tell_ended(&what).await?;
            peers.say(self.instance(), &News::Ended);
        } else {
            self.revoke_here(revoked);
        }
        Ok(())
    }

    /// Orders something of the worker of a running job, wherever that is connected; `false`: nowhere.
    pub(super) async fn order_worker(&self, job: &Job, order: &AgentJobOrder<'_>) -> Result<bool, DispatchError> {
        if let Some(agent) = self.0.fleet.holder(job.id) {
            agent.order_job(order);
            return Ok(true);
        }
        match (&self.0.peers, &job.worker) {
            (Some(_), Some(worker)) if job.status == Status::Running => self.leave_order(worker, &encode(order)).await,
            (Some(_) | None, Some(_) | None) => Ok(false),
        }
    }

    /// Orders something of a worker that is not connected here.
    pub(super) async fn order_elsewhere(&self, worker: &WorkerId, order: &AgentOrder) -> Result<bool, DispatchError> {
        self.leave_order(worker, &encode(order)).await
    }

    pub(super) async fn leave_order(&self, worker: &WorkerId, frame: &str) -> Result<bool, DispatchError> {
        let Some(peers) = &self.0.peers else { return Ok(false) };
        // Those that poll take no orders.
        let since = self.online_since();
        let connects = |worker: &Worker| worker.last_seen > since && !worker.polls;
        let is_elsewhere = self.0.fleet.known(worker).is_some_and(|known| connects(&known.worker));
        if !is_elsewhere || !peers.store.leave_order(worker, frame).await? {
            return Ok(false);
        }
        peers.say(self.instance(), &News::Orders(worker.clone()));
        Ok(true)
    }

    /// Whether other instances may share the store.
    pub(super) fn has_peers(&self) -> bool {
        self.0.peers.is_some()
    }

    /// Takes over what the store says of a worker; says whether that is news. `before`: its connection, if it had one, as it
    /// stood before the store was asked.
    fn learn(&self, worker: &Worker, before: Option<&BeforeALook>) -> bool {
        let inner = &self.0;
        let Some(agent) = inner.fleet.agent(&worker.id) else {
            return self.noting_presence(&worker.id, || inner.fleet.learn(worker, self.online_since()));
        };
        let Some(before) = before.filter(|before| before.is_of(&agent)) else {
            // It has registered here since.
            return false;
        };
        if worker.boot > agent.boot {
            agent.close(CloseCode::Superseded);
        } else if worker.instance != self.instance() {
            // It has registered elsewhere since, or the store has lost that it did here: where this connection is its
            // latest it comes again.
            agent.close(CloseCode::StoreUnavailable);
        }
        before.take_drained(worker.draining);
        false
    }
}

/// Entries of a log, ready to send: cursor, status and frame of each on a line of its own.
fn write_log_news(job: JobId, entries: &[Entry]) -> Vec<u8> {
    let mut news = String::new();
    for entry in entries {
        let Sendable { at, status, frame } = Sendable::of(job, entry);
        let status = status.map_or("-", status_word);
        news.push_str(&format!("{at} {status} {}\n", frame.as_str()));
    }
    news.into_bytes()
}

/// What [`write_log_news`] wrote; nothing where it is not whole.
fn read_log_news(news: &[u8]) -> Vec<Sendable> {
    let entry = |line: &str| {
        let mut parts = line.splitn(3, ' ');
        let at = parts.next()?.parse().ok()?;
        let status = match parts.next()? {
            "-" => None,
            word => Some(status_of(word)?),
        };
        Some(Sendable { at, status, frame: parts.next()?.to_owned().into() })
    };
    let lines = std::str::from_utf8(news).unwrap_or_default().lines();
    lines.map(entry).collect::<Option<_>>().unwrap_or_default()
}

fn status_word(status: Status) -> &'static str {
    match status {
        Status::Pending => "pending",
        Status::Running => "running",
        Status::Completed => "completed",
        Status::Failed => "failed",
        Status::Cancelled => "cancelled",
    }
}

fn status_of(word: &str) -> Option<Status> {
    [Status::Pending, Status::Running, Status::Completed, Status::Failed, Status::Cancelled]
        .into_iter()
        .find(|status| status_word(*status) == word)
}
