//! Logs, wherever they are: in the store, or moved from there to the files once they are finished.
//!
//! Guards: a log is read from one place or the other, with the same entries and cursors, and is
//! taken out of the store only when all of it is somewhere else. Every step may be repeated, by
//! this instance or another one, and may be the last that a process takes.
//! Not here: when logs are moved (`upkeep`), how one looks as a file (`blobs`).

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tracing::{debug, warn};

use super::Dispatcher;
use crate::blobs::{BlobError, FinishedLog, LogWriter, PutError};
use crate::model::{Entry, EntryKind};
use crate::protocol::{Cursor, JobId};
use crate::store::log::{Archived, LogPage};
use crate::store::{RedisStore, Store, StoreError};

/// Output that is read at a time from a log that is moved.
const READ_BYTES: usize = 512 * 1024;

/// A log that takes no more than this as a file stays with its record: a file of its own would take a
/// disk's block, or a request to S3, and save nothing.
const PACKED_MOST: usize = 512;

/// A log that was not moved.
#[derive(Debug, thiserror::Error)]
pub(super) enum MoveError {
    /// Nothing to do: another instance has moved it, or the job was removed.
    #[error("it is not there any more")]
    Gone,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It could not be read or packed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// It could not be written.
    #[error(transparent)]
    Put(#[from] PutError),
}

impl Dispatcher {
    /// A piece of a job's log, as `LogStore::read` gives it, wherever the log is.
    ///
    /// # Errors
    /// The store, or where finished logs are, cannot be read now.
    pub async fn read_log(&self, job: JobId, after: Cursor, max_bytes: usize) -> Result<Option<LogPage>, StoreError> {
        let Some(page) = self.0.store.read(job, after, max_bytes).await? else { return Ok(None) };
        let end = (page.top, page.status);
        match &page.archived {
            None => Ok(Some(page)),
            Some(_) if after >= page.top => Ok(Some(page)),
            Some(Archived::Packed(bytes)) => {
                let log = FinishedLog::of(bytes.clone()).map_err(|error| unreadable(&error))?;
                log.read(after, max_bytes, end).await.map(Some).map_err(|error| unreadable(&error))
            }
            Some(Archived::File) => match self.0.blobs.read_log(job, after, max_bytes, end).await {
                Ok(Some(read)) => Ok(Some(read)),
                Ok(None) => self.without_log(job, after, page).await,
                Err(error) => Err(unreadable(&error)),
            },
        }
    }

    /// What can be said of a log whose file is not to be found.
    async fn without_log(&self, job: JobId, after: Cursor, page: LogPage) -> Result<Option<LogPage>, StoreError> {
        // It may have been removed with its job, between the two looks.
        let Some(record) = self.0.store.job(job.into()).await? else { return Ok(None) };
        if !self.0.blobs.is_shared() && self.0.peers.is_some() {
            return Err(StoreError::Unavailable("the log is on the disk of a dispatcher that is away".to_owned()));
        }
        let (Some(time), Some(reason)) = (record.completed_at, record.reason) else { return Ok(Some(page)) };
        warn!(%job, "the file of a finished log is missing; its readers are told that it was removed");
        let top = page.top;
        let from = Cursor::new(top.attempt, if after.attempt == top.attempt { after.n + 1 } else { 0 });
        let removed = (from < top).then(|| (from, Cursor::new(top.attempt, top.n - 1)));
        let (status, exit_code, message) = (record.status, record.exit_code, record.error_message.clone());
        let end = Entry { at: top, time, kind: EntryKind::End { status, exit_code, reason, message } };
        Ok(Some(LogPage { entries: vec![end], removed, ..page }))
    }

    /// Moves the log of a finished job out of the store.
    pub(super) async fn move_log(&self, shared: &RedisStore, job: JobId) -> Result<(), MoveError> {
        let blobs = &self.0.blobs;
        let mut reading = Reading::new(&*self.0.store, job);
        let first = reading.next().await?;
        let second = reading.next().await?;
        let moved = match (first, second) {
            (Some(packed), None) if packed.len() <= PACKED_MOST => {
                shared.move_log(job, reading.after, Some(&packed)).await?
            }
            (first, second) => {
                let begin = stream::iter(first.into_iter().chain(second).map(Ok));
                let rest = stream::try_unfold(&mut reading, async |reading| {
                    Ok::<_, MoveError>(reading.next().await?.map(|piece| (piece, reading)))
                });
                blobs.put_log(job, begin.chain(rest)).await?;
                shared.move_log(job, reading.after, None).await?
            }
        };
        if !moved {
            debug!(%job, "a finished log was not as it had been when it was read");
            if self.0.store.job(job.into()).await?.is_none() {
                blobs.delete_job(job).await?;
            }
        }
        Ok(())
    }
}

/// A log of the store on its way into a file.
struct Reading<'a> {
    store: &'a dyn Store,
    job: JobId,
    /// What was read.
    after: Cursor,
    /// None once it is finished.
    writer: Option<LogWriter>,
    pieces: VecDeque<Bytes>,
}

impl<'a> Reading<'a> {
    fn new(store: &'a dyn Store, job: JobId) -> Self {
        Self { store, job, after: Cursor::START, writer: Some(LogWriter::default()), pieces: VecDeque::new() }
    }

    /// The next piece of the file.
    async fn next(&mut self) -> Result<Option<Bytes>, MoveError> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                return Ok(Some(piece));
            }
            let Some(writer) = &mut self.writer else { return Ok(None) };
            let page = self.store.read(self.job, self.after, READ_BYTES).await?;
            let page = page.filter(|page| page.archived.is_none()).ok_or(MoveError::Gone)?;
            for entry in &page.entries {
                self.pieces.extend(writer.push(entry)?);
                self.after = entry.at;
            }
            if page.entries.is_empty() || self.after >= page.top {
                self.pieces.extend(self.writer.take().map(LogWriter::finish));
            }
        }
    }
}

fn unreadable(error: &BlobError) -> StoreError {
    match error {
        BlobError::Store(_) | BlobError::Io(_) | BlobError::Directory { .. } | BlobError::Bucket { .. } => {
            StoreError::Unavailable(error.to_string())
        }
        BlobError::Log(_) | BlobError::Corrupt(_) => StoreError::Corrupt(error.to_string()),
    }
}
