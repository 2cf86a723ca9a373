//! This side's terminal and signals: raw keys, window size, Ctrl-C.

use std::io::{self, IsTerminal};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A terminal that passes every key on; an ordinary one again once this is dropped, by a
/// panic, too.
#[derive(Debug)]
pub(in crate::cli) struct RawTerminal(());

impl RawTerminal {
    pub(in crate::cli) fn enter() -> io::Result<Self> {
        crossterm::terminal::enable_raw_mode()?;
        Ok(Self(()))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = crossterm::terminal::disable_raw_mode();
    }
}

/// Columns and rows of the terminal here; none where there is none.
pub(in crate::cli) fn size() -> Option<(u16, u16)> {
    if !io::stdout().is_terminal() && !io::stdin().is_terminal() {
        return None;
    }
    crossterm::terminal::size().ok().filter(|(cols, rows)| *cols > 0 && *rows > 0)
}

/// Signals that `run` answers for itself.
#[derive(Debug)]
pub(in crate::cli) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    resized: Signal,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Asked {
    /// Ctrl-C or SIGTERM.
    Stop,
    /// The terminal is gone.
    Leave,
    /// The window has another size.
    Resize,
}

impl Signals {
    pub(in crate::cli) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            resized: signal(SignalKind::window_change())?,
        })
    }

    /// Resolves once someone wants this to end.
    pub(in crate::cli) async fn stop(&mut self) {
        while self.next().await == Asked::Resize {}
    }

    /// The next signal. Dropping the future loses none.
    pub(in crate::cli) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Leave,
            _ = self.resized.recv() => Asked::Resize,
        }
    }
}
