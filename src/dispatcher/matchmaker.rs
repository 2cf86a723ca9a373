//! Claims jobs for the workers connected here.
//!
//! One task. It knows which requirement classes may have jobs waiting, asks the scheduler what
//! each worker could take, and claims that. The set of classes is a hint, kept small so that an
//! idle instance asks the store nothing; the slow sweep of the reaper makes good what it misses.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{debug, warn};

use super::Dispatcher;
use super::fleet::Agent;
use super::jobs::cancel_of;
use crate::metrics::{Metrics, Operation};
use crate::model::{Job, Requires};
use crate::protocol::WorkerId;
use crate::protocol::agent::{AgentJobOrder, Assign};
use crate::store::StoreError;
use crate::store::jobs::Claim;

/// Wait after the store failed to answer a claim.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// The classes that may have jobs waiting.
#[derive(Debug, Default)]
pub(super) struct Queue {
    classes: Mutex<Classes>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Classes {
    /// Each with the moment, in additions, when it was last said to have a job.
    known: HashMap<Requires, u64>,
    additions: u64,
}

impl Queue {
    /// A job of this class may be waiting.
    pub(super) fn add(&self, class: &Requires) {
        let mut classes = self.classes.lock();
        classes.additions += 1;
        let now = classes.additions;
        match classes.known.get_mut(class) {
            Some(at) => *at = now,
            None => {
                classes.known.insert(class.clone(), now);
            }
        }
        drop(classes);
        self.poke();
    }

    /// Look again: capacity was freed, or a worker came.
    pub(super) fn poke(&self) {
        self.bell.notify_one();
    }

    /// The classes, and how often one was added so far.
    pub(super) fn snapshot(&self) -> (Vec<Requires>, u64) {
        let classes = self.classes.lock();
        (classes.known.keys().cloned().collect(), classes.additions)
    }

    /// These were found empty by a claim made after `since` additions.
    pub(super) fn exhausted<'a>(&self, empty: impl IntoIterator<Item = &'a Requires>, since: u64) {
        let mut classes = self.classes.lock();
        for class in empty {
            // A job that was added since may have come after the claim looked.
            if classes.known.get(class).is_some_and(|at| *at <= since) {
                classes.known.remove(class);
            }
        }
    }
}

/// Runs until the instance drains.
pub(super) async fn run(dispatcher: Dispatcher) {
    let draining = dispatcher.shutdown().draining().clone();
    loop {
        tokio::select! {
            biased;
            () = draining.cancelled() => return,
            () = dispatcher.0.queue.bell.notified() => (),
        }
        // Outside the select: a claim once made is never dropped half-way.
        while !draining.is_cancelled() && round(&dispatcher).await {}
    }
}

/// Offers every worker what fits it, once; whether anything was claimed.
async fn round(dispatcher: &Dispatcher) -> bool {
    let (classes, additions) = dispatcher.0.queue.snapshot();
    if classes.is_empty() {
        return false;
    }
    let mut agents = dispatcher.0.fleet.agents();
    // A silent one may be gone: what it were given would be lost with it.
    let since = dispatcher.online_since();
    let slotless = classes.iter().any(|class| class.slotless);
    agents.retain(|agent| (slotless || agent.free_slots() > 0) && agent.last_heard() > since);
    // The emptiest first, so that work spreads.
    agents.sort_by_key(|agent| agent.running());
    let share = agents.len().max(1);
    let mut claimed = false;
    for agent in agents {
        let Some(mut plan) = agent.plan(&classes) else { continue };
        plan.limit = plan.limit.div_ceil(share);
        if dispatcher.0.peers.is_some() {
            // All at once, jobs would go round in step: Redis waits while they are handed out, and this instance while
            // Redis writes. By halves, one goes on beside the other. The next round takes the rest.
            plan.limit = plan.limit.min(agent.slots().div_ceil(2));
        }
        let claim = Claim {
            worker: agent.id.clone(),
            classes: plan.classes.clone(),
            limit: plan.limit,
            lease: dispatcher.0.settings.lease,
        };
        let metrics = dispatcher.metrics();
        let asked = Instant::now();
        let _under_way = dispatcher.0.handing.begin();
        let claimed_now = dispatcher.0.store.claim(claim).await;
        metrics.claim_seconds.observe(asked.elapsed().as_secs_f64());
        match claimed_now {
            Ok(changes) => {
                if changes.len() < plan.limit {
                    dispatcher.0.queue.exhausted(plan.classes.iter().map(|(class, _)| class), additions);
                }
                for change in &changes {
                    dispatcher.0.introductions.over(change.job.id.nonce).await;
                }
                // A connection that took this one's place meanwhile is the one to hand them to.
                let agent = dispatcher.0.fleet.agent(&agent.id).unwrap_or(agent);
                let was_idle = agent.running() == 0;
                for change in &changes {
                    claimed = true;
                    count_claim(metrics, &change.job, &agent.id);
                    // Watchers first, so that they hear of the end later; followers last, so that
                    // what they send to a job that they see run reaches it.
                    dispatcher.announce(&change.job);
                    dispatcher.hand_over(&agent, &change.job).await;
                    dispatcher.show(change.job.id, std::slice::from_ref(&change.entry));
                }
                if was_idle && !changes.is_empty() {
                    dispatcher.worker_changed(&agent.id);
                }
            }
            Err(error) => {
                metrics.store_errors.of(Operation::Claim).inc();
                warn!(%error, worker = %agent.id, "claim failed; what it may have claimed is looked up");
                tokio::time::sleep(RETRY_AFTER).await;
                dispatcher.recover_claims(&agent).await;
            }
        }
    }
    claimed
}

/// Counts a job that a worker was given.
pub(super) fn count_claim(metrics: &Metrics, job: &Job, worker: &WorkerId) {
    debug!(job = %job.id, attempt = job.attempt, %worker, "job claimed");
    // Later attempts waited for something else first.
    if let (1, Some(started_at)) = (job.attempt, job.started_at) {
        let waited = Duration::from_millis(started_at.saturating_sub(job.created_at));
        metrics.wait_seconds.observe(waited.as_secs_f64());
    }
}

impl Dispatcher {
    /// Sends a job to the worker that it was claimed for, and its cancel where there is one already. Harmless to repeat: a
    /// worker starts an attempt once. Called while [`Handing::begin`](super::handing::Handing::begin) holds, since before
    /// the job was read.
    pub(super) async fn hand_over(&self, agent: &Arc<Agent>, job: &Job) {
        let adopt = match self.to_take_over(job).await {
            Ok(adopt) => adopt,
            Err(StoreError::Corrupt(_)) => {
                return warn!(job = %job.id, "the record of a container cannot be read; it is not started");
            }
            Err(error) => {
                warn!(%error, job = %job.id, "whether it runs already cannot be told; its worker is asked to come again");
                return agent.close(crate::protocol::CloseCode::StoreUnavailable);
            }
        };
        let assign = AgentJobOrder::Assign(Box::new(Assign {
            job_id: job.id,
            attempt: job.attempt,
            spec: (&*job.spec).into(),
            gpu_ids: job.gpu_ids.clone(),
            lease_secs: self.0.settings.lease.as_secs(),
            window_bytes: self.0.settings.limits.window_bytes,
            adopt,
        }));
        let cancel = self.0.handing.hand_over(job.id, job.attempt, || {
            self.0.fleet.place(agent, job, self.0.clock.now());
            agent.order_job(&assign);
        });
        let known = || job.cancel_grace_ms.is_some().then(|| cancel_of(job));
        if let Some(cancel) = cancel.or_else(known) {
            agent.order_job(&AgentJobOrder::Cancel(cancel));
        } else if job.id.is_container()
            && let Err(error) = self.order_early_end(job).await
        {
            debug!(%error, job = %job.id, "whether it is to end already cannot be told; its worker is told when it is back");
        }
    }

    /// Assigns what a claim whose answer was lost may have claimed.
    pub(super) async fn recover_claims(&self, agent: &Arc<Agent>) {
        let _under_way = self.0.handing.begin();
        match self.0.store.running_on(&agent.id).await {
            Ok(jobs) => {
                for job in jobs.iter().filter(|job| agent.held(job.id).is_none()) {
                    self.hand_over(agent, job).await;
                }
                self.0.queue.poke();
            }
            // Closing makes the worker register again, which looks them up too.
            Err(_) => agent.close(crate::protocol::CloseCode::StoreUnavailable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_found_empty_is_forgotten_unless_a_job_came_meanwhile() {
        let queue = Queue::default();
        let class = Requires::default();
        queue.add(&class);
        let (classes, since) = queue.snapshot();
        queue.exhausted(&classes, since);
        assert!(queue.snapshot().0.is_empty());

        queue.add(&class);
        let (classes, since) = queue.snapshot();
        queue.add(&class);
        queue.exhausted(&classes, since);
        assert_eq!(queue.snapshot().0, [class]);
    }
}
