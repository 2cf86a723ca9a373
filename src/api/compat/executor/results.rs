//! Polling workers bring back what came of a job.

use axum::Json;
use axum::extract::{Request, State};

use super::refusal::{Asker, Refusal};
use super::shapes::{Done, ErrorShape, Failure, JobResult};
use super::workers::filled;
use crate::api::compat::json::{Body, read};
use crate::api::http::error::HttpError;
use crate::auth::Identity;
use crate::dispatcher::{BroughtBack, Dispatcher};
use crate::protocol::{JobRef, WorkerId};

/// Largest result, in bytes of JSON. It is in memory whole.
const RESULT_MOST: usize = 16 * 1024 * 1024;

/// Longest reason of a failure that is kept, in bytes.
const REASON_MOST: usize = 8 * 1024;

/// Bring a result.
#[utoipa::path(
    post, path = "/api/jobs/submit-result", tag = "executor", request_body = JobResult,
    responses(
        (status = 200, body = Done),
        (status = 400, body = ErrorShape), (status = 401, body = ErrorShape),
        (status = 403, body = ErrorShape, description = "the job was not given to this worker"),
        (status = 404, body = ErrorShape, description = "no such job"),
        (status = 409, body = ErrorShape, description = "the job ended otherwise meanwhile"),
        (status = 413, body = ErrorShape, description = "more than 16 MiB"), (status = 415, body = ErrorShape),
        (status = 429, body = ErrorShape), (status = 503, body = ErrorShape),
    )
)]
pub(super) async fn submit(
    State(dispatcher): State<Dispatcher>,
    Asker(who): Asker,
    request: Request,
) -> Result<Json<Done>, Refusal> {
    let JobResult { job_id, worker_id, stdout, stderr, exit_code } = read(request, RESULT_MOST).await?;
    let (Some(job), Some(worker), Some(code)) = (filled(job_id), filled(worker_id), exit_code) else {
        return Err(Refusal::field("jobId", "jobId, workerId, and exitCode are required"));
    };
    let result = BroughtBack::Exit { stdout: stdout.unwrap_or_default(), stderr: stderr.unwrap_or_default(), code };
    let job_id = bring_back(&dispatcher, &who, &job, &worker, result).await?;
    Ok(Json(Done { success: true, job_id, message: "Job result submitted successfully" }))
}

/// Say that a job could not be run.
#[utoipa::path(
    put, path = "/api/jobs/submit-result", tag = "executor", request_body = Failure,
    responses(
        (status = 200, body = Done),
        (status = 400, body = ErrorShape), (status = 401, body = ErrorShape),
        (status = 403, body = ErrorShape, description = "the job was not given to this worker"),
        (status = 404, body = ErrorShape, description = "no such job"),
        (status = 409, body = ErrorShape, description = "the job ended otherwise meanwhile"),
        (status = 413, body = ErrorShape), (status = 415, body = ErrorShape),
        (status = 429, body = ErrorShape), (status = 503, body = ErrorShape),
    )
)]
pub(super) async fn fail(
    State(dispatcher): State<Dispatcher>,
    Asker(who): Asker,
    body: Result<Body<Failure>, HttpError>,
) -> Result<Json<Done>, Refusal> {
    let Body(Failure { job_id, worker_id, error_message }) = body?;
    let (Some(job), Some(worker)) = (filled(job_id), filled(worker_id)) else {
        return Err(Refusal::field("jobId", "jobId and workerId are required"));
    };
    let mut message = filled(error_message).unwrap_or_else(|| "The worker reported a failure".to_owned());
    message.truncate(message.floor_char_boundary(REASON_MOST));
    let job_id = bring_back(&dispatcher, &who, &job, &worker, BroughtBack::Failure { message }).await?;
    Ok(Json(Done { success: true, job_id, message: "Job failure recorded successfully" }))
}

async fn bring_back(
    dispatcher: &Dispatcher,
    who: &Identity,
    job: &str,
    worker: &str,
    result: BroughtBack,
) -> Result<String, Refusal> {
    let job: JobRef = job.parse().map_err(|_| Refusal::not_found("Job"))?;
    let worker: WorkerId = worker.parse().map_err(|error| Refusal::field("workerId", format!("workerId: {error}")))?;
    let brought = dispatcher.bring_back(who, job, &worker, result).await;
    Ok(brought
        .map_err(|error: crate::dispatcher::DispatchError| Refusal::from(HttpError::from(error)).or_not_found("Job"))?
        .to_string())
}
