//! Programs in a container that runs anyway.
//!
//! The engine starts them and says how they ended, but it has no way to end one. They are found by the variable that names
//! their job: among this machine's processes, or, where those cannot be looked into, by a shell in the container.

use std::time::Duration;

use bollard::errors::Error;
use bollard::models::ExecConfig;
use bollard::query_parameters::{EventsOptionsBuilder, ResizeExecOptionsBuilder};
use futures_util::StreamExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::collections::HashMap;
use tokio::time::{sleep, timeout};

use super::container::{Order, Streams};
use super::exit::Exit;
use super::recipe::{self, TERM};
use super::{Engine, EngineError, stream};
use crate::base::clock::Clock;
use crate::model::JobSpec;
use crate::protocol::JobId;
use crate::worker::executor::proc;

/// How often the engine is asked how a program fares, should its word get lost.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// How far back the engine's word is asked for, in seconds: the program may be over before anybody listens.
const LOOK_BACK_SECS: i64 = 60;

/// Tries to kill what a program left, 20 ms apart.
const KILL_TRIES: u32 = 50;
const KILL_EVERY: Duration = Duration::from_millis(20);

/// A program in a container.
#[derive(Debug, Clone)]
pub(super) struct Exec {
    id: String,
    container: String,
    /// The variable that its processes carry.
    mark: String,
}

impl Exec {
    pub(super) async fn start(
        engine: &Engine,
        container: &str,
        spec: &JobSpec,
        mut env: Vec<String>,
        job: JobId,
    ) -> Result<(Self, Streams), EngineError> {
        if spec.tty.is_some() && !spec.env.contains_key("TERM") {
            env.push(format!("TERM={TERM}"));
        }
        let (program, args) = recipe::program(&spec.program, spec.tty.filter(|_| !engine.sizes_terminals));
        let (tty, stdin) = (spec.tty.is_some(), spec.stdin || spec.tty.is_some());
        let config = ExecConfig {
            cmd: Some(program.into_iter().chain(args).flatten().collect()),
            env: Some(env),
            working_dir: spec.cwd.clone(),
            tty: Some(tty),
            attach_stdin: Some(stdin),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        let id = match engine.docker.create_exec(container, config).await {
            Ok(created) => created.id,
            Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) => {
                return Err(EngineError::NotRunning);
            }
            Err(error) => return Err(error.into()),
        };
        let mut how = json!({"Detach": false, "Tty": tty});
        if let Some((cols, rows)) = spec.tty.filter(|_| engine.sizes_terminals) {
            how["ConsoleSize"] = json!([rows, cols]);
        }
        let path = format!("/v{}/exec/{id}/start", engine.docker.client_version());
        let (reader, writer) = stream::open(&engine.address, &path, how.to_string()).await?;
        let exec = Self { id, container: container.to_owned(), mark: format!("GANGLINE_JOB_ID={job}") };
        Ok((exec, Streams::of(reader, stdin.then_some(writer), tty)))
    }

    /// How it ends.
    pub(super) async fn exit(self, engine: &Engine) -> Exit {
        let since = i64::try_from(Clock::default().now() / 1000).unwrap_or(i64::MAX) - LOOK_BACK_SECS;
        let filters = HashMap::from([("event", vec!["exec_die"]), ("container", vec![self.container.as_str()])]);
        let options = EventsOptionsBuilder::default().since(&since.to_string()).filters(&filters).build();
        let mut deaths = Box::pin(engine.docker.events(Some(options)));
        loop {
            match timeout(ASK_EVERY, deaths.next()).await {
                Ok(Some(Ok(death))) => {
                    let attributes = death.actor.and_then(|actor| actor.attributes).unwrap_or_default();
                    if attributes.get("execID") != Some(&self.id) {
                        continue;
                    }
                }
                Ok(Some(Err(_)) | None) => sleep(ASK_EVERY).await,
                Err(_) => (),
            }
            match engine.docker.inspect_exec(&self.id).await {
                Ok(now) if now.running != Some(false) => (),
                Ok(now) => {
                    let code = now.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or(i32::MAX);
                    return Exit::Ended { code, out_of_memory: false };
                }
                Err(Error::DockerResponseServerError { .. }) => {
                    return Exit::Lost { code: None, message: "its container has ended".to_owned() };
                }
                Err(_) => {
                    let message = "the container engine went away".to_owned();
                    return Exit::Lost { code: None, message };
                }
            }
        }
    }

    pub(super) async fn obey(self, engine: &Engine, order: Order) {
        match order {
            Order::Terminate => {
                self.signal(engine, Signal::SIGTERM).await;
            }
            Order::Kill => self.kill(engine).await,
            Order::Resize(cols, rows) => {
                let size = ResizeExecOptionsBuilder::default().w(cols.into()).h(rows.into()).build();
                if let Err(error) = engine.docker.resize_exec(&self.id, size).await {
                    tracing::debug!(%error, "cannot change the size of a terminal");
                }
            }
        }
    }

    /// Kills all of it that can be found.
    pub(super) async fn kill(&self, engine: &Engine) {
        for _ in 0..KILL_TRIES {
            if !self.signal(engine, Signal::SIGKILL).await {
                return;
            }
            sleep(KILL_EVERY).await;
        }
        tracing::warn!(container = self.container, "processes in a container cannot be killed");
    }

    /// Sends a signal to all of it; says whether any was found here.
    async fn signal(&self, engine: &Engine, signal: Signal) -> bool {
        let (container, mark) = (self.container.clone(), self.mark.clone());
        let found = tokio::task::spawn_blocking(move || find(&container, &mark)).await.unwrap_or(Found::Hidden);
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
        let number = signal as i32;
        let script = "for p in /proc/[0-9]*; do grep -qsa \"$0\" \"$p/environ\" && kill -\"$1\" \"${p#/proc/}\"; done";
        let argv = ["/bin/sh", "-c", script, &self.mark, &number.to_string()].map(str::to_owned);
        let config = ExecConfig { cmd: Some(argv.into()), user: Some("0".to_owned()), ..ExecConfig::default() };
        let done = async {
            let made = engine.docker.create_exec(&self.container, config).await?;
            let how = bollard::exec::StartExecOptions { detach: true, ..Default::default() };
            engine.docker.start_exec(&made.id, Some(how)).await
        };
        if let Err(error) = done.await {
            tracing::debug!(%error, "cannot signal a program in a container");
        }
    }
}

enum Found {
    Here(Vec<Pid>),
    /// The container's processes are not this machine's, or not ours to look into.
    Hidden,
}

/// The processes of `container` that carry `mark`.
fn find(container: &str, mark: &str) -> Found {
    let is_inside = |pid: &Pid| {
        std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|groups| groups.contains(container))
    };
    let inside: Vec<Pid> = proc::all().into_iter().filter(is_inside).collect();
    let environs: Vec<(Pid, Vec<u8>)> = inside.into_iter().map(|pid| (pid, proc::environ(pid))).collect();
    // One whose environment cannot be read has an empty one.
    if environs.iter().all(|(_, environ)| environ.is_empty()) {
        return Found::Hidden;
    }
    let is_marked = |environ: &[u8]| environ.split(|&byte| byte == 0).any(|variable| variable == mark.as_bytes());
    Found::Here(environs.into_iter().filter(|(_, environ)| is_marked(environ)).map(|(pid, _)| pid).collect())
}
