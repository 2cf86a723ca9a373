//! Who has something to send: jobs in turn, one frame each, so that a loud one does not keep a
//! quiet one waiting.
//!
//! Bounded by the jobs there are: each is in it once at the most, and the frames stay in the
//! jobs' own logs.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::held::Held;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    ready: Mutex<VecDeque<Arc<Held>>>,
    filled: Notify,
}

impl Outbox {
    /// Adds a job that has frames to send.
    pub(crate) fn push(&self, job: Arc<Held>) {
        self.ready.lock().push_back(job);
        self.filled.notify_one();
    }

    /// The next job.
    pub(crate) fn pop(&self) -> Option<Arc<Held>> {
        self.ready.lock().pop_front()
    }

    /// Waits until there may be a job.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Takes all out, as a connection has ended.
    pub(crate) fn clear(&self) {
        self.ready.lock().clear();
    }
}
