//! What goes over the wire here, as the family's document has it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::dispatcher::Excerpt;
use crate::model::Job;
use crate::protocol::WorkerId;
use crate::protocol::job::Status;
use crate::protocol::worker::{WorkerRecord, WorkerStatus};

/// What is wrong.
#[derive(ToSchema)]
#[schema(as = ExecutorError)]
#[expect(dead_code, reason = "describes what `Refusal` writes")]
pub(super) struct ErrorShape {
    /// In words.
    error: String,
    /// The status of the answer once more.
    #[schema(rename = "statusCode")]
    status_code: u16,
}

/// A worker registers.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExecutorRegister)]
pub(super) struct Register {
    /// Unique identifier.
    #[serde(default, alias = "worker_id")]
    #[schema(required)]
    pub(super) worker_id: Option<String>,
    /// The machine's name.
    #[serde(default)]
    #[schema(required)]
    pub(super) hostname: Option<String>,
    /// `win32`, `linux`, `darwin`.
    #[serde(default)]
    pub(super) os: Option<String>,
    /// Processors.
    #[serde(default, alias = "cpu_count")]
    pub(super) cpu_count: Option<u32>,
    /// Of the agent.
    #[serde(default)]
    pub(super) version: Option<String>,
}

/// A worker lives.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExecutorHeartbeat)]
pub(super) struct Heartbeat {
    /// Which one.
    #[serde(default, alias = "worker_id")]
    #[schema(required)]
    pub(super) worker_id: Option<String>,
}

/// A job is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExecutorCreate)]
pub(super) struct Create {
    /// Commands, one a line.
    #[serde(default)]
    #[schema(required)]
    pub(super) command: Option<String>,
    /// Where the ZIP is: a path of this server, or an address of another.
    #[serde(default, alias = "file_url")]
    #[schema(required)]
    pub(super) file_url: Option<String>,
    /// The ZIP's own name.
    #[serde(default)]
    #[schema(required)]
    pub(super) filename: Option<String>,
}

/// What came of a job.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExecutorResult)]
pub(super) struct JobResult {
    /// Which job.
    #[serde(default, alias = "job_id")]
    #[schema(required)]
    pub(super) job_id: Option<String>,
    /// Who ran it.
    #[serde(default, alias = "worker_id")]
    #[schema(required)]
    pub(super) worker_id: Option<String>,
    /// Standard output.
    #[serde(default)]
    pub(super) stdout: Option<String>,
    /// Standard error.
    #[serde(default)]
    pub(super) stderr: Option<String>,
    /// Of the commands; anything but 0 is a failure.
    #[serde(default, alias = "exit_code")]
    #[schema(required)]
    pub(super) exit_code: Option<i32>,
}

/// A job could not be run.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExecutorFailure)]
pub(super) struct Failure {
    /// Which job.
    #[serde(default, alias = "job_id")]
    #[schema(required)]
    pub(super) job_id: Option<String>,
    /// Who was to run it.
    #[serde(default, alias = "worker_id")]
    #[schema(required)]
    pub(super) worker_id: Option<String>,
    /// Why.
    #[serde(default, alias = "error_message")]
    pub(super) error_message: Option<String>,
}

/// A ZIP and what to do in it.
#[derive(ToSchema)]
#[schema(as = ExecutorForm)]
#[expect(dead_code, reason = "describes a multipart body")]
pub(super) struct ExecuteForm {
    /// The ZIP.
    #[schema(format = Binary, content_media_type = "application/octet-stream")]
    file: String,
    /// Commands, one a line; a backslash with an `n` counts as the end of a line.
    commands: String,
    /// `direct` (on the server itself, the default) or `distributed`.
    mode: Option<String>,
}

/// A worker was taken in.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExecutorRegistered)]
pub(super) struct Registered {
    pub(super) success: bool,
    pub(super) worker_id: String,
    pub(super) message: String,
}

/// A worker was heard.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExecutorHeard)]
pub(super) struct Heard {
    pub(super) success: bool,
    pub(super) worker_id: String,
    /// The server's time, in milliseconds.
    pub(super) timestamp: u64,
}

/// Workers, the one that registered last first.
#[derive(Serialize, ToSchema)]
#[schema(as = ExecutorWorkers)]
pub(super) struct Workers {
    pub(super) workers: Vec<WorkerShape>,
    /// How many there are in all.
    pub(super) count: usize,
}

/// A worker.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExecutorWorker)]
pub(super) struct WorkerShape {
    worker_id: String,
    hostname: String,
    os: String,
    cpu_count: u32,
    /// `idle`, `busy` or `offline`.
    status: &'static str,
    /// In milliseconds.
    last_heartbeat: u64,
    version: String,
}

impl From<WorkerRecord> for WorkerShape {
    fn from(worker: WorkerRecord) -> Self {
        Self {
            worker_id: worker.worker_id.to_string(),
            hostname: worker.hostname,
            os: worker.os,
            cpu_count: worker.cpu_count,
            status: match worker.status {
                WorkerStatus::Idle => "idle",
                WorkerStatus::Busy => "busy",
                WorkerStatus::Offline => "offline",
            },
            last_heartbeat: worker.last_seen,
            version: worker.version,
        }
    }
}

/// A job was taken, or what came of it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExecutorDone)]
pub(super) struct Done {
    pub(super) success: bool,
    pub(super) job_id: String,
    pub(super) message: &'static str,
}

/// A job for a worker.
#[derive(Serialize, ToSchema)]
#[schema(as = ExecutorAssignment)]
pub(super) struct Assignment {
    pub(super) success: bool,
    pub(super) job: AssignedJob,
}

/// What a worker must know.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExecutorAssignedJob)]
pub(super) struct AssignedJob {
    pub(super) job_id: String,
    pub(super) command: String,
    pub(super) file_url: String,
    pub(super) filename: String,
}

/// No job for a worker now.
#[derive(Serialize, ToSchema)]
#[schema(as = ExecutorNothing)]
pub(super) struct Nothing {
    pub(super) success: bool,
    pub(super) message: &'static str,
    /// Null.
    pub(super) job: Option<AssignedJob>,
}

/// A job was made of an upload.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExecutorExecuted)]
pub(super) struct Executed {
    pub(super) success: bool,
    pub(super) job_id: String,
    pub(super) mode: &'static str,
    pub(super) message: &'static str,
    pub(super) check_status_url: String,
}

/// Jobs, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = ExecutorJobs)]
pub(super) struct Jobs<'a> {
    pub(super) jobs: Vec<JobShape<'a>>,
    /// How many there are in all.
    pub(super) count: u64,
}

/// A job.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExecutorJob)]
pub(super) struct JobShape<'a> {
    job_id: String,
    /// `pending`, `running`, `completed` or `failed`.
    status: &'static str,
    worker_id: Option<&'a str>,
    command: Cow<'a, str>,
    filename: Option<&'a str>,
    /// Empty until the job is over.
    stdout: &'a str,
    stderr: &'a str,
    exit_code: Option<i32>,
    error_message: Option<&'a str>,
    created_at: u64,
    started_at: Option<u64>,
    completed_at: Option<u64>,
    /// Whether `stdout` is only the beginning.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stdout_truncated: bool,
    /// Whether `stderr` is only the beginning.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stderr_truncated: bool,
}

impl<'a> JobShape<'a> {
    /// A job with what is shown of its output.
    pub(super) fn of(job: &'a Job, stdout: &'a Excerpt, stderr: &'a Excerpt) -> Self {
        let status = match job.status {
            Status::Pending => "pending",
            Status::Running => "running",
            Status::Completed => "completed",
            // The document knows no other word for a job that did not do what it should.
            Status::Failed | Status::Cancelled => "failed",
        };
        let cancelled = || (job.status == Status::Cancelled).then_some("Job was cancelled");
        Self {
            job_id: job.id.to_string(),
            status,
            worker_id: job.worker.as_ref().map(WorkerId::as_str),
            command: job.spec.command_line(),
            filename: job.spec.filename.as_deref(),
            stdout: &stdout.text,
            stderr: &stderr.text,
            exit_code: job.exit_code,
            error_message: job.error_message.as_deref().or_else(cancelled),
            created_at: job.created_at,
            started_at: job.started_at,
            completed_at: job.completed_at,
            stdout_truncated: stdout.cut,
            stderr_truncated: stderr.cut,
        }
    }
}
