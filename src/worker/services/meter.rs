//! What containers use, for every heartbeat.
//!
//! Looked at as often as the machine is, each container once: that costs its engine little, where a stream of looks would
//! keep it busy all the time. Who wants to see more asks for `measure` (`orders`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::timeout;

use super::place::{Start, latest_start};
use crate::protocol::ContainerId;
use crate::protocol::agent::{ContainerUsageReport, GpuUsage};
use crate::protocol::container::ContainerUsage;
use crate::worker::agent::Agent;
use crate::worker::engine::Engine;
use crate::worker::engine::usage::Look;

/// Containers that are looked at at the same time.
const TOGETHER: usize = 8;

/// How long an engine may take over one. What it says later is missing from this heartbeat only.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// The last look at each container that runs, and which start of it that was.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    before: BTreeMap<ContainerId, (Start, Look)>,
}

impl Meter {
    /// Looks at every container that runs here, and says what each has used since the last time.
    pub(crate) async fn read(&mut self, agent: &Agent) -> Vec<ContainerUsageReport> {
        let Some(engine) = agent.engine.now() else { return Vec::new() };
        let held = agent.jobs.all();
        let run = held.iter().filter(|held| !held.is_over()).filter_map(|held| ContainerId::of(held.key.0));
        let looks: Vec<_> =
            run.filter_map(|id| Some(look(Arc::clone(&engine), id, latest_start(agent, id)?))).collect();
        let looks: Vec<_> = stream::iter(looks).buffer_unordered(TOGETHER).collect().await;
        let looks: BTreeMap<_, _> = looks.into_iter().flatten().collect();
        let before = std::mem::replace(&mut self.before, looks);
        let machine = agent.usage.borrow().machine.clone().unwrap_or_default();
        let since = |(id, (start, look)): (&ContainerId, &(Start, Look))| {
            // A new start counts from zero.
            let (_, before) = before.get(id).filter(|(earlier, _)| earlier.docker == start.docker)?;
            let usage = ContainerUsage { gpus: only(&machine.gpus, &start.gpus), ..look.since(before) };
            Some(ContainerUsageReport { container_id: *id, usage })
        };
        self.before.iter().filter_map(since).collect()
    }
}

async fn look(engine: Arc<Engine>, id: ContainerId, start: Start) -> Option<(ContainerId, (Start, Look))> {
    let look = timeout(LOOK_WITHIN, engine.look(&start.docker)).await.ok()??;
    Some((id, (start, look)))
}

/// What these GPUs do now. A driver that hangs holds up nothing but who asks.
pub(super) async fn gpus_now(agent: &Agent, wanted: &[u32]) -> Vec<GpuUsage> {
    if wanted.is_empty() {
        return Vec::new();
    }
    let gpus = Arc::clone(&agent.gpus);
    let looked = tokio::task::spawn_blocking(move || gpus.usage()).await.unwrap_or_default();
    only(&looked, wanted)
}

/// What the machine says of a container's GPUs is what the container does: nobody else is given them meanwhile.
fn only(machine: &[GpuUsage], wanted: &[u32]) -> Vec<GpuUsage> {
    machine.iter().filter(|gpu| wanted.contains(&gpu.index)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_uses_what_its_own_gpus_do() {
        let gpu = |index: u32, utilization: f64| GpuUsage { index, utilization, ..GpuUsage::default() };
        let machine = [gpu(0, 0.1), gpu(1, 0.9), gpu(2, 0.2), gpu(3, 0.4)];
        assert_eq!(only(&machine, &[3, 1]), [gpu(1, 0.9), gpu(3, 0.4)]);
        assert_eq!(only(&machine, &[]), [], "one without GPUs");
        assert_eq!(only(&[], &[0]), [], "declared ones, of which nothing is known");
        assert_eq!(only(&machine[..1], &[0, 1]), [gpu(0, 0.1)], "one that does not answer");
    }
}
