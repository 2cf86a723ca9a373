//! Whether the program of a container runs yet.
//!
//! To the engine a container runs as soon as its init process does, and that starts the program only then: it has a child,
//! which is a copy of itself until the program is in its place. That is looked for among this machine's processes.
//!
//! Guards: whoever says that a container runs need not hope that init had the time to fail. Not here: why it failed, which
//! init says in the container's own streams.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use bollard::query_parameters::InspectContainerOptions;
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use super::Engine;
use crate::worker::executor::proc;

/// How often init is looked at, and how far apart: it takes a millisecond, and some more where there is hardly a processor
/// for it.
const LOOKS: u32 = 2_000;
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// How long it may take to fail where it cannot be seen, so that the engine knows of its end or passes on its words: many
/// times what it takes on a busy machine.
const FAILS_WITHIN: Duration = Duration::from_millis(100);

/// How often the engine is asked for it meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// How long the streams of one that is gone may take to end: many times what it takes on a busy machine.
const STREAMS_END_WITHIN: Duration = Duration::from_secs(5);

impl Engine {
    /// Resolves once the program of the container `id`, which was just started, runs, or should. If its init process has ended
    /// before, its streams end first.
    pub(crate) async fn program_runs(&self, id: &str) {
        if !self.has_init {
            // The engine has started the program itself.
            return;
        }
        let blind_at = Instant::now() + FAILS_WITHIN;
        let init = loop {
            match self.init_of(id).await {
                Some(pid) if running(id, pid).is_some() => break pid,
                // Others' processes; or it is gone, and the engine is about to notice.
                Some(_) if Instant::now() < blind_at => sleep(ASK_EVERY).await,
                Some(_) => return,
                None => return sleep(STREAMS_END_WITHIN).await,
            }
        };
        let id = id.to_owned();
        let runs = tokio::task::spawn_blocking(move || runs_at_last(&id, init)).await;
        if let Ok(false) = runs {
            sleep(STREAMS_END_WITHIN).await;
        }
    }

    /// The init process of the container `id`; none where it has ended.
    async fn init_of(&self, id: &str) -> Option<Pid> {
        let state = self.docker.inspect_container(id, None::<InspectContainerOptions>).await.ok()?.state?;
        let pid = state.pid.filter(|&pid| state.running == Some(true) && pid > 0)?;
        i32::try_from(pid).ok().map(Pid::from_raw)
    }
}

/// Waits until `init` of the container `id` has started its program. No: it is gone. Blocks.
fn runs_at_last(id: &str, init: Pid) -> bool {
    for _ in 0..LOOKS {
        match has_started(id, init) {
            Some(true) => return true,
            Some(false) => thread::sleep(LOOK_EVERY),
            None => return false,
        }
    }
    true
}

/// Whether something runs below `init` that is no copy of it; none if it is gone.
fn has_started(id: &str, init: Pid) -> Option<bool> {
    let children = proc::tree(init).into_iter().filter(|&pid| pid != init);
    let children: Vec<_> = children.map(|pid| fs::read_link(format!("/proc/{pid}/exe"))).collect();
    // Before it is init itself, it has no children: so it is asked after them.
    let own = running(id, init)?;
    Some(children.into_iter().any(|child| match child {
        Ok(child) => child != own,
        // A copy of init would be as open as init is.
        Err(error) => error.kind() == ErrorKind::PermissionDenied,
    }))
}

/// What the process `pid` runs, if it is one of the container `id` that may be looked into from here.
fn running(id: &str, pid: Pid) -> Option<PathBuf> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    if groups.contains(id) { fs::read_link(format!("/proc/{pid}/exe")).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_program_runs_once_it_is_no_copy_of_its_init() {
        let mut command = Command::new("sh");
        command.args(["-c", "exec 3<&0; (read go <&3; exec sleep 1000) & wait"]).stdin(Stdio::piped());
        let mut init = command.spawn().unwrap();
        let pid = Pid::from_raw(init.id().try_into().unwrap());
        // Every process is in a group whose name contains nothing.
        let copy = loop {
            assert_eq!(has_started("", pid), Some(false));
            if let Some(copy) = proc::tree(pid).into_iter().find(|&below| below != pid) {
                break copy;
            }
        };
        assert_eq!(has_started("", pid), Some(false), "a copy of it");
        assert_eq!(has_started("of another container", pid), None);
        init.stdin.take().unwrap().write_all(b"go\n").unwrap();
        assert!(runs_at_last("", pid));
        assert_eq!(has_started("", pid), Some(true));
        nix::sys::signal::kill(copy, nix::sys::signal::Signal::SIGKILL).unwrap();
        init.wait().unwrap();
        assert!(!runs_at_last("", pid), "it is gone");
    }
}
