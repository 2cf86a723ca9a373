//! Entries of a job's log: output and lifecycle in one order.

use bytes::Bytes;

use crate::base::clock::Millis;
use crate::protocol::job::{Reason, Status};
use crate::protocol::{Cursor, StreamName, WorkerId};

/// One entry. Never changed once it has its cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub at: Cursor,
    /// When it came about.
    pub time: Millis,
    /// What it says.
    pub kind: EntryKind,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// The attempt began (`running`), or the job went back to the queue (`pending`).
    Status {
        /// The new status.
        status: Status,
        /// The worker that has the job.
        worker: Option<WorkerId>,
        /// Why, where there is a reason.
        reason: Option<Reason>,
    },
    /// A chunk of output.
    Output {
        /// Which stream.
        stream: StreamName,
        /// Raw byte offset within the stream and attempt.
        offset: u64,
        /// What the program wrote.
        bytes: Bytes,
    },
    /// The job is over. Nothing follows.
    End {
        /// How.
        status: Status,
        /// Exit code.
        exit_code: Option<i32>,
        /// Why.
        reason: Reason,
        /// In words.
        message: Option<String>,
    },
}

impl Entry {
    /// Bytes of output in it.
    pub fn output_len(&self) -> usize {
        match &self.kind {
            EntryKind::Output { bytes, .. } => bytes.len(),
            EntryKind::Status { .. } | EntryKind::End { .. } => 0,
        }
    }
}
