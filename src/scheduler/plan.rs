//! What a worker may claim with the capacity that it has left.

use std::collections::BTreeMap;

use crate::model::spec::Gpus;
use crate::model::{Capacity, Requires};
use crate::protocol::WorkerId;

/// What the scheduler knows of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its name.
    pub id: WorkerId,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it has a container engine.
    pub containers: bool,
    /// Whether it polls, and so can run only what is made for that.
    pub polls: bool,
    /// Whether it is connected, or polls.
    pub online: bool,
    /// Whether it takes no new jobs.
    pub draining: bool,
    /// What it has.
    pub total: Capacity,
    /// What is left of that.
    pub free: Capacity,
}

/// A claim to make for a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Classes that fit, each with the GPUs to give.
    pub classes: Vec<(Requires, Vec<u32>)>,
    /// Jobs at the most.
    pub limit: usize,
}

/// What to claim for `worker` out of `classes`; `None`: nothing fits.
///
/// Jobs that need no more than a slot are claimed as many as there are slots. As soon as a class
/// takes something else, too, one job is claimed at a time: what the next may take depends on
/// which one that was.
pub fn plan<'a>(worker: &Facts, classes: impl IntoIterator<Item = &'a Requires>) -> Option<Plan> {
    if worker.draining || !worker.online {
        return None;
    }
    let mut only_slots = true;
    let classes: Vec<_> = classes
        .into_iter()
        .filter(|class| runs(worker, class) && fits(&worker.free, class))
        .map(|class| {
            let gpus = choose_gpus(&worker.free, &class.gpus);
            only_slots &= !class.slotless && class.milli_cpus == 0 && class.memory_bytes == 0 && gpus.is_empty();
            (class.clone(), gpus)
        })
        .collect();
    if classes.is_empty() {
        return None;
    }
    // A slot count is far below what `usize` holds on every platform this builds for.
    let limit = if only_slots { worker.free.slots as usize } else { 1 };
    Some(Plan { classes, limit })
}

/// What a job of `class` takes from a worker while it runs, given these GPUs.
pub fn cost(class: &Requires, gpus: &[u32]) -> Capacity {
    let slots = u32::from(!class.slotless);
    Capacity { slots, milli_cpus: class.milli_cpus, memory_bytes: class.memory_bytes, gpus: gpus.to_vec() }
}

/// Takes from `free` what a job of `class` costs that has these GPUs, or, where it has none yet, is about to be given some.
pub fn give(free: &mut Capacity, class: &Requires, gpus: &[u32]) {
    let chosen = if gpus.is_empty() { choose_gpus(free, &class.gpus) } else { gpus.to_vec() };
    free.take(&cost(class, &chosen));
}

/// Whether `worker` could run a job of `class` with nothing else on it.
pub fn runs(worker: &Facts, class: &Requires) -> bool {
    let Requires { worker: pinned, labels, milli_cpus: _, memory_bytes: _, gpus: _, container, slotless: _, polled } =
        class;
    pinned.as_ref().is_none_or(|id| *id == worker.id)
        && labels.iter().all(|(key, value)| worker.labels.get(key) == Some(value))
        && (!container || worker.containers)
        && (*polled || !worker.polls)
        && fits(&worker.total, class)
}

/// Whether this much is enough for a job of `class`.
pub fn fits(capacity: &Capacity, class: &Requires) -> bool {
    (capacity.slots > 0 || class.slotless)
        && class.milli_cpus <= capacity.milli_cpus
        && class.memory_bytes <= capacity.memory_bytes
        && match &class.gpus {
            Gpus::Count(count) => *count as usize <= capacity.gpus.len(),
            Gpus::Ids(ids) => ids.iter().all(|id| capacity.gpus.contains(id)),
        }
}

fn choose_gpus(free: &Capacity, wanted: &Gpus) -> Vec<u32> {
    match wanted {
        Gpus::Count(count) => free.gpus.iter().copied().take(*count as usize).collect(),
        Gpus::Ids(ids) => ids.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker() -> Facts {
        let total = Capacity { slots: 4, milli_cpus: 4000, memory_bytes: 1 << 30, gpus: vec![0, 1, 2] };
        Facts {
            id: "a".parse().unwrap(),
            labels: [("zone".to_owned(), "eu".to_owned())].into(),
            containers: false,
            polls: false,
            online: true,
            draining: false,
            free: total.clone(),
            total,
        }
    }

    fn gpus(gpus: Gpus) -> Requires {
        Requires { gpus, ..Requires::default() }
    }

    #[test]
    fn plain_jobs_fill_the_slots() {
        let plan = plan(&worker(), [&Requires::default()]).unwrap();
        assert_eq!(plan.limit, 4);
        assert_eq!(plan.classes, [(Requires::default(), vec![])]);
    }

    #[test]
    fn jobs_that_take_more_are_claimed_one_by_one() {
        let two = gpus(Gpus::Count(2));
        let plan = plan(&worker(), [&Requires::default(), &two]).unwrap();
        assert_eq!(plan.limit, 1);
        assert_eq!(plan.classes[1].1, [0, 1]);
    }

    #[test]
    fn a_gpu_in_use_is_never_given() {
        let mut worker = worker();
        worker.free.gpus = vec![1];
        assert!(plan(&worker, [&gpus(Gpus::Count(2))]).is_none());
        assert!(plan(&worker, [&gpus(Gpus::Ids(vec![0]))]).is_none());
        assert_eq!(plan(&worker, [&gpus(Gpus::Count(1))]).unwrap().classes[0].1, [1]);
    }

    #[test]
    fn what_is_about_to_be_given_is_not_there_for_others() {
        let mut free = worker().total;
        give(&mut free, &gpus(Gpus::Count(1)), &[]);
        give(&mut free, &gpus(Gpus::Count(1)), &[2]);
        assert_eq!(free.gpus, [1]);
        give(&mut free, &Requires { milli_cpus: 1500, ..gpus(Gpus::Ids(vec![1])) }, &[]);
        assert_eq!((free.milli_cpus, free.slots, free.gpus.is_empty()), (2500, 1, true));
        assert!(!fits(&free, &gpus(Gpus::Count(1))) && fits(&free, &Requires::default()));
    }

    #[test]
    fn pins_labels_and_drains_are_kept() {
        let pinned = |id: &str| Requires { worker: Some(id.parse().unwrap()), ..Requires::default() };
        let labelled =
            |value: &str| Requires { labels: [("zone".to_owned(), value.to_owned())].into(), ..Requires::default() };
        assert!(plan(&worker(), [&pinned("a"), &labelled("eu")]).is_some());
        assert!(plan(&worker(), [&pinned("b"), &labelled("us")]).is_none());
        assert!(plan(&Facts { draining: true, ..worker() }, [&Requires::default()]).is_none());
        assert!(plan(&Facts { online: false, ..worker() }, [&Requires::default()]).is_none());
    }
}
