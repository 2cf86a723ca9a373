//! Checkpoints: moving what was committed from the write-ahead log into the database file.
//!
//! A thread of its own does the bulk while the writer goes on writing. Only once almost nothing is left does the
//! writer do the rest itself, between two transactions: then the log starts over, and cannot grow
//! without limit however long the load lasts.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::failure::Run;
use super::open;
use super::schema::PAGE_BYTES;

/// Commits between two looks at the log.
const LOOK_EVERY: u32 = 32;

/// Log size, in pages, from which it is moved: 16 MiB.
const START_PAGES: i32 = pages(16);

/// What the writer moves itself, in pages: 2 MiB, a few milliseconds.
const REST_PAGES: i32 = pages(2);

/// Log size, in pages, at which the writer moves all of it, whatever it takes: 256 MiB.
const MOST_PAGES: i32 = pages(256);

const fn pages(mib: u32) -> i32 {
    (mib * 1024 * 1024 / PAGE_BYTES) as i32
}

/// The writer's end of the thread.
pub(super) struct Checkpointer {
    wake: mpsc::SyncSender<()>,
    busy: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    commits: u32,
}

impl Checkpointer {
    pub(super) fn start(database: &Path) -> Run<Self> {
        let conn = open::connect(database)?;
        let (wake, woken) = mpsc::sync_channel(1);
        let busy = Arc::new(AtomicBool::new(false));
        let working = Arc::clone(&busy);
        let thread = std::thread::Builder::new().name("store-checkpoint".to_owned()).spawn(move || {
            while woken.recv().is_ok() {
                move_all(&conn);
                working.store(false, Ordering::Release);
            }
        });
        let thread = thread.map_err(super::failure::Failure::unreadable)?;
        Ok(Self { wake, busy, thread, commits: 0 })
    }

    /// To be called between two transactions.
    pub(super) fn after_commit(&mut self, conn: &Connection) {
        self.commits += 1;
        if self.commits < LOOK_EVERY {
            return;
        }
        self.commits = 0;
        let Ok((log, moved)) = checkpoint(conn, "PRAGMA wal_checkpoint(NOOP)") else { return };
        let rest = log - moved;
        if log < START_PAGES {
            return;
        }
        if log >= MOST_PAGES || rest <= REST_PAGES {
            // With all of it moved, the next commit starts the log over.
            move_all(conn);
        } else if !self.busy.swap(true, Ordering::Acquire) && self.wake.try_send(()).is_err() {
            self.busy.store(false, Ordering::Release);
        }
    }

    /// Ends the thread.
    pub(super) fn close(self) {
        drop(self.wake);
        if self.thread.join().is_err() {
            tracing::error!("the checkpointer panicked");
        }
    }
}

/// Moves as much as can be moved without making anyone wait.
fn move_all(conn: &Connection) {
    if let Err(error) = checkpoint(conn, "PRAGMA wal_checkpoint(PASSIVE)") {
        tracing::warn!(%error, "a checkpoint failed; the write-ahead log grows until one succeeds");
    }
}

/// Pages in the log, and how many of them were moved.
fn checkpoint(conn: &Connection, pragma: &str) -> Run<(i32, i32)> {
    Ok(conn.prepare_cached(pragma)?.query_row([], |row| Ok((row.get(1)?, row.get(2)?)))?)
}
