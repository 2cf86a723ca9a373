//! What a finished job wrote, as far as it fits into an answer.

use super::Dispatcher;
use crate::model::{EntryKind, Job};
use crate::protocol::{Cursor, StreamName};
use crate::store::StoreError;

/// Bytes of a log that are read at a time.
const PAGE_BYTES: usize = 512 * 1024;

/// How much of a log is looked through, in what is wanted of a stream: the streams are mixed in it.
const LOOKED_THROUGH: usize = 4;

/// The beginning of what one stream holds, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Excerpt {
    /// What is no UTF-8 is replaced.
    pub text: String,
    /// Whether there was more.
    pub cut: bool,
}

impl Dispatcher {
    /// Standard output and standard error of the latest attempt, about `most` bytes of each.
    ///
    /// # Errors
    /// The store, or where finished logs are, cannot be read now.
    pub async fn excerpts(&self, job: &Job, most: usize) -> Result<(Excerpt, Excerpt), StoreError> {
        let mut stdout = Stream { left: most, total: job.stdout_bytes, bytes: Vec::new() };
        let mut stderr = Stream { left: most, total: job.stderr_bytes, bytes: Vec::new() };
        let (mut after, mut read) = (Cursor::new(job.attempt, 0), 0);
        while (stdout.wants() || stderr.wants()) && read < LOOKED_THROUGH * most {
            let page = self.read_log(job.id, after, PAGE_BYTES.min(2 * most)).await?;
            let Some(page) = page.filter(|page| !page.entries.is_empty()) else { break };
            for entry in &page.entries {
                after = entry.at;
                read += entry.output_len();
                match &entry.kind {
                    EntryKind::Output { stream: StreamName::Stdout, offset: _, bytes } => stdout.take(bytes),
                    EntryKind::Output { stream: StreamName::Stderr, offset: _, bytes } => stderr.take(bytes),
                    EntryKind::Status { .. } | EntryKind::End { .. } => (),
                }
            }
        }
        Ok((stdout.finish(), stderr.finish()))
    }
}

struct Stream {
    left: usize,
    /// What the program wrote in all.
    total: u64,
    bytes: Vec<u8>,
}

impl Stream {
    fn wants(&self) -> bool {
        self.left > 0 && (self.bytes.len() as u64) < self.total
    }

    fn take(&mut self, bytes: &[u8]) {
        let taken = &bytes[..bytes.len().min(self.left)];
        self.bytes.extend_from_slice(taken);
        self.left -= taken.len();
    }

    fn finish(self) -> Excerpt {
        let cut = (self.bytes.len() as u64) < self.total;
        let mut text = match String::from_utf8(self.bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        };
        if cut {
            // The cut may have gone through a character.
            text.truncate(text.trim_end_matches(char::REPLACEMENT_CHARACTER).len());
        }
        Excerpt { text, cut }
    }
}
