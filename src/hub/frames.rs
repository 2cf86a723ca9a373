//! Log entries as the frames that followers get: of type `job`, or `container` where that is what the log is of.

use axum::extract::ws::Utf8Bytes;

use crate::model::{Entry, EntryKind, container};
use crate::protocol::codec::encode;
use crate::protocol::container::{ConsoleOutput, ContainerEvent, ContainerStatus, ContainerStatusEvent, StartEnded};
use crate::protocol::job::{EndEvent, JobEvent, OutputEvent, StatusEvent};
use crate::protocol::output::encode_event;
use crate::protocol::paging::{ConsoleEntry, JobEntry};
use crate::protocol::{Chunk, ContainerId, JobId};

/// The frame of a log entry: the same bytes for every follower, live or replayed.
pub(super) fn of_entry(id: JobId, entry: &Entry) -> Utf8Bytes {
    match ContainerId::of(id) {
        Some(container) => match of_console(container, entry) {
            ConsoleEntry::Status(event) => encode(&ContainerEvent::Status(event)).into(),
            ConsoleEntry::Output(event) => encode(&ContainerEvent::Output(event)).into(),
            ConsoleEntry::End(event) => encode(&ContainerEvent::End(event)).into(),
        },
        None => match of_job(id, entry) {
            JobEntry::Status(event) => encode(&JobEvent::Status(event)).into(),
            JobEntry::Output(event) => encode_event(&event).into(),
            JobEntry::End(event) => encode(&JobEvent::End(event)).into(),
        },
    }
}

/// An entry of a job's log.
pub fn of_job(job_id: JobId, entry: &Entry) -> JobEntry<'_> {
    let Entry { at, time, kind } = entry;
    let (at, time) = (*at, *time);
    match kind {
        EntryKind::Status { status, worker, reason } => JobEntry::Status(StatusEvent {
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
            JobEntry::Output(OutputEvent { job_id, at, stream: *stream, offset: *offset, text, base64, time })
        }
        EntryKind::End { status, exit_code, reason, message } => JobEntry::End(EndEvent {
            job_id,
            at,
            status: *status,
            exit_code: *exit_code,
            reason: *reason,
            error_message: message.clone(),
            time,
        }),
    }
}

/// An entry of a container's console.
pub fn of_console(container_id: ContainerId, entry: &Entry) -> ConsoleEntry<'_> {
    let Entry { at, time, kind } = entry;
    let (at, time) = (*at, *time);
    match kind {
        EntryKind::Status { status: _, worker, reason } => {
            let status = if worker.is_some() { ContainerStatus::Running } else { ContainerStatus::Creating };
            ConsoleEntry::Status(Box::new(ContainerStatusEvent {
                container_id,
                at: Some(at),
                status,
                attempt: at.attempt,
                worker_id: worker.clone(),
                reason: *reason,
                container: None,
                time,
            }))
        }
        EntryKind::Output { stream, offset, bytes } => {
            let (text, base64) = Chunk::of(bytes).into_fields();
            ConsoleEntry::Output(ConsoleOutput {
                container_id,
                at,
                stream: *stream,
                offset: *offset,
                text,
                base64,
                time,
            })
        }
        EntryKind::End { status, exit_code, reason, message } => ConsoleEntry::End(StartEnded {
            container_id,
            at,
            status: container::after(*status, *reason),
            exit_code: *exit_code,
            reason: *reason,
            error_message: message.clone(),
            time,
        }),
    }
}
