//! One connection's writer: replies in order, and what the connection follows, pulled at its pace.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use futures_util::SinkExt;
use futures_util::stream::SplitSink;
use tracing::{Span, debug, warn};

use super::registry::Session;
use crate::dispatcher::Dispatcher;
use crate::hub::follow::Source;
use crate::hub::outbox::Taken;
use crate::hub::{Follow, Item, Pulled, Ring, Sendable, Watch};
use crate::metrics::Operation;
use crate::model::job::is_over;
use crate::protocol::codec::{Nothing, encode};
use crate::protocol::container::{ConsoleLive, ConsoleTruncated, ContainerEvent};
use crate::protocol::job::{JobEvent, Live, Status, Truncated};
use crate::protocol::limits::DEAD_AFTER;
use crate::protocol::worker::WorkerEvent;
use crate::protocol::{CloseCode, ContainerId, Cursor, ErrorCode, JobId, WireError};

/// Bytes of one log that are sent before the next one has its turn.
const TURN_BYTES: usize = 64 * 1024;

/// The same for what has to be read from the store, where each turn is a way there and back.
const STORE_TURN_BYTES: usize = 256 * 1024;

/// Changes of one feed that are sent before the rest has its turn.
const TURN_CHANGES: usize = 256;

/// How long a peer may take to answer a close.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// Sends until the connection ends, then lets go of what it followed.
///
/// `span` is entered only where something is logged: entered for every delivery, it would cost more than it tells.
pub(super) async fn run(
    dispatcher: Dispatcher,
    session: Arc<Session>,
    sink: SplitSink<WebSocket, Message>,
    span: Span,
) {
    let mut writer = Writer {
        dispatcher,
        session,
        sink,
        span,
        follows: HashMap::new(),
        turns: VecDeque::new(),
        jobs: None,
        workers: None,
        containers: None,
        jobs_rung: false,
        workers_rung: false,
        containers_rung: false,
    };
    if let Err(Stop) = writer.serve().await {
        writer.span.in_scope(|| debug!("socket gone"));
    }
    writer.session.outbox.end();
    writer.session.ended.cancel();
    let followed: Vec<JobId> = writer.follows.drain().map(|(job, _)| job).collect();
    for job in followed {
        writer.dispatcher.release_log(job);
    }
}

struct Writer {
    dispatcher: Dispatcher,
    session: Arc<Session>,
    sink: SplitSink<WebSocket, Message>,
    span: Span,
    follows: HashMap<JobId, Follow>,
    /// Logs that may have something to send, each once.
    turns: VecDeque<JobId>,
    jobs: Option<Watch>,
    workers: Option<Watch>,
    containers: Option<Watch>,
    jobs_rung: bool,
    workers_rung: bool,
    containers_rung: bool,
}

/// The socket takes no more.
struct Stop;

/// What a log's turn came to.
enum Turn {
    /// There may be more at once.
    More,
    /// It rings when there is more.
    Wait,
    /// The log is at its end.
    Over,
}

impl Writer {
    async fn serve(&mut self) -> Result<(), Stop> {
        let cut = self.dispatcher.shutdown().cut().clone();
        loop {
            let rung = self.jobs_rung || self.workers_rung || self.containers_rung;
            let busy = rung || !self.turns.is_empty();
            let taken = match busy {
                true => self.session.outbox.take_now(),
                false => tokio::select! {
                    biased;
                    () = self.session.ended.cancelled() => return Err(Stop),
                    () = cut.cancelled() => return Err(Stop),
                    taken = self.session.outbox.take() => Some(taken),
                },
            };
            let mut close = None;
            if let Some(taken) = taken {
                close = taken.close;
                self.queue(taken).await?;
            }
            if let Some(code) = close {
                return self.close(code).await;
            }
            for _ in 0..self.turns.len() {
                self.turn().await?;
            }
            self.feeds().await?;
            in_time(self.sink.flush()).await?;
        }
    }

    async fn queue(&mut self, taken: Taken) -> Result<(), Stop> {
        for item in taken.items {
            match item {
                Item::Frame(frame) => self.feed(frame).await?,
                Item::Ping => in_time(self.sink.feed(Message::Ping(Bytes::new()))).await?,
                Item::Follow(follow) => {
                    let job = follow.job;
                    self.follows.insert(job, *follow);
                    // Again: an end that was sent meanwhile has taken it away.
                    self.session.follows.lock().insert(job);
                    self.give_turn(job);
                }
                Item::Unfollow(job) => self.drop_follow(job),
                Item::WatchJobs(watch) => {
                    self.jobs_rung = watch.is_some();
                    self.jobs = watch;
                }
                Item::WatchWorkers(watch) => {
                    self.workers_rung = watch.is_some();
                    self.workers = watch;
                }
                Item::WatchContainers(watch) => {
                    self.containers_rung = watch.is_some();
                    self.containers = watch;
                }
            }
        }
        for ring in taken.rung {
            match ring {
                Ring::Log(job) => self.give_turn(job),
                Ring::Jobs => self.jobs_rung = true,
                Ring::Workers => self.workers_rung = true,
                Ring::Containers => self.containers_rung = true,
            }
        }
        Ok(())
    }

    fn give_turn(&mut self, job: JobId) {
        if self.follows.contains_key(&job) && !self.turns.contains(&job) {
            self.turns.push_back(job);
        }
    }

    fn drop_follow(&mut self, job: JobId) {
        if self.follows.remove(&job).is_some() {
            self.session.follows.lock().remove(&job);
            self.turns.retain(|turn| *turn != job);
            self.dispatcher.release_log(job);
        }
    }

    /// Gives the next log its turn.
    async fn turn(&mut self) -> Result<(), Stop> {
        let Some(job) = self.turns.pop_front() else { return Ok(()) };
        let Some(mut follow) = self.follows.remove(&job) else { return Ok(()) };
        let turn = match follow.source {
            Source::Tail => self.pull_tail(&mut follow).await?,
            // Boxed: it has much to remember on its way through the store and the files, and most who follow wait.
            Source::Store => Box::pin(self.read_store(&mut follow)).await?,
        };
        self.follows.insert(job, follow);
        match turn {
            Turn::More => self.turns.push_back(job),
            Turn::Wait => (),
            Turn::Over => self.drop_follow(job),
        }
        Ok(())
    }

    async fn pull_tail(&mut self, follow: &mut Follow) -> Result<Turn, Stop> {
        let mut entries = Vec::new();
        match follow.attached.pull(follow.cursor, TURN_BYTES, &mut follow.looks, &mut entries) {
            Pulled::Some => self.send(follow, entries).await,
            Pulled::Behind => {
                follow.source = Source::Store;
                Ok(Turn::More)
            }
            Pulled::CaughtUp => {
                if follow.status == Status::Running && !follow.live {
                    follow.live = true;
                    self.feed(live(follow)).await?;
                }
                Ok(Turn::Wait)
            }
        }
    }

    async fn read_store(&mut self, follow: &mut Follow) -> Result<Turn, Stop> {
        let page = match self.dispatcher.read_log(follow.job, follow.cursor, STORE_TURN_BYTES).await {
            Ok(Some(page)) => page,
            Ok(None) => {
                let error = WireError::new(ErrorCode::NotFound, format!("{} is no longer kept", follow.job));
                self.feed(encode(&error).into()).await?;
                return Ok(Turn::Over);
            }
            Err(error) => {
                self.dispatcher.metrics().store_errors.of(Operation::Read).inc();
                self.span.in_scope(
                    || warn!(%error, job = %follow.job, "a follower's read failed; it is sent away to come back"),
                );
                self.session.outbox.close(CloseCode::StoreUnavailable);
                return Ok(Turn::Wait);
            }
        };
        if let Some((from, to)) = page.removed {
            self.feed(truncated(follow.job, from, to)).await?;
            follow.cursor = follow.cursor.max(to);
        }
        if page.entries.is_empty() {
            follow.status = page.status;
            // A container that is over starts again, or its last entry says that it does not.
            if is_over(page.status) && follow.cursor >= page.top && !follow.job.is_container() {
                return Ok(Turn::Over);
            }
            // Whatever came since the tail was attached is in it.
            follow.source = Source::Tail;
            return Ok(Turn::More);
        }
        let entries = page.entries.iter().map(|entry| Sendable::of(follow.job, entry)).collect();
        self.send(follow, entries).await
    }

    async fn send(&mut self, follow: &mut Follow, entries: Vec<Sendable>) -> Result<Turn, Stop> {
        for Sendable { at, status, frame } in entries {
            self.feed(frame).await?;
            follow.cursor = at;
            if let Some(status) = status {
                follow.status = status;
                if is_over(status) {
                    return Ok(Turn::Over);
                }
            }
        }
        Ok(Turn::More)
    }

    async fn feeds(&mut self) -> Result<(), Stop> {
        if self.jobs_rung {
            let (frames, lagged, more) = drain(&self.dispatcher.hub().jobs, self.jobs.as_mut());
            self.jobs_rung = more;
            self.send_changes(frames, lagged, &JobEvent::Lagged(Nothing {})).await?;
        }
        if self.workers_rung {
            let (frames, lagged, more) = drain(&self.dispatcher.hub().workers, self.workers.as_mut());
            self.workers_rung = more;
            self.send_changes(frames, lagged, &WorkerEvent::Lagged(Nothing {})).await?;
        }
        if self.containers_rung {
            let (frames, lagged, more) = drain(&self.dispatcher.hub().containers, self.containers.as_mut());
            self.containers_rung = more;
            self.send_changes(frames, lagged, &ContainerEvent::Lagged(Nothing {})).await?;
        }
        Ok(())
    }

    async fn send_changes<P: crate::protocol::codec::Payload>(
        &mut self,
        frames: Vec<Utf8Bytes>,
        lagged: bool,
        notice: &P,
    ) -> Result<(), Stop> {
        if lagged {
            self.feed(encode(notice).into()).await?;
        }
        for frame in frames {
            self.feed(frame).await?;
        }
        Ok(())
    }

    async fn feed(&mut self, frame: Utf8Bytes) -> Result<(), Stop> {
        in_time(self.sink.feed(Message::Text(frame))).await
    }

    /// Says why, and waits a little for the peer to say it has heard.
    async fn close(&mut self, code: CloseCode) -> Result<(), Stop> {
        let frame = CloseFrame { code: code.code(), reason: Utf8Bytes::from_static(code.reason()) };
        let said = tokio::time::timeout(CLOSE_WITHIN, self.sink.send(Message::Close(Some(frame)))).await;
        if matches!(said, Ok(Ok(()))) {
            // The reader ends on the peer's answer, and cancels.
            let _ = tokio::time::timeout(CLOSE_WITHIN, self.session.ended.cancelled()).await;
        }
        Ok(())
    }
}

/// What a follower is told once it has caught up.
fn live(follow: &Follow) -> Utf8Bytes {
    let at = follow.cursor;
    match ContainerId::of(follow.job) {
        Some(container_id) => encode(&ContainerEvent::Live(ConsoleLive { container_id, at })),
        None => encode(&JobEvent::Live(Live { job_id: follow.job, at })),
    }
    .into()
}

/// What a follower is told of entries that are gone.
fn truncated(log: JobId, from: Cursor, to: Cursor) -> Utf8Bytes {
    match ContainerId::of(log) {
        Some(container_id) => encode(&ContainerEvent::Truncated(ConsoleTruncated { container_id, from, to })),
        None => encode(&JobEvent::Truncated(Truncated { job_id: log, from, to })),
    }
    .into()
}

fn drain(feed: &crate::hub::Feed, watch: Option<&mut Watch>) -> (Vec<Utf8Bytes>, bool, bool) {
    let mut frames = Vec::new();
    let Some(watch) = watch else { return (frames, false, false) };
    let lagged = feed.pull(watch, TURN_CHANGES, &mut frames);
    (frames, lagged, feed.has_more(watch))
}

/// A peer that takes nothing for as long as a silent one may live is gone.
async fn in_time<E>(sending: impl Future<Output = Result<(), E>>) -> Result<(), Stop> {
    match tokio::time::timeout(DEAD_AFTER, sending).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Stop),
    }
}
