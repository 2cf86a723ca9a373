//! Processes in a container that it did not start itself, and that the engine cannot end.
//!
//! They are found by the variables that they carry: among this machine's processes, or, where those cannot be looked into,
//! by a shell in the container.

use std::time::Duration;

use bollard::models::ExecConfig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::sleep;

use super::Engine;
use crate::protocol::{JobId, WorkerId};
use crate::worker::executor::proc;

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
    /// What this job started.
    Job(JobId),
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

    /// Sends a signal to all of them; says whether any was found here.
    pub(crate) async fn signal(&self, engine: &Engine, signal: Signal) -> bool {
        let looked = self.clone();
        let found = tokio::task::spawn_blocking(move || looked.find()).await.unwrap_or(Found::Hidden);
        match found {
            Found::Here(processes) => {
                for &pid in &processes {
                    // Gone already.
                    let _ = kill(pid, signal);
                }
                !processes.is_empty()
            }
            Found::Hidden => {
                self.signal_inside(engine, signal).await;
                false
            }
        }
    }

    /// The same from within, by a shell of the container's image.
    async fn signal_inside(&self, engine: &Engine, signal: Signal) {
        let argv = self.whose.script(signal);
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

    /// Blocks.
    fn find(&self) -> Found {
        let is_inside = |pid: &Pid| {
            std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|groups| groups.contains(&self.container))
        };
        let inside: Vec<Pid> = proc::all().into_iter().filter(is_inside).collect();
        let environs: Vec<(Pid, Vec<u8>)> = inside.into_iter().map(|pid| (pid, proc::environ(pid))).collect();
        // One whose environment cannot be read has an empty one.
        if environs.iter().all(|(_, environ)| environ.is_empty()) {
            return Found::Hidden;
        }
        let own = environs.into_iter().filter(|(_, environ)| self.whose.has(environ));
        Found::Here(own.map(|(pid, _)| pid).collect())
    }
}

enum Found {
    Here(Vec<Pid>),
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
            Self::Job(job) => of_job == Some(job.to_string().as_bytes()),
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
            format!(
                r#"signal=$1; shift
                for p in /proc/[0-9]*; do
                    environ=$(tr '\0' '\n' 2>/dev/null <"$p/environ") || continue
                    job=$(echo "$environ" | sed -n 's/^GANGLINE_JOB_ID=//p')
                    {wanted} && kill -"$signal" "${{p#/proc/}}"
                done"#
            )
        };
        let signal = (signal as i32).to_string();
        let shell = |wanted: &str| ["/bin/sh".to_owned(), "-c".to_owned(), all(wanted)];
        match self {
            Self::Job(job) => {
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
        let start = |worker: &str, id: &str| {
            Command::new("sleep")
                .arg("1000")
                .env("GANGLINE_WORKER_ID", worker)
                .env("GANGLINE_JOB_ID", id)
                .spawn()
                .unwrap()
        };
        let killed = |whose: Whose, program: Child, others: &mut [Child]| {
            let [shell, args @ ..] = &*whose.script(Signal::SIGKILL) else { panic!("nothing to run") };
            // Fails only where the last process that it looked at was not meant.
            Command::new(shell).args(args).status().unwrap();
            assert_eq!(program.wait_with_output().unwrap().status.code(), None, "{whose:?}");
            assert!(others.iter_mut().all(|other| other.try_wait().unwrap().is_none()), "{whose:?}");
        };
        let unique = format!("{:08x}", std::process::id());
        let job = |number: u32| format!("job-{number}-{unique}");
        let mut others = [start(&worker, &job(2)), start(&worker, &format!("ctr-3-{unique}")), start("other", &job(1))];
        killed(left_by(&worker, &job(2)), start(&worker, &job(1)), &mut others);
        killed(Whose::Job(job(4).parse().unwrap()), start("other", &job(4)), &mut others);
        for mut other in others {
            other.kill().unwrap();
            other.wait().unwrap();
        }
    }
}
