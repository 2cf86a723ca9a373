//! `/add`, `/delete` and `/tasks`: jobs as this family calls them.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::asked::Asked;
use super::error::{Refusal, Refusals};
use crate::dispatcher::Dispatcher;
use crate::model::Job;
use crate::protocol::codec::typed_value;
use crate::protocol::job::{JobRequest, Status, Submit};
use crate::protocol::spec::JobSpec;
use crate::protocol::{JobId, JobRef, WireError};

/// Body of `/add`.
#[derive(Deserialize, ToSchema)]
#[schema(as = fractals::Add)]
pub(super) struct Add {
    /// A job's spec, `{"template", "params"}`, the name of a template, or a shell script.
    #[schema(value_type = Object)]
    task: Value,
    /// Parameters, where `task` is the name of a template.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    params: Option<Value>,
    /// The token, where it is not in the header.
    #[serde(default, rename = "jwt")]
    #[expect(dead_code, reason = "read where the asker is identified")]
    jwt: Option<String>,
}

/// Body of `/delete`.
#[derive(Deserialize, ToSchema)]
#[schema(as = fractals::Delete)]
pub(super) struct Delete {
    /// The task's number, or the job's id.
    #[serde(alias = "taskId", alias = "jobId")]
    #[schema(value_type = u64)]
    task_id: JobRef,
    /// The token, where it is not in the header.
    #[serde(default, rename = "jwt")]
    #[expect(dead_code, reason = "read where the asker is identified")]
    jwt: Option<String>,
}

/// Body of a request without fields.
#[derive(Deserialize)]
pub(super) struct Nothing {}

/// Which page of a list.
#[derive(Deserialize)]
pub(super) struct PageOf {
    before: Option<String>,
}

/// A task that was added.
#[derive(Serialize, ToSchema)]
#[schema(as = fractals::Added)]
pub(super) struct Added {
    /// Its number.
    task_id: u64,
    /// The job that it is.
    #[serde(rename = "jobId")]
    #[schema(value_type = String)]
    job_id: JobId,
}

/// A task as it stands.
#[derive(Serialize, ToSchema)]
#[schema(as = fractals::Task)]
pub(super) struct Task {
    /// Its number.
    task_id: u64,
    /// The job that it is.
    #[serde(rename = "jobId")]
    #[schema(value_type = String)]
    job_id: JobId,
    #[schema(value_type = String)]
    status: Status,
    name: Option<String>,
    /// The template that it came from.
    template: Option<String>,
    error_message: Option<String>,
    /// In milliseconds, as all times.
    created_at: u64,
    started_at: Option<u64>,
    completed_at: Option<u64>,
}

/// Adds a task.
#[utoipa::path(
    post,
    path = "/add",
    tag = "fractals",
    request_body = Add,
    responses((status = 200, description = "It is in the queue", body = Added), Refusals)
)]
pub(super) async fn add(State(dispatcher): State<Dispatcher>, asked: Asked<Add>) -> Result<Json<Added>, Refusal> {
    let Asked { who, body: Add { task, params, jwt: _ } } = asked;
    let submit = match task {
        Value::Object(spec) => in_the_task(spec)?,
        Value::String(name) if params.is_some() || dispatcher.has_template(&name) => {
            let params =
                typed_value(params.unwrap_or_else(|| Map::new().into())).map_err(|error| error.field("params"))?;
            submit(JobSpec { template: Some(name), params, ..JobSpec::default() })
        }
        Value::String(script) => submit(JobSpec { command: Some(script), ..JobSpec::default() }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            let message = "task: expected a job's spec, a template with its params, or a command";
            return Err(WireError::bad_field("task", message).into());
        }
    };
    let added = dispatcher.submit(&who, submit, None).await?.reply;
    Ok(Json(Added { task_id: added.task_id, job_id: added.job_id }))
}

/// Takes a task off one's list, and cancels it unless it is over.
#[utoipa::path(
    post,
    path = "/delete",
    tag = "fractals",
    request_body = Delete,
    responses((status = 200, description = "It is off the list", body = Task), Refusals)
)]
pub(super) async fn delete(State(dispatcher): State<Dispatcher>, asked: Asked<Delete>) -> Result<Json<Task>, Refusal> {
    let Asked { who, body: Delete { task_id, jwt: _ } } = asked;
    Ok(Json(task(&*dispatcher.remove_job(&who, task_id).await?)))
}

/// The status of all tasks of one's own, newest first, 1,000 at the most.
#[utoipa::path(
    get,
    path = "/tasks",
    tag = "fractals",
    params(("before" = Option<String>, Query, description = "Only tasks older than this one")),
    responses((status = 200, description = "The tasks", body = Vec<Task>), Refusals)
)]
pub(super) async fn list(
    State(dispatcher): State<Dispatcher>,
    query: Result<Query<PageOf>, QueryRejection>,
    asked: Asked<Nothing>,
) -> Result<Json<Vec<Task>>, Refusal> {
    let Asked { who, body: Nothing {} } = asked;
    let Query(PageOf { before }) = query?;
    let before = before.map(|job| job.parse::<JobRef>()).transpose();
    let before = before.map_err(|error| WireError::bad_field("before", format!("before: {error}")))?;
    let jobs = dispatcher.own_jobs(&who, before.map(JobRef::number)).await?;
    Ok(Json(jobs.iter().map(|job| task(job)).collect()))
}

/// A spec as the WebSocket takes it; what is wrong in it is wrong in `task`.
fn in_the_task(spec: Map<String, Value>) -> Result<Submit, WireError> {
    let spec = Value::Object(spec).to_string();
    match JobRequest::decode("submit", &spec) {
        Ok(JobRequest::Submit(submit)) => Ok(*submit),
        // No other verb was asked for.
        Ok(_) => Err(WireError::bad_field("task", "task: expected a job's spec")),
        Err(mut error) => {
            error.field = error.field.map(|field| format!("task.{field}"));
            Err(error)
        }
    }
}

fn submit(spec: JobSpec) -> Submit {
    Submit { spec, key: None, follow: None }
}

fn task(job: &Job) -> Task {
    Task {
        task_id: job.id.number,
        job_id: job.id,
        status: job.status,
        name: job.spec.name.clone(),
        template: job.spec.template.as_ref().map(|template| template.name.clone()),
        error_message: job.error_message.clone(),
        created_at: job.created_at,
        started_at: job.started_at,
        completed_at: job.completed_at,
    }
}
