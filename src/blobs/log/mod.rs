//! Finished logs: one file each, from which a reader takes a page wherever it is.
//!
//! ```text
//! logs/<job>    segments, one after the other; what they hold, by cursor; the count of them
//! ```
//!
//! Guards: entries and cursors come back as they were written, holes included; a page costs one
//! read, once the list of segments is known.
//! Not here: when a log is moved (`dispatcher`), which store says that it was (`store`).

mod format;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt::Display;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;

pub use self::format::LogWriter;
use self::format::{Index, TAIL};
use super::{BlobError, Blobs, PutError};
use crate::protocol::job::Status;
use crate::protocol::{Cursor, JobId};
use crate::store::log::LogPage;
use crate::store::page::Page;

/// Lists of segments that are remembered, some KiB each: a log is read page by page.
const REMEMBERED: usize = 64;

/// The lists of segments of logs that were read lately.
#[derive(Debug, Clone, Default)]
pub(super) struct Indexes(Arc<Mutex<VecDeque<Known>>>);

type Known = (JobId, Arc<Index>);

/// A finished log.
#[derive(Debug)]
pub struct FinishedLog {
    source: Source,
    index: Arc<Index>,
}

#[derive(Debug)]
enum Source {
    Memory(Bytes),
    Object { store: Arc<dyn ObjectStore>, at: Path },
}

impl Blobs {
    /// Keeps what a [`LogWriter`] made of a log, in place of what was kept before.
    ///
    /// # Errors
    /// See [`PutError`]; what was kept before stays.
    pub async fn put_log<E: Display>(
        &self,
        job: JobId,
        pieces: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<(), PutError> {
        self.logs.forget(job);
        self.write(&location(job), pieces, u64::MAX).await.map(|_| ())
    }

    /// The log of a job; none: there is none.
    ///
    /// # Errors
    /// It cannot be read, or is no log.
    pub async fn log(&self, job: JobId) -> Result<Option<FinishedLog>, BlobError> {
        let at = location(job);
        let index = match self.logs.find(job) {
            Some(index) => index,
            None => {
                let Some(index) = self.index(&at).await? else { return Ok(None) };
                self.logs.remember(job, &index);
                index
            }
        };
        Ok(Some(FinishedLog { source: Source::Object { store: Arc::clone(&self.store), at }, index }))
    }

    /// A page of a job's log, as `LogStore::read` gives it; none: there is no such log.
    ///
    /// # Errors
    /// It cannot be read, or is no log.
    pub async fn read_log(
        &self,
        job: JobId,
        after: Cursor,
        max_bytes: usize,
        (top, status): (Cursor, Status),
    ) -> Result<Option<LogPage>, BlobError> {
        let Some(log) = self.log(job).await? else { return Ok(None) };
        match log.read(after, max_bytes, (top, status)).await {
            Ok(page) => Ok(Some(page)),
            Err(error) => {
                // The file may be another one by now.
                self.logs.forget(job);
                match error {
                    BlobError::Store(object_store::Error::NotFound { .. }) => Ok(None),
                    error => Err(error),
                }
            }
        }
    }

    /// Removes a job's log. Harmless to repeat.
    pub(super) async fn remove_log(&self, job: JobId) -> Result<(), BlobError> {
        self.logs.forget(job);
        self.remove(&location(job)).await
    }

    async fn index(&self, at: &Path) -> Result<Option<Arc<Index>>, BlobError> {
        let options = GetOptions { range: Some(GetRange::Suffix(TAIL)), ..GetOptions::default() };
        let found = match self.store.get_opts(at, options).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let size = found.meta.size;
        let mut tail = found.bytes().await?;
        let needed = format::tail_len(&tail)?;
        if needed > tail.len() as u64 {
            tail = self.store.get_range(at, size.saturating_sub(needed)..size).await?;
        }
        Ok(Some(Arc::new(Index::read(&tail)?)))
    }
}

impl FinishedLog {
    /// A log that is small enough to be kept with the job's record.
    ///
    /// # Errors
    /// It is no log.
    pub fn of(bytes: Bytes) -> Result<Self, BlobError> {
        let index = Arc::new(Index::read(&bytes)?);
        Ok(Self { source: Source::Memory(bytes), index })
    }

    /// A page after a cursor, of about `max_bytes` of output at the most.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub async fn read(
        &self,
        after: Cursor,
        max_bytes: usize,
        (top, status): (Cursor, Status),
    ) -> Result<LogPage, BlobError> {
        let mut page = Page::new(after, max_bytes, top, status);
        let segments = self.index.after(after, max_bytes);
        let Range { start, end } = self.index.bytes_of(segments.clone());
        if start == end {
            return Ok(page.finish());
        }
        let mut bytes = match &self.source {
            Source::Memory(bytes) => format::slice(bytes, start..end)?,
            Source::Object { store, at } => store.get_range(at, start..end).await?,
        };
        for segment in segments {
            for entry in self.index.segment(segment, &mut bytes)? {
                if !page.push(entry) {
                    return Ok(page.finish());
                }
            }
        }
        Ok(page.finish())
    }
}

impl Indexes {
    fn find(&self, job: JobId) -> Option<Arc<Index>> {
        self.0.lock().iter().find(|(known, _)| *known == job).map(|(_, index)| Arc::clone(index))
    }

    fn remember(&self, job: JobId, index: &Arc<Index>) {
        let mut known = self.0.lock();
        known.retain(|(other, _)| *other != job);
        known.truncate(REMEMBERED - 1);
        known.push_front((job, Arc::clone(index)));
    }

    fn forget(&self, job: JobId) {
        self.0.lock().retain(|(known, _)| *known != job);
    }
}

fn location(job: JobId) -> Path {
    Path::from_iter(["logs".to_owned(), job.to_string()])
}
