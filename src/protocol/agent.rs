//! Frames between the dispatcher and a worker, of types `worker` and `job`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::chunk::StreamName;
use super::codec::{Nothing, typed, verbs};
use super::container::spec::Adopt;
use super::container::{BoundPort, ContainerUsage};
use super::error::WireError;
use super::id::{Attempt, ContainerId, JobId, JobRef, WorkerId};
use super::job::Reason;
use super::spec::JobSpec;

verbs! {
    /// Worker to dispatcher, about itself.
    pub enum AgentReport: Worker {
        "register" => Register(Box<Register>),
        // Renews every lease this worker holds; nothing else does.
        "heartbeat" => Heartbeat(Heartbeat),
        "drain" => Drain(Nothing),
        "undrain" => Undrain(Nothing),
        "sftpLogin" => SftpLogin(SftpLogin),
    }
}

verbs! {
    /// Worker to dispatcher, about a job.
    pub enum AgentJobReport<'a>: Job {
        "accept" => Accept(AttemptRef),
        "reject" => Reject(Reject),
        "output" => Output(AgentOutput<'a>),
        "end" => End(AttemptEnd),
        "gone" => Gone(AttemptGone),
    }
}

verbs! {
    /// Dispatcher to worker, about the worker.
    pub enum AgentOrder: Worker {
        "registered" => Registered(Registered),
        "heartbeat" => Heartbeat(Lost),
        "drain" => Drain(Nothing),
        "undrain" => Undrain(Nothing),
        "sftpLogin" => SftpLogin(SftpGrant),
    }
}

verbs! {
    /// Dispatcher to worker, about a job.
    pub enum AgentJobOrder<'a>: Job {
        "assign" => Assign(Box<Assign>),
        "ack" => Ack(Ack),
        "nack" => Nack(Nack),
        "cancel" => Cancel(CancelAttempt),
        "input" => Input(AgentInput<'a>),
        "resize" => Resize(AgentResize),
    }
}

verbs! {
    /// Worker to dispatcher, about a container beyond what is said of its starts as jobs.
    pub enum AgentContainerReport: Container {
        "started" => Started(ContainerStarted),
        "failed" => Failed(ContainerFailed) by read_failed,
        "usage" => Usage(ContainerUsageReport),
    }
}

verbs! {
    /// Dispatcher to worker, about a container.
    pub enum AgentContainerOrder: Container {
        "measure" => Measure(MeasureContainer),
        // Stop whatever runs of it; its data stays. For one that ran on while its worker was away and was stopped meanwhile.
        "halt" => Halt(ContainerOnly),
        // The container is removed: whatever there is of it goes, its data too.
        "forget" => Forget(ContainerOnly),
    }
}

/// `started`: the container runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerStarted {
    /// The container.
    pub container_id: ContainerId,
    /// Its start.
    pub attempt: Attempt,
    /// How it is reached; addresses are for the dispatcher to add.
    #[serde(default)]
    pub ports: Vec<BoundPort>,
}

/// `failed`: why the container cannot be started. The `end` of the start follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerFailed {
    /// The container.
    pub container_id: ContainerId,
    /// Its start.
    pub attempt: Attempt,
    /// What whoever asked for it is told.
    #[serde(flatten)]
    pub error: WireError,
}

/// Reads start and error apart: serde's `flatten` would lose the path of a wrong field.
fn read_failed(data: &str) -> Result<ContainerFailed, WireError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Start {
        container_id: ContainerId,
        attempt: Attempt,
    }
    let Start { container_id, attempt } = typed(data)?;
    Ok(ContainerFailed { container_id, attempt, error: typed(data)? })
}

/// What a container uses: `usage`, which answers `measure` about once a second, and in every heartbeat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerUsageReport {
    /// The container.
    pub container_id: ContainerId,
    /// What it uses.
    pub usage: ContainerUsage,
}

/// `measure`: say about once a second what a container uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeasureContainer {
    /// The container.
    pub container_id: ContainerId,
    /// For so many seconds. It is asked again while somebody looks.
    pub secs: u32,
}

/// Names a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerOnly {
    /// The container.
    pub container_id: ContainerId,
}

/// `register`: the first frame of a worker, on every connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Register {
    /// The worker's name, the same over restarts.
    #[serde(alias = "worker_id", alias = "machine_id", alias = "machineId")]
    pub worker_id: WorkerId,
    /// When the agent process started, in milliseconds. A larger one supersedes.
    pub boot: u64,
    /// Its machine.
    #[serde(default)]
    pub hostname: String,
    /// Operating system.
    #[serde(default)]
    pub os: String,
    /// Processor architecture.
    #[serde(default)]
    pub arch: String,
    /// Processors.
    #[serde(default = "one", alias = "cpu_count")]
    pub cpu_count: u32,
    /// Memory.
    #[serde(default, alias = "memory_bytes")]
    pub memory_bytes: u64,
    /// Disk of the workspaces.
    #[serde(default, alias = "disk_bytes")]
    pub disk_bytes: u64,
    /// Its GPUs.
    #[serde(default)]
    pub gpus: Vec<GpuInfo>,
    /// Jobs at a time.
    #[serde(default = "one")]
    pub slots: u32,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Version of the agent.
    #[serde(default)]
    pub version: String,
    /// Container images at hand; absent where there is no container engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Vec<String>>,
    /// With `address`: it is brokered, and this is the public key by which clients know it.
    #[serde(default, alias = "pub_key", skip_serializing_if = "Option::is_none")]
    pub pub_key: Option<String>,
    /// With `pubKey`: where clients reach it, as `address:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Jobs that this agent holds from before. An agent that has just started adds each container that an earlier one
    /// started, whether it still runs or has ended meanwhile, with the start that it is of: the verdict says after which
    /// bytes of its output to go on, and an `end` is told as of any other.
    #[serde(default)]
    pub resume: Vec<Resume>,
    /// Containers of which it has data, running or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<ContainerId>,
    /// Address of its SFTP server, as `host:port` or `:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sftp: Option<String>,
}

fn one() -> u32 {
    1
}

/// A GPU of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GpuInfo {
    /// The index that `requires.gpuIds` and `CUDA_VISIBLE_DEVICES` use.
    pub index: u32,
    /// Model.
    #[serde(default)]
    pub name: String,
    /// The device's own id.
    #[serde(default)]
    pub uuid: String,
    /// Its memory.
    #[serde(default)]
    pub memory_bytes: u64,
}

/// A job that a registering worker holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resume {
    /// The job.
    #[serde(alias = "job_id")]
    pub job_id: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// The last entry that the worker numbered, 0 for none.
    #[serde(default)]
    pub last_n: u64,
    /// `running`, or `ended` when only the log is still to be sent.
    #[serde(default)]
    pub state: ResumeState,
}

/// Whether a held job still runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ResumeState {
    /// The program runs.
    #[default]
    Running,
    /// The program is over.
    Ended,
}

/// Reply to `register`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Registered {
    /// The worker's name.
    pub worker_id: WorkerId,
    /// How often to send a heartbeat, in seconds.
    pub heartbeat_secs: u64,
    /// What to do with each held job.
    pub resume: Vec<ResumeVerdict>,
}

/// What to do with one held job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResumeVerdict {
    /// The job.
    pub job_id: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// Go on, or kill and forget it.
    pub verdict: Verdict,
    /// The entry to go on with.
    pub next_n: u64,
    /// Of a container: bytes of its standard output that are stored. An agent that was killed goes on after them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout_bytes: Option<u64>,
    /// The same of its standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr_bytes: Option<u64>,
}

/// Whether a held job is still the worker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Send on from `nextN`.
    Continue,
    /// Kill and forget: it has ended or is someone else's.
    Drop,
}

/// Worker's `heartbeat`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Heartbeat {
    /// What the machine uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Jobs that this worker holds.
    pub jobs: Vec<(JobId, Attempt)>,
    /// What its containers use, as far as they were measured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<ContainerUsageReport>,
}

/// Dispatcher's `heartbeat`: the reply to a worker's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lost {
    /// Kill these: they are someone else's now.
    pub lost: Vec<(JobId, Attempt)>,
}

/// What a machine uses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// Processors, from 0 to 1 over all of them.
    pub cpu: f64,
    /// Memory.
    pub memory_bytes: u64,
    /// Disk of the workspaces.
    pub disk_bytes: u64,
    /// Received a second.
    pub network_in_bytes: u64,
    /// Sent a second.
    pub network_out_bytes: u64,
    /// Each GPU.
    pub gpus: Vec<GpuUsage>,
}

/// What one GPU uses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GpuUsage {
    /// Which one.
    pub index: u32,
    /// From 0 to 1.
    pub utilization: f64,
    /// Its memory in use.
    pub memory_bytes: u64,
    /// Degrees Celsius.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<u32>,
    /// Watts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_watts: Option<f64>,
}

/// Worker's `sftpLogin`: somebody is at its SFTP server; may they come in? The answer carries the same frame id.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SftpLogin {
    /// Account name or email.
    pub account: String,
    /// Its password, or an API token of the account.
    pub password: String,
    /// What they want to see the files of.
    #[serde(alias = "job_id")]
    pub job_id: JobRef,
    /// The address that they come from.
    pub from: IpAddr,
}

impl fmt::Debug for SftpLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, password: _, job_id, from } = self;
        f.debug_struct("SftpLogin")
            .field("account", account)
            .field("job_id", job_id)
            .field("from", from)
            .finish_non_exhaustive()
    }
}

/// Dispatcher's `sftpLogin`: they may. Where they may not, the answer is an `error`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SftpGrant {
    /// The account's name.
    pub account: String,
    /// What they may see the files of.
    pub job_id: JobId,
}

/// `assign`: run this.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Assign {
    /// The job.
    pub job_id: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// What to run.
    pub spec: JobSpec,
    /// The GPUs to give it.
    pub gpu_ids: Vec<u32>,
    /// How long the worker owns the job without a heartbeat, in seconds.
    pub lease_secs: u64,
    /// Output bytes that may be under way without an `ack`.
    pub window_bytes: u64,
    /// Of a container: it still runs from an earlier start, and is to be taken over as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt: Option<Adopt>,
}

/// Names an attempt; `accept` is no more than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptRef {
    /// The job.
    #[serde(alias = "job_id")]
    pub job_id: JobId,
    /// The attempt.
    pub attempt: Attempt,
}

/// `reject`: the worker cannot run this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reject {
    /// The job.
    #[serde(alias = "job_id")]
    pub job_id: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// Why, in words.
    #[serde(default)]
    pub reason: String,
}

/// `output`: a chunk, frozen when its `n` was given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentOutput<'a> {
    /// The job.
    #[serde(alias = "job_id")]
    pub job_id: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// Counts from 1 without holes over both streams.
    pub n: u64,
    /// Which stream.
    pub stream: StreamName,
    /// Raw byte offset within the stream. The dispatcher counts for itself.
    #[serde(default)]
    pub offset: u64,
    /// The bytes, where they are text.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Cow<'a, str>>,
    /// The bytes, where they are not.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<Cow<'a, str>>,
    /// When the worker read it, in milliseconds; the dispatcher's clock where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<u64>,
}

/// `end`: the program is over and every chunk was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptEnd {
    /// The job.
    #[serde(alias = "job_id")]
    pub job_id: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// One past the last output.
    pub n: u64,
    /// Exit code; 128+n where signal n ended the program.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// Why.
    pub reason: Reason,
    /// In words, where there is more to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// When, in milliseconds; the dispatcher's clock where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<u64>,
}

/// `gone`: the answer to a `nack` for what was `stable` and is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptGone {
    /// The job.
    #[serde(alias = "job_id")]
    pub job_id: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// The last entry that is gone.
    pub n: u64,
    /// Bytes of standard output up to there.
    #[serde(default)]
    pub stdout_bytes: u64,
    /// Bytes of standard error up to there.
    #[serde(default)]
    pub stderr_bytes: u64,
}

/// `ack`: cumulative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ack {
    /// The job.
    pub job_id: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// Stored up to here.
    pub n: u64,
    /// Everything up to here may be forgotten.
    pub stable: u64,
    /// Output bytes that may be under way beyond `n`.
    pub window_bytes: u64,
}

/// `nack`: a hole; send again from `expect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Nack {
    /// The job.
    pub job_id: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// The entry that is missing.
    pub expect: u64,
}

/// `cancel` on its way to the worker.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CancelAttempt {
    /// The job.
    pub job_id: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// Between SIGTERM and SIGKILL, in seconds.
    pub grace_secs: f64,
}

/// `input` on its way to the worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentInput<'a> {
    /// The job.
    pub job_id: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// Text.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Cow<'a, str>>,
    /// Bytes.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<Cow<'a, str>>,
    /// Whether this is the end of the input.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub eof: bool,
}

/// `resize` on its way to the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentResize {
    /// The job.
    pub job_id: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}
