//! A page of a log as it is being read, shared by the engines.
//!
//! Guards: what is missing is said once, right before what follows it, and a page ends where a
//! second hole begins.

use super::log::LogPage;
use crate::model::Entry;
use crate::protocol::Cursor;
use crate::protocol::job::Status;

/// A page that fills.
#[derive(Debug)]
pub(super) struct Page {
    after: Cursor,
    max_bytes: usize,
    bytes: usize,
    log: LogPage,
}

impl Page {
    /// An empty page after a cursor, of about `max_bytes` of output at the most.
    pub(super) fn new(after: Cursor, max_bytes: usize, top: Cursor, status: Status) -> Self {
        Self { after, max_bytes, bytes: 0, log: LogPage { entries: Vec::new(), removed: None, top, status } }
    }

    /// What it holds.
    pub(super) fn finish(self) -> LogPage {
        self.log
    }

    /// Adds the next entry; `false`: the page ends before it.
    pub(super) fn push(&mut self, entry: Entry) -> bool {
        let LogPage { entries, removed, .. } = &mut self.log;
        let last = entries.last().map_or(self.after, |last| last.at);
        if entry.at <= last {
            return true;
        }
        // Every attempt keeps its first entry, so what is missing is missing within one attempt.
        if entry.at.attempt == last.attempt && entry.at.n > last.n + 1 {
            if !entries.is_empty() {
                return false;
            }
            *removed = Some((Cursor::new(last.attempt, last.n + 1), Cursor::new(last.attempt, entry.at.n - 1)));
        }
        let len = entry.output_len();
        if !entries.is_empty() && self.bytes + len > self.max_bytes {
            return false;
        }
        self.bytes += len;
        entries.push(entry);
        true
    }
}
