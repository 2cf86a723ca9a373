//! Lists of jobs, and what becomes of the old ones.

use std::time::Duration;

use super::vocabulary::{ROOMY, Subject, account, name, new_job, shell};
use crate::protocol::JobRef;
use crate::protocol::job::Status;
use crate::store::jobs::{JobCounts, JobFilter, NewJob, Retention};

/// The numbers on a page.
async fn page(s: &Subject, filter: JobFilter) -> Vec<u64> {
    s.store.jobs(filter).await.unwrap().iter().map(|job| job.id.number).collect()
}

pub(super) async fn pages_go_from_new_to_old(s: &Subject) {
    for _ in 0..5 {
        s.submit(shell("true")).await;
    }
    let filter = |before| JobFilter { before, limit: 2, ..JobFilter::default() };
    assert_eq!(page(s, filter(None)).await, [5, 4]);
    s.submit(shell("true")).await;
    assert_eq!(page(s, filter(Some(4))).await, [3, 2]);
    assert_eq!(page(s, filter(Some(2))).await, [1]);
    assert_eq!(page(s, filter(Some(1))).await, [0; 0]);
    assert_eq!(page(s, filter(Some(u64::MAX))).await, [6, 5]);
    assert_eq!(page(s, JobFilter { limit: 0, ..JobFilter::default() }).await, [0; 0]);
}

pub(super) async fn lists_are_filtered_by_account_and_status(s: &Subject) {
    // 1, 2: over. 3: cancelled. 4: runs. 5 to 8 wait.
    s.finished("ada", 0).await;
    s.finished("bob", 1).await;
    s.submit(shell("true")).await;
    s.store.cancel(JobRef::Number(3), None).await.unwrap();
    s.store.submit(new_job("bob", shell("true")), ROOMY).await.unwrap();
    s.claim("w").await;
    for owner in ["ada", "bob", "ada", "bob"] {
        s.store.submit(new_job(owner, shell("true")), ROOMY).await.unwrap();
    }
    let all: [(Option<&str>, Option<Status>, &[u64]); 12] = [
        (None, None, &[8, 7, 6, 5, 4, 3, 2, 1]),
        (Some("ada"), None, &[7, 5, 3, 1]),
        (Some("bob"), None, &[8, 6, 4, 2]),
        (Some("eve"), None, &[]),
        (None, Some(Status::Pending), &[8, 7, 6, 5]),
        (Some("bob"), Some(Status::Pending), &[8, 6]),
        (None, Some(Status::Running), &[4]),
        (Some("ada"), Some(Status::Running), &[]),
        (None, Some(Status::Completed), &[1]),
        (None, Some(Status::Failed), &[2]),
        (Some("ada"), Some(Status::Failed), &[]),
        (Some("ada"), Some(Status::Cancelled), &[3]),
    ];
    for (owner, status, expected) in all {
        for limit in [1, 3, 10] {
            let mut found = Vec::new();
            loop {
                let before = found.last().copied();
                let next = page(s, JobFilter { account: owner.map(account), status, before, limit }).await;
                found.extend(&next);
                if next.len() < limit {
                    break;
                }
            }
            assert_eq!(found, expected, "{owner:?} {status:?} in pages of {limit}");
        }
    }
}

pub(super) async fn jobs_are_counted_by_status_in_all_and_by_account(s: &Subject) {
    let counts = async || {
        let (ada, bob) = (account("ada"), account("bob"));
        let count = async |of| s.store.count_jobs(of).await.unwrap();
        [count(None).await, count(Some(&ada)).await, count(Some(&bob)).await]
    };
    let none = JobCounts::default();
    assert_eq!(counts().await, [none; 3]);
    s.finished("ada", 0).await;
    s.finished("ada", 1).await;
    let running = s.running("w", shell("true")).await;
    s.store.submit(new_job("bob", shell("true")), ROOMY).await.unwrap();
    let cancelled = s.store.submit(new_job("bob", shell("true")), ROOMY).await.unwrap().job;
    s.store.cancel(cancelled.id.into(), None).await.unwrap();
    let ada = JobCounts { running: 1, completed: 1, failed: 1, ..none };
    let bob = JobCounts { pending: 1, cancelled: 1, ..none };
    assert_eq!(counts().await, [JobCounts { pending: 1, cancelled: 1, ..ada }, ada, bob]);
    assert_eq!(counts().await[0].total(), 5);

    s.store.reject(running.id, running.attempt, "no".to_owned()).await.unwrap().unwrap();
    assert_eq!(counts().await[1], JobCounts { pending: 1, running: 0, ..ada });
    s.store.retain(Retention { age: Duration::from_secs(1_000), jobs: 1 }).await.unwrap();
    assert_eq!(counts().await[0], JobCounts { pending: 2, cancelled: 1, ..none });
    assert_eq!(counts().await[1], JobCounts { pending: 1, ..none });
}

pub(super) async fn jobs_are_found_on_their_worker(s: &Subject) {
    let a = s.running("a", shell("true")).await;
    let b = s.running("b", shell("true")).await;
    s.submit(shell("true")).await;
    s.say(&a, 1, &["four"]).await.unwrap();
    let on_a = s.store.running_on(&name("a")).await.unwrap();
    assert_eq!(on_a, [s.job(a.id).await]);
    assert_eq!(on_a[0].stdout_bytes, 4);
    s.lose(&b).await;
    assert!(s.store.running_on(&name("b")).await.unwrap().is_empty());
}

pub(super) async fn retention_removes_the_oldest_ends_first(s: &Subject) {
    // The first to be submitted is the last to end.
    let slow = s.submit(shell("true")).await;
    for number in [4, 3, 2] {
        if number == 4 {
            for _ in 2..=4 {
                s.submit(shell("true")).await;
            }
        }
        s.store.cancel(JobRef::Number(number), None).await.unwrap();
        s.pass(10);
    }
    s.store.cancel(slow.id.into(), None).await.unwrap();
    s.submit(shell("true")).await;
    let keep = |secs, jobs| Retention { age: Duration::from_secs(secs), jobs };
    let removed = async |retention| {
        let gone = s.store.retain(retention).await.unwrap();
        gone.iter().map(|id| id.number).collect::<Vec<_>>()
    };
    assert_eq!(removed(keep(30, 4)).await, [0; 0]);
    assert_eq!(removed(keep(29, 4)).await, [4]);
    assert_eq!(removed(keep(1_000, 2)).await, [3]);
    assert_eq!(removed(keep(0, 2)).await, [2]);
    assert_eq!(removed(keep(0, 0)).await, [1]);
    s.pass(1_000_000);
    assert_eq!(removed(keep(0, 0)).await, [0; 0], "a job that waits is kept");
    assert_eq!(s.store.jobs(JobFilter { limit: 10, ..JobFilter::default() }).await.unwrap().len(), 1);
}

pub(super) async fn a_removed_job_is_gone_with_its_key_and_its_number_is_not_used_again(s: &Subject) {
    let keyed = || NewJob { key: Some("k".to_owned()), ..new_job("ada", shell("true")) };
    let job = s.store.submit(keyed(), ROOMY).await.unwrap().job;
    let running = s.claim("w").await.job;
    s.say(&running, 1, &["hi"]).await.unwrap();
    s.end(&running, 2, super::vocabulary::exited(0)).await.unwrap();
    let gone = s.store.retain(Retention { age: Duration::from_secs(1), jobs: 0 }).await.unwrap();
    assert_eq!(gone, [job.id]);
    assert_eq!(s.store.job(job.id.into()).await.unwrap(), None);
    assert_eq!(s.store.read(job.id, crate::protocol::Cursor::START, 1).await.unwrap(), None);
    let again = s.store.submit(keyed(), ROOMY).await.unwrap();
    assert_eq!((again.duplicate, again.job.id.number), (false, 2));
}
