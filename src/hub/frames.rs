//! Log entries as the frames that followers get.

use axum::extract::ws::Utf8Bytes;

use crate::model::{Entry, EntryKind};
use crate::protocol::codec::encode;
use crate::protocol::job::{EndEvent, JobEvent, OutputEvent, StatusEvent};
use crate::protocol::output::encode_event;
use crate::protocol::{Chunk, JobId};

/// The frame of a log entry: the same bytes for every follower, live or replayed.
pub(super) fn of_entry(job_id: JobId, entry: &Entry) -> Utf8Bytes {
    let Entry { at, time, kind } = entry;
    let (at, time) = (*at, *time);
    let event = match kind {
        EntryKind::Status { status, worker, reason } => JobEvent::Status(StatusEvent {
            job_id,
            at: Some(at),
            status: *status,
            attempt: at.attempt,
            worker_id: worker.clone(),
            reason: *reason,
            task_id: None,
            account: None,
            name: None,
            exit_code: None,
            time,
        }),
        EntryKind::Output { stream, offset, bytes } => {
            let (text, base64) = Chunk::of(bytes).into_fields();
            let output = OutputEvent { job_id, at, stream: *stream, offset: *offset, text, base64, time };
            return encode_event(&output).into();
        }
        EntryKind::End { status, exit_code, reason, message } => JobEvent::End(EndEvent {
            job_id,
            at,
            status: *status,
            exit_code: *exit_code,
            reason: *reason,
            error_message: message.clone(),
            time,
        }),
    };
    encode(&event).into()
}
