//! What the machine is, and what of it is in use.
//!
//! Everything here blocks, for as long as a driver pleases: it runs on the blocking pool, and a
//! heartbeat carries the last answer rather than wait for the next.

mod gpu;
mod gpu_memory;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use nix::sys::statvfs::statvfs;
use sysinfo::{Networks, System};

use crate::protocol::agent::{GpuInfo, Usage};
pub(crate) use gpu::Gpus;
pub(crate) use gpu_memory::InUse;

/// Looks at the machine.
#[derive(Debug)]
pub(crate) struct Machine {
    /// None where the system does not tell.
    system: Option<System>,
    networks: Option<Networks>,
    /// When the networks' counters were last read.
    sampled: Instant,
    gpus: Arc<Gpus>,
    /// A directory on the disk that counts.
    dir: PathBuf,
}

/// What does not change while the agent runs.
#[derive(Debug, Clone)]
pub(crate) struct Specs {
    pub(crate) hostname: String,
    pub(crate) cpu_count: u32,
    pub(crate) memory_bytes: u64,
    pub(crate) disk_bytes: u64,
    pub(crate) gpus: Vec<GpuInfo>,
}

impl Machine {
    /// Looks for the first time. `dir` is where workspaces are.
    pub(crate) fn new(gpus: Arc<Gpus>, dir: &Path) -> Self {
        let mut system = System::new().ok();
        if let Some(system) = &mut system {
            system.refresh_memory();
            // A second look is what tells how much is used.
            system.refresh_cpu_usage();
        }
        Self {
            system,
            networks: Networks::new_with_refreshed_list().ok(),
            sampled: Instant::now(),
            gpus,
            dir: dir.to_owned(),
        }
    }

    /// What the machine is. Within a container of limited memory, that limit counts.
    pub(crate) fn specs(&self) -> Specs {
        let memory = self.system.as_ref().map_or(0, |system| {
            let limit = system.cgroup_limits().map_or(0, |limits| limits.total_memory);
            if limit > 0 { limit.min(system.total_memory()) } else { system.total_memory() }
        });
        Specs {
            hostname: System::host_name().unwrap_or_default(),
            cpu_count: std::thread::available_parallelism()
                .map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX)),
            memory_bytes: memory,
            disk_bytes: self.disk().0,
            gpus: self.gpus.list(),
        }
    }

    /// What is in use; rates are over the time since the last look.
    pub(crate) fn usage(&mut self) -> Usage {
        let mut usage = Usage { disk_bytes: self.disk().1, gpus: self.gpus.usage(), ..Usage::default() };
        if let Some(system) = &mut self.system {
            system.refresh_cpu_usage();
            system.refresh_memory();
            usage.cpu = f64::from(system.global_cpu_usage() / 100.0).clamp(0.0, 1.0);
            usage.memory_bytes = system.used_memory();
        }
        if let Some(networks) = &mut self.networks {
            networks.refresh(true);
            let secs = self.sampled.elapsed().as_secs_f64().max(0.001);
            self.sampled = Instant::now();
            let outside = || networks.iter().filter(|(name, _)| *name != "lo").map(|(_, network)| network);
            usage.network_in_bytes = rate(outside().map(sysinfo::NetworkData::received).sum(), secs);
            usage.network_out_bytes = rate(outside().map(sysinfo::NetworkData::transmitted).sum(), secs);
        }
        usage
    }

    /// Total and used bytes of the disk that holds the workspaces.
    fn disk(&self) -> (u64, u64) {
        statvfs(&self.dir).map_or((0, 0), |disk| {
            let total = disk.blocks() * disk.fragment_size();
            (total, total.saturating_sub(disk.blocks_free() * disk.fragment_size()))
        })
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate for people to look at"
)]
fn rate(bytes: u64, secs: f64) -> u64 {
    (bytes as f64 / secs) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_seen() {
        let mut machine = Machine::new(Arc::new(Gpus::declared(2)), Path::new("/"));
        let specs = machine.specs();
        assert!(specs.cpu_count > 0 && specs.memory_bytes > 0 && specs.disk_bytes > 0);
        assert_eq!(specs.gpus.iter().map(|gpu| gpu.index).collect::<Vec<_>>(), [0, 1]);
        let usage = machine.usage();
        assert!((0.0..=1.0).contains(&usage.cpu));
        assert!(usage.memory_bytes > 0 && usage.memory_bytes <= specs.memory_bytes);
        assert!(usage.gpus.is_empty(), "nothing is known of declared GPUs");
    }
}
