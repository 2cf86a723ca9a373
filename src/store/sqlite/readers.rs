//! Threads that read: each has a connection of its own, so a slow list holds no write up.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::mpsc;

use super::failure::{Failure, Run};
use super::open;

/// Threads: reads are short, and most of them wait for nothing but memory.
const THREADS: usize = 2;

/// Reads that may wait; who has more waits for a place.
const INBOX: usize = 256;

/// A read, with its answer inside.
pub(super) type Read = Box<dyn FnOnce(&Connection) + Send>;

/// Starts the threads; they end once the sender is gone.
pub(super) fn start(database: &Path) -> Run<(mpsc::Sender<Read>, Vec<JoinHandle<()>>)> {
    let (sender, inbox) = mpsc::channel::<Read>(INBOX);
    let inbox = Arc::new(Mutex::new(inbox));
    let thread = |index| {
        let (conn, inbox) = (open::connect(database)?, Arc::clone(&inbox));
        conn.pragma_update(None, "query_only", true)?;
        let thread = std::thread::Builder::new().name(format!("store-read-{index}"));
        // The lock is held while one thread waits for work, never while it works.
        let work = move || {
            while let Some(read) = next(&inbox) {
                read(&conn);
            }
        };
        thread.spawn(work).map_err(Failure::unreadable)
    };
    let threads = (0..THREADS).map(thread).collect::<Run<_>>()?;
    Ok((sender, threads))
}

fn next(inbox: &Mutex<mpsc::Receiver<Read>>) -> Option<Read> {
    inbox.lock().blocking_recv()
}
