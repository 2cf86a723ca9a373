//! Leases, lost workers, refusals, cancels and limits.

use super::vocabulary::{LEASE, Subject, ended, exited, name, said, shell};
use crate::model::{JobSpec, Outcome};
use crate::protocol::JobRef;
use crate::protocol::job::{Reason, Status};
use crate::store::error::AppendError;
use crate::store::jobs::Cancelled;

fn requeued(runs: u32) -> JobSpec {
    JobSpec { requeue: Some(runs), ..shell("true") }
}

pub(super) async fn a_lost_job_ends(s: &Subject) {
    let job = s.running("w", shell("true")).await;
    s.say(&job, 1, &["hi"]).await.unwrap();
    let change = s.lose(&job).await;
    assert_eq!((change.job.status, change.job.reason), (Status::Failed, Some(Reason::WorkerLost)));
    assert_eq!((change.job.stdout_bytes, change.job.completed_at), (2, Some(1_000_000)));
    assert!(change.job.error_message.is_some());
    assert_eq!(s.story(job.id).await, ["1-0 on w", "1-1 Stdout@0 hi", "1-2 Failed WorkerLost"]);
    assert_eq!(s.job(job.id).await, change.job);
}

pub(super) async fn a_lost_job_that_may_runs_again_until_its_runs_are_used_up(s: &Subject) {
    let first = s.running("a", requeued(2)).await;
    s.say(&first, 1, &["one"]).await.unwrap();
    let back = s.lose(&first).await.job;
    assert_eq!((back.status, back.reason), (Status::Pending, Some(Reason::WorkerLost)));
    assert_eq!((back.attempt, back.charged, back.stdout_bytes), (1, 1, 3));
    assert_eq!((&back.worker, back.started_at), (&None, None), "nobody has it");
    assert_eq!(s.story(first.id).await, ["1-0 on a", "1-1 Stdout@0 one", "1-2 pending Some(WorkerLost)"]);
    assert_eq!(s.job(first.id).await, back);

    let second = s.claim("b").await.job;
    assert_eq!((second.attempt, second.charged, second.stdout_bytes, second.reason), (2, 2, 0, None));
    s.say(&second, 1, &["two"]).await.unwrap();
    assert_eq!(s.lose(&second).await.job.status, Status::Failed);
    let story = [
        "1-0 on a",
        "1-1 Stdout@0 one",
        "1-2 pending Some(WorkerLost)",
        "2-0 on b",
        "2-1 Stdout@0 two",
        "2-2 Failed WorkerLost",
    ];
    assert_eq!(s.story(first.id).await, story);
}

pub(super) async fn a_refused_job_goes_back_uncharged_and_ends_at_the_fifth_refusal(s: &Subject) {
    let id = s.submit(requeued(1)).await.id;
    for attempt in 1..=4 {
        let job = s.claim("w").await.job;
        assert_eq!((job.attempt, job.charged), (attempt, 1));
        let change = s.store.reject(id, attempt, "no room".to_owned()).await.unwrap().unwrap();
        assert_eq!((change.job.status, change.job.reason), (Status::Pending, Some(Reason::Rejected)));
        assert_eq!((change.job.charged, change.job.rejections), (0, attempt));
    }
    s.claim("w").await;
    let change = s.store.reject(id, 5, "no room".to_owned()).await.unwrap().unwrap();
    assert_eq!((change.job.status, change.job.reason), (Status::Failed, Some(Reason::Rejected)));
    assert_eq!(change.job.error_message.as_deref(), Some("no room"));
    let story = s.story(id).await;
    assert_eq!(story[..3], ["1-0 on w", "1-1 pending Some(Rejected)", "2-0 on w"]);
    assert_eq!(story[8..], ["5-0 on w", "5-1 Failed Rejected"]);
}

pub(super) async fn a_stale_attempt_can_do_nothing(s: &Subject) {
    let old = s.running("a", requeued(3)).await;
    s.say(&old, 1, &["one"]).await.unwrap();
    s.lose(&old).await;
    let stale = |current| AppendError::Stale { job: old.id, stale: 1, current };
    assert_eq!(s.say(&old, 2, &["late"]).await.unwrap_err(), stale(1));

    let new = s.claim("b").await.job;
    assert_eq!(s.say(&old, 1, &["one"]).await.unwrap_err(), stale(2));
    assert_eq!(s.end(&old, 2, exited(0)).await.unwrap_err(), stale(2));
    assert_eq!(s.store.lose(old.id, 1).await.unwrap().unwrap_err(), stale(2));
    assert_eq!(s.store.reject(old.id, 1, String::new()).await.unwrap().unwrap_err(), stale(2));
    assert_eq!(s.store.last_n(old.id, 1).await.unwrap(), Err(stale(2)));
    assert_eq!(s.store.last_n(old.id, 2).await.unwrap(), Ok(0));

    s.end(&new, 1, exited(0)).await.unwrap();
    assert_eq!(
        s.store.lose(new.id, 2).await.unwrap().unwrap_err(),
        AppendError::Stale { job: new.id, stale: 2, current: 2 }
    );
    let nobody = crate::protocol::JobId { number: 99, nonce: 1 };
    let missing = AppendError::NotFound(nobody.into());
    assert_eq!(s.store.lose(nobody, 1).await.unwrap().unwrap_err(), missing);
    assert_eq!(s.write(said(nobody, 1, 1, &["x"])).await.unwrap_err(), missing);
    assert_eq!(s.story(old.id).await.len(), 5);
}

pub(super) async fn a_lease_that_runs_out_loses_the_job(s: &Subject) {
    let first = s.running("a", shell("true")).await;
    s.pass(10);
    let second = s.running("b", requeued(2)).await;
    s.pass(19);
    assert!(s.store.expire().await.unwrap().is_empty());
    s.pass(1);
    let changes = s.store.expire().await.unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].job.id, changes[0].job.status), (first.id, Status::Failed));
    s.pass(10);
    let changes = s.store.expire().await.unwrap();
    assert_eq!((changes[0].job.id, changes[0].job.status), (second.id, Status::Pending));
    assert!(s.store.expire().await.unwrap().is_empty());
}

pub(super) async fn only_the_owner_renews(s: &Subject) {
    let (a, b) = (s.running("a", shell("true")).await, s.running("b", shell("true")).await);
    let over = s.finished("ada", 0).await;
    s.pass(20);
    let held = [(a.id, 1), (b.id, 1), (over.id, 1), (a.id, 2)];
    let lost = s.store.renew(&name("a"), &held, LEASE).await.unwrap();
    assert_eq!(lost, [(b.id, 1), (over.id, 1), (a.id, 2)]);
    s.pass(10);
    let changes = s.store.expire().await.unwrap();
    assert_eq!(changes.iter().map(|change| change.job.id).collect::<Vec<_>>(), [b.id]);
    assert_eq!(s.store.renew(&name("a"), &[(a.id, 1)], LEASE).await.unwrap(), []);
    s.pass(29);
    assert!(s.store.expire().await.unwrap().is_empty());
    // A worker that does not name a job does not hold it.
    assert_eq!(s.store.renew(&name("a"), &[], LEASE).await.unwrap(), []);
    s.pass(1);
    assert_eq!(s.store.expire().await.unwrap().len(), 1);
}

pub(super) async fn a_job_that_waits_too_long_ends(s: &Subject) {
    let limited = JobSpec { queue_timeout_ms: Some(60_000), requeue: Some(2), ..shell("true") };
    let waits = s.submit(limited.clone()).await;
    s.pass(30);
    let runs = s.submit(JobSpec { priority: 1, ..limited }).await;
    let running = s.claim("w").await.job;
    assert_eq!(running.id, runs.id);
    s.store.renew(&name("w"), &[(running.id, 1)], LEASE * 10).await.unwrap();
    s.pass(30);
    let changes = s.store.expire().await.unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].job.id, changes[0].job.reason), (waits.id, Some(Reason::QueueTimeout)));
    assert_eq!((changes[0].job.status, changes[0].job.attempt), (Status::Failed, 0));
    assert_eq!(s.story(waits.id).await, ["0-1 Failed QueueTimeout"]);

    // Back in the queue it waits anew, and its end follows its attempt.
    s.pass(100);
    s.lose(&running).await;
    s.pass(59);
    assert!(s.store.expire().await.unwrap().is_empty());
    s.pass(1);
    assert_eq!(s.store.expire().await.unwrap().len(), 1);
    let story = ["1-0 on w", "1-1 pending Some(WorkerLost)", "1-2 Failed QueueTimeout"];
    assert_eq!(s.story(runs.id).await, story);
}

pub(super) async fn after_an_outage_leases_and_limits_begin_anew(s: &Subject) {
    let runs = s.running("w", shell("true")).await;
    let waits = s.submit(JobSpec { queue_timeout_ms: Some(60_000), ..shell("true") }).await;
    s.submit(shell("true")).await;
    s.pass(3600);
    s.store.start_anew(LEASE).await.unwrap();
    for (secs, over) in [(29, None), (1, Some(runs.id)), (29, None), (1, Some(waits.id)), (3600, None)] {
        s.pass(secs);
        let changes = s.store.expire().await.unwrap();
        assert_eq!(changes.first().map(|change| change.job.id), over);
    }
}

pub(super) async fn a_pending_job_is_cancelled_at_once(s: &Subject) {
    let job = s.submit(shell("true")).await;
    let Some(Cancelled::Ended(change)) = s.store.cancel(JobRef::Number(1), None).await.unwrap() else {
        panic!("it was pending")
    };
    assert_eq!((change.job.status, change.job.reason), (Status::Cancelled, Some(Reason::Cancelled)));
    assert_eq!(s.story(job.id).await, ["0-1 Cancelled Cancelled"]);
    assert!(s.store.ready().await.unwrap().is_empty());
    let again = s.store.cancel(job.id.into(), None).await.unwrap();
    assert!(matches!(again, Some(Cancelled::AlreadyOver(over)) if over == change.job));
    assert!(s.store.cancel(JobRef::Number(99), None).await.unwrap().is_none());
    let outcome = Outcome { reason: Reason::Cancelled, exit_code: None, message: None };
    let said_again = s.write(ended(job.id, 0, 1, outcome)).await.unwrap();
    assert_eq!((said_again.entries.len(), said_again.last_n, said_again.ended), (0, 1, None));
}

pub(super) async fn a_running_job_is_cancelled_by_its_worker(s: &Subject) {
    for (reason, status) in [(Reason::Cancelled, Status::Cancelled), (Reason::Exit, Status::Completed)] {
        let job = s.running("w", shell("true")).await;
        let Some(Cancelled::Running(told)) = s.store.cancel(job.id.into(), None).await.unwrap() else {
            panic!("it runs")
        };
        assert_eq!((told.status, told.cancel_grace_ms), (Status::Running, Some(10_000)));
        s.store.cancel(job.id.into(), Some(5)).await.unwrap();
        assert_eq!(s.job(job.id).await.cancel_grace_ms, Some(5));
        // A worker that was gone meanwhile finds the wish in the record.
        assert_eq!(s.store.running_on(&name("w")).await.unwrap()[0].cancel_grace_ms, Some(5));
        s.say(&job, 1, &["bye"]).await.unwrap();
        let outcome = Outcome { reason, exit_code: Some(0), message: None };
        let over = s.end(&job, 2, outcome).await.unwrap().ended.unwrap();
        assert_eq!((over.status, over.reason, over.stdout_bytes), (status, Some(reason), 3));
    }
}

pub(super) async fn a_cancelled_job_does_not_run_again(s: &Subject) {
    let lost = s.running("w", requeued(3)).await;
    s.store.cancel(lost.id.into(), None).await.unwrap();
    assert_eq!(s.lose(&lost).await.job.status, Status::Cancelled);
    let refused = s.running("w", requeued(3)).await;
    s.store.cancel(refused.id.into(), None).await.unwrap();
    let change = s.store.reject(refused.id, 1, "no".to_owned()).await.unwrap().unwrap();
    assert_eq!((change.job.status, change.job.reason), (Status::Cancelled, Some(Reason::Cancelled)));
    // Nor can its worker end it a second time.
    assert!(s.write(ended(lost.id, 1, 1, exited(0))).await.is_err());
}
