//! How tasks end: stop taking work, let work finish, then cut.
//!
//! One [`Shutdown`] per process part. Every task is spawned on its tracker and watches one
//! of its two tokens, so that nothing outlives the part that owns it.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Owns the tasks of one part of the process and says when they must end.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    cut: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// A part that is neither draining nor cut.
    pub fn new() -> Self {
        Self::default()
    }

    /// Spawns a task that this part owns.
    pub fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// First step: take no new work.
    pub fn start_drain(&self) {
        self.drain.cancel();
    }

    /// Resolves once draining has begun.
    pub fn draining(&self) -> &CancellationToken {
        &self.drain
    }

    /// Last step: every task ends now.
    pub fn start_cut(&self) {
        self.drain.cancel();
        self.cut.cancel();
    }

    /// Resolves once everything must end.
    pub fn cut(&self) -> &CancellationToken {
        &self.cut
    }

    /// Waits for all tasks, at most `limit`; says whether they all ended.
    pub async fn finished(&self, limit: Duration) -> bool {
        self.tasks.close();
        tokio::time::timeout(limit, self.tasks.wait()).await.is_ok()
    }
}
