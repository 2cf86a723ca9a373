//! Why a pending job is pending, in words that say what would help.

use super::plan::{Facts, runs};
use crate::model::Requires;
use crate::model::spec::Gpus;

/// Why a worker that polls is no help.
const POLLING: &str = "those that poll take only a script with a ZIP";

/// The reason why no worker has taken a job of `class`.
///
/// It names the narrowest thing: that nobody could ever run it, that those who could are away, or
/// that they are busy.
pub fn waiting_for(class: &Requires, workers: &[Facts]) -> String {
    if workers.is_empty() {
        return "a worker to connect".to_owned();
    }
    let able: Vec<&Facts> = workers.iter().filter(|worker| runs(worker, class)).collect();
    if able.is_empty() {
        return unmet(class, workers);
    }
    let online: Vec<&&Facts> = able.iter().filter(|worker| worker.online).collect();
    if online.is_empty() {
        return match able.as_slice() {
            [one] => format!("worker {} to come back (offline)", one.id),
            many => format!("one of {} suitable workers to come back (all offline)", many.len()),
        };
    }
    let taking: Vec<&&&Facts> = online.iter().filter(|worker| !worker.draining).collect();
    match taking.as_slice() {
        [] => format!("a worker that is not draining ({} suitable, all draining)", online.len()),
        [one] if one.free.slots == 0 => format!("a free slot on worker {}", one.id),
        [one] => format!("{} on worker {}, or its turn in the queue", needs(class), one.id),
        many => format!("{} on one of {} suitable workers", needs(class), many.len()),
    }
}

fn unmet(class: &Requires, workers: &[Facts]) -> String {
    if let Some(id) = &class.worker {
        return match workers.iter().find(|worker| worker.id == *id) {
            None => format!("worker {id} to connect (it is not known here)"),
            Some(worker) if worker.polls && !class.polled => format!("worker {id} to connect: {POLLING}"),
            Some(_) => format!("worker {id} to have {}", needs(class)),
        };
    }
    if workers.iter().all(|worker| worker.polls) {
        return format!("a worker to connect: {POLLING}");
    }
    for (key, value) in &class.labels {
        if !workers.iter().any(|worker| worker.labels.get(key) == Some(value)) {
            return format!("a worker with label {key}={value}");
        }
    }
    if class.container && !workers.iter().any(|worker| worker.containers) {
        return "a worker with a container engine".to_owned();
    }
    format!("a worker with {}", needs(class))
}

fn needs(class: &Requires) -> String {
    let Requires { worker: _, labels, milli_cpus, memory_bytes, gpus, container, slotless: _, polled: _ } = class;
    let mut needs: Vec<String> = Vec::new();
    match gpus {
        Gpus::Count(0) => (),
        Gpus::Count(1) => needs.push("1 free GPU".to_owned()),
        Gpus::Count(count) => needs.push(format!("{count} free GPUs")),
        Gpus::Ids(ids) => needs.push(format!("GPUs {ids:?} free")),
    }
    if *milli_cpus > 0 {
        // Three decimals are all there are.
        let cpus = format!("{}.{:03}", milli_cpus / 1000, milli_cpus % 1000);
        needs.push(format!("{} free CPUs", cpus.trim_end_matches('0').trim_end_matches('.')));
    }
    if *memory_bytes > 0 {
        needs.push(format!("{} MiB of free memory", memory_bytes.div_ceil(1024 * 1024)));
    }
    if *container {
        needs.push("a container engine".to_owned());
    }
    needs.extend(labels.iter().map(|(key, value)| format!("label {key}={value}")));
    if needs.is_empty() { "a free slot".to_owned() } else { needs.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Capacity;

    fn worker(id: &str) -> Facts {
        let total = Capacity { slots: 1, milli_cpus: 2000, memory_bytes: 1 << 30, gpus: vec![0] };
        Facts {
            id: id.parse().unwrap(),
            labels: [("zone".to_owned(), "eu".to_owned())].into(),
            containers: false,
            polls: false,
            online: true,
            draining: false,
            free: total.clone(),
            total,
        }
    }

    #[test]
    fn the_words_name_what_is_missing() {
        let plain = Requires::default();
        let label = Requires { labels: [("zone".to_owned(), "us".to_owned())].into(), ..plain.clone() };
        let gpus = Requires { gpus: Gpus::Count(2), ..plain.clone() };
        let cpus = Requires { milli_cpus: 2500, ..plain.clone() };
        let pinned = Requires { worker: Some("z".parse().unwrap()), ..plain.clone() };
        assert_eq!(waiting_for(&plain, &[]), "a worker to connect");
        assert_eq!(waiting_for(&label, &[worker("a")]), "a worker with label zone=us");
        assert_eq!(waiting_for(&gpus, &[worker("a")]), "a worker with 2 free GPUs");
        assert_eq!(waiting_for(&cpus, &[worker("a")]), "a worker with 2.5 free CPUs");
        assert_eq!(waiting_for(&pinned, &[worker("a")]), "worker z to connect (it is not known here)");

        let polling = Facts { polls: true, ..worker("a") };
        assert!(waiting_for(&plain, std::slice::from_ref(&polling)).contains("poll take only a script"));
        let polled = Requires { polled: true, ..plain.clone() };
        assert_eq!(waiting_for(&polled, &[polling]), "a free slot on worker a, or its turn in the queue");

        let mut busy = worker("a");
        busy.free.slots = 0;
        assert_eq!(waiting_for(&plain, &[busy]), "a free slot on worker a");
        let away = Facts { online: false, ..worker("a") };
        assert_eq!(waiting_for(&plain, &[away]), "worker a to come back (offline)");
        let draining = Facts { draining: true, ..worker("a") };
        assert!(waiting_for(&plain, &[draining]).contains("draining"));
    }
}
