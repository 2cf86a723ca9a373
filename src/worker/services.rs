//! Containers that are no jobs: started, taken over, let go of, removed.
//!
//! To queue and log each start of one is an attempt of a job, and is watched over like one; but the container goes on where
//! nobody does. So what must be known to take it over is kept in a file beside its data ([`Start`]): which container of the
//! engine it is, which attempt, and where in the engine's log that begins. What is in the engine and in no such file is
//! removed.
//!
//! Guards: only `halt`, `forget` and `cancel` end a container, never the agent's own end. Each start has a container of its
//! own, and the one before is removed then; its data directory is what stays.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::agent::Agent;
use super::contained::{self, insist, tell};
use super::ending::Ending;
use super::engine::container::{Contained, Streams};
use super::engine::recipe::{ServiceRecipe, volume};
use super::engine::{Engine, EngineError, Kind};
use super::executor::Process;
use super::held::Held;
use super::home::Home;
use super::job::{Assignment, stopped_before_start};
use super::outgoing::OutgoingLog;
use super::supervisor::{self, FOREVER, Outcome};
use super::workspace;
use crate::model::spec::DEFAULT_GRACE;
use crate::protocol::agent::{
    AgentContainerOrder, AgentContainerReport, ContainerFailed, ContainerOnly, ContainerStarted, ContainerUsageReport,
    MeasureContainer,
};
use crate::protocol::codec::encode;
use crate::protocol::limits::WINDOW_BYTES;
use crate::protocol::{Attempt, ContainerId, ErrorCode, WireError};

/// Words about usage that may wait to be said; more are left out, because the next ones tell all there is to know.
const ASIDES: usize = 256;

/// Longest time that is measured without being asked again.
const MEASURE_MOST: Duration = Duration::from_secs(60);

/// How often it is said in one attempt that the streams of a container were cut off.
const NOTICES: usize = 100;

/// How often, a second apart, an engine is asked that went away as soon as it was back.
const TAKE_OVER_TRIES: u32 = 60;

/// How long a container that is halted has between SIGTERM and SIGKILL, in seconds: as by default.
const HALT_SECS: i32 = 10;

/// What is kept of the latest start of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Start {
    /// The engine's name of it.
    docker: String,
    attempt: Attempt,
    /// Where in the engine's log this attempt begins: one that took the container over began later.
    stdout: u64,
    stderr: u64,
    /// Our own words in the attempt's standard error, which are not in that log: where they begin, and their length.
    own: Vec<(u64, u64)>,
}

impl Start {
    /// A container that is just being made, after so many bytes of our own.
    fn new(attempt: Attempt, own: u64) -> Self {
        Self { docker: String::new(), attempt, stdout: 0, stderr: 0, own: vec![(0, own)] }
    }

    /// The same container under another attempt, after what is stored of this one.
    fn taken_over(self, attempt: Attempt, stored: (u64, u64)) -> Self {
        let (stdout, stderr) = self.in_log(stored);
        Self { docker: self.docker, attempt, stdout, stderr, own: Vec::new() }
    }

    /// Where in the engine's log the byte after these of the attempt is.
    fn in_log(&self, (stdout, stderr): (u64, u64)) -> (u64, u64) {
        let own: u64 = self.own.iter().map(|&(at, len)| len.min(stderr.saturating_sub(at))).sum();
        (self.stdout + stdout, self.stderr + stderr - own)
    }
}

/// The directory of one container.
#[derive(Debug, Clone)]
struct Place(PathBuf);

impl Place {
    fn of(home: &Home, id: ContainerId) -> Self {
        Self(home.containers().join(id.to_string()))
    }

    fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// Makes the directories: the container's users may write to them, and nobody else comes near.
    fn make(&self, volumes: impl Iterator<Item = PathBuf>) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700))?;
        for dir in [self.data()].into_iter().chain(volumes) {
            if !dir.exists() {
                fs::create_dir_all(&dir)?;
                fs::set_permissions(&dir, fs::Permissions::from_mode(0o777))?;
            }
        }
        Ok(())
    }

    fn start(&self) -> Option<Start> {
        serde_json::from_slice(&fs::read(self.0.join("start.json")).ok()?).ok()
    }

    fn keep(&self, start: &Start) -> io::Result<()> {
        let (new, path) = (self.0.join("start.new"), self.0.join("start.json"));
        fs::write(&new, serde_json::to_vec(start)?)?;
        fs::rename(new, path)
    }
}

/// The containers of which there is data here.
pub(crate) fn known(home: &Home) -> Vec<ContainerId> {
    let entries = fs::read_dir(home.containers()).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The engine's name of the latest start of a container.
pub(crate) fn docker_id(agent: &Agent, id: ContainerId) -> Option<String> {
    Some(Place::of(&agent.home, id).start()?.docker)
}

/// What is said of containers beside their logs, while there is somebody to tell.
#[derive(Debug)]
pub(crate) struct Asides {
    say: mpsc::Sender<String>,
    said: tokio::sync::Mutex<mpsc::Receiver<String>>,
    /// Which containers are measured, and until when.
    measured: Mutex<BTreeMap<ContainerId, Instant>>,
}

impl Default for Asides {
    fn default() -> Self {
        let (say, said) = mpsc::channel(ASIDES);
        Self { say, said: tokio::sync::Mutex::new(said), measured: Mutex::default() }
    }
}

impl Asides {
    /// The next thing to say.
    pub(crate) async fn next(&self) -> String {
        match self.said.lock().await.recv().await {
            Some(aside) => aside,
            // Its other end is ours.
            None => std::future::pending().await,
        }
    }
}

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
            match Place::of(&agent.home, id).keep(&start) {
                Ok(()) => Ok(Begun::Before(start)),
                Err(error) => Err(Failure::Engine(EngineError::Refused(error.to_string()))),
            }
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
    Now(Box<Process>, Start),
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
        let recipe = ServiceRecipe {
            id,
            attempt: held.key.1,
            spec,
            service,
            image,
            data: &data,
            env: contained::environment(agent, held, assignment),
            gpus: agent.devices(&assignment.gpu_ids),
            labels: agent.container_labels(),
            settings: &agent.containers,
        };
        let mut start = Start::new(held.key.1, held.written().1);
        let made = |docker: &str| {
            docker.clone_into(&mut start.docker);
            place.keep(&start)
        };
        let body = recipe.body(&engine);
        let (container, streams) =
            Contained::start(&engine, &recipe.name(), body, Kind::Service, spec.tty, made).await?;
        Ok(Begun::Now(Box::new((container, streams).into()), start))
    }

    /// Watches over a container until it ends or is let go of, however often its streams are cut off.
    async fn watch(&self, begun: Begun) {
        let Self { agent, held, .. } = *self;
        let (mut process, mut start) = match begun {
            Begun::Now(process, start) => {
                self.say_started(&start).await;
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
                Err(error) => tracing::warn!(%error, container = %id, "cannot write down what is said of a container"),
            }
        }
    }

    async fn say_started(&self, start: &Start) {
        let ports = match self.engine() {
            Ok(engine) => engine.ports(&start.docker).await.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        let started = ContainerStarted { container_id: self.id, attempt: self.held.key.1, ports };
        self.held.say(&self.agent.outbox, encode(&AgentContainerReport::Started(started)));
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

/// What whoever asked for a container is told.
impl From<&EngineError> for WireError {
    fn from(error: &EngineError) -> Self {
        let (code, field) = match error {
            EngineError::NoImage { .. } => (ErrorCode::NotFound, Some("imageId")),
            EngineError::PortTaken(_) => (ErrorCode::Conflict, Some("ports")),
            EngineError::NoSpace(_) => (ErrorCode::LimitExceeded, None),
            EngineError::Gone(_) => (ErrorCode::Unsatisfiable, None),
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

/// Does what the dispatcher asks about a container.
pub(crate) fn obey(agent: &Arc<Agent>, order: AgentContainerOrder) {
    match order {
        AgentContainerOrder::Measure(MeasureContainer { container_id, secs }) => {
            let until = Instant::now() + Duration::from_secs(secs.into()).min(MEASURE_MOST);
            if agent.asides.measured.lock().insert(container_id, until).is_none() {
                agent.tasks.spawn(measure(Arc::clone(agent), container_id));
            }
        }
        AgentContainerOrder::Halt(ContainerOnly { container_id }) => {
            agent.tasks.spawn(end(Arc::clone(agent), container_id, End::Halt));
        }
        AgentContainerOrder::Forget(ContainerOnly { container_id }) => {
            agent.tasks.spawn(end(Arc::clone(agent), container_id, End::Forget));
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Its data stays.
    Halt,
    /// Nothing does.
    Forget,
}

/// Ends whatever there is of a container. What cannot be done now is ordered again when the agent registers.
async fn end(agent: Arc<Agent>, id: ContainerId, how: End) {
    for held in agent.jobs.all().iter().filter(|held| held.key.0 == id.job()) {
        // Its own task must let go first.
        held.forget();
        if held.has_ended() || held.is_dormant() {
            agent.jobs.remove(held.key);
        }
    }
    agent.jobs.let_go(id.job()).await;
    if let Err(error) = end_in_engine(&agent, id, how).await {
        tracing::warn!(%error, container = %id, "cannot end a container");
        return;
    }
    if how == End::Forget {
        let place = Place::of(&agent.home, id);
        let removed = tokio::task::spawn_blocking(move || workspace::remove(&place.0)).await;
        match removed.map_err(io::Error::other).and_then(|removed| removed) {
            Ok(()) => tracing::info!(container = %id, "removed a container"),
            Err(error) => tracing::warn!(%error, container = %id, "cannot remove the data of a container"),
        }
    }
}

async fn end_in_engine(agent: &Agent, id: ContainerId, how: End) -> Result<(), EngineError> {
    let Some(engine) = agent.engine.now() else {
        // Nothing was ever started where there is no engine.
        let started = Place::of(&agent.home, id).start().is_some();
        return if started { Err(EngineError::Gone("there is none now".to_owned())) } else { Ok(()) };
    };
    for found in engine.containers(agent.container_labels(), Kind::Service, Some(id.job())).await? {
        match how {
            End::Halt => engine.halt(&found.id, HALT_SECS).await?,
            End::Forget => engine.remove(&found.id).await?,
        }
    }
    Ok(())
}

/// Says what a container uses, while that is asked.
async fn measure(agent: Arc<Agent>, id: ContainerId) {
    if let (Some(engine), Some(docker)) = (agent.engine.now(), docker_id(&agent, id)) {
        let mut looks = engine.usage(&docker);
        loop {
            let Some(until) = agent.asides.measured.lock().get(&id).copied() else { break };
            let left = until.saturating_duration_since(Instant::now());
            let look = tokio::select! {
                () = agent.gone.cancelled() => break,
                look = timeout(left, looks.next()) => look,
            };
            match look {
                Ok(Some(usage)) => {
                    let report = ContainerUsageReport { container_id: id, usage };
                    // Full: nobody listens now.
                    let _ = agent.asides.say.try_send(encode(&AgentContainerReport::Usage(report)));
                }
                // It does not run, or nobody has asked again.
                Ok(None) => break,
                Err(_) if until <= Instant::now() => break,
                Err(_) => (),
            }
        }
    }
    agent.asides.measured.lock().remove(&id);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_words_are_not_looked_for_in_the_engines_log() {
        let mut start = Start::new(1, 10);
        assert_eq!(start.in_log((5, 0)), (5, 0));
        assert_eq!(start.in_log((5, 7)), (5, 0), "half of what was said before the container ran");
        assert_eq!(start.in_log((5, 30)), (5, 20));
        start.own.push((30, 4));
        assert_eq!([30, 32, 34, 40].map(|stderr| start.in_log((0, stderr)).1), [20, 20, 20, 26]);
        let later = start.taken_over(2, (5, 40));
        assert_eq!((later.stdout, later.stderr), (5, 26));
        assert_eq!(later.in_log((1, 1)), (6, 27));
    }

    #[test]
    fn the_file_of_a_start_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place(dir.path().join("ctr-1-00000001"));
        assert_eq!(place.start(), None);
        place.make([place.data().join("volumes/a")].into_iter()).unwrap();
        let start = Start { docker: "d".to_owned(), attempt: 3, stdout: 1, stderr: 2, own: vec![(0, 4)] };
        place.keep(&start).unwrap();
        assert_eq!(place.start(), Some(start));
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!([place.0.clone(), place.data(), place.data().join("volumes/a")].map(mode), [0o700, 0o777, 0o777]);
    }
}
