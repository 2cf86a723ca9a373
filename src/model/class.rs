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
