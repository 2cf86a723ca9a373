//! The embedded engine: one SQLite file, `<data-dir>/gangline.db`.
//!
//! One thread writes, with group commit (`writer`); it keeps every job that is not over in memory (`live`),
//! so that nothing has to be searched for in the file. A few threads read (`readers`), each from a snapshot.
//! One thread moves the write-ahead log into the file (`checkpoint`).
//!
//! The file belongs to this process alone, by a lock on `<data-dir>/gangline.lock`. With
//! [`Durability::Process`] an answer means that the write is with the operating system, with
//! [`Durability::Full`] that it is on the disk.

mod append;
mod checkpoint;
mod documents;
mod ended;
mod engine;
mod failure;
mod health;
mod live;
mod load;
mod open;
mod query;
mod readers;
mod registry;
mod retention;
mod rows;
mod schema;
mod segment;
#[cfg(test)]
mod tests;
mod traits;
mod writer;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use self::checkpoint::Checkpointer;
use self::engine::Engine;
use self::failure::{Failure, Run};
use self::health::Health;
pub use self::open::OpenError;
use self::readers::Read;
use self::writer::{Call, Work};
use super::error::StoreError;
use crate::base::clock::Clock;
use crate::config::{Durability, Limits};
use crate::protocol::limits;

/// What the engine can be told.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// What an answered write survives.
    pub durability: Durability,
    /// Output kept per job, in bytes; beyond it the oldest is removed. The latest write is always kept.
    pub output_bytes: u64,
    /// How long the leases last that jobs found running get at open.
    pub lease: Duration,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { durability: Durability::default(), output_bytes: Limits::default().output_bytes, lease: limits::LEASE }
    }
}

/// See the module. Dropping it closes it.
#[derive(Debug)]
pub struct SqliteStore {
    health: Arc<Health>,
    clock: Clock,
    /// `None` once it is closing.
    ends: Option<Ends>,
    readers: Vec<JoinHandle<()>>,
    writer: Option<JoinHandle<()>>,
    /// Goes last.
    lock: File,
}

struct Ends {
    write: mpsc::Sender<Box<dyn Work>>,
    read: mpsc::Sender<Read>,
}

impl std::fmt::Debug for Ends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ends").finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens the store in `data_dir`, which is made where there is none.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing was changed.
    pub fn open(data_dir: &Path, options: &SqliteOptions, clock: Clock) -> Result<Self, OpenError> {
        let lock = open::lock(data_dir)?;
        let path = data_dir.join("gangline.db");
        let conn = open::database(&path, options.durability)?;
        let fail = |failure: Failure| OpenError::database(&path, &failure);
        let live = load::live(&conn, clock.now(), options.lease).map_err(fail)?;
        let (counters, ended) = load::counters(&conn).map_err(fail)?;
        let engine = Engine::new(conn, (live, ended, counters), clock.clone(), options.output_bytes);
        let checkpointer = Checkpointer::start(&path).map_err(fail)?;
        let (read, readers) = readers::start(&path).map_err(fail)?;
        let (write, inbox) = mpsc::channel(writer::INBOX);
        let thread = std::thread::Builder::new().name("store-write".to_owned());
        let health = Arc::new(Health::default());
        let told = Arc::clone(&health);
        let writer = thread.spawn(move || writer::run(engine, inbox, checkpointer, &told));
        let writer = writer.map_err(|error| fail(Failure::unreadable(error)))?;
        Ok(Self { health, clock, ends: Some(Ends { write, read }), readers, writer: Some(writer), lock })
    }

    /// Does what is still waiting, moves everything into the file, and lets others at it. Blocks until then.
    pub fn close(self) {
        drop(self);
    }

    /// Has the writer do `work`, in a transaction.
    async fn on_writer<T, F>(&self, bytes: usize, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Engine) -> Run<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let call = Box::new(Call { bytes, work, result: None, reply });
        let ends = self.ends.as_ref().ok_or_else(closing)?;
        ends.write.send(call).await.map_err(|_| closing())?;
        answer.await.map_err(|_| closing())?
    }

    /// Has a reader do `work`, on one snapshot.
    async fn on_reader<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&rusqlite::Connection) -> Run<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let read: Read = Box::new(move |conn| {
            let result = query::snapshot(conn, work);
            // Whoever asked may have gone.
            drop(reply.send(result.map_err(|failure| StoreError::from(&failure))));
        });
        let ends = self.ends.as_ref().ok_or_else(closing)?;
        ends.read.send(read).await.map_err(|_| closing())?;
        answer.await.map_err(|_| closing())?
    }
}

fn closing() -> StoreError {
    StoreError::Unavailable("the store is closing".to_owned())
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        let Some(Ends { write, read }) = self.ends.take() else { return };
        let ended = |thread: JoinHandle<()>| {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        };
        // The readers first: the last connection to close tidies the file up, and that must be the
        // writer's, which may.
        drop(read);
        self.readers.drain(..).for_each(ended);
        drop(write);
        self.writer.take().into_iter().for_each(ended);
        // Said aloud: a child that is being spawned has a copy of every open file until it executes,
        // and the lock would last as long as that.
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, "the data directory stays locked until this process ends");
        }
    }
}
