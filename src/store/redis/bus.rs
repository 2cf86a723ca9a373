//! Doorbells between instances, over pub/sub.
//!
//! A message says that there is something new, and may carry it; whoever misses one finds it in
//! the store a little later. So nothing here is repeated or kept: what does not fit is dropped, and
//! when the subscription was made anew, listeners are told to look for themselves.
//!
//! A subscription can die without a word. A probe that this instance sends to itself shows that it lives.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{debug, warn};

use super::RedisStore;
use super::link::Link;
use crate::base::shutdown::Shutdown;
use crate::protocol::JobId;
use crate::store::error::StoreError;

/// Messages that may wait to be sent, and changes of what is listened to. Beyond it they are dropped.
const WAITING: usize = 16 * 1024;

/// Messages that may wait to be heard: one carries some 64 KiB of a log at the most.
const UNHEARD: usize = 1_024;

/// Logs that are known to be wanted. Beyond it all are forgotten, and asked about again with their next news.
const WANTED: usize = 16 * 1024;

/// Messages in one go.
const AT_ONCE: usize = 512;

/// How often the probe is sent.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// A subscription that has not brought the probe for so long is dead.
const SILENT_AT_MOST: Duration = Duration::from_secs(4);

/// Between two tries to subscribe.
const TRY_EVERY: Duration = Duration::from_millis(300);

/// How long a subscription may take to be made.
const SUBSCRIBE_WITHIN: Duration = Duration::from_secs(3);

/// What came.
#[derive(Debug)]
pub enum Heard {
    /// A message of another instance, or of this one.
    Said(Vec<u8>),
    /// A message about a log that is listened to.
    Log(JobId, Vec<u8>),
    /// From now on messages about this log come; earlier ones may have been missed.
    Listening(JobId),
    /// From now on messages come again; any may have been missed.
    Anew,
}

/// See the module. Clones share everything.
#[derive(Debug, Clone)]
pub struct Bus(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    send: mpsc::Sender<Outgoing>,
    listen: mpsc::Sender<Listen>,
    prefix: String,
    /// Instances that hear what is said, this one included.
    hearers: AtomicU64,
    /// Rings when another instance has come.
    joined: Notify,
    /// Logs that somebody listens to.
    wanted: DashMap<JobId, ()>,
    is_full: AtomicBool,
}

#[derive(Debug)]
enum Outgoing {
    Say(String),
    Log(JobId, Vec<u8>),
    Probe(String),
}

#[derive(Debug)]
enum Listen {
    To(JobId),
    NoMoreTo(JobId),
}

impl Bus {
    /// A bus over the Redis of `store`, and what comes by it. Its tasks belong to `shutdown`.
    ///
    /// # Errors
    /// The URL makes no sense.
    pub fn start(store: &RedisStore, shutdown: &Shutdown) -> Result<(Self, mpsc::Receiver<Heard>), StoreError> {
        let options = &store.0.options;
        let (send, outgoing) = mpsc::channel(WAITING);
        let (listen, listens) = mpsc::channel(WAITING);
        let (tell, heard) = mpsc::channel(UNHEARD);
        let bus = Self(Arc::new(Inner {
            send,
            listen,
            prefix: options.prefix.clone(),
            // Others are assumed until it is known that there are none.
            hearers: AtomicU64::new(2),
            joined: Notify::new(),
            wanted: DashMap::new(),
            is_full: AtomicBool::new(false),
        }));
        // Connections of their own: a doorbell does not wait behind a megabyte of output.
        let url = options.url.expose();
        let cut = shutdown.cut().clone();
        let publisher = publish(bus.clone(), Link::new(url)?, outgoing);
        shutdown.spawn(async move { cut.run_until_cancelled(publisher).await });
        let cut = shutdown.cut().clone();
        let subscriber = subscribe(bus.clone(), Link::new(url)?, listens, tell);
        shutdown.spawn(async move { cut.run_until_cancelled(subscriber).await });
        Ok((bus, heard))
    }

    /// Whether nobody else hears what is said.
    pub fn is_alone(&self) -> bool {
        self.0.hearers.load(Ordering::Relaxed) <= 1
    }

    /// Tells every instance.
    pub fn say(&self, message: String) {
        self.send(Outgoing::Say(message));
    }

    /// Whether somebody is known to listen to a log: then what is new in it is worth writing out.
    pub fn is_wanted(&self, job: JobId) -> bool {
        self.0.wanted.contains_key(&job)
    }

    /// Tells whoever listens to a log.
    pub fn tell_log(&self, job: JobId, message: Vec<u8>) {
        self.send(Outgoing::Log(job, message));
    }

    /// Listens to a log. [`Heard::Listening`] says when that has come about.
    pub fn listen(&self, job: JobId) {
        self.change(Listen::To(job));
    }

    /// Listens to a log no more.
    pub fn stop_listening(&self, job: JobId) {
        self.change(Listen::NoMoreTo(job));
    }

    fn send(&self, outgoing: Outgoing) {
        let full = self.0.send.try_send(outgoing).is_err();
        if full && !self.0.is_full.swap(true, Ordering::Relaxed) {
            warn!("doorbells pile up and are dropped; other instances hear of news by looking");
        }
    }

    fn change(&self, listen: Listen) {
        if self.0.listen.try_send(listen).is_err() {
            debug!("a change of what is listened to was dropped; the log is looked at instead");
        }
    }

    fn channel(&self) -> String {
        format!("{}:bus", self.0.prefix)
    }

    fn log_channel(&self, job: JobId) -> String {
        format!("{}:log:{job}", self.0.prefix)
    }
}

/// Sends what is to be sent, as much in one go as has gathered.
async fn publish(bus: Bus, link: Link, mut outgoing: mpsc::Receiver<Outgoing>) {
    let mut batch = Vec::new();
    while outgoing.recv_many(&mut batch, AT_ONCE).await > 0 {
        let mut pipeline = redis::pipe();
        let mut logs = Vec::new();
        for one in batch.drain(..) {
            match one {
                Outgoing::Say(message) | Outgoing::Probe(message) => {
                    pipeline.cmd("PUBLISH").arg(bus.channel()).arg(message);
                    logs.push(None);
                }
                Outgoing::Log(job, message) => {
                    pipeline.cmd("PUBLISH").arg(bus.log_channel(job)).arg(message);
                    logs.push(Some(job));
                }
            }
        }
        match link.query::<Vec<u64>>(&pipeline).await {
            Ok(hearers) => {
                bus.0.is_full.store(false, Ordering::Relaxed);
                for (log, count) in logs.iter().zip(hearers) {
                    match log {
                        None => {
                            if bus.0.hearers.swap(count, Ordering::Relaxed) <= 1 && count > 1 {
                                bus.0.joined.notify_one();
                            }
                        }
                        Some(job) if count > 0 => {
                            if bus.0.wanted.len() >= WANTED {
                                bus.0.wanted.clear();
                            }
                            bus.0.wanted.insert(*job, ());
                        }
                        Some(job) => drop(bus.0.wanted.remove(job)),
                    }
                }
            }
            Err(error) => {
                // Who hears is not known any more.
                if bus.0.hearers.swap(2, Ordering::Relaxed) <= 1 {
                    bus.0.joined.notify_one();
                }
                bus.0.wanted.clear();
                debug!(%error, "doorbells were lost");
            }
        }
    }
}

/// Keeps a subscription, and passes on what comes by it.
async fn subscribe(bus: Bus, link: Link, mut listens: mpsc::Receiver<Listen>, tell: mpsc::Sender<Heard>) {
    let mut logs = HashSet::new();
    let mut told = false;
    loop {
        match timeout(SUBSCRIBE_WITHIN, open(&bus, &link, &logs)).await {
            Ok(Ok((sink, stream))) => {
                told = false;
                if tell.send(Heard::Anew).await.is_err() {
                    return;
                }
                let ended = Subscription { bus: &bus, logs: &mut logs, sink }.run(stream, &mut listens, &tell).await;
                warn!(reason = ended, "the subscription ended; making it anew");
            }
            failed => {
                let error = match failed {
                    Ok(Err(error)) => error.to_string(),
                    Ok(Ok(_)) | Err(_) => "no answer in time".to_owned(),
                };
                if !told {
                    warn!(%error, "cannot subscribe; other instances' news is found by looking");
                }
                told = true;
                // What is to be listened to is remembered meanwhile, or the queue would fill.
                while let Ok(listen) = listens.try_recv() {
                    match listen {
                        Listen::To(job) => drop(logs.insert(job)),
                        Listen::NoMoreTo(job) => drop(logs.remove(&job)),
                    }
                }
                tokio::time::sleep(TRY_EVERY).await;
            }
        }
    }
}

async fn open(bus: &Bus, link: &Link, logs: &HashSet<JobId>) -> redis::RedisResult<(PubSubSink, PubSubStream)> {
    let (mut sink, stream) = link.client().get_async_pubsub().await?.split();
    let mut channels = vec![bus.channel()];
    channels.extend(logs.iter().map(|job| bus.log_channel(*job)));
    sink.subscribe(channels).await?;
    Ok((sink, stream))
}

/// A subscription that lives.
struct Subscription<'a> {
    bus: &'a Bus,
    logs: &'a mut HashSet<JobId>,
    sink: PubSubSink,
}

impl Subscription<'_> {
    /// Returns why it ended.
    async fn run(
        mut self,
        mut stream: PubSubStream,
        listens: &mut mpsc::Receiver<Listen>,
        tell: &mpsc::Sender<Heard>,
    ) -> &'static str {
        let probe = format!("probe {}", uuid::Uuid::new_v4());
        let mut ticks = interval(PROBE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut lived = Instant::now();
        let mut missed = false;
        loop {
            tokio::select! {
                message = stream.next() => {
                    let Some(message) = message else { return "the connection was closed" };
                    if message.get_payload_bytes() == probe.as_bytes() {
                        lived = Instant::now();
                        continue;
                    }
                    let heard = self.heard(message.get_channel_name(), message.get_payload_bytes());
                    // Never waited for, because what comes meanwhile would pile up in front of this: a listener that
                    // does not keep up is told to look for itself.
                    if let Some(heard) = heard && let Err(refused) = tell.try_send(heard) {
                        match refused {
                            TrySendError::Full(_) => missed = true,
                            TrySendError::Closed(_) => return "nobody listens",
                        }
                    }
                }
                listen = listens.recv() => {
                    let Some(listen) = listen else { return "nobody listens" };
                    let changed = timeout(SUBSCRIBE_WITHIN, self.change(listen)).await;
                    match changed {
                        Ok(Ok(None)) => (),
                        Ok(Ok(Some(job))) => {
                            if tell.send(Heard::Listening(job)).await.is_err() {
                                return "nobody listens";
                            }
                        }
                        Ok(Err(_)) => return "a channel was refused",
                        Err(_) => return "a channel was not answered in time",
                    }
                }
                () = self.bus.0.joined.notified() => {
                    match timeout(SUBSCRIBE_WITHIN, self.listen_to_all()).await {
                        Ok(Ok(())) => {
                            if tell.send(Heard::Anew).await.is_err() {
                                return "nobody listens";
                            }
                        }
                        Ok(Err(_)) | Err(_) => return "channels were refused",
                    }
                }
                _ = ticks.tick() => {
                    if lived.elapsed() > SILENT_AT_MOST {
                        return "it brought nothing, not even what this instance said itself";
                    }
                    self.bus.send(Outgoing::Probe(probe.clone()));
                    if missed {
                        missed = tell.try_send(Heard::Anew).is_err();
                    }
                }
            }
        }
    }

    fn heard(&self, channel: &str, payload: &[u8]) -> Option<Heard> {
        match channel.strip_prefix(&self.bus.0.prefix)?.strip_prefix(":log:") {
            Some(job) => Some(Heard::Log(job.parse().ok()?, payload.to_vec())),
            // Another instance's probe.
            None if payload.starts_with(b"probe ") => None,
            None => Some(Heard::Said(payload.to_vec())),
        }
    }

    async fn listen_to_all(&mut self) -> redis::RedisResult<()> {
        if self.logs.is_empty() {
            return Ok(());
        }
        let channels: Vec<String> = self.logs.iter().map(|job| self.bus.log_channel(*job)).collect();
        self.sink.subscribe(channels).await
    }

    /// Returns the log that is now listened to. While nobody else is there, that is only noted.
    async fn change(&mut self, listen: Listen) -> redis::RedisResult<Option<JobId>> {
        match listen {
            Listen::To(job) => {
                self.logs.insert(job);
                if self.bus.is_alone() {
                    return Ok(None);
                }
                self.sink.subscribe(self.bus.log_channel(job)).await?;
                Ok(Some(job))
            }
            Listen::NoMoreTo(job) => {
                self.logs.remove(&job);
                if self.bus.is_alone() {
                    return Ok(None);
                }
                self.sink.unsubscribe(self.bus.log_channel(job)).await?;
                Ok(None)
            }
        }
    }
}
