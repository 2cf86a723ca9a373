//! Frames of type `container` between a client and the dispatcher.
//!
//! What is asked of a container is in [`spec`]; here are the verbs and their answers. A console is followed as a job's log is:
//! the same entries and cursors, the attempt being the count of starts.

pub mod spec;

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::agent::GpuUsage;
use super::chunk::StreamName;
use super::codec::{Acknowledged, Nothing, typed, verbs};
use super::error::WireError;
use super::id::{After, Attempt, ContainerId, ContainerRef, Cursor, WorkerId};
use super::job::Reason;
use super::lenient::{count, or_default};
use super::paging::{ConsolePage, ReadConsole};
use super::spec::Tty;
pub use spec::{Create, Mount, Port, Restart};

verbs! {
    /// Client to dispatcher.
    pub enum ContainerRequest<'a>: Container {
        "create" => Create(Box<Create>) by spec::read_create,
        "start" => Start(NamedContainer),
        "stop" => Stop(Stop),
        "restart" => Restart(Stop),
        "kill" => Kill(NamedContainer),
        "remove" => Remove(NamedContainer),
        "list" => List(ListContainers),
        "get" => Get(NamedContainer),
        "history" => History(NamedContainer),
        "follow" => Follow(FollowConsole),
        "read" => Read(ReadConsole),
        "unfollow" => Unfollow(NamedContainer),
        "watch" => Watch(Nothing),
        "unwatch" => Unwatch(Nothing),
        "input" => Input(ConsoleInput<'a>),
        "resize" => Resize(ConsoleResize),
        "stats" => Stats(NamedContainer),
        "unstats" => Unstats(NamedContainer),
        "exec" => Exec(Exec) by read_exec,
    }
}

verbs! {
    /// Dispatcher to client.
    pub enum ContainerEvent<'a>: Container {
        "created" => Created(Created),
        "container" => Container(Box<ContainerReply>),
        "containers" => Containers(ContainersReply),
        "following" => Following(FollowingConsole),
        "status" => Status(Box<ContainerStatusEvent>),
        "output" => Output(ConsoleOutput<'a>),
        "end" => End(StartEnded),
        "live" => Live(ConsoleLive),
        "truncated" => Truncated(ConsoleTruncated),
        "stats" => Stats(StatsEvent) by read_stats,
        "history" => History(ContainerHistory),
        "page" => Page(ConsolePage<'a>),
        "lagged" => Lagged(Nothing),
        "ok" => Ok(Acknowledged),
    }
}

/// Names a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamedContainer {
    /// Which container: its id, its number or its name.
    #[serde(alias = "container_id")]
    pub container_id: ContainerRef,
}

/// `stop`, and `restart`, which stops first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stop {
    /// Which container.
    #[serde(alias = "container_id")]
    pub container_id: ContainerRef,
    /// Between SIGTERM and SIGKILL, in seconds; 10 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "grace_secs")]
    pub grace_secs: Option<f64>,
}

/// `list`, newest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ListContainers {
    /// Only containers of this status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<ContainerStatus>,
    /// Only containers on this worker.
    #[serde(skip_serializing_if = "Option::is_none", alias = "worker_id", alias = "machine_id")]
    pub worker_id: Option<WorkerId>,
    /// Containers at most; 50 unless given, 1,000 at most.
    #[serde(deserialize_with = "count", skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only containers older than this one: `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<ContainerRef>,
}

/// `follow`: the console.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FollowConsole {
    /// Which container.
    #[serde(alias = "container_id")]
    pub container_id: ContainerRef,
    /// Where to begin.
    #[serde(default, deserialize_with = "or_default")]
    pub after: After,
}

/// `input`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsoleInput<'a> {
    /// Which container.
    #[serde(alias = "container_id")]
    pub container_id: ContainerRef,
    /// Text for its standard input.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Cow<'a, str>>,
    /// Bytes for it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<Cow<'a, str>>,
    /// Whether this is the end of the input.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "std::ops::Not::not")]
    pub eof: bool,
}

/// `resize`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsoleResize {
    /// Which container.
    #[serde(alias = "container_id")]
    pub container_id: ContainerRef,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

/// `exec`: a job inside a running container, with `args` or `command` as in jobs. The reply is that of a job's `submit`, and
/// from there on it is a job like any other.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Exec {
    /// Which container; required.
    #[serde(skip_serializing_if = "Option::is_none", alias = "container_id")]
    pub container_id: Option<ContainerRef>,
    /// An argument vector, run without a shell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// A shell script.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Environment variables beside the container's own.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Working directory in the container; the image's own unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Whether standard input stays open for `input`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "std::ops::Not::not")]
    pub stdin: bool,
    /// Whether, and how large, a pseudo-terminal it gets.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Tty::is_off")]
    pub tty: Tty,
    /// Limit of the run, in seconds.
    #[serde(skip_serializing_if = "Option::is_none", alias = "timeout_secs")]
    pub timeout_secs: Option<f64>,
    /// Whether the submitter follows the job at once; `true` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follow: Option<bool>,
}

fn read_exec(data: &str) -> Result<Exec, WireError> {
    let exec: Exec = typed(data)?;
    if exec.container_id.is_none() {
        return Err(WireError::bad_field("containerId", "containerId: missing field `containerId`"));
    }
    Ok(exec)
}

/// Where a container stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ContainerStatus {
    /// It is being started: its image is pulled, its worker is awaited.
    Creating,
    /// It runs.
    Running,
    /// It was stopped, or ended with exit code 0.
    Stopped,
    /// It ended otherwise, could not be started, or its worker was lost.
    Failed,
    /// It is gone, with its data.
    Removed,
}

/// Reply to `create`: it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Created {
    /// The container's id.
    pub container_id: ContainerId,
    /// Where it is.
    pub worker_id: WorkerId,
    /// How it is reached.
    pub ports: Vec<BoundPort>,
    /// Where it stands.
    pub status: ContainerStatus,
}

/// A port of a container that is reachable from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BoundPort {
    /// The port inside.
    pub container: u16,
    /// The port of the worker's machine.
    pub host: u16,
    /// `address:port`, as far as the dispatcher knows the worker's address.
    #[serde(default)]
    pub address: String,
    /// `tcp` or `udp`.
    #[serde(default)]
    pub protocol: spec::Protocol,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ContainerReply {
    /// The record.
    pub container: ContainerRecord,
}

/// A page of containers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ContainersReply {
    /// Newest first.
    pub containers: Vec<ContainerRecord>,
    /// `before` of the next page; null on the last one.
    pub next: Option<String>,
}

/// What is known of a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerRecord {
    /// Its id.
    pub container_id: ContainerId,
    /// Its short number.
    pub number: u64,
    /// What its owner calls it.
    pub name: Option<String>,
    /// Whose it is.
    pub account: String,
    /// Its image.
    pub image_id: String,
    /// Where it is.
    pub worker_id: WorkerId,
    /// Where it stands.
    pub status: ContainerStatus,
    /// Why it ended, if it has.
    pub reason: Option<Reason>,
    /// Exit code of the latest start that has ended.
    pub exit_code: Option<i32>,
    /// What went wrong, in words.
    pub error_message: Option<String>,
    /// How often it was started.
    pub attempt: Attempt,
    /// How it is reached.
    pub ports: Vec<BoundPort>,
    /// What it runs instead of the image's own program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The same without a shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// The GPUs it has.
    pub gpu_ids: Vec<u32>,
    /// Processors, if limited.
    pub cpus: Option<f64>,
    /// Memory, if limited.
    pub memory_bytes: Option<u64>,
    /// Its volumes.
    pub mounts: Vec<Mount>,
    /// When it is started again.
    pub restart: Restart,
    /// Whether it has a pseudo-terminal.
    pub tty: bool,
    /// Address of the worker's SFTP server, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sftp: Option<String>,
    /// Created, in milliseconds.
    pub created_at: u64,
    /// The latest start began.
    pub started_at: Option<u64>,
    /// The latest start ended.
    pub completed_at: Option<u64>,
}

/// Reply to `follow`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FollowingConsole {
    /// The container.
    pub container_id: ContainerId,
    /// Entries after this cursor will come.
    pub from: Cursor,
    /// The newest entry at this moment.
    pub top: Cursor,
    /// Where it stands at this moment.
    pub status: ContainerStatus,
}

/// A change of status: an entry of a followed console (then it has `at`), or one of `watch`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerStatusEvent {
    /// The container.
    pub container_id: ContainerId,
    /// Its cursor, in a followed console; absent in `watch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Cursor>,
    /// The new status.
    pub status: ContainerStatus,
    /// How often it was started.
    pub attempt: Attempt,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_id: Option<WorkerId>,
    /// Why, where there is a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// In `watch`: the whole record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerRecord>,
    /// When, in milliseconds.
    pub time: u64,
}

/// A chunk of a console.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsoleOutput<'a> {
    /// The container.
    pub container_id: ContainerId,
    /// Its cursor.
    pub at: Cursor,
    /// Which stream.
    pub stream: StreamName,
    /// Raw byte offset within the stream and start.
    pub offset: u64,
    /// The bytes, where they are text.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Cow<'a, str>>,
    /// The bytes, where they are not.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<Cow<'a, str>>,
    /// When the worker read it, in milliseconds.
    pub time: u64,
}

/// A start is over. Unless the container is `removed`, another may follow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StartEnded {
    /// The container.
    pub container_id: ContainerId,
    /// Its cursor.
    pub at: Cursor,
    /// `stopped`, `failed` or `removed`.
    pub status: ContainerStatus,
    /// Exit code; 128+n where signal n ended the program; null where it never ran.
    pub exit_code: Option<i32>,
    /// Why.
    pub reason: Reason,
    /// In words, where there is more to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// When, in milliseconds.
    pub time: u64,
}

/// The reader has caught up with a container that runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsoleLive {
    /// The container.
    pub container_id: ContainerId,
    /// The last entry sent.
    pub at: Cursor,
}

/// Entries that are gone, both ends included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsoleTruncated {
    /// The container.
    pub container_id: ContainerId,
    /// The first entry that is gone.
    pub from: Cursor,
    /// The last one.
    pub to: Cursor,
}

/// What a container uses, about once a second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatsEvent {
    /// The container.
    pub container_id: ContainerId,
    /// What it uses.
    #[serde(flatten)]
    pub usage: ContainerUsage,
    /// When, in milliseconds.
    pub time: u64,
}

/// Reads the usage apart: serde's `flatten` would lose the path of a wrong field.
fn read_stats(data: &str) -> Result<StatsEvent, WireError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Around {
        container_id: ContainerId,
        time: u64,
    }
    let Around { container_id, time } = typed(data)?;
    Ok(StatsEvent { container_id, usage: typed(data)?, time })
}

/// Reply to `history`: what a container used within the last hour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerHistory {
    /// The container.
    pub container_id: ContainerId,
    /// Seconds from one sample to the next, where nothing is missing.
    pub every_secs: u64,
    /// Oldest first, 360 at the most. While it did not run there are none.
    pub samples: Vec<ContainerSample>,
}

/// What a container used at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ContainerSample {
    /// When, in milliseconds.
    pub time: u64,
    /// What it used.
    #[serde(flatten)]
    pub usage: ContainerUsage,
}

/// What a container uses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerUsage {
    /// Processors: 1.5 is one and a half.
    pub cpu: f64,
    /// Memory, without what the system merely caches.
    pub memory_bytes: u64,
    /// How much of it there may be; 0 where that is not limited.
    pub memory_limit_bytes: u64,
    /// Received a second.
    pub network_in_bytes: u64,
    /// Sent a second.
    pub network_out_bytes: u64,
    /// Read from disks a second.
    pub disk_read_bytes: u64,
    /// Written to disks a second.
    pub disk_write_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Each of its GPUs, as the worker last saw it; none where it has none, or nothing is known of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<GpuUsage>,
}
