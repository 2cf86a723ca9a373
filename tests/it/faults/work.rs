//! The work that goes on while things are broken: jobs, who follows them, and what was seen.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::follower::Following;
use super::history::{Answered, Execution, History, JobHistory};
use super::program::Program;
use crate::support::Peer;
use crate::support::peer::Heard;

/// How long a submit may take to be answered, over any number of tries.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// How long one try may take.
const TRY_WITHIN: Duration = Duration::from_secs(3);

/// Jobs of one run, and those who follow them.
pub(crate) struct Work {
    home: PathBuf,
    token: String,
    seed: u32,
    pub(crate) jobs: BTreeMap<String, Job>,
    answered: Vec<Answered>,
}

/// A job, by its key.
pub(crate) struct Job {
    pub(crate) id: String,
    program: Program,
    requeue: bool,
    submitted: Instant,
    pub(crate) followers: Vec<Following>,
}

/// A submit that is yet to be made.
#[derive(Clone)]
pub(crate) struct Wish {
    key: String,
    program: Program,
    spec: Value,
}

/// A submit that was answered.
pub(crate) struct Granted {
    wish: Wish,
    id: String,
    submitted: Instant,
    followers: Vec<Following>,
}

impl Work {
    pub(crate) fn new(home: &Path, token: String, seed: u32) -> Self {
        fs::create_dir(home.join("executions")).expect("a directory");
        Self { home: home.to_owned(), token, seed, jobs: BTreeMap::new(), answered: Vec::new() }
    }

    fn stop_file(&self) -> PathBuf {
        self.home.join("stop")
    }

    /// A program that streams until it is told to stop.
    pub(crate) fn stream(&self, number: u32) -> Program {
        Program { seed: self.seed.wrapping_add(number), bursts: 5_000, lines: 8, rest_ms: 20 }
    }

    /// One that is over soon.
    pub(crate) fn short(&self, number: u32) -> Program {
        Program { seed: self.seed.wrapping_add(number), bursts: 2, lines: 20, rest_ms: 5 }
    }

    pub(crate) fn wish(&self, key: &str, program: Program, more: &Value) -> Wish {
        let mut spec = json!({
            "opt": "submit", "command": program.script(), "key": key, "follow": false,
            "env": {"EXECUTIONS": self.home.join("executions").join(key), "STOP": self.stop_file()},
        });
        for (field, value) in more.as_object().expect("fields") {
            spec[field] = value.clone();
        }
        Wish { key: key.to_owned(), program, spec }
    }

    /// Somebody who can submit besides.
    pub(crate) fn submitter(&self, addresses: Vec<SocketAddr>) -> Submitter {
        Submitter { token: self.token.clone(), addresses }
    }

    pub(crate) fn add(&mut self, granted: Granted) -> String {
        let Granted { wish: Wish { key, program, spec }, id, submitted, followers } = granted;
        self.answered.push(Answered { key: key.clone(), id: id.clone() });
        let requeue = spec["onLost"] == "requeue";
        self.jobs.insert(key, Job { id: id.clone(), program, requeue, submitted, followers });
        id
    }

    /// Follows a job over connections to these addresses, one after the other.
    pub(crate) fn follow(&mut self, key: &str, through: &[SocketAddr]) {
        let job = self.jobs.get_mut(key).expect("it was submitted");
        let name = format!("{key}/{}", job.followers.len());
        job.followers.push(Following::over(&name, through.to_vec(), &self.token, &job.id));
    }

    /// Every follower, with its job's key.
    pub(crate) fn followers(&self) -> impl Iterator<Item = (&str, &Following)> {
        self.jobs.iter().flat_map(|(key, job)| job.followers.iter().map(move |follower| (key.as_str(), follower)))
    }

    /// From each submit to its first output, where there was any.
    pub(crate) fn first_outputs(&self) -> Vec<Duration> {
        let first = |job: &Job| {
            let first = job.followers.iter().filter_map(Following::first_output).min()?;
            Some(first.saturating_duration_since(job.submitted))
        };
        self.jobs.values().filter_map(first).collect()
    }

    fn executions(&self, key: &str) -> Vec<Execution> {
        let lines = fs::read_to_string(self.home.join("executions").join(key)).unwrap_or_default();
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

    /// Lets the streams end, and waits until every follower has come to the end of its job.
    pub(crate) async fn wind_up(&self, within: Duration) {
        fs::write(self.stop_file(), "").expect("a file");
        let all_done = async {
            while !self.followers().all(|(_, follower)| follower.is_done() || follower.is_told_gone()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // Those that are not done then are found frozen.
        let _ = timeout(within, all_done).await;
    }

    /// All that was seen; `peer` says which jobs there are.
    pub(crate) async fn history(&mut self, peer: &mut Peer) -> History {
        let mut history = History { answered: std::mem::take(&mut self.answered), ..History::default() };
        let page = peer.get("job", &json!({"opt": "list", "limit": 1000}), "jobs").await;
        let ids = page["jobs"].as_array().expect("a list").iter();
        history.kept = ids.map(|job| job["jobId"].as_str().expect("an id").to_owned()).collect();
        for (key, job) in std::mem::take(&mut self.jobs) {
            let Job { id, program, requeue, submitted: _, followers } = job;
            let executions = self.executions(&key);
            let followers = followers.into_iter().map(Following::finish).collect();
            history.jobs.push(JobHistory { id, program, requeue, executions, followers });
        }
        history
    }
}

/// Submits until there is an answer.
#[derive(Clone)]
pub(crate) struct Submitter {
    token: String,
    addresses: Vec<SocketAddr>,
}

impl Submitter {
    /// Submits, each time with the same key, to one address after the other.
    pub(crate) async fn submit(&mut self, wish: Wish) -> Granted {
        let frame = json!({"type": "job", "id": "s", "data": wish.spec}).to_string();
        let submitted = Instant::now();
        loop {
            assert!(submitted.elapsed() < ANSWER_WITHIN, "no answer to the submit of {}", wish.key);
            self.addresses.rotate_left(1);
            let once = timeout(TRY_WITHIN, self.once(self.addresses[0], &frame)).await;
            if let Ok(Some(id)) = once {
                return Granted { wish, id, submitted, followers: Vec::new() };
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The same, and follows the job over `through`.
    pub(crate) async fn submit_and_follow(&mut self, wish: Wish, through: Vec<SocketAddr>) -> Granted {
        let mut granted = self.submit(wish).await;
        let name = format!("{}/0", granted.wish.key);
        granted.followers.push(Following::over(&name, through, &self.token, &granted.id));
        granted
    }

    async fn once(&self, address: SocketAddr, frame: &str) -> Option<String> {
        let mut peer = Peer::dial(address, &[("authorization", &format!("Bearer {}", self.token))]).await.ok()?;
        peer.try_send(Message::text(frame)).await.ok()?;
        loop {
            match peer.hear_at_last().await {
                Heard::Frame(frame) if frame["data"]["opt"] == "submitted" => {
                    return Some(frame["data"]["jobId"].as_str().expect("a job id").to_owned());
                }
                Heard::Frame(frame) if frame["type"] == "error" => {
                    assert_eq!(frame["data"]["code"], "store_unavailable", "{frame}");
                    return None;
                }
                Heard::Frame(_) | Heard::Ping => (),
                Heard::Closed(_) | Heard::Broken => return None,
            }
        }
    }
}
