//! Jobs on their way from the store to their workers, and the cancels that meet them there.
//!
//! From the moment when a job is claimed, or looked up, until its worker is told of it, the store says that it runs and nobody
//! here holds it. A cancel of then waits here and follows the job. To hand a job over and to look for its holder exclude
//! each other, so a cancel is either sent behind the job or found by whoever hands it over.
//!
//! Invariant: nothing is kept while nothing is on its way, so there is at most one cancel for each running job.
//! Not here: cancels for workers that are away, which hear of them from the store when they are back.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::fleet::Agent;
use crate::protocol::agent::{AgentJobOrder, CancelAttempt};
use crate::protocol::{Attempt, JobId};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Handing(Mutex<OnTheWay>);

#[derive(Debug, Default)]
struct OnTheWay {
    /// Claims and look-ups whose jobs are not all handed over.
    under_way: usize,
    cancels: HashMap<(JobId, Attempt), CancelAttempt>,
}

/// A claim or look-up under way. It begins before the store is asked, and is over when this is dropped.
#[derive(Debug)]
pub(super) struct UnderWay<'a>(&'a Handing);

impl Handing {
    /// Jobs are about to be claimed or looked up.
    pub(super) fn begin(&self) -> UnderWay<'_> {
        self.0.lock().under_way += 1;
        UnderWay(self)
    }

    /// Hands a job over by `give`, after which its worker holds it and was told of it; returns its cancel, if one waits.
    pub(super) fn hand_over(&self, job: JobId, attempt: Attempt, give: impl FnOnce()) -> Option<CancelAttempt> {
        let mut on_the_way = self.0.lock();
        give();
        on_the_way.cancels.remove(&(job, attempt))
    }

    /// Sends a cancel to the one that `find` finds, if that holds the attempt; else it waits for the job, should that be on
    /// its way, and this is `false`.
    pub(super) fn cancel(&self, cancel: CancelAttempt, find: impl FnOnce() -> Option<Arc<Agent>>) -> bool {
        let CancelAttempt { job_id, attempt, grace_secs: _ } = cancel;
        let mut on_the_way = self.0.lock();
        // Who held an earlier attempt may not have been told yet that it is over.
        let holds = |agent: &Arc<Agent>| agent.held(job_id).is_some_and(|held| held.attempt == attempt);
        if let Some(agent) = find().filter(holds) {
            agent.order_job(&AgentJobOrder::Cancel(cancel));
            return true;
        }
        if on_the_way.under_way > 0 {
            on_the_way.cancels.insert((job_id, attempt), cancel);
        }
        false
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut on_the_way = self.0.0.lock();
        on_the_way.under_way -= 1;
        if on_the_way.under_way == 0 {
            on_the_way.cancels.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cancel_of(job: JobId) -> CancelAttempt {
        CancelAttempt { job_id: job, attempt: 2, grace_secs: 1.5 }
    }

    #[test]
    fn a_cancel_waits_for_its_job_only_while_one_is_on_its_way() {
        let handing = Handing::default();
        let job = JobId { number: 7, nonce: 0 };
        assert!(!handing.cancel(cancel_of(job), || None));
        assert_eq!(handing.hand_over(job, 2, || ()), None);

        let (claim, look_up) = (handing.begin(), handing.begin());
        assert!(!handing.cancel(cancel_of(job), || None));
        drop(claim);
        assert_eq!(handing.hand_over(job, 3, || ()), None, "it is for another attempt");
        assert_eq!(handing.hand_over(job, 2, || ()), Some(cancel_of(job)));
        assert_eq!(handing.hand_over(job, 2, || ()), None, "it was taken");

        assert!(!handing.cancel(cancel_of(job), || None));
        drop(look_up);
        assert_eq!(handing.hand_over(job, 2, || ()), None, "whoever could hand it over has done so");
    }
}
