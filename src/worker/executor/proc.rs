//! Reading `/proc`: who is whose child, and what a process says about itself.
//!
//! Processes come and go while one looks: what cannot be read is as good as gone.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;

use nix::unistd::Pid;

/// Ticks a second in `/proc/PID/stat`: fixed by the kernel's interface on every platform
/// that Rust's standard library runs on.
const TICKS_PER_SEC: u64 = 100;

/// Largest environment that is looked at; more than the kernel gives to a program by default.
const MAX_ENVIRON: u64 = 8 * 1024 * 1024;

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Its process group.
    pub(crate) group: Pid,
    /// Its session.
    pub(crate) session: Pid,
    /// When it began, in [`ticks_now`].
    pub(crate) started: u64,
}

/// Ticks since the machine was started.
pub(crate) fn ticks_now() -> u64 {
    // Fails for no clock that every Linux has; 0 makes every process look younger than it is.
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map_or(0, |time| {
        let part = |value: i64, per: u64| u64::try_from(value).unwrap_or(0) / per;
        u64::try_from(time.tv_sec()).unwrap_or(0) * TICKS_PER_SEC + part(time.tv_nsec(), 1_000_000_000 / TICKS_PER_SEC)
    })
}

pub(crate) fn stat(pid: Pid) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The program's name stands in brackets and may hold any character, brackets included.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let pid = |index: usize| fields.get(index)?.parse().ok().map(Pid::from_raw);
    Some(Stat { group: pid(2)?, session: pid(3)?, started: fields.get(19)?.parse().ok()? })
}

/// The environment that `pid` was started with, as `NAME=value` pieces with NULs between them.
pub(crate) fn environ(pid: Pid) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = fs::File::open(format!("/proc/{pid}/environ")) {
        // What was read before an error is still true.
        let _ = file.take(MAX_ENVIRON).read_to_end(&mut bytes);
    }
    bytes
}

/// Path of the cgroup of `pid` in the unified hierarchy.
pub(crate) fn cgroup(pid: Pid) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

/// Every process there is.
pub(crate) fn all() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw)).collect()
}

/// The processes that this one has adopted, among its other children: orphans go to the first
/// thread, so the children of other threads need not be looked at.
pub(crate) fn adopted() -> Vec<Pid> {
    let own = Pid::this();
    children_of_thread(own, own)
}

/// Everything below `root`, itself included.
pub(crate) fn tree(root: Pid) -> Vec<Pid> {
    let mut seen = BTreeSet::from([root]);
    let mut todo = vec![root];
    while let Some(pid) = todo.pop() {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for thread in threads.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw)) {
            for child in children_of_thread(pid, thread) {
                if seen.insert(child) {
                    todo.push(child);
                }
            }
        }
    }
    seen.into_iter().collect()
}

fn children_of_thread(pid: Pid, thread: Pid) -> Vec<Pid> {
    match fs::read_to_string(format!("/proc/{pid}/task/{thread}/children")) {
        Ok(text) => text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok().map(Pid::from_raw)).collect(),
        // A kernel without this list: the first thread stands for all.
        Err(_) if pid == thread && fs::exists(format!("/proc/{pid}/task/{thread}/children")).is_ok_and(|is| !is) => {
            all().into_iter().filter(|&child| parent(child) == Some(pid)).collect()
        }
        Err(_) => Vec::new(),
    }
}

fn parent(pid: Pid) -> Option<Pid> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok().map(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let text = "42 (a) S (b) ) S 1 40 30 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 1 1";
        let stat = parse_stat(text).unwrap();
        assert_eq!((stat.group, stat.session, stat.started), (Pid::from_raw(40), Pid::from_raw(30), 777));
        assert_eq!(parse_stat("42 (a"), None);
    }

    #[test]
    fn this_process_is_there() {
        let own = Pid::this();
        let stat = stat(own).unwrap();
        assert!(stat.started <= ticks_now());
        assert!(tree(own).contains(&own) && all().contains(&own));
        assert_eq!(parent(own), Some(Pid::parent()));
    }
}
