//! The writer's thread: group commit.
//!
//! Takes everything that is waiting, runs all of it in one transaction, commits, and only then
//! answers. Where the transaction fails, nothing of it is kept, neither in the file nor in memory, and each
//! piece of work gets a transaction of its own, so that one that cannot succeed fails alone.

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::checkpoint::Checkpointer;
use super::engine::Engine;
use super::failure::{Failure, Run};
use super::health::Health;
use crate::store::error::StoreError;

/// Pieces of work that may wait for the writer; who has more waits for a place.
pub(super) const INBOX: usize = 1024;

/// Pieces of work in one transaction at the most.
const BATCH: usize = 512;

/// Output, in bytes, after which a transaction takes no further work: a commit takes milliseconds, not more.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// A piece of work with someone who waits for the answer.
pub(super) trait Work: Send {
    /// Bytes of output that it writes.
    fn bytes(&self) -> usize;
    /// Does it; may be asked again after a failure.
    fn run(&mut self, engine: &mut Engine) -> Run<()>;
    /// Answers, once it is known whether what was done is in the file.
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

/// Work from a closure.
pub(super) struct Call<F, T> {
    pub(super) bytes: usize,
    pub(super) work: F,
    pub(super) result: Option<T>,
    pub(super) reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Work for Call<F, T>
where
    F: FnMut(&mut Engine) -> Run<T> + Send,
    T: Send,
{
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn run(&mut self, engine: &mut Engine) -> Run<()> {
        self.result = Some((self.work)(engine)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let answer = match (outcome, self.result) {
            (Ok(()), Some(result)) => Ok(result),
            (Ok(()), None) => Err(StoreError::Unavailable("the store is closing".to_owned())),
            (Err(error), _) => Err(error),
        };
        // Whoever asked may have gone; what was done stays done.
        drop(self.reply.send(answer));
    }
}

/// Runs until every sender is gone, then closes the file.
pub(super) fn run(
    mut engine: Engine,
    mut inbox: mpsc::Receiver<Box<dyn Work>>,
    mut checkpointer: Checkpointer,
    health: &Health,
) {
    let mut batch: Vec<Box<dyn Work>> = Vec::new();
    while let Some(first) = inbox.blocking_recv() {
        let mut bytes = first.bytes();
        batch.push(first);
        while batch.len() < BATCH
            && bytes < BATCH_BYTES
            && let Ok(next) = inbox.try_recv()
        {
            bytes += next.bytes();
            batch.push(next);
        }
        let works = batch.len();
        settle(&mut engine, &mut batch, health);
        checkpointer.after_commit(engine.connection(), works, bytes);
    }
    checkpointer.close();
    engine.close();
}

/// Runs, commits and answers a batch.
fn settle(engine: &mut Engine, batch: &mut Vec<Box<dyn Work>>, health: &Health) {
    let together = in_transaction(engine, batch, health);
    if let Err(failure) = &together
        && !failure.is_unwritable()
    {
        tracing::warn!(%failure, "a transaction failed; nothing of it is kept");
    }
    if together.is_err() && batch.len() > 1 {
        for mut work in batch.drain(..) {
            let alone = in_transaction(engine, std::slice::from_mut(&mut work), health);
            work.answer(alone.as_ref().copied().map_err(StoreError::from));
        }
    }
    for work in batch.drain(..) {
        work.answer(together.as_ref().copied().map_err(StoreError::from));
    }
}

fn in_transaction(engine: &mut Engine, batch: &mut [Box<dyn Work>], health: &Health) -> Run<()> {
    let changes = engine.connection().total_changes();
    let done = execute(engine.connection(), "BEGIN")
        .and_then(|()| batch.iter_mut().try_for_each(|work| work.run(engine)))
        .and_then(|()| execute(engine.connection(), "COMMIT"));
    match done {
        Ok(()) => {
            engine.commit();
            // What changed nothing has shown nothing.
            if engine.connection().total_changes() != changes {
                health.succeeded();
            }
            Ok(())
        }
        Err(failure) => {
            // SQLite has rolled back by itself after some errors.
            if !engine.connection().is_autocommit()
                && let Err(error) = execute(engine.connection(), "ROLLBACK")
            {
                tracing::error!(%error, "and could not be rolled back");
            }
            engine.rollback();
            if failure.is_unwritable() {
                health.failed(&failure);
            }
            Err(failure)
        }
    }
}

fn execute(conn: &Connection, sql: &str) -> Run<()> {
    conn.prepare_cached(sql)?.execute([]).map_err(Failure::from)?;
    Ok(())
}
