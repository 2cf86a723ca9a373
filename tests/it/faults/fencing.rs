//! A run in which everything that fences are for happens, over a sound store and over broken ones:
//! the checker passes the first and names what the others do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use gangline::protocol::{Cursor, JobId};
use gangline::store::Store;
use gangline::store::error::{AppendError, StoreError, SubmitError};
use gangline::store::jobs::{Change, NewJob, QueueLimits, Submitted};
use gangline::store::log::{Appended, AttemptWrite, LogPage};
use serde_json::json;
use tokio::sync::Mutex;

use super::follower::Following;
use super::history::{Answered, Execution, History, JobHistory, Stream, Verdict, Violation, check};
use super::program::Program;
use crate::support::server::Stage;
use crate::support::store::{AppendResults, Fault, faulty};
use crate::support::{Assigned, SOON, Worker, eventually, soon};

/// Two workers and two jobs. The first worker falls silent in the middle of both, one of them runs
/// again on the second worker, and while it does the first one wakes and reports on as if nothing
/// had happened.
async fn story(stage: Stage, seed: u32) -> Verdict {
    let server = stage.manual_clock().start().await;
    let mut peer = server.admin().await;
    let mut executions: BTreeMap<String, Vec<Execution>> = BTreeMap::new();
    let mut history = History::default();
    let mut first = server.worker("first", &json!({"slots": 2})).await;
    let mut jobs = Vec::new();
    for (index, requeue) in [(0, true), (1, false)] {
        let program = Program { seed: seed.wrapping_add(index), bursts: 3, lines: 20, rest_ms: 0 };
        let key = format!("key{index}");
        let on_lost = if requeue { "requeue" } else { "fail" };
        let spec = json!({"command": "x", "key": key, "onLost": on_lost});
        let id = peer.queue(&spec).await;
        history.answered.push(Answered { key, id: id.clone() });
        let mut followers = Vec::new();
        for name in ["a", "b"] {
            followers.push(Following::start(name, server.address, server.admin_token(), &id));
        }
        jobs.push((id, program, requeue, followers));
    }
    let mut stale = Vec::new();
    for _ in 0..2 {
        let assigned = soon("both jobs to be assigned", first.accepted()).await;
        let (_, program, ..) = *jobs.iter().find(|(id, ..)| *id == assigned.job).expect("one of them");
        executions.entry(assigned.job.clone()).or_default().push(Execution { attempt: 1, done: None });
        report(&mut first, &assigned, program, 0..30).await;
        stale.push((assigned, program));
    }
    eventually("followers to see the first half", async || {
        jobs.iter().flat_map(|(.., followers)| followers).all(|follower| follower.entries() >= 31).then_some(())
    })
    .await;
    server.pass_time(31).await;

    let mut second = server.worker("second", &json!({"slots": 2})).await;
    let again = soon("the job to run again", second.accepted()).await;
    let (_, program, ..) = *jobs.iter().find(|(id, ..)| *id == again.job).expect("one of them");
    report(&mut second, &again, program, 0..15).await;
    // The first worker wakes, and has more to say. So has the second.
    for (assigned, program) in &stale {
        report(&mut first, assigned, *program, 30..45).await;
    }
    first.beat(&[]).await;
    report(&mut second, &again, program, 15..60).await;
    second.say(&again.end(61, 0)).await;
    executions.entry(again.job.clone()).or_default().push(Execution { attempt: 2, done: Some(3) });

    wait(SOON, || jobs.iter().flat_map(|(.., followers)| followers).all(Following::is_done)).await;
    let listed = peer.get("job", &json!({"opt": "list", "limit": 1000}), "jobs").await;
    history.kept = listed["jobs"].as_array().unwrap().iter().map(|job| job["jobId"].as_str().unwrap().into()).collect();
    for (id, program, requeue, followers) in jobs {
        let followers = followers.into_iter().map(Following::finish).collect();
        let executions = executions.remove(&id).unwrap_or_default();
        history.jobs.push(JobHistory { id, program, requeue, executions, followers });
    }
    check(&history)
}

/// Reports some of the program's pieces; piece 0 is entry 1.
async fn report(worker: &mut Worker, assigned: &Assigned, program: Program, pieces: std::ops::Range<usize>) {
    let frames = program.pieces().into_iter().enumerate().skip(pieces.start).take(pieces.len());
    let frames: Vec<String> = frames
        .map(|(index, (stream, bytes))| {
            let mut data = assigned.output(index as u64 + 1, "");
            data["stream"] = json!(if stream == Stream::Stderr { "stderr" } else { "stdout" });
            data.as_object_mut().unwrap().remove("text");
            data["base64"] = json!(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes));
            json!({"type": "job", "data": data}).to_string()
        })
        .collect();
    worker.peer.say_all(frames).await;
}

/// Waits until that is so, or for so long: then the verdict says what is missing.
async fn wait(most: Duration, is_so: impl Fn() -> bool) {
    let asking = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let _ = tokio::time::timeout(most, asking).await;
}

/// What was found, without the names.
fn kinds(verdict: &Verdict) -> BTreeSet<String> {
    let kind = |violation: &Violation| format!("{violation:?}").split(' ').next().unwrap().to_owned();
    verdict.violations.iter().map(kind).collect()
}

#[tokio::test]
async fn a_sound_store_keeps_every_promise() {
    let seed = rand::random();
    let verdict = story(Stage::new(), seed).await;
    assert!(verdict.violations.is_empty(), "seed {seed}: {verdict}");
    assert_eq!((verdict.executions, verdict.followers), (3, 4), "seed {seed}: {verdict}");
}

/// Takes whatever comes for the current attempt's: fencing switched off.
struct NoFence;

#[async_trait]
impl Fault for NoFence {
    async fn append(&self, store: &dyn Store, writes: Vec<AttemptWrite>) -> Result<AppendResults, StoreError> {
        let mut results = Vec::new();
        for write in writes {
            results.push(match store.append(vec![write.clone()]).await?.remove(0) {
                Err(AppendError::Stale { current, .. }) => self.force(store, write, current).await?,
                result => result,
            });
        }
        Ok(results)
    }
}

impl NoFence {
    /// Writes under the current attempt, wherever that is by now.
    async fn force(
        &self,
        store: &dyn Store,
        mut write: AttemptWrite,
        current: u32,
    ) -> Result<Result<Appended, AppendError>, StoreError> {
        write.attempt = current;
        let Ok(last_n) = store.last_n(write.job, current).await? else {
            return Ok(Err(AppendError::Stale { job: write.job, stale: current, current }));
        };
        for (n, chunk) in (last_n + 1..).zip(&mut write.output) {
            chunk.n = n;
        }
        if let Some(end) = &mut write.end {
            end.0 = last_n + write.output.len() as u64 + 1;
        }
        Ok(store.append(vec![write]).await?.remove(0))
    }
}

#[tokio::test]
async fn a_store_without_fences_is_caught() {
    let seed = rand::random();
    // The dispatcher itself knows who holds a job. Here it must not help: the first worker gets the
    // job again, so that only the attempt tells the old run from the new one.
    let verdict = same_worker(Stage::new().store(|store| faulty(store, NoFence)), seed).await;
    let found = kinds(&verdict);
    assert!(found.contains("Wrong") || found.contains("Lost"), "seed {seed}: {verdict}");
    let verdict = same_worker(Stage::new(), seed).await;
    assert!(verdict.violations.is_empty(), "seed {seed}: {verdict}");
}

/// A worker that loses a job gets it back as attempt 2, while it still reports on attempt 1.
async fn same_worker(stage: Stage, seed: u32) -> Verdict {
    let server = stage.manual_clock().start().await;
    let mut peer = server.admin().await;
    let program = Program { seed, bursts: 3, lines: 20, rest_ms: 0 };
    let mut worker = server.worker("w", &json!({})).await;
    let id = peer.queue(&json!({"command": "x", "onLost": "requeue"})).await;
    let follower = Following::start("a", server.address, server.admin_token(), &id);
    let first = worker.accepted().await;
    report(&mut worker, &first, program, 0..20).await;
    worker.stored(&first, 20).await;
    server.pass_time(31).await;
    worker.beat(&[]).await;
    let second = worker.accepted().await;
    report(&mut worker, &second, program, 0..10).await;
    worker.stored(&second, 10).await;
    report(&mut worker, &first, program, 20..25).await;
    worker.beat(&[&second]).await;
    report(&mut worker, &second, program, 10..60).await;
    worker.say(&second.end(61, 0)).await;
    wait(SOON, || follower.is_done()).await;
    let executions = [(1, None), (2, Some(3))].map(|(attempt, done)| Execution { attempt, done }).to_vec();
    let job = JobHistory { id, program, requeue: true, executions, followers: vec![follower.finish()] };
    check(&History { jobs: vec![job], ..History::default() })
}

/// Says that chunks are stored, and forgets half of them, once.
#[derive(Default)]
struct Forgetful {
    done: AtomicBool,
}

#[async_trait]
impl Fault for Forgetful {
    async fn append(&self, store: &dyn Store, mut writes: Vec<AttemptWrite>) -> Result<AppendResults, StoreError> {
        let forgotten: Vec<u64> = writes
            .iter_mut()
            .map(|write| {
                if write.output.len() < 2 || self.done.swap(true, Ordering::Relaxed) {
                    return 0;
                }
                write.output.split_off(write.output.len() / 2).len() as u64
            })
            .collect();
        let mut results = store.append(writes).await?;
        for (result, forgotten) in results.iter_mut().zip(forgotten) {
            if let Ok(appended) = result {
                appended.last_n += forgotten;
            }
        }
        Ok(results)
    }
}

#[tokio::test]
async fn a_store_that_acknowledges_what_it_forgets_is_caught() {
    let seed = rand::random();
    let verdict = tokio::time::timeout(
        Duration::from_secs(60),
        one_worker(Stage::new().store(|store| faulty(store, Forgetful::default())), seed),
    );
    let verdict = verdict.await.expect("the story ends");
    let found = kinds(&verdict);
    assert!(found.contains("Frozen") || found.contains("Lost") || found.contains("Wrong"), "seed {seed}: {verdict}");
}

/// One job on one worker that believes its acks; nothing goes wrong but the store.
async fn one_worker(stage: Stage, seed: u32) -> Verdict {
    let server = stage.start().await;
    let mut peer = server.admin().await;
    let program = Program { seed, bursts: 1, lines: 40, rest_ms: 0 };
    let mut worker = server.worker("w", &json!({})).await;
    let id = peer.queue(&json!({"command": "x", "key": "k"})).await;
    let followers = ["a", "b"].map(|name| Following::start(name, server.address, server.admin_token(), &id));
    let assigned = worker.accepted().await;
    report(&mut worker, &assigned, program, 0..40).await;
    worker.say(&assigned.end(41, 0)).await;
    // Who is frozen for good is waited for a little only.
    wait(Duration::from_secs(2), || followers.iter().all(Following::is_done)).await;
    let listed = peer.get("job", &json!({"opt": "list"}), "jobs").await;
    let kept = listed["jobs"].as_array().unwrap().iter().map(|job| job["jobId"].as_str().unwrap().into()).collect();
    let answered = vec![Answered { key: "k".to_owned(), id: id.clone() }];
    let executions = vec![Execution { attempt: 1, done: Some(1) }];
    let followers = followers.into_iter().map(Following::finish).collect();
    let job = JobHistory { id, program, requeue: false, executions, followers };
    check(&History { jobs: vec![job], answered, kept, ..History::default() })
}

/// Reads from one entry too early, every time.
struct ReadsAgain;

#[async_trait]
impl Fault for ReadsAgain {
    async fn read(
        &self,
        store: &dyn Store,
        job: JobId,
        after: Cursor,
        max_bytes: usize,
    ) -> Result<Option<LogPage>, StoreError> {
        let page = store.read(job, after, max_bytes).await?;
        let early = Cursor::new(after.attempt, after.n.saturating_sub(1));
        match page {
            Some(page) if page.entries.is_empty() => Ok(Some(page)),
            Some(_) if after.n > 0 => store.read(job, early, max_bytes).await,
            page => Ok(page),
        }
    }
}

#[tokio::test]
async fn a_store_that_repeats_itself_is_caught() {
    let seed: u32 = rand::random();
    let server = Stage::new().store(|store| faulty(store, ReadsAgain)).start().await;
    let mut peer = server.admin().await;
    let program = Program { seed, bursts: 1, lines: 6_000, rest_ms: 0 };
    let mut worker = server.worker("w", &json!({})).await;
    let id = peer.queue(&json!({"command": "x"})).await;
    let assigned = worker.accepted().await;
    report(&mut worker, &assigned, program, 0..6_000).await;
    worker.say(&assigned.end(6_001, 0)).await;
    worker.stored(&assigned, 6_001).await;
    // A replay comes from the store, in pages: more than one of them.
    let follower = Following::start("a", server.address, server.admin_token(), &id);
    eventually("the replay", async || follower.is_done().then_some(())).await;
    let executions = vec![Execution { attempt: 1, done: Some(1) }];
    let job = JobHistory { id, program, requeue: false, executions, followers: vec![follower.finish()] };
    let verdict = check(&History { jobs: vec![job], ..History::default() });
    assert!(kinds(&verdict).contains("Repeated"), "seed {seed}: {verdict}");
}

/// Answers submits that it then forgets.
#[derive(Default)]
struct Amnesia {
    submits: AtomicU64,
}

#[async_trait]
impl Fault for Amnesia {
    async fn submit(&self, store: &dyn Store, job: NewJob, limits: QueueLimits) -> Result<Submitted, SubmitError> {
        let submitted = store.submit(job, limits).await?;
        if self.submits.fetch_add(1, Ordering::Relaxed) != 1 {
            return Ok(submitted);
        }
        let mut job = (*submitted.job).clone();
        job.id.number += 1_000;
        Ok(Submitted { job: Arc::new(job), duplicate: false })
    }
}

#[tokio::test]
async fn a_store_that_forgets_a_submit_is_caught() {
    let server = Stage::new().store(|store| faulty(store, Amnesia::default())).start().await;
    let mut peer = server.admin().await;
    let mut history = History::default();
    for key in ["one", "two", "three"] {
        let id = peer.queue(&json!({"command": "x", "key": key})).await;
        history.answered.push(Answered { key: key.to_owned(), id });
    }
    let listed = peer.get("job", &json!({"opt": "list"}), "jobs").await;
    history.kept = listed["jobs"].as_array().unwrap().iter().map(|job| job["jobId"].as_str().unwrap().into()).collect();
    let verdict = check(&history);
    assert_eq!(kinds(&verdict), ["SubmitLost".to_owned()].into(), "{verdict}");
}

/// Away for a while; and when it is back, leases go on from where they were: no grace.
struct Impatient {
    outage: Arc<Mutex<Outage>>,
    grace: bool,
}

/// Locked while the store is asked, so that no answer falls into another state than its question.
#[derive(Default)]
struct Outage {
    away: bool,
    /// Passes that wanted to begin leases anew meanwhile.
    refused: u32,
    /// Passes over leases otherwise.
    passes: u32,
}

impl Outage {
    fn check(&self) -> Result<(), StoreError> {
        if self.away { Err(StoreError::Unavailable("away".to_owned())) } else { Ok(()) }
    }
}

#[async_trait]
impl Fault for Impatient {
    async fn append(&self, store: &dyn Store, writes: Vec<AttemptWrite>) -> Result<AppendResults, StoreError> {
        let outage = self.outage.lock().await;
        outage.check()?;
        store.append(writes).await
    }

    async fn expire(&self, store: &dyn Store) -> Result<Vec<Change>, StoreError> {
        let mut outage = self.outage.lock().await;
        outage.check()?;
        let changes = store.expire().await?;
        outage.passes += 1;
        Ok(changes)
    }

    async fn start_anew(&self, store: &dyn Store, lease: Duration) -> Result<(), StoreError> {
        let mut outage = self.outage.lock().await;
        outage.refused += u32::from(outage.away);
        outage.check()?;
        if self.grace { store.start_anew(lease).await } else { Ok(()) }
    }
}

/// A job goes on while the store is away for longer than its lease.
async fn outage(grace: bool, seed: u32) -> Verdict {
    let outage = Arc::<Mutex<Outage>>::default();
    let fault = Impatient { outage: Arc::clone(&outage), grace };
    let server = Stage::new().manual_clock().store(|store| faulty(store, fault)).start().await;
    let mut peer = server.admin().await;
    let program = Program { seed, bursts: 1, lines: 40, rest_ms: 0 };
    let mut worker = server.worker("w", &json!({})).await;
    let id = peer.queue(&json!({"command": "x", "onLost": "requeue"})).await;
    let follower = Following::start("a", server.address, server.admin_token(), &id);
    let assigned = worker.accepted().await;
    report(&mut worker, &assigned, program, 0..20).await;
    worker.stored(&assigned, 20).await;
    outage.lock().await.away = true;
    server.advance(45);
    eventually("a pass that is refused", async || (outage.lock().await.refused > 0).then_some(())).await;
    *outage.lock().await = Outage::default();
    eventually("a pass that is not", async || (outage.lock().await.passes > 0).then_some(())).await;
    report(&mut worker, &assigned, program, 20..40).await;
    worker.say(&assigned.end(41, 0)).await;
    // More than the first attempt's beginning and its output until the outage: where it was given up.
    let given_up = || follower.entries() > 1 + 20;
    wait(SOON, || if grace { follower.is_done() } else { given_up() }).await;
    let executions = vec![Execution { attempt: 1, done: Some(1) }];
    let job = JobHistory { id, program, requeue: true, executions, followers: vec![follower.finish()] };
    check(&History { jobs: vec![job], workers_stayed: true, ..History::default() })
}

#[tokio::test]
async fn a_store_without_grace_after_an_outage_is_caught() {
    let seed = rand::random();
    let verdict = outage(true, seed).await;
    assert!(verdict.violations.is_empty(), "seed {seed}: {verdict}");
    let verdict = outage(false, seed).await;
    assert!(kinds(&verdict).contains("GivenUp"), "seed {seed}: {verdict}");
}
