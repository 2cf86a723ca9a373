//! The way into the queue, and out of it.

use std::sync::Arc;

use super::vocabulary::{LEASE, ROOMY, Subject, account, exited, labelled, name, new_job, shell};
use crate::model::{JobSpec, Requires};
use crate::protocol::JobRef;
use crate::protocol::job::Status;
use crate::store::error::SubmitError;
use crate::store::jobs::{Claim, NewJob, QueueLimits};

pub(super) async fn numbers_rise_and_a_job_reads_back_as_it_was_given(s: &Subject) {
    let spec = JobSpec {
        name: Some("nightly".to_owned()),
        env: [("A".to_owned(), "ä=1".to_owned())].into(),
        tty: Some((80, 24)),
        requires: labelled("gpu"),
        priority: -3,
        timeout_ms: Some(1),
        requeue: Some(2),
        ..shell("make; true")
    };
    let first = s.submit(spec.clone()).await;
    let second = s.submit(shell("true")).await;
    assert_eq!((first.id.number, second.id.number), (1, 2));
    assert_eq!(*first.spec, spec);
    assert_eq!((first.status, first.created_at, first.attempt), (Status::Pending, 1_000_000, 0));
    assert_eq!(s.job(first.id).await, first);
    assert_eq!(s.store.job(JobRef::Number(1)).await.unwrap(), Some(Arc::clone(&first)));

    let other_store = crate::protocol::JobId { nonce: 1, ..first.id };
    assert_eq!(s.store.job(other_store.into()).await.unwrap(), None);
    assert!(s.story(first.id).await.is_empty());
}

pub(super) async fn a_key_gives_the_same_job_back(s: &Subject) {
    let with_key = |owner, key: &str| NewJob { key: Some(key.to_owned()), ..new_job(owner, shell("true")) };
    let first = s.store.submit(with_key("ada", "k"), ROOMY).await.unwrap();
    assert!(!first.duplicate);

    // Even where there is no room for another one, and while it runs, and once it is over.
    let full = QueueLimits { total: 0, account: 0 };
    let again = s.store.submit(with_key("ada", "k"), full).await.unwrap();
    assert_eq!((again.duplicate, again.job), (true, first.job));
    let running = s.claim("w").await.job;
    s.say(&running, 1, &["hello"]).await.unwrap();
    let again = s.store.submit(with_key("ada", "k"), full).await.unwrap();
    assert_eq!((again.job.status, again.job.stdout_bytes), (Status::Running, 5));
    s.end(&running, 2, exited(0)).await.unwrap();
    let again = s.store.submit(with_key("ada", "k"), full).await.unwrap();
    assert_eq!((again.duplicate, again.job.status), (true, Status::Completed));

    let of_another = s.store.submit(with_key("bob", "k"), ROOMY).await.unwrap();
    let other_key = s.store.submit(with_key("ada", "l"), ROOMY).await.unwrap();
    assert!(!of_another.duplicate && !other_key.duplicate);
}

pub(super) async fn a_full_queue_refuses(s: &Subject) {
    let limits = QueueLimits { total: 3, account: 2 };
    let submit = |owner: &'static str| s.store.submit(new_job(owner, shell("true")), limits);
    submit("ada").await.unwrap();
    submit("ada").await.unwrap();
    assert!(matches!(submit("ada").await, Err(SubmitError::AccountQueueFull { limit: 2 })));
    submit("bob").await.unwrap();
    assert!(matches!(submit("bob").await, Err(SubmitError::QueueFull { limit: 3 })));

    // What runs is not in the queue.
    s.claim("w").await;
    let next = submit("ada").await.unwrap();
    assert_eq!(next.job.id.number, 4, "a refused submit uses no number");
}

pub(super) async fn the_best_job_over_all_classes_goes_first(s: &Subject) {
    let (gpu, plain, other) = (labelled("gpu"), Requires::default(), labelled("other"));
    for (class, priority) in [(&plain, 0), (&gpu, 5), (&plain, 5), (&other, 9), (&gpu, -1), (&plain, 0), (&gpu, 0)] {
        s.submit(JobSpec { requires: class.clone(), priority, ..shell("true") }).await;
    }
    let order = |changes: Vec<crate::store::jobs::Change>| -> Vec<u64> {
        changes.iter().map(|change| change.job.id.number).collect()
    };
    assert_eq!(order(s.claim_from("w", &[plain.clone(), gpu.clone()], 3).await), [2, 3, 1]);
    assert_eq!(order(s.claim_from("w", &[gpu, plain], 10).await), [6, 7, 5]);
    assert_eq!(order(s.claim_from("w", &[other], 0).await), [0; 0]);
}

pub(super) async fn a_class_named_twice_gives_its_jobs_once(s: &Subject) {
    for _ in 0..3 {
        s.submit(shell("true")).await;
    }
    let twice = [Requires::default(), Requires::default()];
    assert_eq!(s.claim_from("w", &twice, 2).await.len(), 2);
    assert_eq!(s.claim_from("w", &twice, 2).await.len(), 1);
}

pub(super) async fn ready_says_what_waits(s: &Subject) {
    assert!(s.store.ready().await.unwrap().is_empty());
    for (class, priority) in [(labelled("gpu"), 1), (Requires::default(), 0), (labelled("gpu"), 2)] {
        s.submit(JobSpec { requires: class, priority, ..shell("true") }).await;
    }
    let mut ready = s.store.ready().await.unwrap();
    ready.sort_by_key(|class| class.head);
    let seen: Vec<_> = ready.iter().map(|class| (class.head, class.priority, class.len)).collect();
    assert_eq!(seen, [(2, 0, 1), (3, 2, 2)]);
    assert_eq!(ready[1].requires, labelled("gpu"));
    s.claim("w").await;
    assert_eq!(s.store.ready().await.unwrap().len(), 1);
}

pub(super) async fn a_claim_begins_the_next_attempt(s: &Subject) {
    let id = s.submit(shell("true")).await.id;
    s.pass(5);
    let classes = vec![(Requires::default(), vec![0, 2])];
    let claim = Claim { worker: name("w"), classes, limit: 1, lease: LEASE };
    let change = s.store.claim(claim).await.unwrap().remove(0);
    assert_eq!(change.job.id, id);
    assert_eq!((change.job.status, change.job.attempt, change.job.charged), (Status::Running, 1, 1));
    assert_eq!((change.job.worker.clone(), &change.job.gpu_ids[..]), (Some(name("w")), &[0, 2][..]));
    assert_eq!(change.job.started_at, Some(1_005_000));
    assert_eq!(s.job(id).await, change.job);
    assert_eq!(s.log(id, 0).await, [change.entry]);
    assert_eq!(s.story(id).await, ["1-0 on w"]);
    assert_eq!(change.job.account, account("ada"));
}
