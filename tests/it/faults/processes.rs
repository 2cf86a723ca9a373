//! Faults of real processes: the dispatcher and workers are killed, stopped, woken and cut off
//! while jobs stream.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::follower::Following;
use super::history::{Verdict, check};
use super::program::Program;
use super::proxy::Proxy;
use super::work::Work;
use crate::support::eventually;
use crate::support::process::{Process, admin, free_address, token};

/// A place where things are broken: a data directory, a dispatcher, and the work on it.
struct Site {
    address: SocketAddr,
    server: Process,
    more: Vec<&'static str>,
    seed: u32,
    work: Work,
    // Last, so that what the dispatcher said can still be shown.
    home: TempDir,
}

impl Site {
    async fn start(more: &[&'static str]) -> Self {
        let home = TempDir::new().expect("a temporary directory");
        let address = free_address();
        let server = Process::serve(home.path(), address, more).await;
        let seed = rand::random();
        println!("seed {seed}");
        let work = Work::new(home.path(), token(home.path(), "admin.token"), seed);
        Self { home, address, server, more: more.to_vec(), seed, work }
    }

    fn home(&self) -> &Path {
        self.home.path()
    }

    /// Submits and returns the job's id.
    async fn submit(&mut self, key: &str, program: Program, more: &Value) -> String {
        let wish = self.work.wish(key, program, more);
        let granted = self.work.submitter(vec![self.address]).submit(wish).await;
        self.work.add(granted)
    }

    /// Waits until every follower of these jobs has so many entries more.
    async fn progress(&self, keys: &[&str], more: u64) {
        let followers = || keys.iter().flat_map(|key| &self.work.jobs[*key].followers);
        let before: Vec<u64> = followers().map(Following::entries).collect();
        eventually("followers to get more", async || {
            followers().zip(&before).all(|(follower, before)| follower.entries() >= before + more).then_some(())
        })
        .await;
    }

    /// SIGKILL for the dispatcher, and a new one on the same directory.
    async fn restart(&mut self) {
        self.server.kill();
        self.server = Process::serve(self.home.path(), self.address, &self.more).await;
    }

    /// Lets the streams end, replays every log once more, and judges.
    async fn judge(mut self) -> Verdict {
        let keys: Vec<String> = self.work.jobs.keys().cloned().collect();
        for key in &keys {
            self.work.follow(key, &[self.address]);
        }
        self.work.wind_up(Duration::from_secs(40)).await;
        let mut peer = admin(self.home(), self.address).await;
        let verdict = check(&self.work.history(&mut peer).await);
        println!("{verdict}");
        assert!(verdict.violations.is_empty(), "seed {}: {verdict}", self.seed);
        verdict
    }
}

#[tokio::test]
async fn ten_kills_of_the_dispatcher_lose_nothing_and_start_nothing_twice() {
    let mut site = Site::start(&[]).await;
    let mut random = SmallRng::seed_from_u64(site.seed.into());
    let _worker = Process::worker(site.home(), site.address, "w", 5);
    let streams = ["stream0", "stream1", "stream2"];
    for (number, key) in (0..).zip(streams) {
        site.submit(key, site.work.stream(number), &json!({})).await;
        for _ in 0..2 {
            site.work.follow(key, &[site.address]);
        }
    }
    // Those wait through all of it: the worker that they ask for comes last.
    for number in 0..5 {
        let late = json!({"requires": {"workerId": "late"}});
        site.submit(&format!("late{number}"), site.work.short(100 + number), &late).await;
    }
    for kill in 0..10 {
        site.progress(&streams, random.random_range(1..15)).await;
        // Submits under way while it dies.
        let mut submits = Vec::new();
        for number in 0..3 {
            let program = site.work.short(1_000 + 10 * kill + number);
            let wish = site.work.wish(&format!("short{kill}-{number}"), program, &json!({}));
            let mut submitter = site.work.submitter(vec![site.address]);
            submits.push(tokio::spawn(async move { submitter.submit(wish).await }));
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..20))).await;
        site.restart().await;
        for submit in submits {
            site.work.add(submit.await.expect("it is answered in the end"));
        }
    }
    site.progress(&streams, 5).await;
    let _late = Process::worker(site.home(), site.address, "late", 2);
    let verdict = site.judge().await;
    assert_eq!((verdict.jobs, verdict.executions), (38, 38));
    assert!(verdict.connections >= 6 * 11, "followers came back each time: {verdict}");
}

/// A worker that is heard of every second and given up after four.
const QUICK: &[&str] = &["--heartbeat", "1s", "--lease", "4s"];

#[tokio::test]
async fn a_killed_workers_jobs_are_lost_or_run_again_once() {
    let mut site = Site::start(QUICK).await;
    let mut first = Process::worker(site.home(), site.address, "w", 4);
    let keys = ["fails", "again", "fails-later", "again-later"];
    for (number, key) in (0..).zip(keys) {
        let on_lost = if key.starts_with("again") { "requeue" } else { "fail" };
        site.submit(key, site.work.stream(number), &json!({"onLost": on_lost})).await;
        site.work.follow(key, &[site.address]);
        if number == 1 {
            site.progress(&keys[..2], 20).await;
            // Back at once: it need not wait for the lease.
            first.kill();
            first = Process::worker(site.home(), site.address, "w", 4);
            eventually("the job to be lost", async || site.work.jobs["fails"].followers[0].is_done().then_some(()))
                .await;
            site.progress(&["again"], 20).await;
        }
    }
    site.progress(&["again", "fails-later", "again-later"], 20).await;
    // For good: another one takes over when the lease is over.
    first.kill();
    let _second = Process::worker(site.home(), site.address, "v", 4);
    eventually("the job to be lost", async || site.work.jobs["fails-later"].followers[0].is_done().then_some(())).await;
    site.progress(&["again", "again-later"], 20).await;
    let mut peer = admin(site.home(), site.address).await;
    for (key, attempt) in [("fails", 1), ("fails-later", 1), ("again", 3), ("again-later", 2)] {
        let record = peer.job(&site.work.jobs[key].id).await;
        assert_eq!(record["attempt"], attempt, "{key}: {record}");
        let reason = if key.starts_with("fails") { json!("worker_lost") } else { Value::Null };
        assert_eq!(record["reason"], reason, "{key}: {record}");
    }
    let verdict = site.judge().await;
    assert_eq!((verdict.jobs, verdict.executions), (4, 7));
}

#[tokio::test]
async fn a_worker_that_was_stopped_past_its_lease_writes_nothing_stale() {
    let mut site = Site::start(QUICK).await;
    let stopped = Process::worker(site.home(), site.address, "stopped", 2);
    let mut ids = Vec::new();
    for (number, key) in (0..).zip(["fails", "again"]) {
        let on_lost = if key == "again" { "requeue" } else { "fail" };
        ids.push(site.submit(key, site.work.stream(number), &json!({"onLost": on_lost})).await);
        site.work.follow(key, &[site.address]);
    }
    site.progress(&["fails", "again"], 20).await;
    stopped.signal(Signal::SIGSTOP);
    eventually("the lease to run out", async || site.work.jobs["fails"].followers[0].is_done().then_some(())).await;
    let _other = Process::worker(site.home(), site.address, "other", 2);
    site.progress(&["again"], 20).await;

    // It wakes with chunks in hand, and its programs have written on.
    stopped.signal(Signal::SIGCONT);
    let mut peer = admin(site.home(), site.address).await;
    eventually("the stopped worker to be heard of again", async || {
        let worker = peer.get("worker", &json!({"opt": "get", "workerId": "stopped"}), "worker").await;
        (worker["worker"]["status"] == "idle").then_some(())
    })
    .await;
    site.progress(&["again"], 20).await;
    assert!(stopped.words().contains("someone else's now"), "it was told to let go of what it held");
    for id in &ids {
        let record = peer.job(id).await;
        assert_eq!(record["workerId"], if *id == ids[0] { "stopped" } else { "other" }, "{record}");
    }
    let verdict = site.judge().await;
    assert_eq!((verdict.jobs, verdict.executions), (2, 3));
}

#[tokio::test]
async fn a_broken_network_loses_nothing() {
    let mut site = Site::start(&[]).await;
    let mut random = SmallRng::seed_from_u64(site.seed.into());
    let workers_way = Proxy::start(site.address).await;
    let followers_way = Proxy::start(site.address).await;
    let _worker = Process::worker(site.home(), workers_way.address, "w", 4);
    let streams = ["stream0", "stream1", "stream2"];
    for (number, key) in (0..).zip(streams) {
        site.submit(key, site.work.stream(number), &json!({})).await;
        site.work.follow(key, &[followers_way.address]);
        site.work.follow(key, &[site.address]);
    }
    for round in 0..8 {
        site.progress(&streams, random.random_range(1..25)).await;
        if round % 3 == 2 {
            // Silence first: what is written meanwhile is lost on the way, or waits in the middle.
            workers_way.hush(true);
            followers_way.hush(true);
            tokio::time::sleep(Duration::from_millis(random.random_range(100..600))).await;
            if round == 2 {
                workers_way.cut();
            }
            followers_way.hush(false);
            workers_way.hush(false);
        } else {
            workers_way.cut();
            if round % 2 == 0 {
                followers_way.cut();
            }
        }
    }
    site.progress(&streams, 5).await;
    assert!(site.work.followers().all(|(_, follower)| follower.entries() > 0));
    let verdict = site.judge().await;
    assert_eq!((verdict.jobs, verdict.executions), (3, 3));
}
