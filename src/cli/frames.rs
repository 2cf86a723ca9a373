//! What a follower hears, as the frames that brought it: one JSON object a line.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

use crate::client::FollowEvent;
use crate::model::{Entry, EntryKind, container};
use crate::protocol::chunk::Chunk;
use crate::protocol::container::{
    ConsoleLive, ConsoleOutput, ConsoleTruncated, ContainerEvent, ContainerStatus, ContainerStatusEvent, StartEnded,
};
use crate::protocol::job::{EndEvent, JobEvent, Live, OutputEvent, StatusEvent, Truncated};
use crate::protocol::{ContainerId, JobId};

/// The frame's `data`, as it came; none where no frame did.
pub(super) fn line(log: JobId, event: &FollowEvent) -> Option<Bytes> {
    match ContainerId::of(log) {
        Some(container) => written(&of_container(container, event)?),
        None => written(&of_job(log, event)?),
    }
}

fn written(frame: &impl Serialize) -> Option<Bytes> {
    // Wire types have string keys and no failing serialisers.
    let mut line = serde_json::to_vec(frame).ok()?;
    line.push(b'\n');
    Some(line.into())
}

fn of_job(job_id: JobId, event: &FollowEvent) -> Option<JobEvent<'_>> {
    Some(match event {
        FollowEvent::Entry(Entry { at, time, kind }) => match kind {
            EntryKind::Output { stream, offset, bytes } => {
                let (text, base64) = Chunk::of(bytes).into_fields();
                JobEvent::Output(OutputEvent {
                    job_id,
                    at: *at,
                    stream: *stream,
                    offset: *offset,
                    text,
                    base64: base64.map(|base64| Cow::Owned(base64.into_owned())),
                    time: *time,
                })
            }
            EntryKind::Status { status, worker, reason } => JobEvent::Status(StatusEvent {
                job_id,
                at: Some(*at),
                status: *status,
                attempt: at.attempt,
                worker_id: worker.clone(),
                reason: *reason,
                task_id: None,
                account: None,
                name: None,
                exit_code: None,
                time: *time,
            }),
            EntryKind::End { status, exit_code, reason, message } => JobEvent::End(EndEvent {
                job_id,
                at: *at,
                status: *status,
                exit_code: *exit_code,
                reason: *reason,
                error_message: message.clone(),
                time: *time,
            }),
        },
        FollowEvent::Live(at) => JobEvent::Live(Live { job_id, at: *at }),
        FollowEvent::Truncated { from, to } => JobEvent::Truncated(Truncated { job_id, from: *from, to: *to }),
        FollowEvent::Interrupted { .. } | FollowEvent::Resumed => return None,
    })
}

fn of_container(container_id: ContainerId, event: &FollowEvent) -> Option<ContainerEvent<'_>> {
    Some(match event {
        FollowEvent::Entry(Entry { at, time, kind }) => match kind {
            EntryKind::Output { stream, offset, bytes } => {
                let (text, base64) = Chunk::of(bytes).into_fields();
                ContainerEvent::Output(ConsoleOutput {
                    container_id,
                    at: *at,
                    stream: *stream,
                    offset: *offset,
                    text,
                    base64: base64.map(|base64| Cow::Owned(base64.into_owned())),
                    time: *time,
                })
            }
            EntryKind::Status { status: _, worker, reason } => ContainerEvent::Status(Box::new(ContainerStatusEvent {
                container_id,
                at: Some(*at),
                status: if worker.is_some() { ContainerStatus::Running } else { ContainerStatus::Creating },
                attempt: at.attempt,
                worker_id: worker.clone(),
                reason: *reason,
                container: None,
                time: *time,
            })),
            EntryKind::End { status, exit_code, reason, message } => ContainerEvent::End(StartEnded {
                container_id,
                at: *at,
                status: container::after(*status, *reason),
                exit_code: *exit_code,
                reason: *reason,
                error_message: message.clone(),
                time: *time,
            }),
        },
        FollowEvent::Live(at) => ContainerEvent::Live(ConsoleLive { container_id, at: *at }),
        FollowEvent::Truncated { from, to } => {
            ContainerEvent::Truncated(ConsoleTruncated { container_id, from: *from, to: *to })
        }
        FollowEvent::Interrupted { .. } | FollowEvent::Resumed => return None,
    })
}
