//! One connection's outgoing side.
//!
//! Replies wait in a short bounded queue; a full queue holds up only the reader that fills it,
//! which stops reading its socket. Logs and feeds are not queued here: they ring, once, and the
//! connection's writer then pulls from them at its own pace.

use std::collections::VecDeque;

use axum::extract::ws::Utf8Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::feed::Watch;
use super::follow::Follow;
use crate::protocol::{CloseCode, JobId};

/// Replies that may wait. One is usual; more pile up only while the socket is stuck. The
/// connections of workers and plugins have room for more, see [`Outbox::make_room`].
const REPLIES: usize = 64;

/// What rang.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ring {
    /// A followed log has entries.
    Log(JobId),
    /// The feed of jobs has changes.
    Jobs,
    /// The feed of workers has changes.
    Workers,
    /// The feed of containers has changes.
    Containers,
}

/// The outgoing side of one connection.
#[derive(Debug)]
pub struct Outbox {
    inner: Mutex<Inner>,
    /// Wakes the writer.
    ready: Notify,
    /// Wakes a reader that waits for room.
    room: Notify,
}

#[derive(Debug)]
struct Inner {
    queue: VecDeque<Item>,
    rung: Vec<Ring>,
    close: Option<CloseCode>,
    closed: bool,
    room: usize,
}

/// A thing for the writer, in order.
#[derive(Debug)]
pub enum Item {
    /// Send this frame.
    Frame(Utf8Bytes),
    /// Send a WebSocket ping.
    Ping,
    /// Follow a log from now on; a follow of the same job ends.
    Follow(Box<Follow>),
    /// Follow it no more.
    Unfollow(JobId),
    /// Watch jobs, or stop.
    WatchJobs(Option<Watch>),
    /// Watch workers, or stop.
    WatchWorkers(Option<Watch>),
    /// Watch containers, or stop.
    WatchContainers(Option<Watch>),
}

/// What the writer finds when it looks.
#[derive(Debug)]
pub struct Taken {
    /// Replies and commands, in order.
    pub items: VecDeque<Item>,
    /// What rang since the last look, each once.
    pub rung: Vec<Ring>,
    /// Close after the items, with this code.
    pub close: Option<CloseCode>,
}

/// The connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("connection closed")]
pub struct Closed;

impl Default for Outbox {
    fn default() -> Self {
        let inner = Inner { queue: VecDeque::new(), rung: Vec::new(), close: None, closed: false, room: REPLIES };
        Self { inner: Mutex::new(inner), ready: Notify::new(), room: Notify::new() }
    }
}

impl Outbox {
    /// Queues an item, waiting for room. Only the connection's own reader may wait here.
    ///
    /// # Errors
    /// The writer has ended; the item is dropped.
    pub async fn push(&self, item: Item) -> Result<(), Closed> {
        self.push_into(1, item).await
    }

    /// The same for what can wait longer than all else: half the room stays free for those who must not wait.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn push_late(&self, item: Item) -> Result<(), Closed> {
        self.push_into(2, item).await
    }

    /// Waits for room in the first `share`th of the queue.
    async fn push_into(&self, share: usize, item: Item) -> Result<(), Closed> {
        let mut item = item;
        loop {
            // Registered before the look, so that room made in between is not missed.
            let room = self.room.notified();
            match self.offer(share, item) {
                Offered::Taken => return Ok(()),
                Offered::Closed => return Err(Closed),
                Offered::Full(back) => item = back,
            }
            room.await;
        }
    }

    /// Queues an item of someone who must not wait. On a full queue the connection is closed with
    /// 4002: its peer has not read for so long that it is better off coming back and resuming.
    pub fn push_now(&self, item: Item) {
        if let Offered::Full(_) = self.offer(1, item) {
            self.close(CloseCode::NoProgress);
        }
    }

    /// Queues an item that is worth nothing later, if half the room is free, else drops it; says whether it did not.
    pub fn push_or_drop(&self, item: Item) -> bool {
        matches!(self.offer(2, item), Offered::Taken)
    }

    /// Lets `items` wait, where many may come at once: a worker's orders, a plugin's questions.
    pub fn make_room(&self, items: usize) {
        self.inner.lock().room = items.max(REPLIES);
    }

    /// Rings: the writer will look at that log or feed.
    pub fn ring(&self, ring: Ring) {
        let mut inner = self.inner.lock();
        // A handful at the most: the writer empties it every time it wakes.
        if !inner.rung.contains(&ring) {
            inner.rung.push(ring);
            drop(inner);
            self.ready.notify_one();
        }
    }

    /// Closes the connection once what is queued has been sent. The first code stays.
    pub fn close(&self, code: CloseCode) {
        self.inner.lock().close.get_or_insert(code);
        self.ready.notify_one();
    }

    /// The writer has ended: pushes fail from now on.
    pub fn end(&self) {
        self.inner.lock().closed = true;
        self.room.notify_waiters();
        self.room.notify_one();
    }

    /// Whether a close was asked for or has happened.
    pub fn is_closing(&self) -> bool {
        let inner = self.inner.lock();
        inner.closed || inner.close.is_some()
    }

    /// Everything for the writer; waits until there is something.
    pub async fn take(&self) -> Taken {
        loop {
            let ready = self.ready.notified();
            if let Some(taken) = self.take_now() {
                return taken;
            }
            ready.await;
        }
    }

    /// Everything for the writer, if there is something.
    pub fn take_now(&self) -> Option<Taken> {
        let mut inner = self.inner.lock();
        if inner.queue.is_empty() && inner.rung.is_empty() && inner.close.is_none() {
            return None;
        }
        let taken = Taken {
            items: std::mem::take(&mut inner.queue),
            rung: std::mem::take(&mut inner.rung),
            close: inner.close,
        };
        drop(inner);
        self.room.notify_one();
        Some(taken)
    }

    fn offer(&self, share: usize, item: Item) -> Offered {
        let mut inner = self.inner.lock();
        if inner.closed || inner.close.is_some() {
            return Offered::Closed;
        }
        if inner.queue.len() >= inner.room / share {
            return Offered::Full(item);
        }
        inner.queue.push_back(item);
        drop(inner);
        self.ready.notify_one();
        Offered::Taken
    }
}

enum Offered {
    Taken,
    Full(Item),
    Closed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_can_wait_leaves_room_for_what_cannot() {
        let outbox = Outbox::default();
        let item = || Item::Ping;
        for _ in 0..REPLIES / 2 {
            outbox.push_late(item()).await.unwrap();
        }
        let mut late = std::pin::pin!(outbox.push_late(item()));
        assert!(futures_util::poll!(&mut late).is_pending());
        for _ in 0..REPLIES / 2 {
            outbox.push_now(item());
        }
        assert!(!outbox.is_closing(), "nobody was sent away");
        outbox.take_now().unwrap();
        late.await.unwrap();
    }

    const JOB: JobId = JobId { number: 1, nonce: 0 };

    #[tokio::test]
    async fn rings_collapse_and_items_keep_their_order() {
        let outbox = Outbox::default();
        outbox.ring(Ring::Jobs);
        outbox.ring(Ring::Jobs);
        outbox.push(Item::Ping).await.unwrap();
        outbox.push(Item::Unfollow(JOB)).await.unwrap();
        let taken = outbox.take().await;
        assert_eq!(taken.rung, [Ring::Jobs]);
        assert!(matches!(taken.items.iter().collect::<Vec<_>>()[..], [Item::Ping, Item::Unfollow(JOB)]));
        assert!(outbox.take_now().is_none());
    }

    #[tokio::test]
    async fn a_full_queue_holds_its_reader_up_and_closes_on_others() {
        let outbox = Outbox::default();
        for _ in 0..REPLIES {
            outbox.push(Item::Ping).await.unwrap();
        }
        let mut waiting = Box::pin(outbox.push(Item::Ping));
        assert!(futures_util::FutureExt::now_or_never(&mut waiting).is_none());
        assert_eq!(outbox.take().await.items.len(), REPLIES);
        waiting.await.unwrap();

        for _ in 0..REPLIES {
            outbox.push_now(Item::Ping);
        }
        assert_eq!(outbox.take().await.close, Some(CloseCode::NoProgress));
        assert_eq!(outbox.push(Item::Ping).await, Err(Closed));
    }
}
