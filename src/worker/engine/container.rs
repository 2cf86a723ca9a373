//! One container: made, attached to, started, watched, removed.
//!
//! Guards: nothing half-made is left where it cannot be started, and its end is learnt although the engine itself may be
//! away for a while. Not here: when it must end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, KillContainerOptionsBuilder,
    ResizeContainerTTYOptionsBuilder, StartContainerOptions, WaitContainerOptionsBuilder,
};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::console::{self, Console, FirstWords};
use super::stream::{self, Writer};
use super::{Engine, EngineError};

/// How long an engine that went away while a container ran may take to come back: what a restart takes, with the ten
/// seconds that it grants its containers, and then some.
const BACK_WITHIN: Duration = Duration::from_secs(60);

/// How often it is looked for meanwhile, and how often a kill is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Exit codes above this one mean a signal.
const SIGNALLED: i64 = 128;

/// What an engine that goes does to its containers.
const DIED_WITH_ENGINE: &str = "its container ended with the container engine";

/// Keys that detach from a terminal, which the engine takes out of what is typed: none at all cannot be asked for, and
/// its own, Ctrl-P Ctrl-Q, are keys that people press. (`%5E` is `^`.)
const DETACH_KEYS: &str = "ctrl-_,ctrl-%5E,ctrl-_,ctrl-%5E,ctrl-_,ctrl-%5E,ctrl-_,ctrl-%5E";

/// Streams of a container that was started.
pub(crate) struct Streams {
    /// None where its standard input is closed.
    pub(crate) stdin: Option<Writer>,
    pub(crate) stdout: Console,
    /// None on a terminal, where both streams are one.
    pub(crate) stderr: Option<Console>,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exit {
    /// By itself, or by a signal: the engine says 128 and the signal's number then.
    Ended { code: i32, out_of_memory: bool },
    /// The init process found the program missing (127) or not executable (126).
    NotStarted { code: i32, message: String },
    /// The engine went away. It may have taken the container along, and what was written meanwhile is lost.
    Lost { code: Option<i32>, message: String },
}

/// What is asked of a running container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Terminate,
    Kill,
    Resize(u16, u16),
}

/// A container that was started.
pub(crate) struct Container {
    engine: Arc<Engine>,
    id: String,
    first_words: FirstWords,
    exit: BoxFuture<'static, Exit>,
    /// What is being asked of it now, and what comes after.
    ordering: Option<BoxFuture<'static, ()>>,
    orders: VecDeque<Order>,
}

impl std::fmt::Debug for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Container").field("id", &self.id).field("orders", &self.orders).finish_non_exhaustive()
    }
}

impl Container {
    /// Makes and starts a container whose streams are attached before it runs.
    ///
    /// # Errors
    /// It does not run, and nothing of it is left.
    pub(crate) async fn start(
        engine: &Arc<Engine>,
        name: &str,
        body: ContainerCreateBody,
        tty: Option<(u16, u16)>,
    ) -> Result<(Self, Streams), EngineError> {
        let program = body.entrypoint.as_ref().and_then(|argv| argv.first().cloned());
        let id = engine.create(name, body.clone()).await?;
        match engine.attach_and_start(&id, &body, program).await {
            Ok((streams, first_words)) => {
                let exit = Box::pin(exit(Arc::clone(engine), id.clone()));
                // Engines before API 1.42 do not take the size when they make a container.
                let orders = tty.into_iter().map(|(cols, rows)| Order::Resize(cols, rows)).collect();
                Ok((Self { engine: Arc::clone(engine), id, first_words, exit, ordering: None, orders }, streams))
            }
            Err(error) => {
                if let Err(error) = engine.remove(&id).await {
                    tracing::warn!(%error, container = id, "cannot remove a container that did not start");
                }
                Err(error)
            }
        }
    }

    /// Waits until it has ended, or (none) until something that was asked of it is done. Dropping it half-way is harmless.
    pub(crate) async fn wait(&mut self) -> Option<Exit> {
        if self.ordering.is_none()
            && let Some(order) = self.orders.pop_front()
        {
            self.ordering = Some(Box::pin(obey(Arc::clone(&self.engine), self.id.clone(), order)));
        }
        let ordering = async {
            match &mut self.ordering {
                Some(ordering) => ordering.await,
                None => std::future::pending().await,
            }
        };
        let exit = tokio::select! {
            exit = &mut self.exit => exit,
            () = ordering => {
                self.ordering = None;
                return None;
            }
        };
        Some(match exit {
            // 1 is what it has for everything that has no number of its own.
            Exit::Ended { code: code @ (1 | 126 | 127), .. } => match self.first_words.init_complaint() {
                Some(message) => Exit::NotStarted { code, message },
                None => exit,
            },
            Exit::Ended { .. } | Exit::NotStarted { .. } | Exit::Lost { .. } => exit,
        })
    }

    /// Whether something that was asked of it is still being done.
    pub(crate) fn is_busy(&self) -> bool {
        self.ordering.is_some() || !self.orders.is_empty()
    }

    /// Asks it to end.
    pub(crate) fn terminate(&mut self) {
        self.orders.push_back(Order::Terminate);
    }

    /// Kills it, whatever else is being asked of it.
    pub(crate) fn kill(&mut self) {
        self.orders.clear();
        self.ordering = Some(Box::pin(obey(Arc::clone(&self.engine), self.id.clone(), Order::Kill)));
    }

    /// Changes the size of its terminal.
    pub(crate) fn resize(&mut self, cols: u16, rows: u16) {
        self.orders.retain(|order| !matches!(order, Order::Resize(..)));
        self.orders.push_back(Order::Resize(cols, rows));
    }

    /// Removes it; what cannot be removed is found again by its labels.
    pub(crate) async fn remove(self) {
        if let Err(error) = self.engine.remove(&self.id).await {
            tracing::warn!(%error, container = self.id, "cannot remove a container");
        }
    }
}

impl Engine {
    async fn create(&self, name: &str, body: ContainerCreateBody) -> Result<String, EngineError> {
        let image = body.image.clone().unwrap_or_default();
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        let created = match self.docker.create_container(Some(options.clone()), body.clone()).await {
            // Left by a start of the same attempt that was not answered.
            Err(Error::DockerResponseServerError { status_code: 409, .. }) => {
                self.remove(name).await?;
                self.docker.create_container(Some(options), body).await
            }
            created => created,
        };
        match created {
            Ok(created) => Ok(created.id),
            Err(Error::DockerResponseServerError { status_code: 404, message }) if message.contains("image") => {
                Err(EngineError::NoImage { image, message })
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn attach_and_start(
        &self,
        id: &str,
        body: &ContainerCreateBody,
        program: Option<String>,
    ) -> Result<(Streams, FirstWords), EngineError> {
        let version = self.docker.client_version();
        let (stdin, tty) = (body.open_stdin == Some(true), body.tty == Some(true));
        let path = format!(
            "/v{version}/containers/{id}/attach?stream=1&stdout=1&stderr=1&stdin={}&detachKeys={DETACH_KEYS}",
            u8::from(stdin)
        );
        let (reader, writer) = stream::open(&self.address, &path, String::new()).await?;
        let (stdout, stderr, first_words) = if tty {
            let (console, first_words) = console::terminal(reader);
            (console, None, first_words)
        } else {
            let (stdout, stderr, first_words) = console::both(reader);
            (stdout, Some(stderr), first_words)
        };
        self.docker
            .start_container(id, None::<StartContainerOptions>)
            .await
            .map_err(|error| not_started(error, program))?;
        Ok((Streams { stdin: stdin.then_some(writer), stdout, stderr }, first_words))
    }
}

fn not_started(error: Error, program: Option<String>) -> EngineError {
    match (EngineError::from(error), program) {
        (EngineError::Refused(message), Some(program)) if message.contains("exec") => {
            let missing = ["executable file not found", "no such file or directory"];
            if missing.iter().any(|words| message.contains(words)) {
                EngineError::NoProgram { program, exit_code: 127, message }
            } else if message.contains("permission denied") {
                EngineError::NoProgram { program, exit_code: 126, message }
            } else {
                EngineError::Refused(message)
            }
        }
        (error, _) => error,
    }
}

/// Does one thing to a container. It may be over already, and an engine that is away does nothing.
async fn obey(engine: Arc<Engine>, id: String, order: Order) {
    let signal = |name| Some(KillContainerOptionsBuilder::default().signal(name).build());
    match order {
        Order::Terminate => {
            if let Err(error) = engine.docker.kill_container(&id, signal("SIGTERM")).await {
                tracing::debug!(%error, container = id, "cannot ask a container to end");
            }
        }
        Order::Kill => loop {
            match engine.docker.kill_container(&id, signal("SIGKILL")).await {
                // It is gone, or does not run.
                Ok(()) | Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) => return,
                Err(error) => tracing::warn!(%error, container = id, "cannot kill a container; trying again"),
            }
            sleep(AGAIN_AFTER).await;
        },
        Order::Resize(cols, rows) => {
            let size = ResizeContainerTTYOptionsBuilder::default().w(cols.into()).h(rows.into()).build();
            if let Err(error) = engine.docker.resize_container_tty(&id, size).await {
                tracing::debug!(%error, container = id, "cannot change the size of a terminal");
            }
        }
    }
}

/// How the container `id` ends, however often the engine goes away and comes back meanwhile.
async fn exit(engine: Arc<Engine>, id: String) -> Exit {
    let condition = WaitContainerOptionsBuilder::default().condition("not-running").build();
    match engine.docker.wait_container(&id, Some(condition)).next().await {
        Some(Ok(ended)) => engine.ended(&id, ended.status_code).await,
        Some(Err(Error::DockerContainerWaitError { code, .. })) => engine.ended(&id, code).await,
        Some(Err(_)) | None => engine.lost(&id).await,
    }
}

impl Engine {
    async fn ended(&self, id: &str, code: i64) -> Exit {
        if code > SIGNALLED && !self.is_there().await {
            let code = i32::try_from(code).ok();
            return Exit::Lost { code, message: DIED_WITH_ENGINE.to_owned() };
        }
        let out_of_memory = code != 0
            && match self.docker.inspect_container(id, None::<InspectContainerOptions>).await {
                Ok(container) => container.state.and_then(|state| state.oom_killed).unwrap_or(false),
                Err(_) => false,
            };
        Exit::Ended { code: i32::try_from(code).unwrap_or(i32::MAX), out_of_memory }
    }

    /// Nobody says how the container fares: looks for it until the engine is back. One that runs on is as good
    /// as over, because what it wrote meanwhile went nowhere; it ends when it is removed.
    async fn lost(&self, id: &str) -> Exit {
        let deadline = Instant::now() + BACK_WITHIN;
        while Instant::now() < deadline {
            match self.docker.inspect_container(id, None::<InspectContainerOptions>).await {
                Ok(container) => {
                    let state = container.state.unwrap_or_default();
                    if state.running == Some(true) {
                        let message = "the container engine was restarted, and what the job wrote meanwhile is lost";
                        return Exit::Lost { code: None, message: message.to_owned() };
                    }
                    let code = state.exit_code.and_then(|code| i32::try_from(code).ok());
                    return Exit::Lost { code, message: DIED_WITH_ENGINE.to_owned() };
                }
                Err(Error::DockerResponseServerError { status_code: 404, .. }) => {
                    return Exit::Lost { code: None, message: "somebody removed its container".to_owned() };
                }
                Err(_) => sleep(AGAIN_AFTER).await,
            }
        }
        Exit::Lost { code: None, message: "the container engine went away and did not come back".to_owned() }
    }
}
