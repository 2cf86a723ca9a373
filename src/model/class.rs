//! Requirement classes: jobs that need the same are one queue.

use super::spec::Requires;

/// A class that has jobs waiting, as the scheduler sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadyClass {
    /// What its jobs need.
    pub requires: Requires,
    /// Priority of the job at its head.
    pub priority: i32,
    /// Number of the job at its head.
    pub head: u64,
    /// Jobs in it.
    pub len: usize,
}

/// What a worker has, or has left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Jobs at a time.
    pub slots: u32,
    /// Thousandths of a processor.
    pub milli_cpus: u64,
    /// Memory.
    pub memory_bytes: u64,
    /// GPUs by index, sorted.
    pub gpus: Vec<u32>,
}

impl Capacity {
    /// Takes from it what a job costs. Saturating: a worker that came back with less than it had still holds its old jobs.
    pub fn take(&mut self, cost: &Self) {
        let Self { slots, milli_cpus, memory_bytes, gpus } = cost;
        self.slots = self.slots.saturating_sub(*slots);
        self.milli_cpus = self.milli_cpus.saturating_sub(*milli_cpus);
        self.memory_bytes = self.memory_bytes.saturating_sub(*memory_bytes);
        self.gpus.retain(|gpu| !gpus.contains(gpu));
    }
}
