//! Samples as they are kept: short, because a document of them is written every minute.
//!
//! Each is a JSON array; what its places mean is said here alone. One that cannot be read is as if it had never been
//! written: that is how another version of these types gets rid of what this one wrote.

use serde::{Deserialize, Serialize};

use crate::protocol::agent::{GpuUsage, Usage};
use crate::protocol::container::ContainerUsage;

/// GPUs of one worker whose past is kept: as many as any machine has.
const GPUS_MOST: usize = 16;

/// More than any machine draws or has: what is beyond is no measurement.
const FAR_OFF: f64 = 1_000_000.0;

/// Processors, memory, disk, received, sent, GPUs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct WorkerRow(f64, u64, u64, u64, u64, Vec<GpuRow>);

/// Index, utilization, memory, temperature, watts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct GpuRow(u32, f64, u64, Option<u32>, Option<f64>);

/// Processors, memory, its limit, received, sent, read, written, processes, GPUs. Where there are none of these their place
/// is left out, too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ContainerRow(
    f64,
    u64,
    u64,
    u64,
    u64,
    u64,
    u64,
    u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")] Vec<GpuRow>,
);

impl From<Usage> for WorkerRow {
    fn from(usage: Usage) -> Self {
        let Usage { cpu, memory_bytes, disk_bytes, network_in_bytes, network_out_bytes, gpus } = usage;
        let gpus = gpus.into_iter().take(GPUS_MOST).map(GpuRow::from).collect();
        Self(short(cpu), memory_bytes, disk_bytes, network_in_bytes, network_out_bytes, gpus)
    }
}

impl From<WorkerRow> for Usage {
    fn from(row: WorkerRow) -> Self {
        let WorkerRow(cpu, memory_bytes, disk_bytes, network_in_bytes, network_out_bytes, gpus) = row;
        let gpus = gpus.into_iter().map(GpuUsage::from).collect();
        Self { cpu, memory_bytes, disk_bytes, network_in_bytes, network_out_bytes, gpus }
    }
}

impl From<GpuUsage> for GpuRow {
    fn from(usage: GpuUsage) -> Self {
        let GpuUsage { index, utilization, memory_bytes, temperature, power_watts } = usage;
        Self(index, short(utilization), memory_bytes, temperature, power_watts.map(short))
    }
}

impl From<GpuRow> for GpuUsage {
    fn from(row: GpuRow) -> Self {
        let GpuRow(index, utilization, memory_bytes, temperature, power_watts) = row;
        Self { index, utilization, memory_bytes, temperature, power_watts }
    }
}

impl From<ContainerUsage> for ContainerRow {
    fn from(usage: ContainerUsage) -> Self {
        let ContainerUsage {
            cpu,
            memory_bytes,
            memory_limit_bytes,
            network_in_bytes,
            network_out_bytes,
            disk_read_bytes,
            disk_write_bytes,
            pids,
            gpus,
        } = usage;
        let gpus = gpus.into_iter().take(GPUS_MOST).map(GpuRow::from).collect();
        Self(
            short(cpu),
            memory_bytes,
            memory_limit_bytes,
            network_in_bytes,
            network_out_bytes,
            disk_read_bytes,
            disk_write_bytes,
            pids,
            gpus,
        )
    }
}

impl From<ContainerRow> for ContainerUsage {
    fn from(row: ContainerRow) -> Self {
        let ContainerRow(
            cpu,
            memory_bytes,
            memory_limit_bytes,
            network_in_bytes,
            network_out_bytes,
            disk_read_bytes,
            disk_write_bytes,
            pids,
            gpus,
        ) = row;
        let gpus = gpus.into_iter().map(GpuUsage::from).collect();
        Self {
            cpu,
            memory_bytes,
            memory_limit_bytes,
            network_in_bytes,
            network_out_bytes,
            disk_read_bytes,
            disk_write_bytes,
            pids,
            gpus,
        }
    }
}

/// To the thousandth: more is not seen in a graph.
fn short(number: f64) -> f64 {
    (number.clamp(0.0, FAR_OFF) * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(index: u32) -> GpuUsage {
        GpuUsage {
            index,
            utilization: 0.123_456,
            memory_bytes: 150_754_820_096,
            temperature: Some(61),
            power_watts: None,
        }
    }

    #[test]
    fn what_is_kept_says_what_was_measured() {
        let usage = Usage {
            cpu: 0.25,
            memory_bytes: 1,
            disk_bytes: 2,
            network_in_bytes: 3,
            network_out_bytes: 4,
            gpus: vec![gpu(7)],
        };
        let kept = serde_json::to_string(&WorkerRow::from(usage.clone())).unwrap();
        assert_eq!(kept, "[0.25,1,2,3,4,[[7,0.123,150754820096,61,null]]]");
        let row: WorkerRow = serde_json::from_str(&kept).unwrap();
        assert_eq!(Usage::from(row), Usage { gpus: vec![GpuUsage { utilization: 0.123, ..gpu(7) }], ..usage });
    }

    #[test]
    fn a_containers_gpus_are_kept_and_without_any_nothing_is() {
        let usage = ContainerUsage { cpu: 1.5, pids: 7, gpus: vec![gpu(3)], ..ContainerUsage::default() };
        let kept = serde_json::to_string(&ContainerRow::from(usage.clone())).unwrap();
        assert_eq!(kept, "[1.5,0,0,0,0,0,0,7,[[3,0.123,150754820096,61,null]]]");
        let row: ContainerRow = serde_json::from_str(&kept).unwrap();
        let rounded = GpuUsage { utilization: 0.123, ..gpu(3) };
        assert_eq!(ContainerUsage::from(row), ContainerUsage { gpus: vec![rounded], ..usage.clone() });

        let usage = ContainerUsage { gpus: Vec::new(), ..usage };
        let kept = serde_json::to_string(&ContainerRow::from(usage.clone())).unwrap();
        assert_eq!(kept, "[1.5,0,0,0,0,0,0,7]", "as it was kept before there were GPUs");
        assert_eq!(ContainerUsage::from(serde_json::from_str::<ContainerRow>(&kept).unwrap()), usage);
    }

    #[test]
    fn no_worker_can_make_a_row_long_or_unreadable() {
        let usage = Usage { cpu: f64::MAX, gpus: (0..10_000).map(gpu).collect(), ..Usage::default() };
        let kept = serde_json::to_string(&WorkerRow::from(usage)).unwrap();
        assert!(kept.len() < 1024, "{} bytes", kept.len());
        let row: WorkerRow = serde_json::from_str(&kept).unwrap();
        assert_eq!(Usage::from(row).gpus.len(), 16);
    }
}
