//! Jobs are made, handed to polling workers, looked up and listed.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::refusal::{Asker, Parameters, Refusal, limit, parameter};
use super::shapes::{AssignedJob, Assignment, Create, Done, ErrorShape, JobShape, Jobs, Nothing};
use super::workers::filled;
use crate::api::compat::json::Body;
use crate::api::http::address::ClientAddress;
use crate::api::http::caller::Caller;
use crate::api::http::error::HttpError;
use crate::auth::Identity;
use crate::dispatcher::{Dispatcher, Excerpt, Standing, Submission};
use crate::model::job::is_over;
use crate::protocol::job::Submit;
use crate::protocol::spec::JobSpec;
use crate::protocol::{JobRef, WorkerId};

/// Bytes of output that a list shows, shared by its jobs.
const SHOWN_IN_LIST: usize = 4 * 1024 * 1024;

/// Create a job.
#[utoipa::path(
    post, path = "/api/jobs/create", tag = "executor", request_body = Create,
    responses(
        (status = 200, body = Done),
        (status = 400, body = ErrorShape, description = "a field is missing or wrong"),
        (status = 401, body = ErrorShape), (status = 403, body = ErrorShape),
        (status = 413, body = ErrorShape), (status = 415, body = ErrorShape),
        (status = 429, body = ErrorShape, description = "the queue is full, or there were too many requests"),
        (status = 503, body = ErrorShape),
    )
)]
pub(super) async fn create(
    State(dispatcher): State<Dispatcher>,
    asker: Asker,
    body: Result<Body<Create>, HttpError>,
) -> Result<Json<Done>, Refusal> {
    let who = asker.submits()?;
    let Body(Create { command, file_url, filename }) = body?;
    let (Some(command), Some(file_url), Some(filename)) = (filled(command), filled(file_url), filled(filename)) else {
        return Err(Refusal::field("command", "command, fileUrl, and filename are required"));
    };
    check_url(&file_url)?;
    let spec =
        JobSpec { command: Some(command), file_url: Some(file_url), filename: Some(filename), ..JobSpec::default() };
    let job_id = submit(&dispatcher, &who, spec).await?.reply.job_id.to_string();
    Ok(Json(Done { success: true, job_id, message: "Job created successfully" }))
}

/// Give a job to an idle polling worker.
#[utoipa::path(
    get, path = "/api/jobs/get-job", tag = "executor",
    params(("workerId" = Option<String>, Query, description = "who asks; else an idle worker of the same address is meant")),
    responses(
        (status = 200, body = Assignment),
        (status = 202, body = Nothing, description = "no job waits, or no worker is idle"),
        (status = 400, body = ErrorShape), (status = 401, body = ErrorShape), (status = 403, body = ErrorShape),
        (status = 404, body = ErrorShape, description = "no such polling worker"),
        (status = 429, body = ErrorShape), (status = 503, body = ErrorShape),
    )
)]
pub(super) async fn get_job(
    State(dispatcher): State<Dispatcher>,
    Asker(who): Asker,
    ClientAddress(address): ClientAddress,
    query: Parameters,
) -> Result<Response, Refusal> {
    let query = query?;
    let named = parameter(&query, &["workerId", "worker_id"]).map(str::parse).transpose();
    let named: Option<WorkerId> = named.map_err(|_| Refusal::not_found("Worker"))?;
    let given = dispatcher.poll(&who, named.as_ref(), address).await;
    let Some(job) = given.map_err(|error| Refusal::from(error).or_not_found("Worker"))? else {
        let nothing = Nothing { success: false, message: "No idle workers available", job: None };
        return Ok((StatusCode::ACCEPTED, Json(nothing)).into_response());
    };
    let job = AssignedJob {
        job_id: job.id.to_string(),
        command: job.spec.command_line().into_owned(),
        file_url: job.spec.file_url.clone().unwrap_or_default(),
        filename: job.spec.filename.clone().unwrap_or_default(),
    };
    Ok(Json(Assignment { success: true, job }).into_response())
}

/// Say how a job stands.
#[utoipa::path(
    get, path = "/api/jobs/status", tag = "executor",
    params(("jobId" = String, Query, description = "the job's id or number")),
    responses(
        (status = 200, body = JobShape<'_>),
        (status = 400, body = ErrorShape), (status = 401, body = ErrorShape), (status = 403, body = ErrorShape),
        (status = 404, body = ErrorShape), (status = 429, body = ErrorShape), (status = 503, body = ErrorShape),
    )
)]
pub(super) async fn status(
    State(dispatcher): State<Dispatcher>,
    Asker(who): Asker,
    query: Parameters,
) -> Result<Response, Refusal> {
    let query = query?;
    let named = parameter(&query, &["jobId", "job_id"]).ok_or_else(|| Refusal::field("jobId", "jobId is required"))?;
    let job: JobRef = named.parse().map_err(|_| Refusal::not_found("Job"))?;
    let standing = dispatcher.standing(job).await?.filter(|standing| Caller(who).sees(&standing.job));
    let standing = standing.ok_or_else(|| Refusal::not_found("Job"))?;
    let Standing { job, stdout, stderr } = &*standing;
    Ok(Json(JobShape::of(job, stdout, stderr)).into_response())
}

/// List jobs, newest first.
#[utoipa::path(
    get, path = "/api/jobs/create", tag = "executor",
    params(
        ("limit" = Option<String>, Query, description = "jobs at the most; 50 unless given, 1,000 at the most"),
        ("before" = Option<String>, Query, description = "only older ones than this job: the last jobId of the page before"),
    ),
    responses(
        (status = 200, body = Jobs<'_>),
        (status = 400, body = ErrorShape), (status = 401, body = ErrorShape), (status = 403, body = ErrorShape),
        (status = 429, body = ErrorShape), (status = 503, body = ErrorShape),
    )
)]
pub(super) async fn list(
    State(dispatcher): State<Dispatcher>,
    asker: Asker,
    query: Parameters,
) -> Result<Response, Refusal> {
    let who = asker.submits()?;
    let query = query?;
    let before = parameter(&query, &["before"]).map(str::parse).transpose();
    let before: Option<JobRef> = before.map_err(|error| Refusal::field("before", format!("before: {error}")))?;
    let (found, count) = dispatcher.newest_jobs(&who, limit(&query)?, before).await?;
    let shown = SHOWN_IN_LIST / 2 / found.len().max(1);
    let mut written = Vec::with_capacity(found.len());
    for job in &found {
        written.push(match is_over(job.status) {
            true => dispatcher.excerpts(job, shown).await?,
            false => (Excerpt::default(), Excerpt::default()),
        });
    }
    let shapes = found.iter().zip(&written).map(|(job, (stdout, stderr))| JobShape::of(job, stdout, stderr));
    Ok(Json(Jobs { jobs: shapes.collect(), count }).into_response())
}

/// Puts a job into the queue.
pub(super) async fn submit(dispatcher: &Dispatcher, who: &Identity, spec: JobSpec) -> Result<Submission, Refusal> {
    Ok(dispatcher.submit(who, Submit { spec, ..Submit::default() }, None).await?)
}

/// A worker can fetch what is on this server or behind `http://` and `https://`.
fn check_url(url: &str) -> Result<(), Refusal> {
    let wrong = |why: &str| Err(Refusal::field("fileUrl", format!("fileUrl {why}")));
    if url.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
        return wrong("holds a character that no address has");
    }
    match url.split_once(':') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") => {
            if rest.strip_prefix("//").is_some_and(|rest| !rest.starts_with('/') && !rest.is_empty()) {
                Ok(())
            } else {
                wrong("is no address")
            }
        }
        _ if url.starts_with("/uploads/") && !url.split('/').any(|part| part == "..") => Ok(()),
        Some(_) | None => wrong("must be the path of an upload, /uploads/…, or an http:// or https:// address"),
    }
}
