//! What the dispatcher asks about a container beyond its starts: to end it, to remove it, to say what it uses.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::meter::gpus_now;
use super::place::{Place, latest_start};
use crate::protocol::ContainerId;
use crate::protocol::agent::{
    AgentContainerOrder, AgentContainerReport, ContainerOnly, ContainerUsageReport, MeasureContainer,
};
use crate::protocol::codec::encode;
use crate::protocol::container::ContainerUsage;
use crate::worker::agent::Agent;
use crate::worker::engine::{EngineError, Kind};
use crate::worker::workspace;

/// Words about usage that may wait to be said; more are left out, because the next ones tell all there is to know.
const ASIDES: usize = 256;

/// Longest time that is measured without being asked again.
const MEASURE_MOST: Duration = Duration::from_secs(60);

/// How long a container that is halted has between SIGTERM and SIGKILL, in seconds: as by default.
const HALT_SECS: i32 = 10;

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

/// Does what the dispatcher asks about a container.
pub(crate) fn obey(agent: &Arc<Agent>, order: &AgentContainerOrder) {
    match *order {
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
        agent.places.remove(id.job());
        let removed = tokio::task::spawn_blocking(move || workspace::remove(&place.0)).await;
        // Somebody may have come in meanwhile.
        agent.places.remove(id.job());
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
    if let (Some(engine), Some(start)) = (agent.engine.now(), latest_start(&agent, id)) {
        let mut looks = engine.usage(&start.docker).await;
        loop {
            let Some(until) = agent.asides.measured.lock().get(&id).copied() else { break };
            let left = until.saturating_duration_since(Instant::now());
            let look = tokio::select! {
                () = agent.gone.cancelled() => break,
                look = timeout(left, looks.next()) => look,
            };
            match look {
                Ok(Some(usage)) => {
                    let gpus = tokio::select! {
                        () = agent.gone.cancelled() => break,
                        gpus = gpus_now(&agent, &start.gpus) => gpus,
                    };
                    let usage = ContainerUsage { gpus, ..usage };
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
