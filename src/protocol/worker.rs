//! Frames of type `worker` between a client and the dispatcher.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::agent::{GpuInfo, Usage};
use super::codec::{Acknowledged, Nothing, verbs};
use super::id::WorkerId;
use super::lenient::count;

verbs! {
    /// Client to dispatcher.
    pub enum WorkerRequest: Worker {
        "list" => List(ListWorkers),
        "get" => Get(NamedWorker),
        "history" => History(NamedWorker),
        "watch" => Watch(Nothing),
        "unwatch" => Unwatch(Nothing),
        "drain" => Drain(NamedWorker),
        "undrain" => Undrain(NamedWorker),
    }
}

verbs! {
    /// Dispatcher to client.
    pub enum WorkerEvent: Worker {
        "worker" => Worker(Box<WorkerReply>),
        "workers" => Workers(WorkersReply),
        "history" => History(WorkerHistory),
        "status" => Status(Box<WorkerReply>),
        "usage" => Usage(UsageEvent),
        "lagged" => Lagged(Nothing),
        "ok" => Ok(Acknowledged),
    }
}

/// Names a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamedWorker {
    /// Which worker.
    #[serde(alias = "worker_id", alias = "machine_id", alias = "machineId")]
    pub worker_id: WorkerId,
}

/// `list`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ListWorkers {
    /// Workers at most; 50 unless given, 1,000 at most.
    #[serde(deserialize_with = "count", skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only workers whose id sorts after this one: `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<WorkerId>,
}

/// Where a worker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WorkerStatus {
    /// Connected, runs nothing.
    Idle,
    /// Connected, runs something.
    Busy,
    /// Not heard of for 30 s.
    Offline,
}

/// One worker; also what `watch` sends when its status changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerReply {
    /// The record.
    pub worker: WorkerRecord,
}

/// Workers by id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkersReply {
    /// The page.
    pub workers: Vec<WorkerRecord>,
    /// `before` of the next page; null on the last one.
    pub next: Option<String>,
}

/// Usage of one worker, as it comes in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageEvent {
    /// The worker.
    pub worker_id: WorkerId,
    /// What it uses.
    pub usage: Usage,
    /// When, in milliseconds.
    pub time: u64,
}

/// Reply to `history`: what a worker used within the last hour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerHistory {
    /// The worker.
    pub worker_id: WorkerId,
    /// Seconds from one sample to the next, where nothing is missing.
    pub every_secs: u64,
    /// Oldest first, 360 at the most. While nothing was heard of the worker there are none.
    pub samples: Vec<UsageSample>,
}

/// What a worker used at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UsageSample {
    /// When, in milliseconds.
    pub time: u64,
    /// What it used.
    #[serde(flatten)]
    pub usage: Usage,
}

/// What is known of a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerRecord {
    /// Its name.
    pub worker_id: WorkerId,
    /// Where it stands.
    pub status: WorkerStatus,
    /// Whether it takes no new jobs.
    pub draining: bool,
    /// The address that it was last connected from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// Address of its SFTP server, for whoever logs in as `<account>.<jobId>`; absent where it runs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sftp: Option<String>,
    /// Its machine.
    pub hostname: String,
    /// Operating system.
    pub os: String,
    /// Processor architecture.
    pub arch: String,
    /// Version of the agent.
    pub version: String,
    /// Processors.
    pub cpu_count: u32,
    /// Memory.
    pub memory_bytes: u64,
    /// Disk of the workspaces.
    pub disk_bytes: u64,
    /// Its GPUs.
    pub gpus: Vec<GpuInfo>,
    /// Jobs at a time.
    pub slots: u32,
    /// Jobs now.
    pub running: u32,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The latest usage.
    pub usage: Option<Usage>,
    /// Connected since, in milliseconds.
    pub connected_at: Option<u64>,
    /// Last heard of, in milliseconds.
    pub last_seen: u64,
}
