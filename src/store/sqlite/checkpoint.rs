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

/// Bytes written, by a rough count, between two looks at the log.
const LOOK_EVERY: usize = 1024 * 1024;

/// What a piece of work writes besides output, roughly: a page.
const WORK_BYTES: usize = PAGE_BYTES as usize;

/// Log size, in pages, from which it is moved: 32 MiB. Below, a reader finds a page with one look at the log's index.
const START_PAGES: i32 = pages(32);

/// The part of the log that the writer moves itself, once the rest is done: an eighth, so 4 of 32 MiB, some
/// milliseconds of work; more of a log that has grown because the thread does not keep up.
const REST: i32 = 8;

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
    written: usize,
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
        Ok(Self { wake, busy, thread, written: 0 })
    }

    /// To be called between two transactions; the last one did `works` pieces of work with `bytes` of output.
    pub(super) fn after_commit(&mut self, conn: &Connection, works: usize, bytes: usize) {
        self.written += works * WORK_BYTES + bytes;
        if self.written < LOOK_EVERY {
            return;
        }
        self.written = 0;
        let Ok((log, moved)) = checkpoint(conn, "PRAGMA wal_checkpoint(NOOP)") else { return };
        match turn(log, moved) {
            Turn::Nobodys => {}
            Turn::Threads => {
                if !self.busy.swap(true, Ordering::Acquire) && self.wake.try_send(()).is_err() {
                    self.busy.store(false, Ordering::Release);
                }
            }
            // With all of it moved, the next commit starts the log over.
            Turn::Writers => move_all(conn),
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

/// Whose turn it is to move the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Nobodys,
    Threads,
    Writers,
}

fn turn(log: i32, moved: i32) -> Turn {
    if log < START_PAGES {
        Turn::Nobodys
    } else if log >= MOST_PAGES || log - moved <= log / REST {
        Turn::Writers
    } else {
        Turn::Threads
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest size, in pages, that the log gets to, and the most that the writer moves at once, under load without
    /// end: the thread moves `speed` pages while the writer writes 100.
    fn largest(speed: i32) -> (i32, i32) {
        let (mut log, mut moved, mut goal) = (0, 0, 0);
        let (mut most_log, mut most_rest) = (0, 0);
        for _ in 0..100_000 {
            log += 100;
            moved = goal.min(moved + speed);
            most_log = most_log.max(log);
            match turn(log, moved) {
                Turn::Threads if moved == goal => goal = log,
                Turn::Nobodys | Turn::Threads => {}
                Turn::Writers => {
                    most_rest = most_rest.max(log - moved);
                    (log, moved, goal) = (0, 0, 0);
                }
            }
        }
        (most_log, most_rest)
    }

    #[test]
    fn the_log_starts_over_however_slow_the_thread_is() {
        for (speed, log, rest) in [(1_000, 40, 5), (200, 64, 8), (110, 256, 32), (50, 257, 257), (0, 257, 257)] {
            let (most_log, most_rest) = largest(speed);
            assert!(most_log <= pages(log), "at {speed} the log has grown to {most_log} pages");
            assert!(most_rest <= pages(rest), "at {speed} the writer had {most_rest} pages to move");
        }
    }
}
