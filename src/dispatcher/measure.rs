//! What is looked up, not counted, when somebody asks for metrics.

use std::sync::Arc;
use std::time::Duration;

use tracing::debug;

use super::Dispatcher;
use crate::metrics::{Label, Metrics, WorkerState};

/// How long the store may take. What it says too late is missing from this answer only.
const STORE_WITHIN: Duration = Duration::from_secs(2);

impl Dispatcher {
    /// What is counted.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// All metrics as text. Where the store does not answer, the length of the queue is the one that it
    /// said last: the rest is wanted most then.
    pub async fn measure(&self) -> String {
        let metrics = &self.0.metrics;
        match tokio::time::timeout(STORE_WITHIN, self.0.store.ready()).await {
            Ok(Ok(classes)) => metrics.pending.set(count(classes.iter().map(|class| class.len).sum())),
            Ok(Err(error)) => debug!(%error, "the queue cannot be counted"),
            Err(_) => debug!("the queue cannot be counted in time"),
        }
        let mut states = Vec::new();
        let mut running = 0;
        let since = self.online_since();
        for known in self.0.fleet.all_known() {
            let agent = self.0.fleet.agent(&known.worker.id);
            let held = agent.as_ref().map_or(0, |agent| agent.running());
            running += held;
            let last = agent.as_ref().map_or(known.worker.last_seen, |agent| agent.last_heard());
            states.push(match &agent {
                _ if last <= since => WorkerState::Offline,
                None => WorkerState::Away,
                Some(agent) if agent.is_draining() => WorkerState::Draining,
                Some(_) if held == 0 => WorkerState::Idle,
                Some(_) => WorkerState::Busy,
            });
        }
        for &state in WorkerState::ALL {
            metrics.workers.of(state).set(count(states.iter().filter(|is| **is == state).count()));
        }
        metrics.running.set(count(running));
        metrics.followed_logs.set(count(self.0.hub.followed()));
        metrics.followers.set(count(self.0.hub.followers()));
        metrics.text()
    }
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
