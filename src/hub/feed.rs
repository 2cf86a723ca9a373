//! Feeds of changes for `watch`: the last few thousand, read by cursor like a log.
//!
//! A feed is not kept anywhere else. A watcher that falls so far behind that changes are gone is
//! told so, and lists again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use axum::extract::ws::Utf8Bytes;
use parking_lot::Mutex;

use super::outbox::{Outbox, Ring};
use crate::model::AccountName;

/// Changes that a feed keeps: some seconds' worth at full speed.
const KEEP: usize = 8_192;

/// Changes, newest last.
#[derive(Debug, Default)]
pub struct Feed {
    inner: Mutex<Inner>,
    watched: AtomicUsize,
}

#[derive(Debug, Default)]
struct Inner {
    /// Number of the first change in `changes`.
    first: u64,
    changes: VecDeque<Change>,
    watchers: Vec<Watcher>,
}

#[derive(Debug)]
struct Change {
    /// Whose it is; everyone's where none.
    account: Option<AccountName>,
    frame: Utf8Bytes,
}

#[derive(Debug)]
struct Watcher {
    /// Dead once the connection has stopped watching.
    alive: Weak<()>,
    ring: Ring,
    outbox: Arc<Outbox>,
}

/// A watcher's place in a feed. Dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    next: u64,
    /// Only changes of this account; all where none.
    account: Option<AccountName>,
    _alive: Arc<()>,
}

impl Feed {
    /// Watches from now on. `account`: only its changes; `None`: all.
    pub fn watch(&self, account: Option<AccountName>, ring: Ring, outbox: &Arc<Outbox>) -> Watch {
        let alive = Arc::new(());
        let mut inner = self.inner.lock();
        inner.watchers.push(Watcher { alive: Arc::downgrade(&alive), ring, outbox: Arc::clone(outbox) });
        self.watched.store(inner.watchers.len(), Ordering::Release);
        Watch { next: inner.first + inner.changes.len() as u64, account, _alive: alive }
    }

    /// Whether anyone watches: if not, changes need not be written out.
    pub fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Acquire) > 0
    }

    /// Adds a change and rings every watcher.
    pub fn push(&self, account: Option<AccountName>, frame: Utf8Bytes) {
        let mut inner = self.inner.lock();
        inner.changes.push_back(Change { account, frame });
        if inner.changes.len() > KEEP {
            inner.changes.pop_front();
            inner.first += 1;
        }
        inner.watchers.retain(|watcher| {
            let alive = watcher.alive.strong_count() > 0;
            if alive {
                watcher.outbox.ring(watcher.ring);
            }
            alive
        });
        self.watched.store(inner.watchers.len(), Ordering::Release);
    }

    /// Adds what `watch` has not seen to `out`, at most `max` frames; whether changes were lost to
    /// it before those.
    pub fn pull(&self, watch: &mut Watch, max: usize, out: &mut Vec<Utf8Bytes>) -> bool {
        let inner = self.inner.lock();
        let lagged = watch.next < inner.first;
        watch.next = watch.next.max(inner.first);
        // Both are counts of changes kept here, at most `KEEP`.
        let skip = usize::try_from(watch.next - inner.first).unwrap_or(KEEP);
        for change in inner.changes.iter().skip(skip) {
            if out.len() >= max {
                break;
            }
            watch.next += 1;
            let visible = match (&watch.account, &change.account) {
                (None, _) | (_, None) => true,
                (Some(own), Some(account)) => own == account,
            };
            if visible {
                out.push(change.frame.clone());
            }
        }
        lagged
    }

    /// Whether `watch` has more to read.
    pub fn has_more(&self, watch: &Watch) -> bool {
        let inner = self.inner.lock();
        watch.next < inner.first + inner.changes.len() as u64
    }
}
