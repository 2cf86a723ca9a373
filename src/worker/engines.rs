//! The container engine of a machine, which may come and go while the agent stays.
//!
//! Looked for again whenever the machine is looked at. Where one has come or gone the dispatcher must hear of it, so the
//! connection is made anew: `register` is what says whether there are images. What is left of jobs that are over is
//! removed then, too, and at every start: containers of theirs, and their processes in containers that go on. Before that
//! no job finds the engine.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::agent::Agent;
use super::engine::processes::{Processes, Whose};
use super::engine::{Engine, Kind, Labels};
use super::held::Held;
use super::services;
use crate::protocol::JobId;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Engines {
    addresses: Vec<String>,
    now: Mutex<Option<Known>>,
    /// One has come or gone.
    changed: Notify,
    /// One may have gone.
    doubted: Notify,
}

#[derive(Debug)]
struct Known {
    engine: Arc<Engine>,
    images: Vec<String>,
}

impl Engines {
    /// The first engine that answers at one of `addresses`, if any, without what an earlier run left in it.
    pub(crate) async fn look(addresses: Vec<String>, labels: Labels<'_>) -> Self {
        let engines = Self { addresses, now: Mutex::default(), changed: Notify::new(), doubted: Notify::new() };
        if let Some(engine) = Engine::find(&engines.addresses).await {
            remove_left(&engine, labels, &[]).await;
            engines.take(engine).await;
        }
        engines
    }

    /// The engine.
    pub(crate) fn now(&self) -> Option<Arc<Engine>> {
        self.now.lock().as_ref().map(|known| Arc::clone(&known.engine))
    }

    /// Tags of its images, as of the last look; none where there is no engine.
    pub(crate) fn images(&self) -> Option<Vec<String>> {
        self.now.lock().as_ref().map(|known| known.images.clone())
    }

    /// Resolves when an engine has come or gone.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The engine did not do what it should: it is to be looked at soon.
    pub(crate) fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// Resolves when the engine was doubted.
    pub(crate) async fn doubted(&self) {
        self.doubted.notified().await;
    }

    async fn take(&self, engine: Engine) {
        let images = engine.images().await.unwrap_or_default();
        *self.now.lock() = Some(Known { engine: Arc::new(engine), images });
    }
}

/// Looks whether the engine is still there, or there now.
pub(crate) async fn look_again(agent: &Agent) {
    let engines = &agent.engine;
    match engines.now() {
        Some(engine) if engine.is_there().await => match engine.images().await {
            Ok(images) => {
                if let Some(known) = &mut *engines.now.lock() {
                    known.images = images;
                }
            }
            Err(error) => tracing::debug!(%error, "cannot list images"),
        },
        Some(_) => {
            tracing::warn!("the container engine is gone");
            *engines.now.lock() = None;
            engines.changed.notify_one();
        }
        None => {
            if let Some(engine) = Engine::find(&engines.addresses).await {
                remove_left(&engine, agent.container_labels(), &agent.jobs.all()).await;
                engines.take(engine).await;
                services::find(agent).await;
                engines.changed.notify_one();
            }
        }
    }
}

/// Removes the containers of jobs, save those that are `held`, and kills what jobs left in other containers.
async fn remove_left(engine: &Engine, labels: Labels<'_>, held: &[Arc<Held>]) {
    let is_held = |key| held.iter().any(|held| held.key == key);
    match engine.containers(labels, Kind::Job, None).await {
        Ok(found) => {
            for container in found.into_iter().filter(|container| !container.job.is_some_and(is_held)) {
                tracing::info!(
                    container = container.id,
                    "removing a container that an earlier run of this worker left behind"
                );
                if let Err(error) = engine.remove(&container.id).await {
                    tracing::warn!(%error, container = container.id, "cannot remove a container");
                }
            }
        }
        Err(error) => tracing::warn!(%error, "cannot look for containers of an earlier run"),
    }
    let kept: Vec<JobId> = held.iter().filter(|held| !held.is_over()).map(|held| held.key.0).collect();
    match engine.containers(labels, Kind::Service, None).await {
        Ok(found) => {
            for container in found.into_iter().filter(|container| container.runs) {
                let left = Whose::Left { worker: labels.worker.clone(), kept: kept.clone() };
                Processes::new(&container.id, left).kill(engine).await;
            }
        }
        Err(error) => tracing::warn!(%error, "cannot look for programs of an earlier run"),
    }
}
