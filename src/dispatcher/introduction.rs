//! Jobs that were just stored and are not yet known to their submitter's connection.
//!
//! A stored job can be claimed, run and ended before the task that submitted it runs again. What
//! happens to it is shown to nobody before that task has put the follower into place and told
//! watchers of the new job: else the follower would wait for entries that went by.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The submits under way on this instance, by the random half of the id they will have. Two that
/// share one merely wait for each other.
#[derive(Debug, Default)]
pub(super) struct Introductions {
    under_way: Mutex<HashMap<u32, usize>>,
    done: Notify,
}

/// A submit under way; it is over when this is dropped.
#[derive(Debug)]
pub(super) struct Introduction<'a> {
    all: &'a Introductions,
    nonce: u32,
}

impl Introductions {
    /// A submit begins.
    pub(super) fn begin(&self, nonce: u32) -> Introduction<'_> {
        *self.under_way.lock().entry(nonce).or_default() += 1;
        Introduction { all: self, nonce }
    }

    /// Waits until the submit of this job, should it be under way, is over. It then is about to be:
    /// the store has answered.
    pub(super) async fn over(&self, nonce: u32) {
        loop {
            let done = self.done.notified();
            tokio::pin!(done);
            // Enabled before the look, so that an end in between is not missed.
            done.as_mut().enable();
            if !self.under_way.lock().contains_key(&nonce) {
                return;
            }
            done.await;
        }
    }
}

impl Drop for Introduction<'_> {
    fn drop(&mut self) {
        let mut under_way = self.all.under_way.lock();
        if let Some(count) = under_way.get_mut(&self.nonce) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.nonce);
            }
        }
        drop(under_way);
        self.all.done.notify_waiters();
    }
}
