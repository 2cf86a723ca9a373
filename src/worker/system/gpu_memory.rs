//! Whether the memory of a GPU is free again after whoever had it before.
//!
//! Pure: readings in, a decision out. A GPU of which no reading was ever had (declared, or of a kind that has no memory of
//! its own) is taken as free.

use std::collections::BTreeMap;
use std::fmt;

/// What may be in use beyond what is in use with nothing running: drivers take a little more at times, and give it back late.
const SLACK_BYTES: u64 = 128 * MIB;

/// One part in so many of its memory may be in use on any GPU.
const SMALL_SHARE: u64 = 100;

const MIB: u64 = 1024 * 1024;

/// What was read of one GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) index: u32,
    pub(crate) used_bytes: u64,
    pub(crate) total_bytes: u64,
}

/// What is in use of each GPU with nothing running: the least that was ever read, the first time before any job ran.
#[derive(Debug, Default)]
pub(crate) struct Floor(BTreeMap<u32, u64>);

/// Why a GPU cannot be given to a job yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InUse {
    /// So much more of its memory is in use than with nothing running.
    Memory { index: u32, bytes: u64 },
    /// It told of its memory before, and does not now.
    Silent { index: u32 },
    /// Another job has it.
    Job { index: u32 },
}

impl Floor {
    /// Takes readings into account.
    pub(crate) fn note(&mut self, readings: &[Memory]) {
        for Memory { index, used_bytes, total_bytes: _ } in readings {
            let least = self.0.entry(*index).or_insert(*used_bytes);
            *least = (*least).min(*used_bytes);
        }
    }

    /// Whether one of these ever told of its memory.
    pub(crate) fn knows(&self, wanted: &[u32]) -> bool {
        wanted.iter().any(|index| self.0.contains_key(index))
    }

    /// The first of these that is not free.
    pub(crate) fn in_use(&self, wanted: &[u32], readings: &[Memory]) -> Option<InUse> {
        wanted.iter().find_map(|&index| {
            let floor = *self.0.get(&index)?;
            let Some(reading) = readings.iter().find(|reading| reading.index == index) else {
                return Some(InUse::Silent { index });
            };
            let most = (floor + SLACK_BYTES).max(reading.total_bytes / SMALL_SHARE);
            let over = reading.used_bytes > most;
            over.then(|| InUse::Memory { index, bytes: reading.used_bytes - floor })
        })
    }
}

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { index, bytes } => {
                write!(f, "GPU {index} is not free: {} MiB of its memory are in use", bytes.div_ceil(MIB))
            }
            Self::Silent { index } => write!(f, "GPU {index} does not tell whether its memory is free"),
            Self::Job { index } => write!(f, "GPU {index} is not free: another job of this worker has it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1024 * MIB;

    fn reading(index: u32, used_mib: u64, total_gib: u64) -> Memory {
        Memory { index, used_bytes: used_mib * MIB, total_bytes: total_gib * GIB }
    }

    /// Two GPUs of 8 GiB with 400 and 5 MiB in use before anything runs.
    fn floor() -> Floor {
        let mut floor = Floor::default();
        floor.note(&[reading(0, 400, 8), reading(1, 5, 8)]);
        floor
    }

    #[test]
    fn a_gpu_is_free_once_it_uses_what_it_did_before() {
        let floor = floor();
        assert_eq!(floor.in_use(&[0, 1], &[reading(0, 400, 8), reading(1, 5, 8)]), None);
        assert_eq!(floor.in_use(&[0, 1], &[reading(0, 520, 8), reading(1, 130, 8)]), None, "and a little more");
        let left_over = InUse::Memory { index: 1, bytes: 4096 * MIB };
        assert_eq!(floor.in_use(&[0, 1], &[reading(0, 400, 8), reading(1, 4101, 8)]), Some(left_over));
        assert_eq!(left_over.to_string(), "GPU 1 is not free: 4096 MiB of its memory are in use");
        assert_eq!(floor.in_use(&[0], &[reading(0, 400, 8), reading(1, 4101, 8)]), None, "the other's does not count");
    }

    #[test]
    fn a_small_share_of_a_large_gpu_counts_as_free() {
        let mut floor = Floor::default();
        floor.note(&[reading(0, 4, 140)]);
        assert_eq!(floor.in_use(&[0], &[reading(0, 1400, 140)]), None);
        assert!(floor.in_use(&[0], &[reading(0, 1500, 140)]).is_some());
    }

    #[test]
    fn what_was_in_use_at_the_start_and_went_away_does_not_count_for_ever() {
        let mut floor = Floor::default();
        floor.note(&[reading(0, 6000, 8)]);
        assert_eq!(floor.in_use(&[0], &[reading(0, 6000, 8)]), None, "it belongs to somebody outside");
        floor.note(&[reading(0, 5, 8)]);
        floor.note(&[reading(0, 7000, 8)]);
        assert!(floor.in_use(&[0], &[reading(0, 6000, 8)]).is_some());
    }

    #[test]
    fn a_gpu_that_falls_silent_is_not_given_and_one_that_never_spoke_is() {
        assert_eq!(floor().in_use(&[1], &[reading(0, 400, 8)]), Some(InUse::Silent { index: 1 }));
        assert!(!Floor::default().knows(&[0, 1]));
        assert_eq!(Floor::default().in_use(&[0, 1], &[]), None);
    }
}
