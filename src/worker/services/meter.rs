//! What containers use, for every heartbeat.
//!
//! Looked at as often as the machine is, each container once: that costs its engine little, where a stream of looks would
//! keep it busy all the time. Who wants to see more asks for `measure` (`orders`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::timeout;

use super::docker_id;
use crate::protocol::ContainerId;
use crate::protocol::agent::ContainerUsageReport;
use crate::worker::agent::Agent;
use crate::worker::engine::Engine;
use crate::worker::engine::usage::Look;

/// Containers that are looked at at the same time.
const TOGETHER: usize = 8;

/// How long an engine may take over one. What it says later is missing from this heartbeat only.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// The last look at each container that runs, by the engine's name of it.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    before: BTreeMap<ContainerId, (String, Look)>,
}

impl Meter {
    /// Looks at every container that runs here, and says what each has used since the last time.
    pub(crate) async fn read(&mut self, agent: &Agent) -> Vec<ContainerUsageReport> {
        let Some(engine) = agent.engine.now() else { return Vec::new() };
        let held = agent.jobs.all();
        let run = held.iter().filter(|held| !held.is_over()).filter_map(|held| ContainerId::of(held.key.0));
        let looks: Vec<_> = run.filter_map(|id| Some(look(Arc::clone(&engine), id, docker_id(agent, id)?))).collect();
        let looks: Vec<_> = stream::iter(looks).buffer_unordered(TOGETHER).collect().await;
        let looks: BTreeMap<_, _> = looks.into_iter().flatten().collect();
        let before = std::mem::replace(&mut self.before, looks);
        let since = |(id, (docker, look)): (&ContainerId, &(String, Look))| {
            // A new start counts from zero.
            let (_, before) = before.get(id).filter(|(earlier, _)| earlier == docker)?;
            Some(ContainerUsageReport { container_id: *id, usage: look.since(before) })
        };
        self.before.iter().filter_map(since).collect()
    }
}

async fn look(engine: Arc<Engine>, id: ContainerId, docker: String) -> Option<(ContainerId, (String, Look))> {
    let look = timeout(LOOK_WITHIN, engine.look(&docker)).await.ok()??;
    Some((id, (docker, look)))
}
