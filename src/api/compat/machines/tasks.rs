//! `/api/task/…`: jobs that are asked for one machine.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};

use super::caller::Caller;
use super::error::{Refusal, Refusals};
use super::shapes::{Accepted, CancelRequest, Commands, Task, TaskRequest};
use crate::api::compat::json::Body;
use crate::api::http::error::HttpError;
use crate::dispatcher::{DispatchError, Dispatcher};
use crate::model::AccountName;
use crate::protocol::WorkerId;

/// Asks for a task on a machine.
#[utoipa::path(
    method(post, put),
    path = "/api/task/request",
    tag = "machines",
    request_body = TaskRequest,
    responses((status = 200, description = "It is in the queue", body = Accepted), Refusals)
)]
pub(super) async fn request(
    State(dispatcher): State<Dispatcher>,
    Caller(who): Caller,
    body: Result<Body<TaskRequest>, HttpError>,
) -> Result<Json<Accepted>, Refusal> {
    let Body(request) = body?;
    let machine = named(&request.machine_id)?;
    let submitted = dispatcher.submit_to(&who, machine, request.try_into()?).await;
    let submitted = submitted.map_err(|error| in_their_words(&error))?.reply;
    Ok(Json(Accepted::new(submitted.job_id, submitted.status)))
}

/// Cancels a task of a machine.
#[utoipa::path(
    post,
    path = "/api/task/cancel",
    tag = "machines",
    request_body = CancelRequest,
    responses((status = 200, description = "It is cancelled, or about to be", body = Accepted), Refusals)
)]
pub(super) async fn cancel(
    State(dispatcher): State<Dispatcher>,
    Caller(who): Caller,
    body: Result<Body<CancelRequest>, HttpError>,
) -> Result<Json<Accepted>, Refusal> {
    let Body(CancelRequest { task_id, machine_id }) = body?;
    let job = dispatcher.cancel_on(&who, &named(&machine_id)?, task_id).await?;
    Ok(Json(Accepted::new(job.job_id, job.status)))
}

/// An account's tasks, newest first, 1,000 at the most. Users see their own.
#[utoipa::path(
    get,
    path = "/api/task/user/{account}",
    tag = "machines",
    params(("account" = String, Path, description = "Name or email")),
    responses((status = 200, description = "Its tasks", body = Vec<Task>), Refusals)
)]
pub(super) async fn of_user(
    State(dispatcher): State<Dispatcher>,
    Caller(who): Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Vec<Task>>, Refusal> {
    let Path(account) = path?;
    let known = dispatcher.store().account(&account).await?.map(|account| account.name);
    // One that is removed may have left tasks.
    let name: Option<AccountName> = known.clone().or_else(|| account.parse().ok());
    let Some(name) = name else { return Err(DispatchError::NotFound("account").into()) };
    let jobs = dispatcher.jobs_of(&who, &name, None).await?;
    if jobs.is_empty() && known.is_none() && name != who.account {
        return Err(DispatchError::NotFound("account").into());
    }
    Ok(Json(jobs.iter().map(|job| Task::new(job, Commands::All)).collect()))
}

/// A machine's tasks, newest first: what runs there, what waits for it, what ran there lately. Commands of others are blank.
#[utoipa::path(
    get,
    path = "/api/task/machine/{machine_id}",
    tag = "machines",
    params(("machine_id" = String, Path, description = "The worker's name")),
    responses((status = 200, description = "Its tasks", body = Vec<Task>), Refusals)
)]
pub(super) async fn of_machine(
    State(dispatcher): State<Dispatcher>,
    Caller(who): Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Vec<Task>>, Refusal> {
    let Path(machine) = path?;
    let jobs = dispatcher.jobs_of_machine(&who, &named(&machine)?).await?;
    Ok(Json(jobs.iter().map(|job| Task::new(job, Commands::seen_by(&who))).collect()))
}

/// A machine by its id. What cannot be one's name names none.
fn named(machine: &str) -> Result<WorkerId, DispatchError> {
    machine.parse().map_err(|_| DispatchError::NotFound("machine"))
}

/// Fields of a spec under the names that a task request has for them.
fn in_their_words(error: &DispatchError) -> Refusal {
    let mut error = error.to_wire();
    error.field = error.field.map(|field| match field.as_str() {
        "requires.gpus" => "gpu_count".to_owned(),
        "requires.gpuIds" => "gpus".to_owned(),
        "timeoutSecs" => "duration".to_owned(),
        "image" => "containername".to_owned(),
        _ => field,
    });
    error.into()
}
