//! Reading `/proc`: who is whose child, and what a process says about itself.
//!
//! Processes come and go while one looks: what cannot be read is as good as gone.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::time::Duration;

use nix::unistd::Pid;

/// Ticks a second in `/proc/PID/stat`: fixed by the kernel's interface on every platform
/// that Rust's standard library runs on.
const TICKS_PER_SEC: u64 = 100;

/// Largest environment that is looked at; more than the kernel gives to a program by default.
const MAX_ENVIRON: u64 = 8 * 1024 * 1024;

/// How often a process is asked for its environment, and how far apart: a program is in place within well below a
/// millisecond, or as soon as the disk has given it.
const SETTLE_TRIES: u32 = 1_000;
const SETTLE_EVERY: Duration = Duration::from_micros(200);

/// Among the flags in `/proc/PID/stat`: `PF_KTHREAD` in the kernel's `sched.h`.
pub(crate) const KERNEL_THREAD: u64 = 0x0020_0000;

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
    let fields = fields(text)?;
    let pid = |index: usize| fields.get(index)?.parse().ok().map(Pid::from_raw);
    Some(Stat { group: pid(2)?, session: pid(3)?, started: fields.get(19)?.parse().ok()? })
}

/// The fields after the program's name, which stands in brackets and may hold any character, brackets included.
fn fields(text: &str) -> Option<Vec<&str>> {
    Some(text.rsplit_once(')')?.1.split_ascii_whitespace().collect())
}

/// What a process says of its environment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Environ {
    /// As it was started with: `NAME=value` pieces with NULs between them. Empty, too, where it may not be read.
    Known(Vec<u8>),
    /// It is about to run another program, and shows none meanwhile. Ask again.
    Unsettled,
    /// It runs no program: it has ended, or is one of the kernel's own.
    Gone,
}

/// The environment that `pid` was started with.
pub(crate) fn environ(pid: Pid) -> Environ {
    // Where the first thread has ended before the others, they share one yet.
    let Some((dir, before)) = threads(pid).find_map(|dir| image(&dir).map(|image| (dir, image))) else {
        return Environ::Gone;
    };
    let mut bytes = Vec::new();
    if let Ok(file) = fs::File::open(format!("{dir}/environ")) {
        // What was read before an error is still true.
        let _ = file.take(MAX_ENVIRON).read_to_end(&mut bytes);
    }
    if before.is_complete() && image(&dir) == Some(before) { Environ::Known(bytes) } else { Environ::Unsettled }
}

/// As [`environ`], once it is known; empty if that takes too long. Blocks.
pub(crate) fn settled_environ(pid: Pid) -> Vec<u8> {
    for _ in 0..SETTLE_TRIES {
        match environ(pid) {
            Environ::Known(environ) => return environ,
            Environ::Gone => break,
            Environ::Unsettled => std::thread::sleep(SETTLE_EVERY),
        }
    }
    Vec::new()
}

/// The directories of its threads, the process itself first.
fn threads(pid: Pid) -> impl Iterator<Item = String> {
    let others = move || fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let others = std::iter::once_with(others).flatten();
    std::iter::once(format!("/proc/{pid}"))
        .chain(others.filter_map(|entry| entry.path().into_os_string().into_string().ok()))
}

/// Where the kernel has put a program and its environment: elsewhere as soon as another runs in its place.
#[derive(Debug, PartialEq, Eq)]
struct Image {
    code: u64,
    stack: u64,
    environ: [u64; 2],
}

impl Image {
    /// Where the code begins is the last that the kernel sets, after the environment. Of somebody else's program it is 1,
    /// and nothing is told of the others.
    fn is_complete(&self) -> bool {
        self.code != 0
    }
}

/// What runs in the process or thread of this directory. None for what has ended, and for the kernel's own threads.
fn image(dir: &str) -> Option<Image> {
    parse_image(&fs::read_to_string(format!("{dir}/stat")).ok()?)
}

fn parse_image(text: &str) -> Option<Image> {
    let fields = fields(text)?;
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let ended = matches!(*fields.first()?, "Z" | "X");
    let image = Image { code: number(23)?, stack: number(25)?, environ: [number(47)?, number(48)?] };
    (!ended && number(6)? & KERNEL_THREAD == 0).then_some(image)
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
    fields(&text)?.get(1)?.parse().ok().map(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let text = "42 (a) S (b) ) S 1 40 30 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 1 1";
        let stat = parse_stat(text).unwrap();
        assert_eq!((stat.group, stat.session, stat.started), (Pid::from_raw(40), Pid::from_raw(30), 777));
        assert_eq!(parse_stat("42 (a"), None);
    }

    #[test]
    fn a_program_that_runs_another_in_its_place_has_an_environment_or_none_yet() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("again"), "exec sh ./again").unwrap();
        let mut command = Command::new("sh");
        let mut child = command.arg("./again").current_dir(dir.path()).env("MARK", "here").spawn().unwrap();
        let pid = Pid::from_raw(child.id().try_into().unwrap());
        let mut told = 0;
        // Three in a hundred showed nothing where this was written.
        for _ in 0..10_000 {
            if let Environ::Known(environ) = environ(pid) {
                assert!(environ.split(|&byte| byte == 0).any(|variable| variable == b"MARK=here"));
                told += 1;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(told > 0);
        assert_eq!(environ(pid), Environ::Gone);
    }

    #[test]
    fn the_dead_and_the_kernels_own_threads_run_no_program() {
        let kthreadd = "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 5 0 0 20 0 1 0 8 0 0 18446744073709551615 \
            0 0 0 0 0 0 0 2147483647 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0";
        assert_eq!(parse_image(kthreadd), None);
        let replacing = kthreadd.replace("2129984", "4194304");
        assert!(parse_image(&replacing).is_some_and(|image| !image.is_complete()));
        assert_eq!(parse_image(&replacing.replace(") S ", ") Z ")), None);
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
