//! The newest entries of one followed log, each serialised once and shared by all followers.
//!
//! A tail is a cache of the log's end and nothing more: entries come here after the store has
//! taken them, in order and without holes. A reader whose cursor is not in it reads the store.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use axum::extract::ws::Utf8Bytes;
use parking_lot::Mutex;

use super::frames;
use super::outbox::{Outbox, Ring};
use crate::model::{Entry, EntryKind};
use crate::protocol::job::{Reason, Status};
use crate::protocol::{Cursor, JobId};

/// Bytes of frames that a tail keeps: enough that a follower which is merely busy finds its
/// place again without the store, little enough that thousands of followed logs fit in memory.
const KEEP_BYTES: usize = 1024 * 1024;

/// The end of one log.
#[derive(Debug)]
pub struct Tail {
    job: JobId,
    // One short critical section per push and per pull; nothing is awaited under it.
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    frames: VecDeque<Sendable>,
    bytes: usize,
    /// The newest entry that came by, or that the log was seen to have.
    top: Option<Cursor>,
    /// How often followers were told to look into the store.
    looks: u64,
    followers: Vec<Follower>,
}

/// An entry, ready to send.
#[derive(Debug, Clone)]
pub struct Sendable {
    /// Its place.
    pub at: Cursor,
    /// The job's status from here on, where the entry changes it.
    pub status: Option<Status>,
    /// Its frame.
    pub frame: Utf8Bytes,
}

#[derive(Debug)]
struct Follower {
    /// Dead once the connection has stopped following.
    alive: Weak<()>,
    outbox: Arc<Outbox>,
}

/// What a pull found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulled {
    /// Frames were added; there may be more.
    Some,
    /// The cursor is at the end: wait for the ring.
    CaughtUp,
    /// The entries after the cursor are not here: read the store.
    Behind,
}

impl Tail {
    pub(super) fn new(job: JobId) -> Self {
        Self { job, inner: Mutex::default() }
    }

    /// Takes entries that follow each other and that the store has taken, then rings.
    pub fn push(&self, entries: &[Entry]) {
        let mut inner = self.inner.lock();
        for entry in entries {
            // Repeats are not worth writing out.
            if inner.top.is_none_or(|top| entry.at > top) {
                inner.take(Sendable::of(self.job, entry));
            }
        }
        inner.trim();
        inner.ring(Ring::Log(self.job));
    }

    /// The same for entries that are written out already; `false`: some before them are missing, and
    /// none was taken.
    pub fn receive(&self, entries: Vec<Sendable>) -> bool {
        let mut inner = self.inner.lock();
        let mut fresh = entries.into_iter().filter(|entry| inner.top.is_none_or(|top| entry.at > top)).peekable();
        let follows = match (inner.top, fresh.peek()) {
            (Some(top), Some(first)) => directly_follows(top, first.at),
            (None, Some(first)) => directly_follows(Cursor::START, first.at),
            (Some(_) | None, None) => return true,
        };
        if follows {
            let fresh: Vec<Sendable> = fresh.collect();
            fresh.into_iter().for_each(|entry| inner.take(entry));
            inner.trim();
            inner.ring(Ring::Log(self.job));
        }
        follows
    }

    /// The newest entry that came by; none yet.
    pub fn top(&self) -> Option<Cursor> {
        self.inner.lock().top
    }

    /// The log goes up to `top` by now, and what led there did not come by: every follower looks into the store.
    pub fn look_from(&self, top: Cursor) {
        let mut inner = self.inner.lock();
        if inner.top.is_none_or(|before| before < top) {
            inner.forget();
            inner.top = Some(top);
            inner.looks += 1;
            inner.ring(Ring::Log(self.job));
        }
    }

    /// Adds frames after `after` to `out`, about `max_bytes` at the most.
    ///
    /// `looks` counts the times that the reader has looked into the store because it was told to.
    pub fn pull(&self, after: Cursor, max_bytes: usize, looks: &mut u64, out: &mut Vec<Sendable>) -> Pulled {
        let inner = self.inner.lock();
        let start = inner.frames.partition_point(|entry| entry.at <= after);
        let Some(first) = inner.frames.get(start) else {
            let told = std::mem::replace(looks, inner.looks) < inner.looks;
            return if told && inner.top > Some(after) { Pulled::Behind } else { Pulled::CaughtUp };
        };
        if start == 0 && !directly_follows(after, first.at) {
            return Pulled::Behind;
        }
        let mut bytes = 0;
        for entry in inner.frames.range(start..) {
            if bytes >= max_bytes {
                break;
            }
            bytes += entry.frame.len();
            out.push(entry.clone());
        }
        Pulled::Some
    }

    pub(super) fn has_followers(&self) -> bool {
        self.followers() > 0
    }

    /// How many follow it now.
    pub(super) fn followers(&self) -> usize {
        let mut inner = self.inner.lock();
        inner.followers.retain(Follower::is_alive);
        inner.followers.len()
    }
}

impl Sendable {
    /// Serialises an entry.
    pub fn of(job: JobId, entry: &Entry) -> Self {
        let status = match &entry.kind {
            // Another start of a container may follow.
            EntryKind::End { reason, .. } if job.is_container() && *reason != Reason::Removed => Some(Status::Pending),
            EntryKind::Status { status, .. } | EntryKind::End { status, .. } => Some(*status),
            EntryKind::Output { .. } => None,
        };
        Self { at: entry.at, status, frame: frames::of_entry(job, entry) }
    }
}

impl Inner {
    fn take(&mut self, entry: Sendable) {
        // Only within an attempt can the tail itself tell that nothing is missing.
        if self.top.is_some_and(|top| entry.at.attempt != top.attempt || !top.precedes(entry.at)) {
            self.forget();
        }
        self.top = Some(entry.at);
        self.bytes += entry.frame.len();
        self.frames.push_back(entry);
    }

    fn trim(&mut self) {
        while self.bytes > KEEP_BYTES && self.frames.len() > 1 {
            if let Some(oldest) = self.frames.pop_front() {
                self.bytes -= oldest.frame.len();
            }
        }
    }

    fn forget(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }

    fn ring(&mut self, ring: Ring) {
        self.followers.retain(|follower| {
            let alive = follower.is_alive();
            if alive {
                follower.outbox.ring(ring);
            }
            alive
        });
    }
}

impl Follower {
    fn is_alive(&self) -> bool {
        self.alive.strong_count() > 0
    }
}

/// Whether nothing can lie between. Within an attempt the numbers tell; an attempt's last number
/// is not known here, but before the first attempt of a job that got one there is nothing.
fn directly_follows(after: Cursor, next: Cursor) -> bool {
    after.precedes(next) && (after.attempt == next.attempt || after == Cursor::START && next.attempt == 1)
}

/// A place at a tail: rings its connection's outbox until it is dropped.
#[derive(Debug)]
pub struct Attached {
    tail: Arc<Tail>,
    _alive: Arc<()>,
}

impl Attached {
    /// Rings `outbox` whenever entries come to `tail`.
    pub(super) fn new(tail: Arc<Tail>, outbox: &Arc<Outbox>) -> Self {
        let alive = Arc::new(());
        let follower = Follower { alive: Arc::downgrade(&alive), outbox: Arc::clone(outbox) };
        tail.inner.lock().followers.push(follower);
        Self { tail, _alive: alive }
    }

    /// See [`Tail::pull`].
    pub fn pull(&self, after: Cursor, max_bytes: usize, looks: &mut u64, out: &mut Vec<Sendable>) -> Pulled {
        self.tail.pull(after, max_bytes, looks, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::StreamName;

    const JOB: JobId = JobId { number: 1, nonce: 0 };

    fn line(attempt: u32, n: u64, size: usize) -> Entry {
        let bytes = vec![b'x'; size].into();
        Entry {
            at: Cursor::new(attempt, n),
            time: 0,
            kind: EntryKind::Output { stream: StreamName::Stdout, offset: 0, bytes },
        }
    }

    fn pull(tail: &Tail, after: Cursor) -> (Pulled, Vec<Cursor>) {
        let mut out = Vec::new();
        let pulled = tail.pull(after, usize::MAX, &mut 0, &mut out);
        (pulled, out.into_iter().map(|entry| entry.at).collect())
    }

    #[test]
    fn a_reader_at_the_end_gets_what_comes() {
        let tail = Tail::new(JOB);
        assert_eq!(pull(&tail, Cursor::new(1, 4)), (Pulled::CaughtUp, vec![]));
        tail.push(&[line(1, 5, 1), line(1, 6, 1)]);
        assert_eq!(pull(&tail, Cursor::new(1, 4)), (Pulled::Some, vec![Cursor::new(1, 5), Cursor::new(1, 6)]));
        assert_eq!(pull(&tail, Cursor::new(1, 6)), (Pulled::CaughtUp, vec![]));
    }

    #[test]
    fn a_reader_before_the_tail_reads_the_store() {
        let tail = Tail::new(JOB);
        tail.push(&[line(1, 5, 1)]);
        assert_eq!(pull(&tail, Cursor::new(1, 3)), (Pulled::Behind, vec![]));
        tail.push(&[line(2, 0, 1)]);
        // Whether 1-5 was the last of its attempt is not for the tail to say.
        assert_eq!(pull(&tail, Cursor::new(1, 5)), (Pulled::Behind, vec![]));
    }

    #[test]
    fn repeats_are_dropped_and_a_hole_starts_anew() {
        let tail = Tail::new(JOB);
        tail.push(&[line(1, 1, 1), line(1, 2, 1)]);
        tail.push(&[line(1, 2, 1), line(1, 3, 1)]);
        assert_eq!(pull(&tail, Cursor::new(1, 1)).1, [Cursor::new(1, 2), Cursor::new(1, 3)]);
        tail.push(&[line(1, 9, 1)]);
        assert_eq!(pull(&tail, Cursor::new(1, 3)), (Pulled::Behind, vec![]));
        assert_eq!(pull(&tail, Cursor::new(1, 8)).1, [Cursor::new(1, 9)]);
    }

    #[test]
    fn a_tail_is_bounded() {
        let tail = Tail::new(JOB);
        for n in 1..=40 {
            tail.push(&[line(1, n, 64 * 1024)]);
        }
        assert_eq!(pull(&tail, Cursor::new(1, 1)), (Pulled::Behind, vec![]));
        assert!(tail.inner.lock().bytes <= KEEP_BYTES);
    }
}
