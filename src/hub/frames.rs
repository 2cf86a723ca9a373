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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::job::{Reason, Status};
    use crate::protocol::{Cursor, StreamName};

    #[test]
    fn an_entry_of_a_page_is_the_data_of_its_frame_byte_for_byte() {
        let output =
            |bytes: &'static [u8]| EntryKind::Output { stream: StreamName::Stderr, offset: 7, bytes: bytes.into() };
        let kinds = [
            EntryKind::Status { status: Status::Running, worker: Some("w".parse().unwrap()), reason: None },
            EntryKind::Status { status: Status::Pending, worker: None, reason: Some(Reason::WorkerLost) },
            output("\u{1b}[1mgrüße\u{7f}\0\r\n\"\\".as_bytes()),
            output(b"\xff\x00"),
            EntryKind::End { status: Status::Failed, exit_code: None, reason: Reason::Exit, message: Some("m".into()) },
        ];
        let (job, container) = (JobId { number: 7, nonce: 1 }, JobId { number: 7, nonce: 0xc500_0001 });
        for kind in kinds {
            let entry = Entry { at: Cursor::new(2, 3), time: 9, kind };
            let data = serde_json::to_string(&of_job(job, &entry)).unwrap();
            assert_eq!(of_entry(job, &entry).as_str(), format!(r#"{{"type":"job","data":{data}}}"#));
            let console = ContainerId::of(container).unwrap();
            let data = serde_json::to_string(&of_console(console, &entry)).unwrap();
            assert_eq!(of_entry(container, &entry).as_str(), format!(r#"{{"type":"container","data":{data}}}"#));
        }
    }
}
