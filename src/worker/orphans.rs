//! What a killed agent leaves behind: processes, control groups, workspaces, spill files.
//!
//! Its jobs are not taken up again: nobody knows what they wrote in the meantime. So before an
//! agent registers, all of it is removed. Only an agent that holds the lock of its directory
//! may do this. What runs in containers is for `engines` to end.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::executor::{
    cgroup,
    proc::{self, Environ},
};
use super::workspace;

/// How long the killed may take to go.
const WITHIN: Duration = Duration::from_secs(5);

/// Kills every process that was started in a workspace below `workspaces`, and what descends
/// from it. Blocks.
pub(crate) fn kill_processes(workspaces: &Path) {
    let deadline = Instant::now() + WITHIN;
    loop {
        let Found { left, unsettled } = find(workspaces);
        if left.is_empty() && !unsettled {
            return;
        }
        if Instant::now() > deadline {
            tracing::warn!(count = left.len(), "processes of an earlier run cannot be killed");
            return;
        }
        for pid in left {
            tracing::info!(%pid, "killing a process that an earlier run of this worker left behind");
            for pid in proc::tree(pid) {
                // Gone already, or not ours to kill.
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[derive(Debug, Default)]
struct Found {
    /// What carries the mark.
    left: Vec<Pid>,
    /// Whether something cannot be told yet.
    unsettled: bool,
}

fn find(workspaces: &Path) -> Found {
    let mark = [b"GANGLINE_WORKSPACE=".as_slice(), workspaces.as_os_str().as_encoded_bytes(), b"/"].concat();
    let own = Pid::this();
    let mut found = Found::default();
    for pid in proc::all().into_iter().filter(|&pid| pid != own) {
        match proc::environ(pid) {
            Environ::Known(environ) if environ.split(|&byte| byte == 0).any(|piece| piece.starts_with(&mark)) => {
                found.left.push(pid);
            }
            Environ::Known(_) | Environ::Gone => (),
            Environ::Unsettled => found.unsettled = true,
        }
    }
    found
}

/// Kills and removes the control groups that the file `record` names, if there are any. Blocks.
pub(crate) fn remove_groups(record: &Path) {
    if let Ok(root) = std::fs::read_to_string(record) {
        cgroup::remove_stale(Path::new(root.trim()));
    }
}

/// Removes workspaces and spill files. Blocks.
pub(crate) fn remove_files(dirs: &[&Path]) -> io::Result<()> {
    dirs.iter().try_for_each(|dir| workspace::remove(dir))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn processes_of_this_workers_workspaces_die_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path().join("work");
        let sleep =
            |workspace: &Path| Command::new("sleep").arg("1000").env("GANGLINE_WORKSPACE", workspace).spawn().unwrap();
        let mut mine = sleep(&work.join("3"));
        let mut other = sleep(&dir.path().join("work2/3"));
        let reaper = std::thread::spawn(move || mine.wait().unwrap());
        kill_processes(&work);
        assert!(!reaper.join().unwrap().success());
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
