//! What workers and their containers used within the last hour, so that graphs start full.
//!
//! An instance that hears a heartbeat keeps what it says in memory, and about once a minute adds it to the document of
//! that worker or container, which holds the whole hour. Whoever is asked reads the document and adds what it has heard
//! since; what workers say elsewhere comes by doorbell. So a restart takes nothing away, and one that was killed a minute.
//!
//! Bounds: a document holds 360 samples, the oldest go first, and each tells of 16 GPUs at the most. In memory is what was
//! not written yet, no more than a document. Of containers only those count that their worker holds.
//! One loop. Not here: measuring, and the stream of what is used right now (`workers`, `containers::stats`).

mod kept;
mod samples;

use std::collections::{HashMap, VecDeque};
use std::fmt::Display;
use std::hash::Hash;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::warn;

use super::{DispatchError, Dispatcher, audience};
use crate::auth::Identity;
use crate::base::clock::{Millis, millis};
use crate::protocol::agent::{ContainerUsageReport, Usage};
use crate::protocol::container::{ContainerHistory, ContainerSample};
use crate::protocol::limits::{HISTORY, HISTORY_EVERY};
use crate::protocol::worker::{UsageSample, WorkerHistory};
use crate::protocol::{ContainerId, ContainerRef, WorkerId};
use crate::store::StoreError;
use crate::store::documents::{Collection, DocumentWrite};
use kept::{ContainerRow, WorkerRow};
use samples::Samples;

/// How long a sample waits in memory before it is written.
const WRITE_AFTER: Duration = Duration::from_secs(60);

/// How often is looked for what has waited so long.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long what was heard elsewhere is remembered: whoever heard it has written it by then.
const WRITTEN_ELSEWHERE_AFTER: Duration = Duration::from_secs(150);

/// When a document is gone by itself: nothing in it would be shown any more for as long as it has been in it.
const EXPIRES_AFTER: Duration = Duration::from_secs(2 * 3600);

/// Documents that are written at the same time.
const TOGETHER: usize = 8;

/// How often a document is read again because another instance was faster. One is, when a worker has just moved.
const TRIES: usize = 3;

/// How long the last writing may take when the process ends.
const LAST_WITHIN: Duration = Duration::from_secs(2);

/// Where something was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ear {
    /// On a connection to this instance, which writes it.
    Here,
    /// From another instance.
    Elsewhere,
}

/// What was heard and is not written yet.
#[derive(Debug)]
pub(super) struct History {
    workers: Recent<WorkerId, WorkerRow>,
    containers: Recent<ContainerId, ContainerRow>,
}

/// The same of one kind.
#[derive(Debug)]
struct Recent<K, T> {
    collection: Collection,
    heard: Mutex<HashMap<K, Heard<T>>>,
}

#[derive(Debug)]
struct Heard<T> {
    samples: Samples<T>,
    ear: Ear,
}

/// Writes until the process is to end, and what is left then.
pub(super) async fn run(dispatcher: Dispatcher) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = dispatcher.shutdown().draining().cancelled() => break,
            _ = ticks.tick() => (),
        }
        dispatcher.write_history(WRITE_AFTER).await;
    }
    if timeout(LAST_WITHIN, dispatcher.write_history(Duration::ZERO)).await.is_err() {
        warn!("the store takes too long; the history of the last minute is lost");
    }
}

impl Dispatcher {
    /// What a worker used within the last hour.
    ///
    /// # Errors
    /// `not_found`, the role may not, or the store.
    pub async fn worker_history(&self, who: &Identity, id: WorkerId) -> Result<WorkerHistory, DispatchError> {
        audience(who)?;
        if self.0.fleet.known(&id).is_none() {
            return Err(DispatchError::NotFound("worker"));
        }
        let rows = self.hour_of(&self.0.history.workers, &id).await?;
        let samples = rows.into_iter().map(|(time, row)| UsageSample { time, usage: row.into() }).collect();
        Ok(WorkerHistory { worker_id: id, every_secs: HISTORY_EVERY.as_secs(), samples })
    }

    /// What a container used within the last hour.
    ///
    /// # Errors
    /// `not_found`, or the store.
    pub async fn container_history(
        &self,
        who: &Identity,
        named: &ContainerRef,
    ) -> Result<ContainerHistory, DispatchError> {
        let id = self.container_id(who, named).await?;
        let rows = self.hour_of(&self.0.history.containers, &id).await?;
        let samples = rows.into_iter().map(|(time, row)| ContainerSample { time, usage: row.into() }).collect();
        Ok(ContainerHistory { container_id: id, every_secs: HISTORY_EVERY.as_secs(), samples })
    }

    /// Notes what a worker uses.
    pub(super) fn note_usage(&self, id: &WorkerId, usage: &Usage, ear: Ear) {
        self.0.history.workers.note(id, self.0.clock.now(), ear, || usage.clone().into());
    }

    /// Notes what containers use.
    pub(super) fn note_container_usage(&self, reports: &[ContainerUsageReport], ear: Ear) {
        for ContainerUsageReport { container_id, usage } in reports {
            self.0.history.containers.note(container_id, self.0.clock.now(), ear, || usage.clone().into());
        }
    }

    /// What is written of one, and what was heard since, within the last hour.
    async fn hour_of<K: Key, T: Row>(&self, of: &Recent<K, T>, key: &K) -> Result<VecDeque<(Millis, T)>, StoreError> {
        let document = self.0.store.document(of.collection, &key.to_string()).await?;
        let written = document.map(|document| read(&document.value)).unwrap_or_default();
        let mut hour: Samples<T> = written.into_iter().chain(of.rows(key)).collect();
        hour.forget_before(self.0.clock.now().saturating_sub(millis(HISTORY)));
        Ok(hour.into_rows())
    }

    /// Writes what has waited for so long.
    async fn write_history(&self, waited: Duration) {
        self.write_recent(&self.0.history.workers, waited).await;
        self.write_recent(&self.0.history.containers, waited).await;
    }

    async fn write_recent<K: Key, T: Row>(&self, of: &Recent<K, T>, waited: Duration) {
        let due = of.due(self.0.clock.now(), waited);
        let write = async |key: K| {
            let rows = of.rows(&key);
            let Some((last, _)) = rows.last() else { return };
            let last = *last;
            match self.add_to_document(of.collection, &key.to_string(), rows).await {
                Ok(()) => of.written(&key, last),
                // It waits on, and is bounded.
                Err(error) => warn!(%error, %key, "what was used lately could not be written"),
            }
        };
        stream::iter(due).for_each_concurrent(TOGETHER, write).await;
    }

    async fn add_to_document<T: Row>(
        &self,
        collection: Collection,
        key: &str,
        rows: Vec<(Millis, T)>,
    ) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            let before = self.0.store.document(collection, key).await?;
            let written: Vec<(Millis, T)> = before.as_ref().map(|before| read(&before.value)).unwrap_or_default();
            let hour: Samples<T> = written.into_iter().chain(rows.iter().cloned()).collect();
            let value = serde_json::to_string(hour.rows()).map_err(|error| StoreError::Corrupt(error.to_string()))?;
            let write = DocumentWrite {
                collection,
                key: key.to_owned(),
                expected: before.map(|before| before.version),
                value: Some(value),
                expires_at: Some(self.0.clock.now().saturating_add(millis(EXPIRES_AFTER))),
            };
            if self.0.store.write_documents(vec![write]).await? {
                return Ok(());
            }
        }
        Err(StoreError::Unavailable("others were faster every time".to_owned()))
    }
}

/// Names whose past is kept.
trait Key: Clone + Eq + Hash + Display {}
impl Key for WorkerId {}
impl Key for ContainerId {}

/// Samples that are kept.
trait Row: Clone + Serialize + DeserializeOwned {}
impl Row for WorkerRow {}
impl Row for ContainerRow {}

impl Default for History {
    fn default() -> Self {
        Self { workers: Recent::new(Collection::WorkerUsage), containers: Recent::new(Collection::ContainerUsage) }
    }
}

impl<K: Key, T: Row> Recent<K, T> {
    fn new(collection: Collection) -> Self {
        Self { collection, heard: Mutex::default() }
    }

    fn note(&self, key: &K, time: Millis, ear: Ear, value: impl FnOnce() -> T) {
        let mut heard = self.heard.lock();
        let heard = heard.entry(key.clone()).or_insert_with(|| Heard { samples: Samples::default(), ear });
        heard.ear = ear;
        heard.samples.note(time, value);
    }

    /// What was heard of one and is not written, oldest first.
    fn rows(&self, key: &K) -> Vec<(Millis, T)> {
        self.heard.lock().get(key).map(|heard| heard.samples.rows().iter().cloned().collect()).unwrap_or_default()
    }

    /// What is to be written because it has waited for so long. Forgets what others have written, and those who fell silent.
    fn due(&self, now: Millis, waited: Duration) -> Vec<K> {
        let mut due = Vec::new();
        self.heard.lock().retain(|key, heard| {
            if heard.ear == Ear::Elsewhere {
                heard.samples.forget_before(now.saturating_sub(millis(WRITTEN_ELSEWHERE_AFTER)));
            }
            let oldest = heard.samples.rows().front().map(|(time, _)| *time);
            if heard.ear == Ear::Here && oldest.is_some_and(|time| time.saturating_add(millis(waited)) <= now) {
                due.push(key.clone());
            }
            oldest.is_some() || now < heard.samples.due() + millis(WRITE_AFTER)
        });
        due
    }

    /// What was heard of one up to this moment is written.
    fn written(&self, key: &K, until: Millis) {
        if let Some(heard) = self.heard.lock().get_mut(key) {
            heard.samples.forget_before(until);
        }
    }
}

/// A document's samples; none where it is of another version.
fn read<T: Row>(value: &str) -> Vec<(Millis, T)> {
    serde_json::from_str(value).unwrap_or_default()
}
