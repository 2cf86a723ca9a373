//! What time demands: leases that ran out, limits that were reached, workers that fell silent,
//! records that need not be kept.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::{DispatchError, Dispatcher};
use crate::metrics::Operation;
use crate::model::Outcome;
use crate::protocol::agent::{AgentOrder, Lost};
use crate::protocol::job::Reason;
use crate::protocol::{Attempt, CloseCode, JobId};
use crate::store::jobs::Retention;

/// How late a limit may be noticed.
const TICK: Duration = Duration::from_millis(500);

/// A pass that comes this late says more than that the machine is busy.
const LATE: Duration = Duration::from_secs(2);

/// How often, in ticks, the queue is looked through for classes that the matchmaker missed and
/// the store is told which workers were heard of.
const SWEEP_TICKS: u32 = 10;

/// Runs until everything must end.
pub(super) async fn run(dispatcher: Dispatcher) {
    let cut = dispatcher.shutdown().cut().clone();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticks: u32 = 0;
    let mut last_pass = dispatcher.clock().now();
    loop {
        tokio::select! {
            biased;
            () = cut.cancelled() => return,
            _ = tick.tick() => (),
        }
        // Outside the select: a pass once begun is never dropped half-way.
        ticks = ticks.wrapping_add(1);
        let now = dispatcher.clock().now();
        let absent = Duration::from_millis(now.saturating_sub(last_pass));
        match pass(&dispatcher, ticks, absent).await {
            Ok(()) => last_pass = now,
            Err(error) => {
                dispatcher.metrics().store_errors.of(Operation::Sweep).inc();
                warn!(%error, "a pass over leases and limits failed; next in {TICK:?}");
            }
        }
    }
}

/// `absent`: the time since the last pass that went through.
async fn pass(dispatcher: &Dispatcher, ticks: u32, absent: Duration) -> Result<(), DispatchError> {
    let inner = &dispatcher.0;
    if let Some(peers) = &inner.peers
        && let Some(met) = peers.met_another_server()
    {
        start_anew(dispatcher, absent).await?;
        peers.seen_to(met);
        // Only they know what they hold, and send again what the store has lost.
        for agent in inner.fleet.agents() {
            agent.close(CloseCode::StoreUnavailable);
        }
    }
    if absent >= (inner.settings.lease / 3).max(LATE) {
        start_anew(dispatcher, absent).await?;
    }
    for change in inner.store.expire().await? {
        let job = &change.job;
        if job.reason != Some(Reason::QueueTimeout) {
            inner.metrics.lost_leases.inc();
        }
        info!(job = %job.id, status = ?job.status, reason = ?job.reason, "ended or requeued by time");
        if let Some(agent) = inner.fleet.release(job.id, job.attempt) {
            agent.order(&AgentOrder::Heartbeat(Lost { lost: vec![(job.id, job.attempt)] }));
        }
        dispatcher.publish(&change).await;
        inner.queue.poke();
    }
    let now = inner.clock.now();
    for agent in inner.fleet.agents() {
        for (job, attempt) in agent.overdue(now) {
            time_out(dispatcher, job, attempt).await?;
            agent.order(&AgentOrder::Heartbeat(Lost { lost: vec![(job, attempt)] }));
            dispatcher.release(job, attempt);
        }
    }
    tell_who_is_offline(dispatcher);
    if dispatcher.is_keeper().await? {
        let limits = &inner.settings.limits;
        let retention = Retention { age: limits.retention_age, jobs: limits.retention_jobs };
        for job in inner.store.retain(retention).await? {
            // A shared store remembers which files are to go.
            if inner.peers.is_none() {
                dispatcher.remove_files(job).await;
            }
        }
    }
    if ticks.is_multiple_of(SWEEP_TICKS) {
        inner.hub.forget_unfollowed();
        if dispatcher.is_keeper().await? {
            dispatcher.sweep_containers().await?;
        }
        for class in inner.store.ready().await? {
            inner.queue.add(&class.requires);
        }
        let since = dispatcher.online_since();
        let mut heard = inner.fleet.agents();
        heard.retain(|agent| agent.last_heard() > since);
        inner.store.seen(heard.iter().map(|agent| agent.id.clone()).collect()).await?;
    }
    Ok(())
}

/// Begins all leases and limits anew: this process was stopped, its machine asleep, or the
/// store away, and no heartbeat could have renewed them.
async fn start_anew(dispatcher: &Dispatcher, absent: Duration) -> Result<(), DispatchError> {
    let inner = &dispatcher.0;
    warn!(?absent, "nothing was looked after for a while; leases and limits begin anew");
    inner.store.start_anew(inner.settings.lease).await?;
    let now = inner.clock.now();
    for agent in inner.fleet.agents() {
        agent.start_anew(now);
    }
    Ok(())
}

/// Ends an attempt whose worker did not keep its time limit.
async fn time_out(dispatcher: &Dispatcher, job: JobId, attempt: Attempt) -> Result<(), DispatchError> {
    let outcome = Outcome::because(Reason::Timeout, Some("the worker did not end it in time".to_owned()));
    if dispatcher.end_for_worker(job, attempt, outcome).await?.is_none() {
        // The next pass sees how it stands.
        info!(%job, "a time limit was overtaken");
    }
    Ok(())
}

fn tell_who_is_offline(dispatcher: &Dispatcher) {
    let inner = &dispatcher.0;
    let since = dispatcher.online_since();
    for known in inner.fleet.all_known().into_iter().filter(|known| !known.told_offline) {
        let id = &known.worker.id;
        let last = inner.fleet.agent(id).map_or(known.worker.last_seen, |agent| agent.last_heard());
        if last <= since {
            dispatcher.noting_presence(id, || {
                inner.fleet.update_known(id, |known| {
                    known.told_offline = true;
                    known.worker.last_seen = last;
                });
            });
            info!(worker = %id, "worker offline");
            dispatcher.worker_changed(id);
        }
    }
}
