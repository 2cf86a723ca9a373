//! Containers: jobs that go on after their end.

use std::time::Duration;

use super::vocabulary::{ROOMY, Subject, account, ended, exited, new_job, shell};
use crate::model::Job;
use crate::protocol::JobId;
use crate::protocol::id::nonce;
use crate::protocol::job::{Reason, Status};
use crate::store::error::AppendError;
use crate::store::jobs::{JobCounts, JobFilter, NewJob, Retention};

pub(super) async fn a_container_starts_again_in_the_same_log(s: &Subject) {
    let id = container(s).await;
    let first = s.claim("w").await.job;
    s.say(&first, 1, &["up", "down"]).await.unwrap();
    s.end(&first, 3, exited(3)).await.unwrap();

    let reopened = s.store.reopen(id, 1).await.unwrap().unwrap();
    assert_eq!((reopened.job.status, reopened.job.exit_code, reopened.job.completed_at), (Status::Pending, None, None));
    let second = s.claim("w").await.job;
    assert_eq!((second.attempt, second.charged), (2, 1));
    s.say(&second, 1, &["again"]).await.unwrap();
    let told = [
        "1-0 on w",
        "1-1 Stdout@0 up",
        "1-2 Stdout@2 down",
        "1-3 Failed Exit",
        "1-4 pending None",
        "2-0 on w",
        "2-1 Stdout@0 again",
    ];
    assert_eq!(s.story(id).await, told);

    // A start that wrote nothing, and one that was cancelled before it began.
    s.end(&second, 2, exited(0)).await.unwrap();
    s.store.reopen(id, 2).await.unwrap().unwrap();
    let third = s.claim("w").await.job;
    s.end(&third, 1, exited(0)).await.unwrap();
    s.store.reopen(id, 3).await.unwrap().unwrap();
    s.store.cancel(id.into(), None).await.unwrap();
    let told = ["3-0 on w", "3-1 Completed Exit", "3-2 pending None", "3-3 Cancelled Cancelled"];
    assert_eq!(s.story(id).await[9..], told);
    s.store.reopen(id, 3).await.unwrap().unwrap();
    assert_eq!(s.claim("w").await.job.attempt, 4);
    assert_eq!(s.story(id).await[13..], ["3-4 pending None", "4-0 on w"]);
}

pub(super) async fn what_is_no_container_at_rest_does_not_go_on(s: &Subject) {
    let job = s.finished("ada", 0).await;
    assert!(matches!(s.store.reopen(job.id, 1).await.unwrap(), Err(AppendError::Stale { .. })));

    let id = container(s).await;
    assert!(s.store.reopen(id, 0).await.unwrap().is_err(), "it has not even started");
    let start = s.claim("w").await.job;
    assert!(s.store.reopen(id, 1).await.unwrap().is_err(), "it runs");
    s.end(&start, 1, exited(0)).await.unwrap();
    assert!(s.store.retire(id, 2).await.unwrap().is_err(), "there was no second start");
    let nobody = JobId { number: 99, nonce: id.nonce };
    assert_eq!(s.store.reopen(nobody, 1).await.unwrap().unwrap_err(), AppendError::NotFound(nobody.into()));
}

pub(super) async fn a_container_is_kept_until_it_is_removed(s: &Subject) {
    let id = container(s).await;
    let start = s.claim("w").await.job;
    s.end(&start, 1, exited(0)).await.unwrap();
    s.pass(3600);
    let nothing = Retention { age: Duration::from_secs(60), jobs: 0 };
    assert_eq!(s.store.retain(nothing).await.unwrap(), []);

    let removed = s.store.retire(id, 1).await.unwrap().unwrap().job;
    assert_eq!((removed.status, removed.reason), (Status::Cancelled, Some(Reason::Removed)));
    assert_eq!(s.story(id).await, ["1-0 on w", "1-1 Completed Exit", "1-2 Cancelled Removed"]);
    assert!(s.store.reopen(id, 1).await.unwrap().is_err(), "it is gone for good");
    assert!(s.write(ended(id, 1, 3, exited(0))).await.is_err());
    assert_eq!(s.store.retain(nothing).await.unwrap(), [id]);
    assert_eq!(s.store.job(id.into()).await.unwrap(), None);
}

pub(super) async fn containers_are_not_among_the_jobs(s: &Subject) {
    let job = s.finished("ada", 0).await;
    let id = container(s).await;
    let everything = || JobFilter { limit: 10, ..JobFilter::default() };
    for filter in [
        everything(),
        JobFilter { account: Some(account("ada")), ..everything() },
        JobFilter { status: Some(Status::Completed), ..everything() },
    ] {
        assert_eq!(ids(s.store.jobs(filter).await.unwrap().iter().map(|job| &**job)), [job.id]);
    }
    let only = JobCounts { completed: 1, ..JobCounts::default() };
    assert_eq!(s.store.count_jobs(None).await.unwrap(), only, "one that waits does not count");
    let start = s.claim("w").await.job;
    let running = s.store.running_on(&"w".parse().unwrap()).await.unwrap();
    assert_eq!(ids(running.iter().map(|job| &**job)), [id], "its worker has it all the same");
    assert_eq!(s.store.count_jobs(Some(&account("ada"))).await.unwrap(), only, "nor one that runs");
    s.end(&start, 1, exited(0)).await.unwrap();
    assert_eq!(s.store.count_jobs(None).await.unwrap(), only, "nor one at rest");
    s.store.retire(id, 1).await.unwrap().unwrap();
    assert_eq!(s.store.count_jobs(None).await.unwrap(), only, "nor one that is removed");
    assert_eq!(s.store.count_jobs(Some(&account("ada"))).await.unwrap(), only);
}

async fn container(s: &Subject) -> JobId {
    let new = new_job("ada", shell("serve"));
    let new = NewJob { nonce: nonce(new.nonce, true), ..new };
    s.store.submit(new, ROOMY).await.unwrap().job.id
}

fn ids<'a>(jobs: impl Iterator<Item = &'a Job>) -> Vec<JobId> {
    jobs.map(|job| job.id).collect()
}
