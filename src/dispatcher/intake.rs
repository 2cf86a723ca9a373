//! What a worker writes to its jobs' logs, on the way to the store.
//!
//! The connection's reader adds, one task per connection appends: while one batch is being stored
//! the next gathers, so the store sees few large batches instead of many small ones. Nothing is
//! acknowledged, and nothing is shown to followers, before the store has it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::warn;

use super::Dispatcher;
use super::fleet::Agent;
use super::settling::Settling;
use crate::base::backoff::Backoff;
use crate::base::clock::Millis;
use crate::hub::Item;
use crate::metrics::Operation;
use crate::model::Outcome;
use crate::protocol::agent::{Ack, AgentJobOrder, Nack};
use crate::protocol::codec::{FrameId, encode};
use crate::protocol::{Attempt, JobId};
use crate::store::error::AppendError;
use crate::store::log::{Appended, AttemptWrite, NewOutput};

/// Bytes that may wait for the store; beyond it the worker's socket is not read.
const WAITING_BYTES: usize = 8 * 1024 * 1024;

/// A frame's cost beside its bytes, so that empty ones are bounded, too.
const FRAME_BYTES: usize = 128;

/// Between two looks at whether a store lives that is to have settled something.
const SEEN_AGAIN: Duration = Duration::from_millis(100);

/// When an attempt ended, as its last entry.
type End = (u64, Millis, Outcome);

/// Writes of one connection that wait for the store.
#[derive(Debug, Default)]
pub struct Intake {
    waiting: Mutex<Waiting>,
    ready: Notify,
    room: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    writes: Vec<AttemptWrite>,
    /// The latest write of each job, to be continued.
    latest: HashMap<JobId, usize>,
    /// Ids of the frames that had one; each is a write of its own, so that it is answered by itself.
    ids: HashMap<usize, FrameId>,
    bytes: usize,
    closed: bool,
}

impl Intake {
    /// Adds a chunk, waiting for room.
    pub async fn output(&self, job: JobId, attempt: Attempt, output: NewOutput, id: Option<&FrameId>) {
        self.room(output.bytes.len() + FRAME_BYTES).await;
        self.waiting.lock().output(job, attempt, output, id);
        self.ready.notify_one();
    }

    /// Adds the end of an attempt, waiting for room.
    pub async fn end(&self, job: JobId, attempt: Attempt, end: End, id: Option<&FrameId>) {
        self.room(FRAME_BYTES).await;
        self.waiting.lock().end(job, attempt, end, id);
        self.ready.notify_one();
    }

    /// Nothing more will be added: [`run`] stores what waits and ends.
    pub fn close(&self) {
        self.waiting.lock().closed = true;
        self.ready.notify_one();
    }

    async fn room(&self, bytes: usize) {
        loop {
            let room = self.room.notified();
            {
                let mut waiting = self.waiting.lock();
                if waiting.bytes < WAITING_BYTES {
                    waiting.bytes += bytes;
                    return;
                }
            }
            room.await;
        }
    }

    /// All that waits, with the ids of those that have one; `None` once closed and empty.
    async fn take(&self) -> Option<(Vec<AttemptWrite>, HashMap<usize, FrameId>)> {
        loop {
            let ready = self.ready.notified();
            {
                let mut waiting = self.waiting.lock();
                if !waiting.writes.is_empty() {
                    waiting.latest.clear();
                    waiting.bytes = 0;
                    let taken = (std::mem::take(&mut waiting.writes), std::mem::take(&mut waiting.ids));
                    drop(waiting);
                    self.room.notify_one();
                    return Some(taken);
                }
                if waiting.closed {
                    return None;
                }
            }
            ready.await;
        }
    }
}

impl Waiting {
    fn output(&mut self, job: JobId, attempt: Attempt, output: NewOutput, id: Option<&FrameId>) {
        let continues = |write: &AttemptWrite| write.output.last().is_none_or(|last| last.n + 1 == output.n);
        self.write_for(job, attempt, id, continues).output.push(output);
    }

    fn end(&mut self, job: JobId, attempt: Attempt, end: End, id: Option<&FrameId>) {
        self.write_for(job, attempt, id, |_| true).end = Some(end);
    }

    /// The job's latest write if it can be continued, else a new one.
    fn write_for(
        &mut self,
        job: JobId,
        attempt: Attempt,
        id: Option<&FrameId>,
        continues: impl FnOnce(&AttemptWrite) -> bool,
    ) -> &mut AttemptWrite {
        let latest = self.latest.get(&job).copied().filter(|index| {
            let write = &self.writes[*index];
            let has_id = id.is_some() || self.ids.contains_key(index);
            !has_id && write.attempt == attempt && write.end.is_none() && continues(write)
        });
        let index = latest.unwrap_or_else(|| {
            self.writes.push(AttemptWrite { job, attempt, output: Vec::new(), end: None });
            self.latest.insert(job, self.writes.len() - 1);
            self.writes.len() - 1
        });
        self.ids.extend(id.map(|id| (index, id.clone())));
        &mut self.writes[index]
    }
}

/// Stores what `agent` writes until its intake is closed and empty.
pub(super) async fn run(dispatcher: Dispatcher, agent: Arc<Agent>) {
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
    let window_bytes = dispatcher.0.settings.limits.window_bytes;
    let mut settling = Settling::default();
    loop {
        let taken = tokio::select! {
            taken = agent.intake.take() => taken,
            () = settling.due() => {
                let seen = Instant::now();
                if dispatcher.0.store.check().await.is_err() {
                    tokio::time::sleep(SEEN_AGAIN).await;
                    continue;
                }
                for ((job_id, attempt), n) in settling.settled(seen, dispatcher.0.store.lives()) {
                    let ack = AgentJobOrder::Ack(Ack { job_id, attempt, n, stable: n, window_bytes });
                    // Thousands may be due at once.
                    if agent.outbox().push_late(Item::Frame(encode(&ack).into())).await.is_err() {
                        agent.intake.close();
                    }
                }
                continue;
            }
        };
        let Some((writes, ids)) = taken else { return };
        let mut told = false;
        let metrics = dispatcher.metrics();
        let results = loop {
            let asked = Instant::now();
            let answer = dispatcher.0.store.append(writes.clone()).await;
            metrics.append_seconds.observe(asked.elapsed().as_secs_f64());
            match answer {
                Ok(results) => break results,
                Err(error) => {
                    metrics.store_errors.of(Operation::Append).inc();
                    if dispatcher.shutdown().cut().is_cancelled() || agent.is_gone() {
                        // The worker keeps what was not acknowledged and sends it again.
                        return;
                    }
                    if !told {
                        warn!(%error, worker = %agent.id, "append failed; trying again until it succeeds");
                        told = true;
                    }
                    tokio::time::sleep(backoff.next_wait()).await;
                }
            }
        };
        backoff.reset();
        let now = Instant::now();
        for (index, (write, result)) in writes.iter().zip(results).enumerate() {
            let (job_id, attempt) = (write.job, write.attempt);
            match result {
                Ok(appended) => {
                    dispatcher.appended(write, &appended);
                    let n = appended.last_n;
                    let stable = settling.add(now, &*dispatcher.0.store, (job_id, attempt), n, write.end.is_some());
                    let ack = AgentJobOrder::Ack(Ack { job_id, attempt, n, stable, window_bytes });
                    // Thousands may be due at once.
                    if agent.outbox().push_late(Item::Frame(encode(&ack).into())).await.is_err() {
                        agent.intake.close();
                    }
                }
                Err(AppendError::Gap { expect, .. }) => {
                    agent.order_job(&AgentJobOrder::Nack(Nack { job_id, attempt, expect }));
                }
                Err(error @ (AppendError::Stale { .. } | AppendError::NotFound(_))) => {
                    agent.refuse(job_id, attempt, ids.get(&index), &error.into());
                    dispatcher.release(job_id, attempt);
                }
            }
        }
    }
}

impl Dispatcher {
    /// Passes on what the store has taken of an attempt.
    pub(super) fn appended(&self, write: &AttemptWrite, appended: &Appended) {
        if !appended.entries.is_empty() {
            self.0.metrics.entries.inc_by(appended.entries.len() as u64);
            self.show(write.job, &appended.entries);
        }
        if let Some(ended) = &appended.ended {
            self.announce(ended);
            self.count_end(ended);
        }
        // Also for a repeat of the end: a connection that was taken in while the first was being
        // stored has counted the job as running.
        if write.end.is_some() {
            self.release(write.job, write.attempt);
        }
    }

    /// A job has left the worker that held it.
    pub(super) fn release(&self, job: JobId, attempt: Attempt) {
        if let Some(agent) = self.0.fleet.release(job, attempt) {
            self.0.queue.poke();
            if agent.running() == 0 {
                self.worker_changed(&agent.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::StreamName;
    use crate::protocol::job::Reason;

    const JOB: JobId = JobId { number: 1, nonce: 0 };

    fn chunk(n: u64) -> NewOutput {
        NewOutput { n, stream: StreamName::Stdout, bytes: "x".into(), time: 0 }
    }

    #[tokio::test]
    async fn chunks_that_follow_each_other_become_one_write() {
        let intake = Intake::default();
        intake.output(JOB, 1, chunk(1), None).await;
        intake.output(JOB, 1, chunk(2), None).await;
        intake.end(JOB, 1, (3, 0, Outcome::because(Reason::Exit, None)), None).await;
        let (writes, _) = intake.take().await.unwrap();
        assert_eq!(writes.len(), 1);
        assert_eq!(writes[0].output.len(), 2);
        assert!(writes[0].end.is_some());
    }

    #[tokio::test]
    async fn what_has_an_id_is_answered_by_itself() {
        let intake = Intake::default();
        let id = FrameId::number(7);
        intake.output(JOB, 1, chunk(1), None).await;
        intake.output(JOB, 1, chunk(2), Some(&id)).await;
        intake.output(JOB, 1, chunk(3), None).await;
        intake.output(JOB, 1, chunk(4), None).await;
        let (writes, ids) = intake.take().await.unwrap();
        assert_eq!(writes.iter().map(|write| write.output.len()).collect::<Vec<_>>(), [1, 1, 2]);
        assert_eq!(ids, HashMap::from([(1, id)]));
    }

    #[tokio::test]
    async fn repeats_and_holes_are_kept_apart_for_the_store_to_judge() {
        let intake = Intake::default();
        for n in [1, 2, 2, 9] {
            intake.output(JOB, 1, chunk(n), None).await;
        }
        intake.output(JOB, 2, chunk(10), None).await;
        let (writes, _) = intake.take().await.unwrap();
        let numbers: Vec<Vec<u64>> = writes.iter().map(|w| w.output.iter().map(|o| o.n).collect()).collect();
        assert_eq!(numbers, [vec![1, 2], vec![2], vec![9], vec![10]]);
        intake.close();
        assert!(intake.take().await.is_none());
    }
}
