//! A job's output as server-sent events, as it comes.
//!
//! `id:` is the log's cursor and `data:` what the WebSocket's followers get; a client that comes back says with
//! `Last-Event-ID` what it has. One that reads slowly holds nobody up: the log waits for it.

use std::convert::Infallible;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tracing::debug;

use super::refusal::{Asker, Parameters, Refusal, parameter};
use super::shapes::ErrorShape;
use crate::auth::Identity;
use crate::dispatcher::{Dispatcher, LogReader, Piece};
use crate::hub::Sendable;
use crate::model::job::is_over;
use crate::protocol::{After, JobRef};

/// What an event source says when it comes back.
const LAST_EVENT_ID: &str = "last-event-id";

/// One of the events of a stream.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it says what events look like")]
pub(super) struct JobEvent {
    /// The cursor of the log entry: what `Last-Event-ID` takes
    id: Option<String>,
    /// `output`, `truncated` or `end`
    event: String,
    /// JSON: the fields of the frame of the same name
    data: String,
}

/// Follow a job's output.
#[utoipa::path(
    get, path = "/api/jobs/stream", tag = "executor",
    params(
        ("jobId" = String, Query, description = "the job's id or number"),
        ("Last-Event-ID" = Option<String>, Header, description = "the id of the last event that arrived"),
    ),
    responses(
        (status = 200, content_type = "text/event-stream", body = JobEvent,
         description = "events `output` and, last, `end`; `truncated` where output is no longer kept"),
        (status = 204, description = "the job is over, and Last-Event-ID is its end: there is no more"),
        (status = 400, body = ErrorShape), (status = 401, body = ErrorShape), (status = 403, body = ErrorShape),
        (status = 404, body = ErrorShape), (status = 429, body = ErrorShape), (status = 503, body = ErrorShape),
    )
)]
pub(super) async fn stream(
    State(dispatcher): State<Dispatcher>,
    Asker(who): Asker,
    headers: HeaderMap,
    query: Parameters,
) -> Result<Response, Refusal> {
    let query = query?;
    let job = parameter(&query, &["jobId", "job_id"]).ok_or_else(|| Refusal::field("jobId", "jobId is required"))?;
    let job: JobRef = job.parse().map_err(|_| Refusal::not_found("Job"))?;
    let wrong = || Refusal::field("Last-Event-ID", "Last-Event-ID must be the id of an event, such as 1-42");
    let after = match headers.get(LAST_EVENT_ID).map(|value| value.to_str()) {
        None | Some(Ok("")) => After::Start,
        Some(Ok(id)) => After::At(id.parse().map_err(|_| wrong())?),
        Some(Err(_)) => return Err(wrong()),
    };
    follow(&dispatcher, &who, job, after).await
}

/// The events of a job's log from a place on.
pub(super) async fn follow(
    dispatcher: &Dispatcher,
    who: &Identity,
    job: JobRef,
    after: After,
) -> Result<Response, Refusal> {
    let reading = dispatcher.read_along(who, job, after).await;
    let (following, reader) = reading.map_err(|error| Refusal::from(error).or_not_found("Job"))?;
    if is_over(following.status) && following.from >= following.top {
        // An event source that comes back after the end is told to stay away.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(Sse::new(events(reader)).keep_alive(KeepAlive::default()).into_response())
}

fn events(reader: LogReader) -> impl Stream<Item = Result<Event, Infallible>> {
    let pieces = stream::unfold(reader, async |mut reader| match reader.next().await {
        Ok(piece) => Some((piece?, reader)),
        Err(error) => {
            // The client comes back, and says where it was.
            debug!(%error, "a stream of events ends early");
            None
        }
    });
    pieces.flat_map(|Piece { removed, entries }| {
        let removed = removed.map(|(from, to)| {
            let data = json!({ "from": from.to_string(), "to": to.to_string() });
            Event::default().event("truncated").id(to.to_string()).data(data.to_string())
        });
        let entries = entries.into_iter().filter_map(event);
        stream::iter(removed.into_iter().chain(entries).map(Ok).collect::<Vec<_>>())
    })
}

/// A frame, of which only the payload is told.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
}

/// Output and the end are events; that the job began, or went back to the queue, is not.
fn event(Sendable { at, status, frame }: Sendable) -> Option<Event> {
    let name = match status {
        None => "output",
        Some(status) if is_over(status) => "end",
        Some(_) => return None,
    };
    let Frame { data } = serde_json::from_str(&frame).ok()?;
    Some(Event::default().event(name).id(at.to_string()).data(data.get()))
}
