//! Control groups, version 2: the one fence that no process climbs, where we may put it up.
//!
//! Used for membership and for `cgroup.kill` alone: no controller is switched on, so any
//! subtree that this process may write to will do, such as the one systemd delegates to a user.
//! Groups are pooled, because making and removing one costs as much as starting a program.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Pid;
use parking_lot::Mutex;

use super::proc;

/// Tries to remove the groups of a killed agent, 10 ms apart: killed processes take a moment.
const REMOVE_TRIES: u32 = 100;

/// Names of agents' groups begin so, and go on with the agent's process number.
const PREFIX: &str = "gangline-";

/// Groups for the jobs of one agent.
#[derive(Debug, Clone)]
pub(crate) struct Cgroups(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    root: PathBuf,
    numbers: Mutex<Numbers>,
}

#[derive(Debug, Default)]
struct Numbers {
    free: Vec<u32>,
    made: u32,
}

impl Cgroups {
    /// Makes a group for the groups of this process's start number `boot`, below the process's
    /// own; none where that is not allowed.
    pub(crate) fn new(boot: u64) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let own = own_group(&mounts, &proc::cgroup(Pid::this())?)?;
        remove_abandoned(&own);
        // Agents of one name, on directories of their own, must not share groups.
        let root = own.join(format!("{PREFIX}{}-{boot}", Pid::this()));
        if let Err(error) = fs::create_dir(&root) {
            tracing::debug!(%error, "no control groups; descendants are found by their process tree alone");
            return None;
        }
        // Kernels before 5.14 cannot kill a group at once.
        fs::exists(root.join("cgroup.kill"))
            .is_ok_and(|is| is)
            .then(|| Self(Arc::new(Pool { root, numbers: Mutex::default() })))
    }

    /// The directory that holds all groups of this agent.
    pub(crate) fn root(&self) -> &Path {
        &self.0.root
    }

    /// An empty group.
    pub(crate) fn take(&self) -> io::Result<Group> {
        let mut numbers = self.0.numbers.lock();
        let number = match numbers.free.pop() {
            Some(number) => number,
            None => {
                let number = numbers.made;
                match fs::create_dir(self.0.root.join(number.to_string())) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                    Ok(()) | Err(_) => numbers.made += 1,
                }
                number
            }
        };
        Ok(Group { dir: self.0.root.join(number.to_string()), number, pool: self.0.clone() })
    }

    /// Removes the groups; those that are still in use stay for the next start.
    pub(crate) fn remove(&self) {
        for number in 0..self.0.numbers.lock().made {
            let _ = fs::remove_dir(self.0.root.join(number.to_string()));
        }
        let _ = fs::remove_dir(&self.0.root);
    }
}

/// A group of one job. Goes back to the pool when dropped, if it is empty by then.
#[derive(Debug)]
pub(crate) struct Group {
    dir: PathBuf,
    number: u32,
    pool: Arc<Pool>,
}

impl Group {
    /// Moves `pid` in; what it starts from now on begins in here.
    pub(crate) fn add(&self, pid: Pid) -> io::Result<()> {
        fs::write(self.dir.join("cgroup.procs"), pid.to_string())
    }

    /// SIGKILL for everything within.
    pub(crate) fn kill(&self) {
        if let Err(error) = fs::write(self.dir.join("cgroup.kill"), "1") {
            tracing::warn!(%error, group = %self.dir.display(), "cannot kill a control group");
        }
    }

    /// Whether nothing lives within.
    pub(crate) fn is_empty(&self) -> bool {
        fs::read(self.dir.join("cgroup.procs")).is_ok_and(|pids| pids.is_empty())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.is_empty() {
            self.pool.numbers.lock().free.push(self.number);
        }
    }
}

/// Removes what dead agents left in `own` that nobody came back for, as far as it is empty.
fn remove_abandoned(own: &Path) {
    for entry in fs::read_dir(own).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            for group in fs::read_dir(entry.path()).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(group.path());
            }
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Kills and removes the groups that a dead agent left below `root`. Blocks.
pub(crate) fn remove_stale(root: &Path) {
    let groups = || fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    for group in groups().filter(|path| path.is_dir()) {
        let _ = fs::write(group.join("cgroup.kill"), "1");
        for _ in 0..REMOVE_TRIES {
            match fs::remove_dir(&group) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Ok(()) | Err(_) => break,
            }
        }
    }
    let _ = fs::remove_dir(root);
}

/// Directory of the group `own` (`/a/b`) in the unified hierarchy, wherever it is mounted.
fn own_group(mountinfo: &str, own: &str) -> Option<PathBuf> {
    // ID parent major:minor root mount-point options … - type source options
    let mount = mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (after.split(' ').next()? == "cgroup2").then_some((root, point))
    });
    let (root, point) = mount?;
    let below = Path::new(own).strip_prefix(root).ok()?;
    Some(Path::new(point).join(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found_below_the_mount() {
        let unified = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw";
        assert_eq!(own_group(unified, "/user.slice/a"), Some("/sys/fs/cgroup/user.slice/a".into()));
        let hybrid = "29 23 0:25 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n30 29 0:26 / /sys/fs/cgroup/unified rw shared:4 - cgroup2 cgroup2 rw";
        assert_eq!(own_group(hybrid, "/"), Some("/sys/fs/cgroup/unified/".into()));
        let inside = "30 23 0:26 /pod /sys/fs/cgroup rw - cgroup2 cgroup rw";
        assert_eq!(own_group(inside, "/pod/x"), Some("/sys/fs/cgroup/x".into()));
        assert_eq!(own_group(inside, "/../other"), None);
        assert_eq!(own_group("1 2 0:3 / /sys/fs/cgroup rw - tmpfs tmpfs rw", "/"), None);
    }

    #[test]
    fn only_what_the_dead_left_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let group = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.join("0")).unwrap();
            path
        };
        // No process has the number 0.
        let (dead, own, other) =
            (group("gangline-0-7"), group(&format!("gangline-{}-7", Pid::this())), group("else-0"));
        remove_abandoned(dir.path());
        assert_eq!([dead, own, other].map(|path| path.exists()), [false, true, true]);
    }
}
