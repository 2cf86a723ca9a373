//! A worker that does as it is told.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::Peer;

/// A registered worker.
pub(crate) struct Worker {
    pub(crate) peer: Peer,
    /// The reply to its `register`.
    pub(crate) registered: Value,
}

/// What it was assigned.
#[derive(Debug, Clone)]
pub(crate) struct Assigned {
    pub(crate) job: String,
    pub(crate) attempt: u64,
    pub(crate) data: Value,
}

impl Assigned {
    /// From the data of an `assign`.
    pub(crate) fn of(data: &Value) -> Self {
        let job = data["jobId"].as_str().expect("a job id").to_owned();
        Self { job, attempt: data["attempt"].as_u64().expect("an attempt"), data: data.clone() }
    }

    /// The frame data of a report on this attempt.
    pub(crate) fn report(&self, opt: &str) -> Value {
        json!({"opt": opt, "jobId": self.job, "attempt": self.attempt})
    }

    pub(crate) fn output(&self, n: u64, text: &str) -> Value {
        let mut data = self.report("output");
        data["n"] = json!(n);
        data["stream"] = json!("stdout");
        data["offset"] = json!(0);
        data["text"] = json!(text);
        data
    }

    pub(crate) fn end(&self, n: u64, exit_code: i32) -> Value {
        let mut data = self.report("end");
        data["n"] = json!(n);
        data["exitCode"] = json!(exit_code);
        data["reason"] = json!("exit");
        data
    }

    /// How `register` says that the worker holds it.
    pub(crate) fn resume(&self, last_n: u64, state: &str) -> Value {
        json!({"jobId": self.job, "attempt": self.attempt, "lastN": last_n, "state": state})
    }
}

impl Worker {
    /// Registers on a new connection; `more` are fields beside the name and boot 1.
    pub(crate) async fn register(address: SocketAddr, token: &str, id: &str, more: &Value) -> Self {
        let mut peer = Peer::with_token(address, token).await;
        let registered = peer.get("worker", &Self::registration(id, more), "registered").await;
        Self { peer, registered }
    }

    pub(crate) fn registration(id: &str, more: &Value) -> Value {
        let mut data = json!({
            "opt": "register", "workerId": id, "boot": 1, "hostname": "h", "os": "linux", "arch": "x86_64",
            "cpuCount": 4, "memoryBytes": 1u64 << 30, "diskBytes": 1u64 << 30, "gpus": [], "slots": 1,
            "labels": {}, "version": "0", "resume": [],
        });
        for (key, value) in more.as_object().expect("fields") {
            data[key] = value.clone();
        }
        data
    }

    /// The next assignment; other frames are passed over.
    pub(crate) async fn assigned(&mut self) -> Assigned {
        Assigned::of(&self.peer.until("job", "assign").await)
    }

    /// The next assignment, accepted.
    pub(crate) async fn accepted(&mut self) -> Assigned {
        let assigned = self.assigned().await;
        self.say(&assigned.report("accept")).await;
        assigned
    }

    /// Reports on a job.
    pub(crate) async fn say(&mut self, data: &Value) {
        self.peer.say("job", data).await;
    }

    /// Prints one line and ends with exit code 0, then waits until that is stored.
    pub(crate) async fn run(&mut self, assigned: &Assigned, text: &str) {
        self.say(&assigned.output(1, text)).await;
        self.say(&assigned.end(2, 0)).await;
        self.stored(assigned, 2).await;
    }

    /// Waits for an `ack` up to `n`. What was assigned meanwhile is kept for later: a slot is free
    /// before the end is stored.
    pub(crate) async fn stored(&mut self, assigned: &Assigned, n: u64) {
        let acked = |data: &Value| {
            data["opt"] == "ack" && data["jobId"] == json!(assigned.job) && data["n"].as_u64() >= Some(n)
        };
        let assigns = self.peer.until_keeping(|data| data["opt"] == "assign", acked).await;
        self.peer.put_back(assigns);
    }

    /// Sends a heartbeat for these jobs; returns which of them are lost.
    pub(crate) async fn beat(&mut self, held: &[&Assigned]) -> Value {
        let jobs: Vec<Value> = held.iter().map(|held| json!([held.job, held.attempt])).collect();
        let beat = json!({"opt": "heartbeat", "usage": {"cpu": 0.5, "memoryBytes": 1, "gpus": []}, "jobs": jobs});
        self.peer.get("worker", &beat, "heartbeat").await["lost"].clone()
    }
}
