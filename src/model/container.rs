//! What is kept of a container beside the job that it is to queue and log, and the rules by which it starts again.
//!
//! Pure: whoever decides brings the time.

use serde::{Deserialize, Serialize};

use super::account::AccountName;
use super::job::{Job, is_over};
use crate::base::clock::Millis;
use crate::protocol::container::spec::{Adopt, Restart};
use crate::protocol::container::{BoundPort, ContainerStatus};
use crate::protocol::error::WireError;
use crate::protocol::job::{Reason, Status};
use crate::protocol::{Attempt, ContainerId, WorkerId};

/// First wait before a container is started again, doubled by each start that does not last: as Docker does.
const FIRST_WAIT_MS: Millis = 100;

/// The longest of these waits.
const LONGEST_WAIT_MS: Millis = 60_000;

/// A start that lasted so long counts as a good one: the next wait is the first again.
const LASTED_MS: Millis = 10_000;

/// What its owner wants of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Desired {
    /// That it runs, as far as its restart policy goes.
    Running,
    /// That it does not.
    Stopped,
    /// That it is gone.
    Removed,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// Its id.
    pub id: ContainerId,
    /// Whose it is.
    pub account: AccountName,
    /// What its owner calls it.
    pub name: Option<String>,
    /// Where it is, for as long as there is any of it.
    pub worker: WorkerId,
    /// What its owner wants.
    pub desired: Desired,
    /// When it starts again by itself.
    pub restart: Restart,
    /// The latest start that was seen to run; 0 before the first.
    pub started: Attempt,
    /// How it is reached while that start runs.
    #[serde(default)]
    pub ports: Vec<BoundPort>,
    /// Why the latest start that failed could not be.
    #[serde(default)]
    pub failure: Option<WireError>,
    /// Starts in a row that did not last.
    #[serde(default)]
    pub short_lived: u32,
    /// The start that is to be followed by another at once, however it ends: somebody restarts the container. It means nothing
    /// any more once the next start has begun.
    #[serde(default)]
    pub again_after: Option<Attempt>,
    /// The start that is to be taken over by the next one.
    #[serde(default)]
    pub adopt: Option<Adopt>,
}

/// What is to be done about a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it stays as it is.
    Rest,
    /// Have it end: it runs, or waits to, and shall not.
    End,
    /// Start it at this time.
    Start(Millis),
    /// Its worker was lost with it, and it may run on there: take it over.
    TakeOver(Adopt),
    /// It never ran, or was removed: nothing of it is to be left.
    Discard,
}

impl Container {
    /// Where it stands, by the record of its job.
    pub fn status(&self, job: &Job) -> ContainerStatus {
        match (job.status, job.reason) {
            (Status::Running, _) if self.started == job.attempt => ContainerStatus::Running,
            (Status::Pending | Status::Running, _) => ContainerStatus::Creating,
            (status, Some(reason)) => after(status, reason),
            (Status::Completed | Status::Cancelled, None) => ContainerStatus::Stopped,
            (Status::Failed, None) => ContainerStatus::Failed,
        }
    }

    /// What is to be done about it, as its job stands.
    pub fn next(&self, job: &Job) -> Next {
        if !is_over(job.status) {
            return if self.is_to_end(job) { Next::End } else { Next::Rest };
        }
        let Some(reason) = job.reason else { return Next::Rest };
        match self.desired {
            Desired::Running if reason != Reason::Removed => (),
            Desired::Running | Desired::Removed => return Next::Discard,
            Desired::Stopped => return Next::Rest,
        }
        if self.is_restarted(job) {
            return Next::Start(job.completed_at.unwrap_or_default());
        }
        if self.started == 0 {
            return Next::Discard;
        }
        let starts = match (reason, self.restart) {
            (Reason::WorkerLost, _) => {
                let (stdout_bytes, stderr_bytes) = (job.stdout_bytes, job.stderr_bytes);
                return Next::TakeOver(Adopt { attempt: job.attempt, stdout_bytes, stderr_bytes });
            }
            // Somebody asked for this end, as the wish says by now or is about to.
            (Reason::Cancelled | Reason::Removed, _) | (_, Restart::No) => false,
            (_, Restart::OnFailure) => job.status == Status::Failed,
            (_, Restart::Always | Restart::UnlessStopped) => true,
        };
        if starts { Next::Start(self.due(job)) } else { Next::Rest }
    }

    /// Whether no start follows the one that is over, unless somebody asks for it.
    pub fn stays_at_rest(&self, job: &Job) -> bool {
        match self.next(job) {
            Next::Rest | Next::Discard => true,
            Next::End | Next::Start(_) | Next::TakeOver(_) => false,
        }
    }

    /// Whether a start that is not over is to end, and nobody has seen to that yet.
    fn is_to_end(&self, job: &Job) -> bool {
        let is_wanted = match self.desired {
            // One that waits is the next start already, or about to be.
            Desired::Running => job.status == Status::Pending || !self.is_restarted(job),
            Desired::Stopped | Desired::Removed => false,
        };
        !is_wanted && job.cancel_grace_ms.is_none()
    }

    /// Whether the latest start is to be followed by another at once.
    fn is_restarted(&self, job: &Job) -> bool {
        self.again_after == Some(job.attempt)
    }

    /// When it is to be started again after this end.
    fn due(&self, job: &Job) -> Millis {
        let ended = job.completed_at.unwrap_or_default();
        let wait = FIRST_WAIT_MS.saturating_mul(1 << self.short_lived_with(job).min(16)).min(LONGEST_WAIT_MS);
        ended.saturating_add(wait)
    }

    /// Starts in a row before this one that did not last, if it did not either.
    fn short_lived_with(&self, job: &Job) -> u32 {
        let lasted = job.completed_at.unwrap_or_default().saturating_sub(job.started_at.unwrap_or_default());
        if lasted >= LASTED_MS { 0 } else { self.short_lived }
    }

    /// Starts in a row that did not last, where another follows this one. One that somebody ended to have it restarted is none.
    pub fn short_lived_after(&self, job: &Job) -> u32 {
        if self.is_restarted(job) { 0 } else { self.short_lived_with(job).saturating_add(1) }
    }
}

/// Where a container stands after a start ended so.
pub fn after(status: Status, reason: Reason) -> ContainerStatus {
    match (status, reason) {
        (_, Reason::Removed) => ContainerStatus::Removed,
        (Status::Completed | Status::Cancelled, _) => ContainerStatus::Stopped,
        (Status::Failed | Status::Pending | Status::Running, _) => ContainerStatus::Failed,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{JobSpec, Program};
    use crate::protocol::JobId;
    use crate::protocol::id::nonce;

    fn container(restart: Restart) -> Container {
        let id = ContainerId::of(JobId { number: 1, nonce: nonce(1, true) }).unwrap();
        Container {
            id,
            account: "ada".parse().unwrap(),
            name: None,
            worker: "w".parse().unwrap(),
            desired: Desired::Running,
            restart,
            started: 1,
            ports: Vec::new(),
            failure: None,
            short_lived: 0,
            again_after: None,
            adopt: None,
        }
    }

    fn ended(status: Status, reason: Reason, lasted: Millis) -> Job {
        Job {
            id: container(Restart::No).id.job(),
            account: "ada".parse().unwrap(),
            spec: Arc::new(JobSpec::new(Program::Image)),
            status,
            reason: Some(reason),
            attempt: 1,
            charged: 1,
            rejections: 0,
            worker: None,
            gpu_ids: Vec::new(),
            exit_code: None,
            error_message: None,
            created_at: 0,
            started_at: Some(1_000),
            completed_at: Some(1_000 + lasted),
            stdout_bytes: 7,
            stderr_bytes: 3,
            cancel_grace_ms: None,
        }
    }

    #[test]
    fn it_starts_again_as_its_policy_says() {
        let (well, badly) = (ended(Status::Completed, Reason::Exit, 5), ended(Status::Failed, Reason::Signal, 5));
        let stopped = ended(Status::Cancelled, Reason::Cancelled, 5);
        for (restart, after_well, after_badly) in [
            (Restart::No, false, false),
            (Restart::OnFailure, false, true),
            (Restart::Always, true, true),
            (Restart::UnlessStopped, true, true),
        ] {
            let container = container(restart);
            assert_eq!(container.next(&well) != Next::Rest, after_well, "{restart:?}");
            assert_eq!(container.next(&badly) != Next::Rest, after_badly, "{restart:?}");
            assert_eq!(container.next(&stopped), Next::Rest);
            assert_eq!(Container { desired: Desired::Stopped, ..container }.next(&badly), Next::Rest);
        }
    }

    #[test]
    fn one_that_is_restarted_starts_again_however_it_ended() {
        let again = Container { again_after: Some(1), ..container(Restart::No) };
        for reason in [Reason::Cancelled, Reason::Exit, Reason::WorkerLost] {
            assert_eq!(again.next(&ended(Status::Cancelled, reason, 5)), Next::Start(1_005), "{reason:?}");
        }
        let cancelled = ended(Status::Cancelled, Reason::Cancelled, 5);
        assert_eq!((again.short_lived_after(&cancelled), container(Restart::No).short_lived_after(&cancelled)), (0, 1));
        // The wish was for that start; the next one ends as any other.
        assert_eq!(again.next(&Job { attempt: 2, ..cancelled.clone() }), Next::Rest);
        // Whoever stops or removes it meanwhile has their way.
        assert_eq!(Container { desired: Desired::Stopped, ..again.clone() }.next(&cancelled), Next::Rest);
        assert_eq!(Container { desired: Desired::Removed, ..again.clone() }.next(&cancelled), Next::Discard);
        assert_eq!(again.next(&ended(Status::Cancelled, Reason::Removed, 5)), Next::Discard);
    }

    #[test]
    fn what_runs_and_shall_not_is_ended_once() {
        let running = Job { status: Status::Running, reason: None, ..ended(Status::Failed, Reason::Exit, 1) };
        let pending = Job { status: Status::Pending, ..running.clone() };
        let ending = Job { cancel_grace_ms: Some(7), ..running.clone() };
        let wanted = container(Restart::Always);
        let again = Container { again_after: Some(1), ..wanted.clone() };
        let stopped = Container { desired: Desired::Stopped, ..wanted.clone() };
        let removed = Container { desired: Desired::Removed, ..wanted.clone() };
        for (container, running_is, pending_is) in [
            (&wanted, Next::Rest, Next::Rest),
            (&again, Next::End, Next::Rest),
            (&stopped, Next::End, Next::End),
            (&removed, Next::End, Next::End),
        ] {
            assert_eq!(container.next(&running), running_is, "{container:?}");
            assert_eq!(container.next(&pending), pending_is, "{container:?}");
            assert_eq!(container.next(&ending), Next::Rest, "{container:?}");
        }
    }

    #[test]
    fn waits_grow_until_a_start_lasts() {
        let due = |short_lived, lasted| {
            let container = Container { short_lived, ..container(Restart::Always) };
            match container.next(&ended(Status::Failed, Reason::Exit, lasted)) {
                Next::Start(at) => at - 1_000 - lasted,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!([due(0, 1), due(1, 1), due(5, 1), due(400, 1)], [100, 200, 3_200, 60_000]);
        assert_eq!(due(400, 10_000), 100);
    }

    #[test]
    fn what_its_worker_may_still_run_is_taken_over() {
        let adopt = Adopt { attempt: 1, stdout_bytes: 7, stderr_bytes: 3 };
        let lost = ended(Status::Failed, Reason::WorkerLost, 5);
        assert_eq!(container(Restart::No).next(&lost), Next::TakeOver(adopt));
        let never_ran = Container { started: 0, ..container(Restart::Always) };
        assert_eq!(never_ran.next(&lost), Next::Discard);
    }

    #[test]
    fn where_it_stands_follows_from_both_records() {
        let container = container(Restart::No);
        let running = Job { status: Status::Running, reason: None, ..ended(Status::Failed, Reason::Exit, 1) };
        assert_eq!(container.status(&running), ContainerStatus::Running);
        assert_eq!(Container { started: 0, ..container.clone() }.status(&running), ContainerStatus::Creating);
        assert_eq!(container.status(&ended(Status::Cancelled, Reason::Cancelled, 1)), ContainerStatus::Stopped);
        assert_eq!(container.status(&ended(Status::Failed, Reason::OutOfMemory, 1)), ContainerStatus::Failed);
        assert_eq!(container.status(&ended(Status::Cancelled, Reason::Removed, 1)), ContainerStatus::Removed);
    }
}
