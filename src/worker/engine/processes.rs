//! Processes in a container that it did not start itself, and that the engine cannot end.
//!
//! They are found by the variables that they carry: among this machine's processes, or, where those cannot be looked into,
//! by a shell in the container. A program may shed its variables, so what the engine itself started is found by the id that
//! the engine has for it, too; and what any of them started goes with it.
//!
//! Guards: an id is the engine's word of now, and its process is in the container, or nothing is sent to it.

use std::collections::BTreeSet;
use std::time::Duration;

use bollard::models::ExecConfig;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{sleep, timeout};

use super::{Engine, FOUND_WITHIN};
use crate::protocol::{JobId, WorkerId};
use crate::worker::executor::proc::{self, KERNEL_THREAD};

/// Tries to kill them, 20 ms apart.
const KILL_TRIES: u32 = 50;
const KILL_EVERY: Duration = Duration::from_millis(20);

/// Those of a container that are somebody's.
#[derive(Debug, Clone)]
pub(crate) struct Processes {
    container: String,
    whose: Whose,
}

/// Whose they are. What the container itself runs has its own id for a job's, and is nobody's here.
#[derive(Debug, Clone)]
pub(crate) enum Whose {
    /// What this job started, by this exec of the engine.
    Job { job: JobId, exec: String },
    /// What jobs of this worker started, but for those that it still runs. Another worker may run in the container.
    Left { worker: WorkerId, kept: Vec<JobId> },
}

impl Processes {
    pub(crate) fn new(container: &str, whose: Whose) -> Self {
        Self { container: container.to_owned(), whose }
    }

    /// Kills all that can be found.
    pub(crate) async fn kill(&self, engine: &Engine) {
        for _ in 0..KILL_TRIES {
            if !self.signal(engine, Signal::SIGKILL).await {
                return;
            }
            sleep(KILL_EVERY).await;
        }
        tracing::warn!(container = self.container, "processes in a container cannot be killed");
    }

    /// Sends a signal to all of them; says whether any was reached from here.
    pub(crate) async fn signal(&self, engine: &Engine, signal: Signal) -> bool {
        // What carries its mark need not wait for an engine that may be slow to answer.
        let marked = match self.look(Self::marked).await {
            Some(Found::Here(marked)) => marked,
            Some(Found::Hidden) | None => {
                self.run_inside(engine, self.whose.script(signal)).await;
                BTreeSet::new()
            }
        };
        let mut sent = send(&marked, signal);
        if let Some(root) = self.root(engine).await {
            let tree = self.look(move |own| own.tree(root)).await.unwrap_or_default();
            let more = send(&tree.difference(&marked).copied().collect(), signal);
            sent.reached |= more.reached;
            sent.refused.extend(more.refused);
        }
        let inside: Vec<String> = sent.refused.into_iter().filter_map(pid_inside).collect();
        if !inside.is_empty() {
            self.run_inside(engine, script_for(signal, inside)).await;
        }
        sent.reached
    }

    /// Looks at this machine's processes, which blocks.
    async fn look<T: Send + 'static>(&self, look: impl FnOnce(&Self) -> T + Send + 'static) -> Option<T> {
        let own = self.clone();
        tokio::task::spawn_blocking(move || look(&own)).await.ok()
    }

    /// The process that the engine started, while the engine says that it runs: its id is another's afterwards.
    async fn root(&self, engine: &Engine) -> Option<Pid> {
        let exec = match &self.whose {
            Whose::Job { exec, .. } => exec,
            Whose::Left { .. } => return None,
        };
        let now = timeout(FOUND_WITHIN, engine.docker.inspect_exec(exec)).await.ok()?.ok()?;
        let pid = now.pid.filter(|&pid| now.running == Some(true) && pid > 0)?;
        i32::try_from(pid).ok().map(Pid::from_raw)
    }

    /// Runs a shell's script in the container, as its root, and does not wait for its end.
    async fn run_inside(&self, engine: &Engine, argv: Vec<String>) {
        let config = ExecConfig { cmd: Some(argv), user: Some("0".to_owned()), ..ExecConfig::default() };
        let done = async {
            let made = engine.docker.create_exec(&self.container, config).await?;
            let how = bollard::exec::StartExecOptions { detach: true, ..Default::default() };
            engine.docker.start_exec(&made.id, Some(how)).await
        };
        if let Err(error) = done.await {
            tracing::debug!(%error, "cannot signal a program in a container");
        }
    }

    fn is_inside(&self, pid: Pid) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|groups| groups.contains(&self.container))
    }

    /// What carries the mark, with all that it started.
    fn marked(&self) -> Found {
        let inside = proc::all().into_iter().filter(|&pid| self.is_inside(pid));
        let environs: Vec<(Pid, Vec<u8>)> = inside.map(|pid| (pid, proc::settled_environ(pid))).collect();
        // One whose environment cannot be read has an empty one.
        if environs.iter().all(|(_, environ)| environ.is_empty()) {
            return Found::Hidden;
        }
        let mut found = BTreeSet::new();
        for (pid, environ) in environs {
            if !found.contains(&pid) && self.whose.has(&environ) {
                found.extend(proc::tree(pid));
            }
        }
        Found::Here(found)
    }

    /// `root` with all that it started; nothing where the engine counts processes otherwise than this machine does.
    fn tree(&self, root: Pid) -> BTreeSet<Pid> {
        if self.is_inside(root) { proc::tree(root).into_iter().collect() } else { BTreeSet::new() }
    }
}

/// What came of a signal.
#[derive(Debug, Default)]
struct Sent {
    /// Somebody got it.
    reached: bool,
    /// Those who are not ours to signal.
    refused: Vec<Pid>,
}

fn send(to: &BTreeSet<Pid>, signal: Signal) -> Sent {
    let mut sent = Sent::default();
    for &pid in to {
        match kill(pid, signal) {
            Ok(()) => sent.reached = true,
            Err(Errno::EPERM) => sent.refused.push(pid),
            // Gone already.
            Err(_) => (),
        }
    }
    sent
}

/// What the container itself calls the process `pid` of this machine.
fn pid_inside(pid: Pid) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    ids.split_ascii_whitespace().next_back().map(str::to_owned)
}

/// What a shell in the container does to send a signal to `pids`, as the container calls them.
fn script_for(signal: Signal, pids: Vec<String>) -> Vec<String> {
    let script = ["/bin/sh".to_owned(), "-c".to_owned(), r#"kill -"$0" "$@""#.to_owned()];
    script.into_iter().chain([(signal as i32).to_string()]).chain(pids).collect()
}

enum Found {
    Here(BTreeSet<Pid>),
    /// The container's processes are not this machine's, or not ours to look into.
    Hidden,
}

impl Whose {
    /// Whether what has this environment is theirs.
    fn has(&self, environ: &[u8]) -> bool {
        let variable = |name: &str| {
            environ
                .split(|&byte| byte == 0)
                .find_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
        };
        let of_job = variable("GANGLINE_JOB_ID");
        match self {
            Self::Job { job, .. } => of_job == Some(job.to_string().as_bytes()),
            Self::Left { worker, kept } => {
                let is_kept = |id: &[u8]| kept.iter().any(|job| job.to_string().as_bytes() == id);
                variable("GANGLINE_WORKER_ID") == Some(worker.to_string().as_bytes())
                    && of_job.is_some_and(|id| id.starts_with(b"job-") && !is_kept(id))
            }
        }
    }

    /// The same question, and the signal to whoever it is, for a shell.
    fn script(&self, signal: Signal) -> Vec<String> {
        let all = |wanted: &str| {
            // As in `proc::environ`: what is about to run another program shows no environment until that is in place, and
            // then one that begins elsewhere than it ends. (Of the values of `stat` the first two are cut off.) What a
            // killed one started meanwhile is found in the next round.
            format!(
                r#"signal=$1; shift
                starts() {{
                    values=$(sed 's/.*) //' "$1/stat") && set -- $values &&
                        [ "$1" != Z ] && [ $(($7 & {KERNEL_THREAD})) = 0 ] &&
                        {{ [ "${{24}}" = 0 ] || [ "${{48}}" != "${{49}}" ]; }}
                }} 2>/dev/null
                rounds=0
                while rounds=$((rounds + 1)); [ $rounds -le {KILL_TRIES} ]; do
                    found=
                    for p in /proc/[0-9]*; do
                        tries=0
                        while environ=$(tr '\0' '\n' 2>/dev/null <"$p/environ") || environ=
                            [ -z "$environ" ] && tries=$((tries + 1)) && [ $tries -lt {KILL_TRIES} ] && starts "$p"
                        do :; done
                        job=$(echo "$environ" | sed -n 's/^GANGLINE_JOB_ID=//p')
                        {wanted} && kill -"$signal" "${{p#/proc/}}" && found=1
                    done
                    [ "$signal" = 9 ] && [ -n "$found" ] || break
                done"#
            )
        };
        let signal = (signal as i32).to_string();
        let shell = |wanted: &str| ["/bin/sh".to_owned(), "-c".to_owned(), all(wanted)];
        match self {
            Self::Job { job, .. } => {
                let script = shell(r#"[ "$job" = "$0" ]"#);
                script.into_iter().chain([job.to_string(), signal]).collect()
            }
            Self::Left { worker, kept } => {
                let script = shell(
                    r#"case $job in job-*) ;; *) false;; esac && case " $* " in *" $job "*) false;; esac &&
                        echo "$environ" | grep -qxF "GANGLINE_WORKER_ID=$0""#,
                );
                let kept = kept.iter().map(JobId::to_string);
                script.into_iter().chain([worker.to_string(), signal]).chain(kept).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn left_by(worker: &str, kept: &str) -> Whose {
        Whose::Left { worker: worker.parse().unwrap(), kept: vec![kept.parse().unwrap()] }
    }

    #[test]
    fn what_a_worker_left_is_its_own_jobs_processes_that_nobody_looks_after() {
        let left = left_by("w", "job-2-00000002");
        let is_left = |worker: &str, id: &str| {
            left.has(format!("A=b\0GANGLINE_JOB_ID={id}\0GANGLINE_WORKER_ID={worker}\0").as_bytes())
        };
        assert!(is_left("w", "job-1-00000001"));
        assert!(!is_left("w", "job-2-00000002"), "it runs");
        assert!(!is_left("w", "ctr-1-00000001"), "the container's own program");
        assert!(!is_left("other", "job-1-00000001"), "of a worker inside the container");
        assert!(!left.has(b"A=b\0"));
    }

    #[test]
    fn a_shell_finds_the_same() {
        // No other process of this machine belongs to such a worker.
        let worker = format!("w-{}", uuid::Uuid::new_v4().simple());
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("again"), "exec sh ./again").unwrap();
        let start_it = |program: &[&str], worker: &str, id: &str| {
            let mut command = Command::new(program[0]);
            command.args(&program[1..]).current_dir(dir.path());
            command.env("GANGLINE_WORKER_ID", worker).env("GANGLINE_JOB_ID", id).spawn().unwrap()
        };
        let start = |worker: &str, id: &str| start_it(&["sleep", "1000"], worker, id);
        let killed = |whose: Whose, program: Child, others: &mut [Child]| {
            let [shell, args @ ..] = &*whose.script(Signal::SIGKILL) else { panic!("nothing to run") };
            assert!(Command::new(shell).args(args).status().unwrap().success());
            assert_eq!(program.wait_with_output().unwrap().status.code(), None, "{whose:?}");
            assert!(others.iter_mut().all(|other| other.try_wait().unwrap().is_none()), "{whose:?}");
        };
        let unique = &uuid::Uuid::new_v4().simple().to_string()[..8];
        let job = |number: u32| format!("job-{number}-{unique}");
        let mut others = [start(&worker, &job(2)), start(&worker, &format!("ctr-3-{unique}")), start("other", &job(1))];
        killed(left_by(&worker, &job(2)), start(&worker, &job(1)), &mut others);
        let fourth = Whose::Job { job: job(4).parse().unwrap(), exec: String::new() };
        // It runs another program in its own place all the time.
        killed(fourth, start_it(&["sh", "./again"], "other", &job(4)), &mut others);
        let own = start(&worker, &job(5));
        let pid = Pid::from_raw(i32::try_from(own.id()).unwrap());
        let [shell, args @ ..] = &*script_for(Signal::SIGKILL, vec![pid_inside(pid).unwrap()]) else {
            panic!("nothing to run")
        };
        assert!(Command::new(shell).args(args).status().unwrap().success());
        assert_eq!(own.wait_with_output().unwrap().status.code(), None);
        for mut other in others {
            other.kill().unwrap();
            other.wait().unwrap();
        }
    }
}
