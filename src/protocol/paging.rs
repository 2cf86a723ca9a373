//! Pages of logs: `read` and `page`, of a job's log and of a container's console.
//!
//! The entries of a page are what a follower of the same log is sent as `data`, byte for byte. Nothing here changes
//! what a connection follows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::container::{ConsoleOutput, ContainerStatus, ContainerStatusEvent, StartEnded};
use super::error::WireError;
use super::id::{After, Before, ContainerId, ContainerRef, Cursor, JobId, JobRef};
use super::job::{EndEvent, OutputEvent, Status, StatusEvent};
use super::lenient::count;
use super::limits::{LOG_PAGE_BYTES, LOG_PAGE_BYTES_MOST};

/// `job read`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Read {
    /// Which job.
    #[serde(alias = "taskId", alias = "task_id", alias = "job_id")]
    pub job_id: JobRef,
    /// On from here; from the log's beginning unless this or `before` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<After>,
    /// Back from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
    /// About so many bytes of output at the most; 65,536 unless given, 524,288 at the most.
    #[serde(default, deserialize_with = "count", skip_serializing_if = "Option::is_none", alias = "max_bytes")]
    pub max_bytes: Option<u32>,
}

/// `container read`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadConsole {
    /// Which container.
    #[serde(alias = "container_id")]
    pub container_id: ContainerRef,
    /// On from here; from the console's beginning unless this or `before` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<After>,
    /// Back from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
    /// About so many bytes of output at the most; 65,536 unless given, 524,288 at the most.
    #[serde(default, deserialize_with = "count", skip_serializing_if = "Option::is_none", alias = "max_bytes")]
    pub max_bytes: Option<u32>,
}

/// Which way a log is read, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// What follows.
    After(After),
    /// What comes before, the newest of it.
    Before(Before),
}

/// A page that was asked for: where, and about how many bytes of output at the most.
///
/// # Errors
/// `bad_frame` for both ways at once, or no bytes.
pub fn asked(
    after: Option<After>,
    before: Option<Before>,
    max_bytes: Option<u32>,
) -> Result<(Place, usize), WireError> {
    let place = match (after, before) {
        (Some(_), Some(_)) => return Err(WireError::bad_field("before", "after and before exclude each other")),
        (after, None) => Place::After(after.unwrap_or_default()),
        (None, Some(before)) => Place::Before(before),
    };
    match max_bytes.unwrap_or(LOG_PAGE_BYTES).min(LOG_PAGE_BYTES_MOST) {
        0 => Err(WireError::bad_field("maxBytes", "maxBytes must be 1 or more")),
        bytes => Ok((place, bytes as usize)),
    }
}

/// Entries that are gone, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Removed {
    /// The first of them.
    pub from: Cursor,
    /// The last of them.
    pub to: Cursor,
}

/// Reply to `job read`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobPage<'a> {
    /// The job.
    pub job_id: JobId,
    /// Entries, in order.
    #[serde(borrow)]
    pub entries: Vec<JobEntry<'a>>,
    /// Entries that are gone, right before the first of `entries`.
    pub removed: Option<Removed>,
    /// The newest entry at this moment.
    pub top: Cursor,
    /// The job's status at this moment.
    pub status: Status,
    /// Whether there are entries further on in the same direction.
    pub more: bool,
}

/// An entry of a job's log, as a follower is sent it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "opt", rename_all = "camelCase")]
pub enum JobEntry<'a> {
    /// A change of status.
    Status(StatusEvent),
    /// A chunk of output.
    Output(#[serde(borrow)] OutputEvent<'a>),
    /// The job is over.
    End(EndEvent),
}

/// Reply to `container read`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsolePage<'a> {
    /// The container.
    pub container_id: ContainerId,
    /// Entries, in order.
    #[serde(borrow)]
    pub entries: Vec<ConsoleEntry<'a>>,
    /// Entries that are gone, right before the first of `entries`.
    pub removed: Option<Removed>,
    /// The newest entry at this moment.
    pub top: Cursor,
    /// The container's status at this moment.
    pub status: ContainerStatus,
    /// Whether there are entries further on in the same direction.
    pub more: bool,
}

/// An entry of a container's console, as a follower is sent it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "opt", rename_all = "camelCase")]
pub enum ConsoleEntry<'a> {
    /// A change of status.
    Status(Box<ContainerStatusEvent>),
    /// A chunk of output.
    Output(#[serde(borrow)] ConsoleOutput<'a>),
    /// A start is over.
    End(StartEnded),
}
