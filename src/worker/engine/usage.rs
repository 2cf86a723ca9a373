//! What a container uses, from two looks at its counters.

use bollard::models::{ContainerBlkioStats, ContainerCpuStats, ContainerMemoryStats, ContainerStatsResponse};
use bollard::query_parameters::{InspectContainerOptions, StatsOptionsBuilder};
use futures_util::stream::{BoxStream, StreamExt};
use tokio::time::Instant;

use super::Engine;
use crate::protocol::container::ContainerUsage;

/// What only ever grows.
#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    received: u64,
    sent: u64,
    read: u64,
    written: u64,
}

/// One look at a container.
#[derive(Debug)]
pub(crate) struct Look {
    at: Instant,
    stats: Box<ContainerStatsResponse>,
    memory_limit: u64,
}

impl Look {
    fn of(stats: ContainerStatsResponse, memory_limit: u64) -> Self {
        Self { at: Instant::now(), stats: Box::new(stats), memory_limit }
    }

    /// What it used since an earlier look.
    pub(crate) fn since(&self, before: &Self) -> ContainerUsage {
        let (old, new) = (counters(&before.stats), counters(&self.stats));
        let secs = (self.at - before.at).as_secs_f64();
        let memory = self.stats.memory_stats.clone().unwrap_or_default();
        ContainerUsage {
            cpu: match (&self.stats.cpu_stats, &before.stats.cpu_stats) {
                (Some(now), Some(before)) => processors(now, before),
                (Some(_) | None, _) => 0.0,
            },
            memory_bytes: in_use(&memory),
            memory_limit_bytes: self.memory_limit,
            network_in_bytes: rate(old.received, new.received, secs),
            network_out_bytes: rate(old.sent, new.sent, secs),
            disk_read_bytes: rate(old.read, new.read, secs),
            disk_write_bytes: rate(old.written, new.written, secs),
            pids: self.stats.pids_stats.as_ref().and_then(|pids| pids.current).unwrap_or(0),
            // The engine does not know.
            gpus: Vec::new(),
        }
    }

    /// Whether there was something to look at: of a container that does not run engines tell nothing but zeros.
    fn is_of_something(&self) -> bool {
        let ContainerStatsResponse { cpu_stats, memory_stats, pids_stats, .. } = &*self.stats;
        let cpu = cpu_stats.as_ref().and_then(|cpu| cpu.cpu_usage.as_ref()?.total_usage);
        let memory = memory_stats.as_ref().and_then(|memory| memory.usage);
        let pids = pids_stats.as_ref().and_then(|pids| pids.current);
        [cpu, memory, pids].into_iter().flatten().any(|number| number > 0)
    }
}

impl Engine {
    /// What the container uses, about once a second, for as long as it runs.
    pub(crate) async fn usage(&self, id: &str) -> BoxStream<'static, ContainerUsage> {
        let memory_limit = self.memory_limit(id).await;
        let options = StatsOptionsBuilder::default().stream(true).build();
        let mut before: Option<Look> = None;
        let looks =
            self.docker.stats(id, Some(options)).map(move |look| look.ok().map(|look| Look::of(look, memory_limit)));
        let runs = |look: &Option<Look>| std::future::ready(look.as_ref().is_none_or(Look::is_of_something));
        let looks = looks.take_while(runs).filter_map(move |look| {
            let usage = look.and_then(|look| {
                // The first look has nothing to compare with.
                let usage = before.as_ref().map(|before| look.since(before));
                before = Some(look);
                usage
            });
            std::future::ready(usage)
        });
        looks.boxed()
    }

    /// Looks at the container once; none where there is nothing to see.
    pub(crate) async fn look(&self, id: &str) -> Option<Look> {
        let options = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
        let look = self.docker.stats(id, Some(options)).next().await?;
        Some(Look::of(look.ok()?, self.memory_limit(id).await)).filter(Look::is_of_something)
    }

    /// How much memory the container was given; 0 where that is not limited. Among the counters that would be the whole
    /// machine's.
    async fn memory_limit(&self, id: &str) -> u64 {
        let container = self.docker.inspect_container(id, None::<InspectContainerOptions>).await;
        let limit = container.ok().and_then(|container| container.host_config?.memory);
        limit.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0)
    }
}

fn counters(look: &ContainerStatsResponse) -> Counters {
    let networks = || look.networks.iter().flat_map(|networks| networks.values());
    let blocks = |op| look.blkio_stats.as_ref().map_or(0, |stats| blocks(stats, op));
    Counters {
        received: networks().filter_map(|network| network.rx_bytes).sum(),
        sent: networks().filter_map(|network| network.tx_bytes).sum(),
        read: blocks("read"),
        written: blocks("write"),
    }
}

fn blocks(stats: &ContainerBlkioStats, op: &str) -> u64 {
    let entries = stats.io_service_bytes_recursive.iter().flatten();
    let of = entries.filter(|entry| entry.op.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(op)));
    of.filter_map(|entry| entry.value).sum()
}

/// Share of all processors between two looks, times how many there are.
#[expect(clippy::cast_precision_loss, reason = "a share for people to look at")]
fn processors(now: &ContainerCpuStats, before: &ContainerCpuStats) -> f64 {
    let used = |stats: &ContainerCpuStats| stats.cpu_usage.as_ref().and_then(|usage| usage.total_usage).unwrap_or(0);
    let all = |stats: &ContainerCpuStats| stats.system_cpu_usage.unwrap_or(0);
    let (own, whole) = (used(now).saturating_sub(used(before)), all(now).saturating_sub(all(before)));
    let count = f64::from(now.online_cpus.unwrap_or(1));
    if whole == 0 { 0.0 } else { own as f64 / whole as f64 * count }
}

/// Without what the system merely caches, as Docker's own command line has it for both versions of control groups.
fn in_use(memory: &ContainerMemoryStats) -> u64 {
    let stat = |name| memory.stats.as_ref().and_then(|stats| stats.get(name).copied());
    let cached = stat("total_inactive_file").or_else(|| stat("inactive_file")).unwrap_or(0);
    memory.usage.unwrap_or(0).saturating_sub(cached)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate for people to look at"
)]
fn rate(old: u64, new: u64, secs: f64) -> u64 {
    (new.saturating_sub(old) as f64 / secs.max(0.001)) as u64
}
