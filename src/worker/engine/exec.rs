//! Programs in a container that runs anyway.
//!
//! The engine starts them and says how they ended, but it has no way to end one: that is for [`Processes`].

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{EventMessage, ExecConfig};
use bollard::query_parameters::{EventsOptionsBuilder, ResizeExecOptionsBuilder};
use futures_util::{Stream, StreamExt};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

use super::console::FirstWords;
use super::container::{Order, Streams};
use super::exit::{AGAIN_AFTER, Exit};
use super::processes::{Processes, Whose};
use super::recipe::{self, TERM};
use super::{ANSWER_WITHIN, Engine, EngineError, stream};
use crate::base::clock::Clock;
use crate::model::JobSpec;
use crate::protocol::JobId;

/// How often the engine is asked how a program fares, should its word get lost.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// How soon it is asked again once a program's streams have ended; then after twice that, and so on.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// How long an engine may take until a program that it said it starts is there to be signalled, and how often it is asked
/// meanwhile. It takes 50 ms, and a hundred times that where much else is being started.
const BEGINS_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Longest pause before a program that must end is looked for once more: its engine may not have been there to ask.
const KILL_AGAIN_MOST: Duration = Duration::from_secs(60);

/// How far back the engine's word is asked for, in seconds: the program may be over before anybody listens.
const LOOK_BACK_SECS: i64 = 60;

/// A program in a container.
#[derive(Debug, Clone)]
pub(super) struct Exec {
    id: String,
    container: String,
    processes: Processes,
}

impl Exec {
    pub(super) async fn start(
        engine: &Engine,
        container: &str,
        spec: &JobSpec,
        mut env: Vec<String>,
        job: JobId,
        given_up: impl Future<Output = ()>,
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
        let mut given_up = pin!(given_up);
        let created = tokio::select! {
            created = engine.docker.create_exec(container, config) => created,
            () = &mut given_up => return Err(EngineError::GivenUp),
        };
        let id = match created {
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
        let processes = Processes::new(container, Whose::Job { job, exec: id.clone() });
        let exec = Self { id, container: container.to_owned(), processes };
        let opened = tokio::select! {
            opened = stream::open(&engine.address, &path, how.to_string(), ANSWER_WITHIN) => opened,
            () = &mut given_up => Err(EngineError::GivenUp),
        };
        match opened {
            Ok((reader, writer)) => Ok((exec, Streams::of(reader, stdin.then_some(writer), tty))),
            Err(error) => {
                // The engine may have started it without a word.
                if matches!(error, EngineError::GivenUp | EngineError::Gone(_)) {
                    exec.kill(engine).await;
                }
                Err(error)
            }
        }
    }

    /// How it ends; `words` are its streams.
    ///
    /// The engine tells of the end of a program, but not of one that never began: then its streams end, as they mostly do
    /// just before a program's end. Whatever else the engine tells meanwhile, it is asked every few seconds, too.
    pub(super) async fn exit(self, engine: &Engine, words: FirstWords) -> Exit {
        let since = i64::try_from(Clock::default().now() / 1000).unwrap_or(i64::MAX) - LOOK_BACK_SECS;
        let filters = HashMap::from([("event", vec!["exec_die"]), ("container", vec![self.container.as_str()])]);
        let options = EventsOptionsBuilder::default().since(&since.to_string()).filters(&filters).build();
        let mut deaths = engine.docker.events(Some(options)).boxed().fuse();
        let mut words_end = pin!(words.ended());
        let mut is_silent = false;
        let mut wait = ASK_EVERY;
        let mut ask_at = Instant::now() + wait;
        loop {
            tokio::select! {
                () = tells_of(&mut deaths, &self.id) => (),
                () = &mut words_end, if !is_silent => (is_silent, wait) = (true, ASK_AGAIN),
                () = sleep_until(ask_at) => wait = (wait * 2).min(ASK_EVERY),
            }
            ask_at = Instant::now() + wait;
            let lost = |message: &str| Exit::Lost { code: None, message: message.to_owned() };
            match engine.docker.inspect_exec(&self.id).await {
                Ok(now) if now.running != Some(false) => (),
                Ok(now) => match now.exit_code.and_then(|code| i32::try_from(code).ok()) {
                    Some(code) => return Exit::Ended { code, out_of_memory: false },
                    None if is_silent => return lost("the container engine does not say how it ended"),
                    None => (),
                },
                Err(Error::DockerResponseServerError { .. }) => return lost("its container has ended"),
                Err(_) => return lost("the container engine went away"),
            }
        }
    }

    pub(super) async fn obey(self, engine: &Engine, order: Order) {
        match order {
            Order::Terminate => {
                self.begun(engine).await;
                self.processes.signal(engine, Signal::SIGTERM).await;
            }
            Order::Kill => {
                let mut wait = AGAIN_AFTER;
                // Its end ends this, too.
                loop {
                    self.kill(engine).await;
                    sleep(wait).await;
                    wait = (wait * 2).min(KILL_AGAIN_MOST);
                }
            }
            Order::Resize(cols, rows) => {
                let size = ResizeExecOptionsBuilder::default().w(cols.into()).h(rows.into()).build();
                if let Err(error) = engine.docker.resize_exec(&self.id, size).await {
                    tracing::debug!(%error, "cannot change the size of a terminal");
                }
            }
        }
    }

    /// Waits until there is something to send a signal to: the engine answers a start before that.
    async fn begun(&self, engine: &Engine) {
        let deadline = Instant::now() + BEGINS_WITHIN;
        while Instant::now() < deadline {
            match engine.docker.inspect_exec(&self.id).await {
                Ok(now) if now.running == Some(true) && now.pid > Some(0) => return,
                Ok(_) => sleep(LOOK_EVERY).await,
                Err(_) => return,
            }
        }
    }

    /// Kills all of it that can be found.
    pub(super) async fn kill(&self, engine: &Engine) {
        self.processes.kill(engine).await;
    }
}

/// Resolves when the engine tells that the program `id` has ended; never, if it tells no more.
async fn tells_of(deaths: &mut (impl Stream<Item = Result<EventMessage, Error>> + Unpin), id: &str) {
    while let Some(Ok(death)) = deaths.next().await {
        let attributes = death.actor.and_then(|actor| actor.attributes).unwrap_or_default();
        if attributes.get("execID").is_some_and(|of| of == id) {
            return;
        }
    }
    std::future::pending::<()>().await;
}
