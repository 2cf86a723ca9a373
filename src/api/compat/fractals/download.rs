//! `/download`: the image that a task left.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;

use super::asked::Asked;
use super::error::{Error, Refusal, Refusals};
use crate::api::http::artifacts::serve;
use crate::api::http::error::HttpError;
use crate::dispatcher::Dispatcher;
use crate::model::job::is_over;
use crate::protocol::{ErrorCode, JobRef, WireError};

/// Which task, by the address.
#[derive(Deserialize)]
pub(super) struct Which {
    #[serde(alias = "taskId", alias = "jobId")]
    task_id: Option<String>,
}

/// Which task, by the body.
#[derive(Deserialize)]
pub(super) struct Named {
    #[serde(default, alias = "taskId", alias = "jobId")]
    task_id: Option<JobRef>,
}

/// The first image among what a task left, whole or the part that `Range` asks for.
#[utoipa::path(
    get,
    path = "/download",
    tag = "fractals",
    params(("task_id" = String, Query, description = "The task's number, or the job's id")),
    responses(
        (status = 200, description = "The image", content_type = "image/*"),
        (status = 206, description = "The part of it that was asked for", content_type = "image/*"),
        (status = 304, description = "The asker has it already"),
        (status = 410, description = "The task is over, and there is no image of it, or none any more", body = Error),
        (status = 416, description = "The range begins beyond its end", body = Error),
        Refusals
    )
)]
pub(super) async fn download(
    State(dispatcher): State<Dispatcher>,
    query: Result<Query<Which>, QueryRejection>,
    headers: HeaderMap,
    asked: Asked<Named>,
) -> Result<Response, Refusal> {
    let Asked { who, body: Named { task_id: in_body } } = asked;
    let Query(Which { task_id }) = query?;
    let in_address = task_id.map(|task| task.parse()).transpose().map_err(|_| HttpError::not_found("task"))?;
    let task = in_address.or(in_body).ok_or_else(|| WireError::bad_field("task_id", "task_id is required"))?;
    let job = dispatcher.job(&who, task).await?;
    if dispatcher.is_removed(&job.account, job.id.into()).await? {
        return Err(gone("the task was deleted"));
    }
    if !is_over(job.status) {
        return Err(WireError::new(ErrorCode::Conflict, "the task is not finished").into());
    }
    let artifacts = dispatcher.blobs().artifacts(job.id, job.attempt).await?;
    let image = artifacts.into_iter().find(|artifact| artifact.content_type.starts_with("image/"));
    let image = image.ok_or_else(|| gone("the task is over and left no image"))?;
    Ok(serve(&dispatcher, &job, &image.path, &headers).await?)
}

fn gone(why: &str) -> Refusal {
    HttpError::from(WireError::new(ErrorCode::NotFound, why)).with_status(StatusCode::GONE).into()
}
