//! What runs in a container: made, attached to, started, watched, removed; or taken over as it is.
//!
//! Guards: nothing half-made is left where it cannot be started. Not here: when it must end.

use std::collections::VecDeque;
use std::sync::Arc;

use bollard::errors::Error;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, KillContainerOptionsBuilder,
    ResizeContainerTTYOptionsBuilder, StartContainerOptions,
};
use futures_util::future::BoxFuture;
use tokio::time::sleep;

use super::console::{self, Console, FirstWords};
use super::exec::Exec;
use super::exit::{self, AGAIN_AFTER, Exit};
use super::kernel_log::KernelLog;
use super::log::Kept;
use super::stream::{self, Reader, Writer};
use super::{ANSWER_WITHIN, Engine, EngineError, Kind};
use crate::model::JobSpec;
use crate::protocol::JobId;

/// Keys that detach from a terminal, which the engine takes out of what is typed: none at all cannot be asked for, and
/// its own, Ctrl-P Ctrl-Q, are keys that people press. (`%5E` is `^`.)
const DETACH_KEYS: &str = "ctrl-_,ctrl-%5E,ctrl-_,ctrl-%5E,ctrl-_,ctrl-%5E,ctrl-_,ctrl-%5E";

/// Streams of what was started.
pub(crate) struct Streams {
    /// None where its standard input is closed.
    pub(crate) stdin: Option<Writer>,
    pub(crate) stdout: Console,
    /// None on a terminal, where both streams are one.
    pub(crate) stderr: Option<Console>,
    pub(crate) first_words: FirstWords,
}

/// What is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Terminate,
    Kill,
    Resize(u16, u16),
}

/// What it is, to the engine.
#[derive(Debug, Clone)]
enum Target {
    /// A container that goes when it ends.
    Job(String),
    /// A container that stays, because its log may be asked for.
    Service(String),
    /// A program in a container that runs anyway.
    Exec(Exec),
}

/// Something that runs in a container.
pub(crate) struct Contained {
    engine: Arc<Engine>,
    target: Target,
    first_words: FirstWords,
    exit: BoxFuture<'static, Exit>,
    /// What is being asked of it now, and what comes after.
    ordering: Option<BoxFuture<'static, ()>>,
    orders: VecDeque<Order>,
}

impl std::fmt::Debug for Contained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contained").field("target", &self.target).field("orders", &self.orders).finish_non_exhaustive()
    }
}

impl Contained {
    /// Makes and starts a container whose streams are attached before it runs. `made` is told its name in the engine before
    /// it is started, which is not waited for any more once `given_up` resolves.
    ///
    /// # Errors
    /// It does not run, and nothing of it is left, unless the engine does not answer any more.
    pub(crate) async fn start(
        engine: &Arc<Engine>,
        name: &str,
        body: ContainerCreateBody,
        kind: Kind,
        tty: Option<(u16, u16)>,
        made: impl FnOnce(&str) -> std::io::Result<()>,
        given_up: impl Future<Output = ()>,
    ) -> Result<(Self, Streams), EngineError> {
        let program = body.entrypoint.as_ref().and_then(|argv| argv.first().cloned());
        let id = engine.create(name, body.clone()).await?;
        let kernel_log = exit::kernel_log(body.host_config.as_ref());
        let started = match made(&id) {
            Ok(()) => tokio::select! {
                started = engine.attach_and_start(&id, &body, program) => started,
                () = given_up => Err(EngineError::GivenUp),
            },
            Err(error) => Err(EngineError::Refused(format!("cannot remember the container: {error}"))),
        };
        match started {
            Ok(streams) => Ok((Self::new(engine, Target::of(kind, id), &streams, tty, kernel_log), streams)),
            Err(error) => {
                if let Err(error) = engine.remove(&id).await {
                    tracing::warn!(%error, container = id, "cannot remove a container that did not start");
                }
                Err(error)
            }
        }
    }

    /// Takes over the container `id`, which runs or has ended, after so many bytes of its streams. Says whether the engine
    /// still had what follows them; if not, the streams begin with what is written from now on.
    ///
    /// # Errors
    /// The engine refuses, or is not there. The container goes on.
    pub(crate) async fn take_over(
        engine: &Arc<Engine>,
        id: &str,
        after: (u64, u64),
    ) -> Result<(Self, Streams, Kept), EngineError> {
        let container = engine.docker.inspect_container(id, None::<InspectContainerOptions>).await?;
        let kernel_log = exit::kernel_log(container.host_config.as_ref());
        let tty = container.config.and_then(|config| config.tty).unwrap_or(false);
        let kept = engine.kept(id, tty).await?;
        let log =
            if kept.whole { engine.log_after(id, tty, after).await? } else { engine.log_from_now(id, tty).await? };
        let stdin = match container.state.and_then(|state| state.running) {
            Some(true) => Some(engine.attach(id, "stdin=1").await?.1),
            Some(false) | None => None,
        };
        let streams = Streams::of(log, stdin, tty);
        Ok((Self::new(engine, Target::Service(id.to_owned()), &streams, None, kernel_log), streams, kept))
    }

    /// Starts a program in the running container `id`, which is not waited for any more once `given_up` resolves.
    ///
    /// # Errors
    /// It does not run.
    pub(crate) async fn exec(
        engine: &Arc<Engine>,
        id: &str,
        spec: &JobSpec,
        env: Vec<String>,
        job: JobId,
        given_up: impl Future<Output = ()>,
    ) -> Result<(Self, Streams), EngineError> {
        let (exec, streams) = Exec::start(engine, id, spec, env, job, given_up).await?;
        Ok((Self::new(engine, Target::Exec(exec), &streams, spec.tty, None), streams))
    }

    fn new(
        engine: &Arc<Engine>,
        target: Target,
        streams: &Streams,
        tty: Option<(u16, u16)>,
        kernel_log: Option<KernelLog>,
    ) -> Self {
        let first_words = streams.first_words.clone();
        let exit = Box::pin(target.clone().exit(Arc::clone(engine), kernel_log, first_words.clone()));
        // Engines before API 1.42 do not take the size when they make a container.
        let orders = tty.into_iter().map(|(cols, rows)| Order::Resize(cols, rows)).collect();
        Self { engine: Arc::clone(engine), target, first_words, exit, ordering: None, orders }
    }

    /// Waits until it has ended, or (none) until something that was asked of it is done. Dropping it half-way is harmless.
    pub(crate) async fn wait(&mut self) -> Option<Exit> {
        if self.ordering.is_none()
            && let Some(order) = self.orders.pop_front()
        {
            self.order(order);
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
            // 1 is what init has for everything that has no number of its own.
            Exit::Ended { code: code @ (1 | 126 | 127), .. } => match self.first_words.complaint() {
                Some(message) if is_missing(&message) => Exit::NotStarted { code: 127, message },
                Some(message) => Exit::NotStarted { code, message },
                None => exit,
            },
            Exit::Ended { .. } | Exit::NotStarted { .. } | Exit::Lost { .. } | Exit::Cut => exit,
        })
    }

    fn order(&mut self, order: Order) {
        self.ordering = Some(Box::pin(self.target.clone().obey(Arc::clone(&self.engine), order)));
    }

    /// Whether something that was asked of it is still being done.
    pub(crate) fn is_busy(&self) -> bool {
        self.ordering.is_some() || !self.orders.is_empty()
    }

    /// Whether it goes on where nobody watches over it.
    pub(crate) fn goes_on_alone(&self) -> bool {
        match self.target {
            Target::Service(_) => true,
            Target::Job(_) | Target::Exec(_) => false,
        }
    }

    /// Asks it to end.
    pub(crate) fn terminate(&mut self) {
        self.orders.push_back(Order::Terminate);
    }

    /// Kills it, whatever else is being asked of it.
    pub(crate) fn kill(&mut self) {
        self.orders.clear();
        self.order(Order::Kill);
    }

    /// Changes the size of its terminal.
    pub(crate) fn resize(&mut self, cols: u16, rows: u16) {
        self.orders.retain(|order| !matches!(order, Order::Resize(..)));
        self.orders.push_back(Order::Resize(cols, rows));
    }

    /// Sees to it that nothing of it runs, and removes what need not stay. What cannot be removed is found again by its
    /// labels.
    pub(crate) async fn extinguish(self) {
        match self.target {
            Target::Job(id) => {
                if let Err(error) = self.engine.remove(&id).await {
                    tracing::warn!(%error, container = id, "cannot remove a container");
                }
            }
            Target::Service(_) => (),
            Target::Exec(exec) => exec.kill(&self.engine).await,
        }
    }
}

impl Target {
    fn of(kind: Kind, id: String) -> Self {
        match kind {
            Kind::Job => Self::Job(id),
            Kind::Service => Self::Service(id),
        }
    }

    async fn exit(self, engine: Arc<Engine>, kernel_log: Option<KernelLog>, words: FirstWords) -> Exit {
        match self {
            Self::Job(id) => engine.exit(&id, false, kernel_log).await,
            Self::Service(id) => engine.exit(&id, true, kernel_log).await,
            Self::Exec(exec) => exec.exit(&engine, words).await,
        }
    }

    async fn obey(self, engine: Arc<Engine>, order: Order) {
        match self {
            Self::Job(id) | Self::Service(id) => engine.obey(&id, order).await,
            Self::Exec(exec) => exec.obey(&engine, order).await,
        }
    }
}

impl Streams {
    /// Those that `reader` carries.
    pub(super) fn of(reader: Reader, stdin: Option<Writer>, tty: bool) -> Self {
        if tty {
            let (stdout, first_words) = console::terminal(reader);
            Self { stdin, stdout, stderr: None, first_words }
        } else {
            let (stdout, stderr, first_words) = console::both(reader);
            Self { stdin, stdout, stderr: Some(stderr), first_words }
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
    ) -> Result<Streams, EngineError> {
        let (stdin, tty) = (body.open_stdin == Some(true), body.tty == Some(true));
        let which = if stdin { "stdout=1&stderr=1&stdin=1" } else { "stdout=1&stderr=1" };
        let (reader, writer) = self.attach(id, which).await?;
        let started = self.docker.start_container(id, None::<StartContainerOptions>).await;
        started.map_err(|error| not_started(error, program))?;
        Ok(Streams::of(reader, stdin.then_some(writer), tty))
    }

    async fn attach(&self, id: &str, which: &str) -> Result<(Reader, Writer), EngineError> {
        let version = self.docker.client_version();
        let path = format!("/v{version}/containers/{id}/attach?stream=1&{which}&detachKeys={DETACH_KEYS}");
        stream::open(&self.address, &path, String::new(), ANSWER_WITHIN).await
    }
}

/// Whether the engine complains that a program is not there.
fn is_missing(complaint: &str) -> bool {
    ["executable file not found", "no such file or directory"].iter().any(|words| complaint.contains(words))
}

fn not_started(error: Error, program: Option<String>) -> EngineError {
    match (EngineError::from(error), program) {
        (EngineError::Refused(message), Some(program)) if message.contains("exec") => {
            if is_missing(&message) {
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

impl Engine {
    /// Does one thing to a container. It may be over already, and an engine that is away does nothing.
    async fn obey(&self, id: &str, order: Order) {
        let signal = |name| Some(KillContainerOptionsBuilder::default().signal(name).build());
        match order {
            Order::Terminate => {
                if let Err(error) = self.docker.kill_container(id, signal("SIGTERM")).await {
                    tracing::debug!(%error, container = id, "cannot ask a container to end");
                }
            }
            Order::Kill => loop {
                match self.docker.kill_container(id, signal("SIGKILL")).await {
                    // It is gone, or does not run.
                    Ok(()) | Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) => return,
                    Err(error) => tracing::warn!(%error, container = id, "cannot kill a container; trying again"),
                }
                sleep(AGAIN_AFTER).await;
            },
            Order::Resize(cols, rows) => {
                let size = ResizeContainerTTYOptionsBuilder::default().w(cols.into()).h(rows.into()).build();
                if let Err(error) = self.docker.resize_container_tty(id, size).await {
                    tracing::debug!(%error, container = id, "cannot change the size of a terminal");
                }
            }
        }
    }
}
