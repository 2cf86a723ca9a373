//! Faults of real processes: the dispatcher and workers are killed, stopped, woken and cut off
//! while jobs stream.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::follower::Following;
use super::history::{Answered, Execution, History, JobHistory, Verdict, check};
use super::program::Program;
use super::proxy::Proxy;
use crate::support::peer::Heard;
use crate::support::process::{Process, admin, free_address, token};
use crate::support::{Peer, eventually, soon};

/// A place where things are broken: a data directory, a dispatcher, and what is seen of its jobs.
struct Site {
    address: SocketAddr,
    server: Process,
    more: Vec<&'static str>,
    seed: u32,
    jobs: BTreeMap<String, Job>,
    answered: Vec<Answered>,
    // Last, so that what the dispatcher said can still be shown.
    home: TempDir,
}

/// A job, by its key.
struct Job {
    id: String,
    program: Program,
    requeue: bool,
    followers: Vec<Following>,
}

/// A submit that is yet to be made.
#[derive(Clone)]
struct Wish {
    key: String,
    program: Program,
    spec: Value,
}

impl Site {
    async fn start(more: &[&'static str]) -> Self {
        let home = TempDir::new().expect("a temporary directory");
        fs::create_dir(home.path().join("executions")).expect("a directory");
        let address = free_address();
        let server = Process::serve(home.path(), address, more).await;
        let seed = rand::random();
        println!("seed {seed}");
        Self { home, address, server, more: more.to_vec(), seed, jobs: BTreeMap::new(), answered: Vec::new() }
    }

    fn home(&self) -> &Path {
        self.home.path()
    }

    fn stop_file(&self) -> PathBuf {
        self.home().join("stop")
    }

    /// A program that streams until it is told to stop.
    fn stream(&self, number: u32) -> Program {
        Program { seed: self.seed.wrapping_add(number), bursts: 5_000, lines: 8, rest_ms: 20 }
    }

    /// One that is over soon.
    fn short(&self, number: u32) -> Program {
        Program { seed: self.seed.wrapping_add(number), bursts: 2, lines: 20, rest_ms: 5 }
    }

    fn wish(&self, key: &str, program: Program, more: &Value) -> Wish {
        let mut spec = json!({
            "opt": "submit", "command": program.script(), "key": key, "follow": false,
            "env": {"EXECUTIONS": self.home().join("executions").join(key), "STOP": self.stop_file()},
        });
        for (field, value) in more.as_object().expect("fields") {
            spec[field] = value.clone();
        }
        Wish { key: key.to_owned(), program, spec }
    }

    fn answer(&mut self, wish: Wish, id: String) {
        let Wish { key, program, spec } = wish;
        self.answered.push(Answered { key: key.clone(), id: id.clone() });
        let requeue = spec["onLost"] == "requeue";
        self.jobs.insert(key, Job { id, program, requeue, followers: Vec::new() });
    }

    /// Submits and returns the job's id.
    async fn submit(&mut self, key: &str, program: Program, more: &Value) -> String {
        let wish = self.wish(key, program, more);
        let id = submit(self.home().to_owned(), self.address, wish.clone()).await;
        self.answer(wish, id.clone());
        id
    }

    /// Follows a job over connections to `through`.
    fn follow(&mut self, key: &str, through: SocketAddr) {
        let token = token(self.home(), "admin.token");
        let job = self.jobs.get_mut(key).expect("it was submitted");
        let name = format!("{key}/{}", job.followers.len());
        job.followers.push(Following::start(&name, through, &token, &job.id));
    }

    /// Entries that every follower has by now.
    fn entries(&self) -> Vec<u64> {
        self.jobs.values().flat_map(|job| &job.followers).map(Following::entries).collect()
    }

    /// Waits until every follower of these jobs has so many entries more.
    async fn progress(&self, keys: &[&str], more: u64) {
        let followers = || keys.iter().flat_map(|key| &self.jobs[*key].followers);
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

    fn executions(&self, key: &str) -> Vec<Execution> {
        let lines = fs::read_to_string(self.home().join("executions").join(key)).unwrap_or_default();
        let mut executions: Vec<Execution> = Vec::new();
        for line in lines.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let attempt = words[1].parse().expect("an attempt");
            match words[0] {
                "begin" => executions.push(Execution { attempt, done: None }),
                _ => {
                    let begun = executions.iter_mut().find(|begun| begun.attempt == attempt && begun.done.is_none());
                    begun.expect("what is done has begun").done = Some(words[2].parse().expect("a number"));
                }
            }
        }
        executions
    }

    /// Lets the streams end, replays every log once more, and judges.
    async fn judge(mut self) -> Verdict {
        fs::write(self.stop_file(), "").expect("a file");
        let keys: Vec<String> = self.jobs.keys().cloned().collect();
        for key in &keys {
            self.follow(key, self.address);
        }
        let all_done = async {
            while !self.jobs.values().flat_map(|job| &job.followers).all(Following::is_done) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // Those that are not done then are found frozen.
        let _ = timeout(Duration::from_secs(40), all_done).await;
        let mut history = History { answered: std::mem::take(&mut self.answered), ..History::default() };
        let mut peer = admin(self.home(), self.address).await;
        let page = peer.get("job", &json!({"opt": "list", "limit": 1000}), "jobs").await;
        let ids = page["jobs"].as_array().expect("a list").iter();
        history.kept = ids.map(|job| job["jobId"].as_str().expect("an id").to_owned()).collect();
        for (key, job) in std::mem::take(&mut self.jobs) {
            let Job { id, program, requeue, followers } = job;
            let executions = self.executions(&key);
            let followers = followers.into_iter().map(Following::finish).collect();
            history.jobs.push(JobHistory { id, program, requeue, executions, followers });
        }
        let verdict = check(&history);
        println!("{verdict}");
        assert!(verdict.violations.is_empty(), "seed {}: {verdict}", self.seed);
        verdict
    }
}

/// Submits until there is an answer, each time with the same key.
async fn submit(home: PathBuf, address: SocketAddr, wish: Wish) -> String {
    let bearer = format!("Bearer {}", token(&home, "admin.token"));
    let frame = json!({"type": "job", "id": "s", "data": wish.spec}).to_string();
    soon("a submit to be answered", async {
        loop {
            if let Ok(mut peer) = Peer::dial(address, &[("authorization", &bearer)]).await
                && peer.try_send(Message::text(frame.clone())).await.is_ok()
                && let Some(id) = answer(&mut peer).await
            {
                return id;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// The id in the answer to a submit; none where the connection ends before it.
async fn answer(peer: &mut Peer) -> Option<String> {
    loop {
        match peer.hear().await {
            Heard::Frame(frame) if frame["data"]["opt"] == "submitted" => {
                return Some(frame["data"]["jobId"].as_str().expect("a job id").to_owned());
            }
            Heard::Frame(frame) => assert_ne!(frame["type"], "error", "{frame}"),
            Heard::Ping => (),
            Heard::Closed(_) | Heard::Broken => return None,
        }
    }
}

#[tokio::test]
async fn ten_kills_of_the_dispatcher_lose_nothing_and_start_nothing_twice() {
    let mut site = Site::start(&[]).await;
    let mut random = SmallRng::seed_from_u64(site.seed.into());
    let _worker = Process::worker(site.home(), site.address, "w", 5);
    let streams = ["stream0", "stream1", "stream2"];
    for (number, key) in (0..).zip(streams) {
        site.submit(key, site.stream(number), &json!({})).await;
        for _ in 0..2 {
            site.follow(key, site.address);
        }
    }
    // Those wait through all of it: the worker that they ask for comes last.
    for number in 0..5 {
        let late = json!({"requires": {"workerId": "late"}});
        site.submit(&format!("late{number}"), site.short(100 + number), &late).await;
    }
    for kill in 0..10 {
        site.progress(&streams, random.random_range(1..15)).await;
        // Submits under way while it dies.
        let mut submits = Vec::new();
        for number in 0..3 {
            let program = site.short(1_000 + 10 * kill + number);
            let wish = site.wish(&format!("short{kill}-{number}"), program, &json!({}));
            let (home, address) = (site.home().to_owned(), site.address);
            submits.push((wish.clone(), tokio::spawn(submit(home, address, wish))));
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..20))).await;
        site.restart().await;
        for (wish, submit) in submits {
            let id = submit.await.expect("it is answered in the end");
            site.answer(wish, id);
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
        site.submit(key, site.stream(number), &json!({"onLost": on_lost})).await;
        site.follow(key, site.address);
        if number == 1 {
            site.progress(&keys[..2], 20).await;
            // Back at once: it need not wait for the lease.
            first.kill();
            first = Process::worker(site.home(), site.address, "w", 4);
            eventually("the job to be lost", async || site.jobs["fails"].followers[0].is_done().then_some(())).await;
            site.progress(&["again"], 20).await;
        }
    }
    site.progress(&["again", "fails-later", "again-later"], 20).await;
    // For good: another one takes over when the lease is over.
    first.kill();
    let _second = Process::worker(site.home(), site.address, "v", 4);
    eventually("the job to be lost", async || site.jobs["fails-later"].followers[0].is_done().then_some(())).await;
    site.progress(&["again", "again-later"], 20).await;
    let mut peer = admin(site.home(), site.address).await;
    for (key, attempt) in [("fails", 1), ("fails-later", 1), ("again", 3), ("again-later", 2)] {
        let record = peer.job(&site.jobs[key].id).await;
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
        ids.push(site.submit(key, site.stream(number), &json!({"onLost": on_lost})).await);
        site.follow(key, site.address);
    }
    site.progress(&["fails", "again"], 20).await;
    stopped.signal(Signal::SIGSTOP);
    eventually("the lease to run out", async || site.jobs["fails"].followers[0].is_done().then_some(())).await;
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
        site.submit(key, site.stream(number), &json!({})).await;
        site.follow(key, followers_way.address);
        site.follow(key, site.address);
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
    assert!(site.entries().iter().all(|entries| *entries > 0));
    let verdict = site.judge().await;
    assert_eq!((verdict.jobs, verdict.executions), (3, 3));
}
