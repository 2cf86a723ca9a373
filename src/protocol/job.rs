//! Frames of type `job` between a client and the dispatcher.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::chunk::StreamName;
use super::codec::{Acknowledged, Nothing, typed, typed_value, verbs};
use super::error::WireError;
use super::id::{After, Attempt, Cursor, JobId, JobRef, WorkerId};
use super::lenient::{count, or_default};
use super::paging::{JobPage, Read};
use super::spec::JobSpec;
use super::template::TemplatesReply;

verbs! {
    /// Client to dispatcher.
    pub enum JobRequest<'a>: Job {
        "submit" => Submit(Box<Submit>) by read_submit,
        "follow" => Follow(Follow) by naming_a_job,
        "unfollow" => Unfollow(Named) by naming_a_job,
        "get" => Get(Named) by naming_a_job,
        "list" => List(List),
        "counts" => Counts(Nothing),
        "read" => Read(Read) by naming_a_job,
        "templates" => Templates(Nothing),
        "watch" => Watch(Nothing),
        "unwatch" => Unwatch(Nothing),
        "input" => Input(Input<'a>) by naming_a_job,
        "resize" => Resize(Resize) by naming_a_job,
        "cancel" => Cancel(Cancel) by naming_a_job,
    }
}

verbs! {
    /// Dispatcher to client.
    pub enum JobEvent<'a>: Job {
        "submitted" => Submitted(Submitted),
        "following" => Following(Following),
        "status" => Status(StatusEvent),
        "output" => Output(OutputEvent<'a>),
        "end" => End(EndEvent),
        "live" => Live(Live),
        "truncated" => Truncated(Truncated),
        "job" => Job(Box<JobReply>),
        "jobs" => Jobs(JobsReply),
        "counts" => Counts(CountsReply),
        "page" => Page(JobPage<'a>),
        "templates" => Templates(TemplatesReply),
        "lagged" => Lagged(Nothing),
        "ok" => Ok(Acknowledged),
    }
}

/// `submit`: the spec's fields beside these.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Submit {
    /// The job.
    #[serde(flatten)]
    pub spec: JobSpec,
    /// Idempotency key, per account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether the submitter follows the job at once; `true` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow: Option<bool>,
}

/// Reads spec and extras apart: serde's `flatten` would lose the path of a wrong field.
fn read_submit(data: &str) -> Result<Box<Submit>, WireError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Extras {
        key: Option<String>,
        follow: Option<bool>,
        // Older spellings of what is part of `requires`.
        #[serde(alias = "machine_id")]
        machine_id: Option<WorkerId>,
        #[serde(alias = "gpu_count")]
        gpu_count: Option<u32>,
    }
    let mut spec: JobSpec = typed(data)?;
    let Extras { key, follow, machine_id, gpu_count } = typed(data)?;
    fold("requires.workerId", &mut spec.requires.worker_id, machine_id)?;
    fold("requires.gpus", &mut spec.requires.gpus, gpu_count)?;
    Ok(Box::new(Submit { spec, key, follow }))
}

/// Takes what stood beside `requires` for what stands in it.
fn fold<T: PartialEq>(field: &str, inner: &mut Option<T>, beside: Option<T>) -> Result<(), WireError> {
    match (&inner, beside) {
        (_, None) => Ok(()),
        (None, beside) => {
            *inner = beside;
            Ok(())
        }
        (Some(inner), Some(beside)) if *inner == beside => Ok(()),
        (Some(_), Some(_)) => Err(WireError::bad_field(field, format!("{field} is given twice, and differently"))),
    }
}

/// Reads a verb that names a job. Who pastes the fields of `submitted` back names it twice, by
/// `jobId` and `taskId`: the first counts.
fn naming_a_job<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, WireError> {
    typed(data).or_else(|error| {
        let Ok(Value::Object(mut fields)) = serde_json::from_str(data) else { return Err(error) };
        let by_id = ["jobId", "job_id"].iter().any(|name| fields.contains_key(*name));
        let by_number = ["taskId", "task_id"].map(|name| fields.remove(name)).iter().any(Option::is_some);
        if by_id && by_number { typed_value(Value::Object(fields)) } else { Err(error) }
    })
}

/// Names a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Named {
    /// Which job.
    #[serde(alias = "taskId", alias = "task_id", alias = "job_id")]
    pub job_id: JobRef,
}

/// `follow`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Follow {
    /// Which job.
    #[serde(alias = "taskId", alias = "task_id", alias = "job_id")]
    pub job_id: JobRef,
    /// Where to begin.
    #[serde(default, deserialize_with = "or_default")]
    pub after: After,
}

/// `list`, newest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct List {
    /// Only jobs of this status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Only jobs of this account; another's than one's own for administrators alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Only jobs that this worker has or had.
    #[serde(skip_serializing_if = "Option::is_none", alias = "worker_id", alias = "machine_id", alias = "machineId")]
    pub worker_id: Option<WorkerId>,
    /// Only jobs with this tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Only jobs with this in their name, command, arguments, image, tags, id or number, in capitals or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Jobs at most; 50 unless given, 1,000 at most.
    #[serde(deserialize_with = "count", skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only jobs older than this one: `next` of the page before, or any job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<JobRef>,
}

/// `input`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Input<'a> {
    /// Which job.
    #[serde(alias = "taskId", alias = "task_id", alias = "job_id")]
    pub job_id: JobRef,
    /// Text for the job's standard input.
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
pub struct Resize {
    /// Which job.
    #[serde(alias = "taskId", alias = "task_id", alias = "job_id")]
    pub job_id: JobRef,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

/// `cancel`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cancel {
    /// Which job.
    #[serde(alias = "taskId", alias = "task_id", alias = "job_id")]
    pub job_id: JobRef,
    /// Between SIGTERM and SIGKILL, in seconds; the job's own unless given.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "grace_secs")]
    pub grace_secs: Option<f64>,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Waits for a worker.
    Pending,
    /// Was given to a worker.
    Running,
    /// Ended with exit code 0.
    Completed,
    /// Ended otherwise.
    Failed,
    /// Ended because someone asked.
    Cancelled,
}

/// Why a job ended, or went back to the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The program ended by itself.
    Exit,
    /// A signal ended it.
    Signal,
    /// `timeoutSecs` ran out.
    Timeout,
    /// `queueTimeoutSecs` ran out.
    QueueTimeout,
    /// Its worker was lost.
    WorkerLost,
    /// It could not be started.
    SpawnError,
    /// It used more memory than it may.
    OutOfMemory,
    /// Someone asked.
    Cancelled,
    /// Workers refused it.
    Rejected,
    /// Of a container: it was removed.
    Removed,
}

/// Reply to `submit`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Submitted {
    /// The job's id.
    pub job_id: JobId,
    /// The job's short number.
    pub task_id: u64,
    /// `pending`, or where the job of the same key stands.
    pub status: Status,
    /// Whether `key` named a job that was there before.
    pub duplicate: bool,
}

/// Reply to `follow`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Following {
    /// The job.
    pub job_id: JobId,
    /// Entries after this cursor will come.
    pub from: Cursor,
    /// The newest entry at this moment.
    pub top: Cursor,
    /// The job's status at this moment.
    pub status: Status,
}

/// A change of status: an entry of a followed log (then it has `at`), or one of `watch`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusEvent {
    /// The job.
    pub job_id: JobId,
    /// Its cursor, in a followed log; absent in `watch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Cursor>,
    /// The new status.
    pub status: Status,
    /// The attempt that it is about.
    pub attempt: Attempt,
    /// The worker that has the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_id: Option<WorkerId>,
    /// Why, where there is a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// In `watch`: the short number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<u64>,
    /// In `watch`: whose job it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// In `watch`: the job's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// In `watch`: the exit code, once ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// When, in milliseconds.
    pub time: u64,
}

/// A chunk of output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutputEvent<'a> {
    /// The job.
    pub job_id: JobId,
    /// Its cursor.
    pub at: Cursor,
    /// Which stream.
    pub stream: StreamName,
    /// Raw byte offset within the stream and attempt.
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

/// The job is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndEvent {
    /// The job.
    pub job_id: JobId,
    /// Its cursor.
    pub at: Cursor,
    /// `completed`, `failed` or `cancelled`.
    pub status: Status,
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

/// The reader has caught up with a job that still runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Live {
    /// The job.
    pub job_id: JobId,
    /// The last entry sent.
    pub at: Cursor,
}

/// Entries that are gone, both ends included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Truncated {
    /// The job.
    pub job_id: JobId,
    /// The first entry that is gone.
    pub from: Cursor,
    /// The last one.
    pub to: Cursor,
}

/// One job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobReply {
    /// The record.
    pub job: JobRecord,
}

/// A page of jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobsReply {
    /// Newest first.
    pub jobs: Vec<JobRecord>,
    /// `before` of the next page; null on the last one.
    pub next: Option<String>,
}

/// How many jobs of each status are kept: one's own, or everyone's for an administrator. Containers are not among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CountsReply {
    /// Wait for a worker.
    pub pending: u64,
    /// Were given to a worker.
    pub running: u64,
    /// Ended with exit code 0.
    pub completed: u64,
    /// Ended otherwise.
    pub failed: u64,
    /// Ended because someone asked.
    pub cancelled: u64,
}

/// What is known of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobRecord {
    /// The job's id.
    pub job_id: JobId,
    /// Its short number.
    pub task_id: u64,
    /// For people.
    pub name: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// Why it ended.
    pub reason: Option<Reason>,
    /// Its shell script.
    pub command: Option<String>,
    /// Its argument vector.
    pub args: Option<Vec<String>>,
    /// Its container image.
    pub image: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// The worker that has or had it; none while it waits.
    pub worker_id: Option<WorkerId>,
    /// The latest attempt; 0 before the first.
    pub attempt: Attempt,
    /// Whose it is.
    pub account: String,
    /// Exit code.
    pub exit_code: Option<i32>,
    /// What went wrong, in words.
    pub error_message: Option<String>,
    /// Submitted, in milliseconds.
    pub created_at: u64,
    /// The latest attempt began, in milliseconds; none while the job waits.
    pub started_at: Option<u64>,
    /// Ended, in milliseconds.
    pub completed_at: Option<u64>,
    /// Bytes of standard output in the latest attempt.
    pub stdout_bytes: u64,
    /// Bytes of standard error in the latest attempt.
    pub stderr_bytes: u64,
    /// Why a pending job is pending, in words.
    pub waiting_for: Option<String>,
    /// The GPUs it was given.
    pub gpu_ids: Vec<u32>,
    /// Its priority.
    pub priority: i32,
    /// The spec as submitted, environment included; in `get` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Box<JobSpec>>,
}
