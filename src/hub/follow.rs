//! One follower's cursor in one log.

use crate::protocol::job::Status;
use crate::protocol::{Cursor, JobId};

use super::tail::Attached;

/// Where a connection is in a log that it follows. Only its writer moves it.
#[derive(Debug)]
pub struct Follow {
    /// The log.
    pub job: JobId,
    /// The last entry that was sent.
    pub cursor: Cursor,
    /// The log's tail on this instance.
    pub attached: Attached,
    /// How often it has looked into the store because the tail said so.
    pub looks: u64,
    /// Where the next entries are.
    pub source: Source,
    /// The job's status as far as the follower has read.
    pub status: Status,
    /// Whether `live` was sent.
    pub live: bool,
}

/// Where a follower reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// From the store, until it has no more.
    Store,
    /// From the tail, until that has moved on.
    Tail,
}
