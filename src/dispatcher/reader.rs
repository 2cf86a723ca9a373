//! A follower that is no connection: whoever holds it pulls, at its own pace, and nobody waits for it.

use std::sync::Arc;

use super::{DispatchError, Dispatcher};
use crate::auth::Identity;
use crate::hub::follow::Source;
use crate::hub::{Follow, Outbox, Pulled, Sendable};
use crate::model::job::is_over;
use crate::protocol::job::Following;
use crate::protocol::{After, Cursor, JobRef};
use crate::store::StoreError;

/// Bytes that are taken from the tail at a time.
const TAIL_BYTES: usize = 64 * 1024;

/// Bytes that are read from the store at a time, where each read is a way there and back.
const STORE_BYTES: usize = 256 * 1024;

/// A place in a log that moves along it.
#[derive(Debug)]
pub struct LogReader {
    dispatcher: Dispatcher,
    outbox: Arc<Outbox>,
    /// None once the log is at its end.
    follow: Option<Follow>,
}

/// What comes next in a log.
#[derive(Debug, Default)]
pub struct Piece {
    /// Entries that are no longer kept, right before the others: the first and the last of them.
    pub removed: Option<(Cursor, Cursor)>,
    /// Entries, ready to send.
    pub entries: Vec<Sendable>,
}

impl Dispatcher {
    /// Reads a job's log from a place on, and goes on as it grows.
    ///
    /// # Errors
    /// As [`Dispatcher::follow`].
    pub async fn read_along(
        &self,
        who: &Identity,
        job: JobRef,
        after: After,
    ) -> Result<(Following, LogReader), DispatchError> {
        let outbox = Arc::new(Outbox::default());
        let (following, follow) = self.follow(who, job, after, &outbox).await?;
        Ok((following, LogReader { dispatcher: self.clone(), outbox, follow: Some(follow) }))
    }
}

impl LogReader {
    /// What comes next, waiting for it; `None` at the end of the log, where the job is no longer kept, and where this
    /// instance drains: then another may go on.
    ///
    /// # Errors
    /// The store cannot be read now; the same may be asked again.
    pub async fn next(&mut self) -> Result<Option<Piece>, StoreError> {
        loop {
            let Some(follow) = &mut self.follow else { return Ok(None) };
            let mut piece = Piece::default();
            match follow.source {
                Source::Tail => {
                    let looks = &mut follow.looks;
                    match follow.attached.pull(follow.cursor, TAIL_BYTES, looks, &mut piece.entries) {
                        Pulled::Some => return Ok(Some(self.passed(piece))),
                        Pulled::Behind => follow.source = Source::Store,
                        Pulled::CaughtUp => tokio::select! {
                            biased;
                            () = self.dispatcher.shutdown().draining().cancelled() => self.finish(),
                            _ = self.outbox.take() => (),
                        },
                    }
                }
                Source::Store => {
                    let page = self.dispatcher.read_log(follow.job, follow.cursor, STORE_BYTES).await?;
                    let Some(page) = page else {
                        self.finish();
                        continue;
                    };
                    piece.removed = page.removed;
                    piece.entries = page.entries.iter().map(|entry| Sendable::of(follow.job, entry)).collect();
                    if !piece.entries.is_empty() {
                        return Ok(Some(self.passed(piece)));
                    }
                    if is_over(page.status) && follow.cursor >= page.top {
                        self.finish();
                    } else {
                        // Whatever came since the tail was attached is in it.
                        follow.source = Source::Tail;
                    }
                }
            }
        }
    }

    fn passed(&mut self, piece: Piece) -> Piece {
        if let (Some(follow), Some(last)) = (&mut self.follow, piece.entries.last()) {
            follow.cursor = last.at;
            if last.status.is_some_and(is_over) {
                self.finish();
            }
        }
        piece
    }

    fn finish(&mut self) {
        if let Some(follow) = self.follow.take() {
            let job = follow.job;
            drop(follow);
            self.dispatcher.release_log(job);
        }
    }
}

impl Drop for LogReader {
    fn drop(&mut self) {
        self.finish();
    }
}
