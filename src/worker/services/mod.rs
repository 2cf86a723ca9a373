//! Containers that are no jobs: started, taken over, let go of, removed.
//!
//! To queue and log each start of one is an attempt of a job, and is watched over like one; but the container goes on where
//! nobody does. So what must be known to take it over is kept in a file beside its data (`place`). What is in the engine and
//! in no such file is removed. `orders` does what is asked of a container beyond its starts.
//!
//! Guards: only `halt`, `forget` and `cancel` end a container, never the agent's own end. Each start has a container of its
//! own, and the one before is removed then; its data directory is what stays.

mod meter;
mod orders;
mod place;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

pub(crate) use meter::Meter;
pub(crate) use orders::{Asides, obey};
use place::{Place, Start};
pub(crate) use place::{docker_id, known};

use super::agent::Agent;
use super::contained::{self, insist, tell};
use super::ending::Ending;
use super::engine::console::FirstWords;
use super::engine::container::{Contained, Streams};
use super::engine::recipe::{HOST_NETWORK, NO_NETWORK, ServiceRecipe, same_ports, volume};
use super::engine::{Engine, EngineError, Kind};
use super::executor::Process;
use super::held::Held;
use super::job::{Assignment, stopped_before_start};
use super::outgoing::OutgoingLog;
use super::supervisor::{self, FOREVER, Outcome};
use crate::model::spec::DEFAULT_GRACE;
use crate::protocol::agent::{AgentContainerReport, ContainerFailed, ContainerStarted};
use crate::protocol::codec::encode;
use crate::protocol::container::spec::Port;
use crate::protocol::limits::WINDOW_BYTES;
use crate::protocol::{Attempt, ContainerId, ErrorCode, WireError};

/// How often it is said in one attempt that the streams of a container were cut off.
const NOTICES: usize = 100;

/// How often, a second apart, an engine is asked that went away as soon as it was back.
const TAKE_OVER_TRIES: u32 = 60;

/// Finds what earlier runs have left in the engine. What has its file waits for a dispatcher's word, the rest is removed.
pub(crate) async fn find(agent: &Agent) {
    let Some(engine) = agent.engine.now() else { return };
    let found = match engine.containers(agent.container_labels(), Kind::Service, None).await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, "cannot look for containers of an earlier run");
            return;
        }
    };
    for container in found {
        let id = container.job.and_then(|(id, _)| ContainerId::of(id));
        let start = id.and_then(|id| Place::of(&agent.home, id).start());
        match (id, start.filter(|start| start.docker == container.id)) {
            // Somebody was about to start it, and will again.
            (Some(_), Some(_)) if container.is_new => (),
            (Some(id), Some(start)) => {
                let key = (id.job(), start.attempt);
                if agent.jobs.all().iter().all(|held| held.key.0 != key.0) {
                    agent.jobs.insert(Held::dormant(key, log(agent, id, start.attempt, WINDOW_BYTES), DEFAULT_GRACE));
                }
            }
            (_, None) | (None, _) => {
                tracing::info!(container = container.id, "removing a container that nobody knows");
                if let Err(error) = engine.remove(&container.id).await {
                    tracing::warn!(%error, container = container.id, "cannot remove a container");
                }
            }
        }
    }
}

fn log(agent: &Agent, id: ContainerId, attempt: Attempt, window: u64) -> OutgoingLog {
    OutgoingLog::new(window, agent.home.spills().join(format!("{id}-{attempt}")))
}

/// Goes on with a container of an earlier run.
pub(crate) fn go_on(agent: &Arc<Agent>, held: Arc<Held>) {
    let agent = Arc::clone(agent);
    let tasks = agent.tasks.clone();
    tasks.spawn(async move {
        if let Some(id) = ContainerId::of(held.key.0)
            && let Some(start) = Place::of(&agent.home, id).start()
        {
            Service { agent: &agent, held: &held, id }.watch(Begun::Before(start)).await;
        }
        agent.job_over(&held);
    });
}

/// Runs one start of a container to its end, or until it is let go of.
pub(crate) async fn run(agent: &Agent, held: &Arc<Held>, assignment: &Assignment) {
    let Some(id) = ContainerId::of(held.key.0) else {
        let ending = Ending::spawn_error(None, "it is not called as containers are".to_owned());
        held.end(&agent.outbox, ending, agent.now());
        return;
    };
    let service = Service { agent, held, id };
    let before = assignment.adopt.and_then(|adopt| Some((adopt, Place::of(&agent.home, id).start()?)));
    let begun = match before {
        Some((adopt, start)) if service.is_there(&start).await => {
            // What was stored of the start before is not told again.
            let stored = if adopt.attempt == start.attempt { (adopt.stdout_bytes, adopt.stderr_bytes) } else { (0, 0) };
            let start = start.taken_over(held.key.1, stored);
            if let Err(error) = Place::of(&agent.home, id).keep(&start) {
                // It goes on whether that is known or not. At the worst, a later agent tells some of its log again.
                tracing::warn!(%error, container = %id, "cannot write down that a container was taken over");
            }
            Ok(Begun::Before(start))
        }
        _ => service.start(assignment).await,
    };
    match begun {
        Ok(begun) => service.watch(begun).await,
        Err(Failure::Stopped(ending)) => held.end(&agent.outbox, ending, agent.now()),
        Err(Failure::Engine(error)) => service.fail(&error),
    }
}

/// How a start came to run.
enum Begun {
    /// Just now.
    Now(Box<Process>, Start, FirstWords),
    /// In an earlier run, or under an earlier attempt.
    Before(Start),
}

/// Why it did not.
enum Failure {
    Stopped(Ending),
    Engine(EngineError),
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

/// One start of a container.
#[derive(Clone, Copy)]
struct Service<'a> {
    agent: &'a Agent,
    held: &'a Arc<Held>,
    id: ContainerId,
}

impl Service<'_> {
    fn engine(&self) -> Result<Arc<Engine>, EngineError> {
        self.agent.engine.now().ok_or_else(|| EngineError::Gone("there is none now".to_owned()))
    }

    /// Whether the engine has started what `start` names.
    async fn is_there(&self, start: &Start) -> bool {
        let Ok(engine) = self.engine() else { return false };
        let found = engine.containers(self.agent.container_labels(), Kind::Service, Some(self.id.job())).await;
        found.is_ok_and(|found| found.iter().any(|found| found.id == start.docker && !found.is_new))
    }

    /// Starts a container of its own, instead of whatever there is of earlier starts.
    async fn start(&self, assignment: &Assignment) -> Result<Begun, Failure> {
        let Self { agent, held, id } = *self;
        let spec = &assignment.spec;
        let (Some(image), Some(service)) = (&spec.image, &spec.service) else {
            return Err(EngineError::Refused("it has no image".to_owned()).into());
        };
        check_network(&agent.containers.service_network, &service.ports)?;
        let engine = self.engine()?;
        let overdue = Instant::now() + FOREVER;
        let provided = tokio::select! {
            provided = engine.provide(image, |line| tell(agent, held, line)) => provided,
            ended = stopped_before_start(held, overdue) => return Err(Failure::Stopped(ended)),
        };
        provided?;
        for old in engine.containers(agent.container_labels(), Kind::Service, Some(id.job())).await? {
            engine.remove(&old.id).await?;
        }
        let place = Place::of(&agent.home, id);
        let data = place.data();
        let volumes = service.mounts.iter().map(|mount| volume(&data, &mount.volume));
        place.make(volumes).map_err(|error| EngineError::of_disk(&error))?;
        let before = place.start().map(|start| start.ports).unwrap_or_default();
        let mut recipe = ServiceRecipe {
            id,
            attempt: held.key.1,
            spec,
            service,
            ports: same_ports(&service.ports, &before),
            same_over_ipv4: false,
            image,
            data: &data,
            env: contained::environment(agent, held, assignment),
            gpus: agent.devices(&assignment.gpu_ids),
            labels: agent.container_labels(),
            settings: &agent.containers,
        };
        let mut start = Start::new(held.key.1, held.written().1, before, &assignment.gpu_ids);
        let mut made = |docker: &str| {
            docker.clone_into(&mut start.docker);
            place.keep(&start)
        };
        let mut begin = async |recipe: &ServiceRecipe<'_>| {
            let body = recipe.body(&engine);
            let given_up = async {
                drop(stopped_before_start(held, overdue).await);
                if held.is_forgotten() {
                    // Nobody ends it: it goes on once it runs.
                    std::future::pending::<()>().await;
                }
            };
            Contained::start(&engine, &recipe.name(), body, Kind::Service, spec.tty, &mut made, given_up).await
        };
        let begun = loop {
            match begin(&recipe).await {
                // Somebody has taken a port meanwhile that was only chosen. If that was over IPv6, its address stays good.
                Err(EngineError::PortTaken(_)) if recipe.ports != service.ports && !recipe.same_over_ipv4 => {
                    recipe.same_over_ipv4 = true;
                }
                // Any other will do.
                Err(EngineError::PortTaken(_)) if recipe.ports != service.ports => {
                    recipe.ports.clone_from(&service.ports);
                }
                begun => break begun,
            }
        };
        let (container, streams) = match begun {
            Ok(begun) => begun,
            Err(EngineError::GivenUp) => return Err(Failure::Stopped(stopped_before_start(held, overdue).await)),
            Err(error) => return Err(error.into()),
        };
        let first_words = streams.first_words.clone();
        Ok(Begun::Now(Box::new((container, streams).into()), start, first_words))
    }

    /// Watches over a container until it ends or is let go of, however often its streams are cut off.
    async fn watch(&self, begun: Begun) {
        let Self { agent, held, .. } = *self;
        let (mut process, mut start) = match begun {
            Begun::Now(process, mut start, first_words) => {
                // To the engine it runs even if its init process cannot start the program: how it ends says why it never ran.
                let runs = async {
                    if let Ok(engine) = self.engine() {
                        engine.program_runs(&start.docker).await;
                    }
                };
                if !first_words.will_complain(runs).await {
                    self.say_started(&mut start).await;
                }
                (Some(process), start)
            }
            Begun::Before(start) => (None, start),
        };
        loop {
            let process = match process.take() {
                Some(process) => *process,
                None => match self.take_over(&mut start).await {
                    Ok(Some(taken)) => taken.into(),
                    Ok(None) => return,
                    Err(error) => return self.fail(&error),
                },
            };
            match supervisor::watch(agent, held, process, Instant::now() + FOREVER).await {
                Outcome::Ended(ending) => {
                    held.end(&agent.outbox, ending, agent.now());
                    agent.engine.doubt();
                    return;
                }
                Outcome::LetGo => return,
                Outcome::Cut => self.notice(&mut start, "the container engine was restarted; the container goes on"),
            }
        }
    }

    /// Takes the container over after what was told of it; none where nobody wants that any more.
    async fn take_over(&self, start: &mut Start) -> Result<Option<(Contained, Streams)>, EngineError> {
        let mut tries = TAKE_OVER_TRIES;
        loop {
            let taken = match self.engine() {
                Ok(engine) => Contained::take_over(&engine, &start.docker, start.in_log(self.held.written())).await,
                Err(error) => Err(error),
            };
            match taken {
                Ok((container, streams, kept)) => {
                    if !kept.whole {
                        self.notice(
                            start,
                            "the container wrote more than its engine keeps: some of it is missing here",
                        );
                    }
                    self.say_started(start).await;
                    return Ok(Some((container, streams)));
                }
                Err(EngineError::Gone(_)) if tries > 0 && !self.held.is_forgotten() => {
                    tries -= 1;
                    sleep(Duration::from_secs(1)).await;
                }
                Err(_) if self.held.is_forgotten() => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Says something of our own among the container's words. It is written down first, so that the bytes of its log can
    /// be told from ours whenever this agent is killed.
    fn notice(&self, start: &mut Start, words: &str) {
        let Self { agent, held, id } = *self;
        if start.own.len() < NOTICES {
            start.own.push((held.written().1, words.len() as u64 + 1));
            match Place::of(&agent.home, id).keep(start) {
                Ok(()) => insist(agent, held, words),
                Err(error) => {
                    // It is not said, so nothing of it must be skipped.
                    start.own.pop();
                    tracing::warn!(%error, container = %id, "cannot write down what is said of a container");
                }
            }
        }
    }

    /// Says that it runs, and how it is reached, which is written down for the next start.
    async fn say_started(&self, start: &mut Start) {
        let Self { agent, held, id } = *self;
        let ports = match self.engine() {
            Ok(engine) => engine.ports(&start.docker).await.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        if !ports.is_empty() && ports != start.ports {
            start.ports.clone_from(&ports);
            if let Err(error) = Place::of(&agent.home, id).keep(start) {
                tracing::warn!(%error, container = %id, "cannot write down the ports of a container");
            }
        }
        let started = ContainerStarted { container_id: id, attempt: held.key.1, ports };
        held.say(&agent.outbox, encode(&AgentContainerReport::Started(started)));
    }

    /// It cannot be started: says why, to whoever asked for it, and ends the attempt.
    fn fail(&self, error: &EngineError) {
        let Self { agent, held, id } = *self;
        let failed = ContainerFailed { container_id: id, attempt: held.key.1, error: error.into() };
        held.say(&agent.outbox, encode(&AgentContainerReport::Failed(failed)));
        held.end(&agent.outbox, Ending::spawn_error(error.exit_code(), error.to_string()), agent.now());
        agent.engine.doubt();
    }
}

/// Whether ports can be reached as they are asked for.
fn check_network(network: &str, ports: &[Port]) -> Result<(), EngineError> {
    match network {
        NO_NETWORK if !ports.is_empty() => Err(EngineError::NoNetwork),
        HOST_NETWORK => match ports.iter().find(|port| port.host.is_some_and(|host| host != port.container)) {
            Some(port) => Err(EngineError::HostNetwork(port.container)),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// What whoever asked for a container is told.
impl From<&EngineError> for WireError {
    fn from(error: &EngineError) -> Self {
        let (code, field) = match error {
            EngineError::NoImage { .. } => (ErrorCode::NotFound, Some("imageId")),
            EngineError::PortTaken(_) => (ErrorCode::Conflict, Some("ports")),
            EngineError::NoNetwork | EngineError::HostNetwork(_) => (ErrorCode::Unsatisfiable, Some("ports")),
            EngineError::NoSpace(_) => (ErrorCode::LimitExceeded, None),
            EngineError::Gone(_) | EngineError::GivenUp => (ErrorCode::Unsatisfiable, None),
            EngineError::NoProgram { .. } | EngineError::NotRunning | EngineError::Refused(_) => {
                (ErrorCode::Conflict, None)
            }
        };
        let mut wire = Self::new(code, error.to_string());
        wire.retry = matches!(error, EngineError::Gone(_));
        match field {
            Some(field) => wire.field(field),
            None => wire,
        }
    }
}
