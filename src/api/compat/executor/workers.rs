//! Workers register, live, and are listed.

use axum::Json;
use axum::extract::State;

use super::refusal::{Asker, Parameters, Refusal, limit, parameter};
use super::shapes::{ErrorShape, Heard, Heartbeat, Register, Registered, Workers};
use crate::api::compat::json::Body;
use crate::api::http::address::ClientAddress;
use crate::api::http::error::HttpError;
use crate::dispatcher::{Dispatcher, PollingWorker};
use crate::protocol::WorkerId;

/// Longest word that a worker has for something of its own, in bytes.
const WORD_MOST: usize = 256;

/// Register a polling worker.
#[utoipa::path(
    post, path = "/api/workers/register", tag = "executor", request_body = Register,
    responses(
        (status = 200, body = Registered),
        (status = 400, body = ErrorShape, description = "a field is missing or wrong"),
        (status = 401, body = ErrorShape), (status = 403, body = ErrorShape),
        (status = 409, body = ErrorShape, description = "a worker of this name is connected by WebSocket"),
        (status = 413, body = ErrorShape), (status = 415, body = ErrorShape),
        (status = 429, body = ErrorShape), (status = 503, body = ErrorShape),
    )
)]
pub(super) async fn register(
    State(dispatcher): State<Dispatcher>,
    Asker(who): Asker,
    ClientAddress(address): ClientAddress,
    body: Result<Body<Register>, HttpError>,
) -> Result<Json<Registered>, Refusal> {
    let Body(Register { worker_id, hostname, os, cpu_count, version }) = body?;
    let (Some(id), Some(hostname)) = (filled(worker_id), filled(hostname)) else {
        return Err(Refusal::field("workerId", "workerId and hostname are required"));
    };
    let id: WorkerId = id.parse().map_err(|error| Refusal::field("workerId", format!("workerId: {error}")))?;
    let worker = PollingWorker {
        id: id.clone(),
        hostname: word("hostname", hostname)?,
        os: word("os", os.unwrap_or_default())?,
        cpu_count: cpu_count.unwrap_or(0),
        version: word("version", version.unwrap_or_default())?,
    };
    dispatcher.register_polling(&who, worker, address).await?;
    Ok(Json(Registered {
        success: true,
        message: format!("Worker {id} registered successfully"),
        worker_id: id.to_string(),
    }))
}

/// Say that a polling worker lives.
#[utoipa::path(
    post, path = "/api/workers/heartbeat", tag = "executor", request_body = Heartbeat,
    responses(
        (status = 200, body = Heard),
        (status = 400, body = ErrorShape), (status = 401, body = ErrorShape), (status = 403, body = ErrorShape),
        (status = 404, body = ErrorShape, description = "no such polling worker"),
        (status = 413, body = ErrorShape), (status = 415, body = ErrorShape),
        (status = 429, body = ErrorShape), (status = 503, body = ErrorShape),
    )
)]
pub(super) async fn heartbeat(
    State(dispatcher): State<Dispatcher>,
    Asker(who): Asker,
    body: Result<Body<Heartbeat>, HttpError>,
) -> Result<Json<Heard>, Refusal> {
    let Body(Heartbeat { worker_id }) = body?;
    let id = filled(worker_id).ok_or_else(|| Refusal::field("workerId", "workerId is required"))?;
    // What could be no worker's name is no worker's.
    let id: WorkerId = id.parse().map_err(|_| Refusal::not_found("Worker"))?;
    let heard = dispatcher.polling_heartbeat(&who, &id).await;
    let timestamp = heard.map_err(|error| Refusal::from(error).or_not_found("Worker"))?;
    Ok(Json(Heard { success: true, worker_id: id.to_string(), timestamp }))
}

/// List all workers, polling or connected.
#[utoipa::path(
    get, path = "/api/workers/register", tag = "executor",
    params(
        ("limit" = Option<String>, Query, description = "workers at the most; 50 unless given, 1,000 at the most"),
        ("before" = Option<String>, Query, description = "only those after this one: the last workerId of the page before"),
    ),
    responses(
        (status = 200, body = Workers),
        (status = 400, body = ErrorShape), (status = 401, body = ErrorShape), (status = 403, body = ErrorShape),
        (status = 429, body = ErrorShape), (status = 503, body = ErrorShape),
    )
)]
pub(super) async fn list(
    State(dispatcher): State<Dispatcher>,
    Asker(_who): Asker,
    query: Parameters,
) -> Result<Json<Workers>, Refusal> {
    let query = query?;
    let before = parameter(&query, &["before"]).map(str::parse).transpose();
    let before: Option<WorkerId> = before.map_err(|error| Refusal::field("before", format!("before: {error}")))?;
    let (workers, count) = dispatcher.newest_workers(limit(&query)?, before.as_ref()).await?;
    Ok(Json(Workers { workers: workers.into_iter().map(Into::into).collect(), count }))
}

/// What is there and not empty.
pub(super) fn filled(value: Option<String>) -> Option<String> {
    value.filter(|value| !value.trim().is_empty())
}

fn word(field: &str, value: String) -> Result<String, Refusal> {
    if value.len() > WORD_MOST || value.chars().any(char::is_control) {
        let message = format!("{field} must be at most {WORD_MOST} bytes, without control characters");
        return Err(Refusal::field(field, message));
    }
    Ok(value)
}
