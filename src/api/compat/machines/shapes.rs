//! What the task routes take and give, and what it is in the words of a job.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Number;
use utoipa::ToSchema;

use crate::auth::Identity;
use crate::config::Span;
use crate::dispatcher::gpus_of_job;
use crate::model::{AccountName, Job, Program, Role};
use crate::protocol::job::{Status, Submit};
use crate::protocol::spec::{JobSpec, Requires};
use crate::protocol::{JobId, JobRef, WireError};

/// Body of `/api/task/request`.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = machines::TaskRequest)]
pub(super) struct TaskRequest {
    /// The worker's name.
    #[serde(alias = "machineId")]
    pub(super) machine_id: String,
    /// An image to run in; a plain process where it is empty.
    #[serde(default, alias = "containerName", alias = "container_name")]
    containername: Option<String>,
    /// A shell script.
    command: String,
    /// Limit of the run: seconds, or a text such as `30m` or `2h`.
    #[serde(default, deserialize_with = "duration")]
    #[schema(value_type = Option<String>)]
    duration: Option<f64>,
    /// So many GPUs, whichever are free.
    #[serde(default, alias = "gpuCount")]
    gpu_count: Option<u32>,
    /// These GPUs, by index.
    #[serde(default, alias = "gpu_ids", alias = "gpuIds")]
    gpus: Option<Vec<u32>>,
}

/// Body of `/api/task/cancel`.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = machines::CancelRequest)]
pub(super) struct CancelRequest {
    /// The task's number, or the job's id.
    #[serde(alias = "taskId", alias = "jobId")]
    #[schema(value_type = u64)]
    pub(super) task_id: JobRef,
    /// The worker's name.
    #[serde(alias = "machineId")]
    pub(super) machine_id: String,
}

/// What was asked for was done.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = machines::Accepted)]
pub(super) struct Accepted {
    /// The task's number.
    task_id: u64,
    /// The same once more.
    #[serde(rename = "taskId")]
    task_id_again: u64,
    /// The job that it is.
    #[serde(rename = "jobId")]
    #[schema(value_type = String)]
    job_id: JobId,
    /// Where it stands.
    #[schema(value_type = String)]
    status: Status,
}

/// A task in a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = machines::Task)]
pub(super) struct Task {
    #[serde(rename = "taskId")]
    task_id: u64,
    #[serde(rename = "jobId")]
    #[schema(value_type = String)]
    job_id: JobId,
    /// Its account.
    user_id: String,
    /// The worker that has it or may have it; null while any may.
    machine_id: Option<String>,
    containername: String,
    /// Blank where it is another's.
    command: String,
    /// Limit of the run in seconds; null: none.
    #[schema(value_type = Option<f64>)]
    duration: Option<Number>,
    gpu_count: usize,
    /// The GPUs that it has, or asked for by index.
    gpu_ids: Vec<u32>,
    /// When it was started, in milliseconds; null while it waits.
    start_time: Option<u64>,
    #[schema(value_type = String)]
    status: Status,
}

/// Whose commands are shown in a list.
#[derive(Clone, Copy)]
pub(super) enum Commands<'a> {
    /// Everybody's.
    All,
    /// Of this one only.
    Of(&'a AccountName),
}

impl<'a> Commands<'a> {
    /// What `who` may see in a list of everybody's tasks.
    pub(super) fn seen_by(who: &'a Identity) -> Self {
        match who.role {
            Role::Admin => Self::All,
            Role::User | Role::Worker | Role::Plugin => Self::Of(&who.account),
        }
    }
}

impl TryFrom<TaskRequest> for Submit {
    type Error = WireError;

    fn try_from(request: TaskRequest) -> Result<Self, WireError> {
        let TaskRequest { machine_id: _, containername, command, duration, gpu_count, gpus } = request;
        // Who gives both means the same by both.
        let gpu_count = match (gpu_count, &gpus) {
            (Some(count), Some(gpus)) if count as usize != gpus.len() => {
                let message = format!("gpu_count is {count} and gpus are {}; give one of them", gpus.len());
                return Err(WireError::bad_field("gpu_count", message));
            }
            (Some(_), Some(_)) => None,
            (count, _) => count,
        };
        let spec = JobSpec {
            command: Some(command),
            image: containername.filter(|name| !name.trim().is_empty()),
            timeout_secs: duration,
            requires: Requires { gpus: gpu_count, gpu_ids: gpus, ..Requires::default() },
            ..JobSpec::default()
        };
        Ok(Self { spec, key: None, follow: None })
    }
}

impl Accepted {
    pub(super) fn new(job_id: JobId, status: Status) -> Self {
        Self { task_id: job_id.number, task_id_again: job_id.number, job_id, status }
    }
}

impl Task {
    /// A job as a task.
    pub(super) fn new(job: &Job, commands: Commands<'_>) -> Self {
        let shown = match commands {
            Commands::All => true,
            Commands::Of(account) => job.account == *account,
        };
        let command = match &job.spec.program {
            Program::Shell(script) if shown => script.clone(),
            Program::Args(args) if shown => args.join(" "),
            Program::Shell(_) | Program::Args(_) | Program::Image => String::new(),
        };
        let (gpu_ids, gpu_count) = gpus_of_job(job);
        Self {
            task_id: job.id.number,
            job_id: job.id,
            user_id: job.account.to_string(),
            machine_id: job.worker.as_ref().or(job.spec.requires.worker.as_ref()).map(ToString::to_string),
            containername: match job.spec.inside {
                // It was named so when it was asked for.
                Some(_) => job.spec.name.clone().unwrap_or_default(),
                None => job.spec.image.clone().unwrap_or_default(),
            },
            command,
            duration: job.spec.timeout_ms.and_then(seconds),
            gpu_count,
            gpu_ids,
            start_time: job.started_at,
            status: job.status,
        }
    }
}

/// Milliseconds as seconds, whole ones without a point.
fn seconds(ms: u64) -> Option<Number> {
    match ms % 1000 {
        0 => Some((ms / 1000).into()),
        #[expect(clippy::cast_precision_loss, reason = "at most 10¹² milliseconds")]
        _ => Number::from_f64(ms as f64 / 1000.0),
    }
}

/// Seconds as a number, or a span of time as text.
fn duration<'de, D: Deserializer<'de>>(field: D) -> Result<Option<f64>, D::Error> {
    struct Either;
    impl Visitor<'_> for Either {
        type Value = Option<f64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("seconds above 0, or a text such as \"30m\" or \"2h\"")
        }

        fn visit_unit<E: de::Error>(self) -> Result<Option<f64>, E> {
            Ok(None)
        }

        #[expect(clippy::cast_precision_loss, reason = "what is so large is refused")]
        fn visit_u64<E: de::Error>(self, secs: u64) -> Result<Option<f64>, E> {
            self.visit_f64(secs as f64)
        }

        fn visit_i64<E: de::Error>(self, secs: i64) -> Result<Option<f64>, E> {
            Err(E::invalid_value(de::Unexpected::Signed(secs), &self))
        }

        fn visit_f64<E: de::Error>(self, secs: f64) -> Result<Option<f64>, E> {
            if secs > 0.0 { Ok(Some(secs)) } else { Err(E::invalid_value(de::Unexpected::Float(secs), &self)) }
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Option<f64>, E> {
            let span: Option<Span> = text.parse().ok();
            match span.map(|span| span.0.as_secs_f64()) {
                Some(secs) if secs > 0.0 => Ok(Some(secs)),
                Some(_) | None => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
            }
        }
    }
    field.deserialize_any(Either)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(more: &serde_json::Value) -> Result<TaskRequest, serde_json::Error> {
        let mut body = json!({"machine_id": "a", "command": "true"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(body)
    }

    #[test]
    fn a_duration_is_seconds_or_a_span() {
        for (duration, secs) in [
            (json!(90), Some(90.0)),
            (json!(0.5), Some(0.5)),
            (json!("30m"), Some(1800.0)),
            (json!("2h"), Some(7200.0)),
            (json!("45"), Some(45.0)),
            (json!(null), None),
        ] {
            assert_eq!(request(&json!({ "duration": duration })).unwrap().duration, secs, "{duration}");
        }
        for duration in [json!(0), json!(-5), json!("0"), json!(""), json!("soon"), json!([1]), json!(true)] {
            assert!(request(&json!({ "duration": duration })).is_err(), "{duration}");
        }
    }

    #[test]
    fn a_count_and_indices_must_agree() {
        let spec =
            |more: serde_json::Value| Submit::try_from(request(&more).unwrap()).map(|submit| submit.spec.requires);
        assert_eq!(spec(json!({"gpu_count": 2})).unwrap().gpus, Some(2));
        let both = spec(json!({"gpu_count": 2, "gpus": [1, 2]})).unwrap();
        assert_eq!((both.gpus, both.gpu_ids), (None, Some(vec![1, 2])));
        assert_eq!(spec(json!({"gpu_count": 1, "gpus": [1, 2]})).unwrap_err().field.as_deref(), Some("gpu_count"));
    }
}
