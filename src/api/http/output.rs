//! `GET /api/jobs/{job}/output`: what the latest attempt wrote, as it wrote it.
//!
//! The answer is as long as the stream was when it was asked for; a job that still runs goes on
//! writing behind it. Where the output cap removed the beginning, what is left is the whole body,
//! and `Gangline-Removed-Bytes` says how much is missing before it.

use std::collections::HashMap;
use std::io;
use std::ops::Range;

use axum::body::{Body, Bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use futures_util::{Stream, TryStreamExt, stream};

use super::HttpError;
use super::caller::Caller;
use super::openapi::Refused;
use super::ranges::Part;
use crate::dispatcher::Dispatcher;
use crate::model::{Entry, EntryKind, Job};
use crate::protocol::{Cursor, JobId, StreamName, WireError};

/// Output read from the store at a time.
const PAGE_BYTES: usize = 512 * 1024;

/// Bytes of the stream that are missing before the body.
const REMOVED: HeaderName = HeaderName::from_static("gangline-removed-bytes");

/// Streams what a job's latest attempt wrote, as it was written.
#[utoipa::path(
    get, path = "/api/jobs/{job}/output", tag = "files", security(("token" = [])),
    params(
        ("job" = String, Path, description = "Id or number of the job"),
        ("stream" = Option<String>, Query, description = "`stdout` (default) or `stderr`"),
    ),
    responses(
        (status = 200, description = "All of it", content_type = "application/octet-stream"),
        (status = 206, description = "The part of it that `Range` asks for", content_type = "application/octet-stream"),
        Refused,
    ),
)]
pub(super) async fn get(
    State(dispatcher): State<Dispatcher>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<HashMap<String, String>>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let (Path(job), Query(query)) = (path?, query?);
    let job = caller.job(&dispatcher, &job).await?;
    let stream = match query.get("stream").map(String::as_str) {
        None | Some("stdout") => StreamName::Stdout,
        Some("stderr") => StreamName::Stderr,
        Some(other) => {
            let message = format!("stream must be stdout or stderr, got {other:?}");
            return Err(WireError::bad_field("stream", message).into());
        }
    };
    let written = match stream {
        StreamName::Stdout => job.stdout_bytes,
        StreamName::Stderr => job.stderr_bytes,
    };
    let removed = removed(&dispatcher, &job, stream, written).await?;
    let part = Part::asked(&headers, written - removed, None)?;
    let range = part.range.start + removed..part.range.end + removed;
    let reader = Reader { job: job.id, stream, after: Cursor::new(job.attempt, 0), range };
    let mut response = part.response("text/plain; charset=utf-8", Body::from_stream(read(dispatcher, reader)));
    if removed > 0 {
        response.headers_mut().insert(REMOVED, HeaderValue::from(removed));
    }
    Ok(response)
}

/// How much of the beginning of a stream is no longer kept.
async fn removed(dispatcher: &Dispatcher, job: &Job, stream: StreamName, written: u64) -> Result<u64, HttpError> {
    let mut after = Cursor::new(job.attempt, 0);
    loop {
        let page = dispatcher.read_log(job.id, after, PAGE_BYTES).await?;
        let page = page.ok_or_else(|| HttpError::not_found("job"))?;
        // Most logs are whole.
        if after.n == 0 && page.removed.is_none() {
            return Ok(0);
        }
        if let Some((offset, _)) = page.entries.iter().find_map(|entry| output(entry, stream)) {
            return Ok(offset.min(written));
        }
        let Some(last) = page.entries.last() else { return Ok(written) };
        after = last.at;
    }
}

/// A place in the output of one attempt.
struct Reader {
    job: JobId,
    stream: StreamName,
    after: Cursor,
    /// Offsets still to be read.
    range: Range<u64>,
}

/// The bytes of a range of offsets, a page of the log at a time.
fn read(dispatcher: Dispatcher, reader: Reader) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold((dispatcher, reader), async |(dispatcher, mut reader)| {
        if reader.range.is_empty() {
            return Ok::<_, io::Error>(None);
        }
        let page = dispatcher.read_log(reader.job, reader.after, PAGE_BYTES).await;
        let page = page.map_err(io::Error::other)?;
        let chunks = reader.advance(page.as_ref().map_or(&[], |page| &page.entries))?;
        Ok(Some((stream::iter(chunks.into_iter().map(io::Result::Ok)), (dispatcher, reader))))
    })
    .try_flatten()
}

impl Reader {
    /// The chunks of a page that are in range.
    ///
    /// # Errors
    /// Bytes that were promised are gone. The answer then ends before its length, which
    /// tells the peer.
    fn advance(&mut self, entries: &[Entry]) -> io::Result<Vec<Bytes>> {
        let gone = || io::Error::other("output was removed while it was read");
        self.after = entries.last().ok_or_else(gone)?.at;
        let mut chunks = Vec::new();
        for (offset, bytes) in entries.iter().filter_map(|entry| output(entry, self.stream)) {
            let Range { start, end } = self.range;
            let next = offset + bytes.len() as u64;
            if next <= start {
                continue;
            }
            if start < offset && start < end {
                return Err(gone());
            }
            // In range of a chunk, and so of `usize`.
            let from = start.saturating_sub(offset) as usize;
            let to = (end.min(next)).saturating_sub(offset) as usize;
            if from < to {
                chunks.push(bytes.slice(from..to));
                self.range.start = offset + to as u64;
            }
        }
        Ok(chunks)
    }
}

/// Offset and bytes of an entry, if it is output of this stream.
fn output(entry: &Entry, wanted: StreamName) -> Option<(u64, &Bytes)> {
    match &entry.kind {
        EntryKind::Output { stream, offset, bytes } if *stream == wanted => Some((*offset, bytes)),
        EntryKind::Output { .. } | EntryKind::Status { .. } | EntryKind::End { .. } => None,
    }
}
