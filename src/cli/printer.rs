//! The way of bytes to stdout and stderr: in order, in large writes, at once.
//!
//! A thread of its own writes, so that a terminal that stands still never keeps signals or
//! the connection waiting. It is given at most [`QUEUE`] pieces ahead; then the reader of the
//! log waits, and with it, at the other end, the program.

use std::io::{self, Write};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

/// Pieces under way: 4 MiB of output in the chunks of a fast program.
const QUEUE: usize = 64;
/// Small pieces are gathered up to this size; larger ones are written as they are.
const GATHER_BYTES: usize = 64 * 1024;

/// Where to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// File descriptor 1.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

/// Writes in the background.
#[derive(Debug)]
pub(super) struct Printer {
    queue: mpsc::Sender<(Target, Bytes)>,
    ended: oneshot::Receiver<io::Result<()>>,
}

impl Printer {
    pub(super) fn start() -> io::Result<Self> {
        let (queue, pieces) = mpsc::channel(QUEUE);
        let (tell, ended) = oneshot::channel();
        // Ends when the queue's sender is dropped, or with the first write that fails.
        std::thread::Builder::new().name("printer".to_owned()).spawn(move || {
            // Nobody listens any more where the command ended first.
            let _ = tell.send(write_all(pieces));
        })?;
        Ok(Self { queue, ended })
    }

    /// Waits until there is room for one more piece; none once a write has failed.
    pub(super) async fn ready(&self) -> Option<mpsc::Permit<'_, (Target, Bytes)>> {
        self.queue.reserve().await.ok()
    }

    /// Writes one more piece. What comes after a failed write is dropped: [`Printer::finish`]
    /// tells of the failure.
    pub(super) async fn print(&self, target: Target, bytes: Bytes) {
        let _ = self.queue.send((target, bytes)).await;
    }

    /// Whether a write has failed, so that nothing more will be written.
    pub(super) fn is_over(&self) -> bool {
        self.queue.is_closed()
    }

    /// Resolves once a write has failed.
    pub(super) async fn over(&self) {
        self.queue.closed().await;
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// A write failed; `BrokenPipe` where the reader went away.
    pub(super) async fn finish(self) -> io::Result<()> {
        drop(self.queue);
        // The thread always answers unless it panicked.
        self.ended.await.unwrap_or_else(|_| Err(io::Error::other("the printer stopped")))
    }
}

fn write_all(mut pieces: mpsc::Receiver<(Target, Bytes)>) -> io::Result<()> {
    let mut gathered = Vec::with_capacity(GATHER_BYTES);
    let mut next = pieces.blocking_recv();
    while let Some((target, bytes)) = next.take() {
        if bytes.len() >= GATHER_BYTES / 2 {
            write(target, &bytes)?;
            next = pieces.try_recv().ok();
        } else {
            gathered.clear();
            gathered.extend_from_slice(&bytes);
            next = pieces.try_recv().ok();
            while let Some((same, more)) = next.take_if(|(other, _)| *other == target) {
                gathered.extend_from_slice(&more);
                if gathered.len() >= GATHER_BYTES {
                    break;
                }
                next = pieces.try_recv().ok();
                debug_assert_eq!(same, target);
            }
            write(target, &gathered)?;
        }
        if next.is_none() {
            next = pieces.blocking_recv();
        }
    }
    Ok(())
}

fn write(target: Target, bytes: &[u8]) -> io::Result<()> {
    fn whole(mut to: impl Write, bytes: &[u8]) -> io::Result<()> {
        to.write_all(bytes)?;
        to.flush()
    }
    match target {
        Target::Stdout => whole(io::stdout().lock(), bytes),
        Target::Stderr => whole(io::stderr().lock(), bytes),
    }
}
