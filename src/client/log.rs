//! The frames of a log, a job's or a container's, as entries of the one kind that both have.
//!
//! To the log a container is a job and each of its starts an attempt; only the nouns on the wire differ, and the words for
//! where it stands. Not here: what is new and what is missing (`resume`), outages (`follow`).

use std::borrow::Cow;

use bytes::Bytes;

use super::connection::{Client, reply, shorten};
use super::error::ClientError;
use crate::config::ClientSettings;
use crate::model::job::is_over;
use crate::model::{Entry, EntryKind};
use crate::protocol::chunk::bytes_of;
use crate::protocol::codec::{ToClient, read_at_client};
use crate::protocol::container::{
    ConsoleOutput, ContainerEvent, ContainerRequest, ContainerStatus, ContainerStatusEvent, FollowConsole, StartEnded,
};
use crate::protocol::job::{EndEvent, Follow, JobEvent, JobRequest, OutputEvent, Reason, Status, StatusEvent};
use crate::protocol::{After, ContainerRef, Cursor, JobId, JobRef};

/// Where a log stood when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Whose it is: a job's, or a container's.
    pub log: JobId,
    /// Entries after this cursor come.
    pub from: Cursor,
    /// The newest entry there was.
    pub top: Cursor,
    /// Whether `top` is the last entry there will ever be.
    pub over: bool,
}

/// What a frame says about a log.
#[derive(Debug)]
pub(super) enum Heard {
    Entry(Entry),
    Truncated { from: Cursor, to: Cursor },
    Live(Cursor),
}

impl Heard {
    /// Whether nothing comes after it in this log.
    pub(super) fn is_last(&self, log: JobId) -> bool {
        match self {
            Self::Entry(Entry { kind: EntryKind::End { reason, .. }, .. }) => {
                !log.is_container() || *reason == Reason::Removed
            }
            Self::Entry(Entry { kind: EntryKind::Status { .. } | EntryKind::Output { .. }, .. })
            | Self::Truncated { .. }
            | Self::Live(_) => false,
        }
    }
}

/// Opens a job's log on a connection of its own.
pub(super) async fn of_job(
    settings: &ClientSettings,
    job_id: JobRef,
    after: After,
) -> Result<(Client, Opened), ClientError> {
    let mut client = Client::connect(settings).await?;
    let request = JobRequest::Follow(Follow { job_id, after });
    let opened = client.ask(&request, reply!(ToClient::Job(JobEvent::Following(it)) => it)).await?;
    let over = is_over(opened.status);
    Ok((client, Opened { log: opened.job_id, from: opened.from, top: opened.top, over }))
}

/// Opens a container's console on a connection of its own.
pub(super) async fn of_container(
    settings: &ClientSettings,
    container: &ContainerRef,
    after: After,
) -> Result<(Client, Opened), ClientError> {
    let mut client = Client::connect(settings).await?;
    let request = ContainerRequest::Follow(FollowConsole { container_id: container.clone(), after });
    let opened = client.ask(&request, reply!(ToClient::Container(ContainerEvent::Following(it)) => it)).await?;
    let over = opened.status == ContainerStatus::Removed;
    Ok((client, Opened { log: opened.container_id.job(), from: opened.from, top: opened.top, over }))
}

/// Reads one frame of a connection that follows; none where it is not about the log.
pub(super) fn read(text: &str) -> Result<Option<Heard>, ClientError> {
    let unexpected = || ClientError::Unexpected(shorten(text));
    let (frame, _) = read_at_client(text).map_err(|_| unexpected())?;
    let heard = match frame {
        ToClient::Job(event) => of_job_event(event),
        ToClient::Container(event) => of_container_event(event),
        ToClient::Error(error) => return Err(error.into()),
        ToClient::Hello(_)
        | ToClient::HelloEvent(_)
        | ToClient::Auth(_)
        | ToClient::Worker(_)
        | ToClient::Plugin(_)
        | ToClient::Ping
        | ToClient::Pong => Ok(None),
    };
    heard.map_err(|NotBytes| unexpected())
}

/// A chunk that is neither text nor base64.
struct NotBytes;

fn of_job_event(event: JobEvent<'_>) -> Result<Option<Heard>, NotBytes> {
    Ok(Some(match event {
        JobEvent::Output(OutputEvent { at, stream, offset, text, base64, time, .. }) => {
            let bytes = bytes(text, base64.as_deref())?;
            entry(at, time, EntryKind::Output { stream, offset, bytes })
        }
        JobEvent::Status(StatusEvent { at: Some(at), status, worker_id, reason, time, .. }) => {
            entry(at, time, EntryKind::Status { status, worker: worker_id, reason })
        }
        JobEvent::End(EndEvent { at, status, exit_code, reason, error_message, time, .. }) => {
            entry(at, time, EntryKind::End { status, exit_code, reason, message: error_message })
        }
        JobEvent::Truncated(gone) => Heard::Truncated { from: gone.from, to: gone.to },
        JobEvent::Live(live) => Heard::Live(live.at),
        JobEvent::Status(_)
        | JobEvent::Submitted(_)
        | JobEvent::Following(_)
        | JobEvent::Job(_)
        | JobEvent::Jobs(_)
        | JobEvent::Counts(_)
        | JobEvent::Page(_)
        | JobEvent::Templates(_)
        | JobEvent::Lagged(_)
        | JobEvent::Ok(_) => return Ok(None),
    }))
}

fn of_container_event(event: ContainerEvent<'_>) -> Result<Option<Heard>, NotBytes> {
    Ok(Some(match event {
        ContainerEvent::Output(ConsoleOutput { at, stream, offset, text, base64, time, .. }) => {
            let bytes = bytes(text, base64.as_deref())?;
            entry(at, time, EntryKind::Output { stream, offset, bytes })
        }
        ContainerEvent::Status(event) => {
            let ContainerStatusEvent { at: Some(at), status, worker_id, reason, time, .. } = *event else {
                return Ok(None);
            };
            entry(at, time, EntryKind::Status { status: as_job(status, reason), worker: worker_id, reason })
        }
        ContainerEvent::End(StartEnded { at, status, exit_code, reason, error_message, time, .. }) => {
            let status = as_job(status, Some(reason));
            entry(at, time, EntryKind::End { status, exit_code, reason, message: error_message })
        }
        ContainerEvent::Truncated(gone) => Heard::Truncated { from: gone.from, to: gone.to },
        ContainerEvent::Live(live) => Heard::Live(live.at),
        ContainerEvent::Created(_)
        | ContainerEvent::Container(_)
        | ContainerEvent::Containers(_)
        | ContainerEvent::Following(_)
        | ContainerEvent::Stats(_)
        | ContainerEvent::History(_)
        | ContainerEvent::Page(_)
        | ContainerEvent::Lagged(_)
        | ContainerEvent::Ok(_) => return Ok(None),
    }))
}

fn entry(at: Cursor, time: u64, kind: EntryKind) -> Heard {
    Heard::Entry(Entry { at, time, kind })
}

fn bytes(text: Option<Cow<'_, str>>, base64: Option<&str>) -> Result<Bytes, NotBytes> {
    match text {
        Some(text) if base64.is_none() => Ok(Bytes::from(text.into_owned())),
        text => bytes_of(text.as_deref(), base64).map(Bytes::from).map_err(|_| NotBytes),
    }
}

/// Where a container stands, in the words for jobs: the log was written in these.
fn as_job(status: ContainerStatus, reason: Option<Reason>) -> Status {
    match (status, reason) {
        (ContainerStatus::Creating, _) => Status::Pending,
        (ContainerStatus::Running, _) => Status::Running,
        (ContainerStatus::Stopped, Some(Reason::Cancelled)) | (ContainerStatus::Removed, _) => Status::Cancelled,
        (ContainerStatus::Stopped, _) => Status::Completed,
        (ContainerStatus::Failed, _) => Status::Failed,
    }
}
